"""`trace: {capture: none, redact: ..., sample: ...}` and `redact=`: what a store is given, and who sees all of it."""

from __future__ import annotations

import builtins
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from helpers.records import make
from helpers.support import EPOCH, Memory, router_for
from helpers.trace_set import trace_set
from lee_llm_router import ConfigError, LeeLLMRouter, LLMResponse, RateLimitError, ToolCall, load_config
from lee_llm_router._util.ids import new_request_id
from lee_llm_router.telemetry.calls import calls_from
from lee_llm_router.telemetry.kept_records import Sampler, kept_records
from lee_llm_router.telemetry.record_json import json_object
from lee_llm_router.telemetry.records import TraceRecord
from lee_llm_router.telemetry.settings import TraceConfig

CARD = "4111 1111 1111 1111"
CARDS = r"\b\d{4}(?: \d{4}){3}\b"


def trace(**settings: Any) -> TraceConfig:
    return TraceConfig.model_validate(settings)


def stored(record: Any, redact: Any = None, patterns: Any = ()) -> Any:
    """What a store is given of `record`."""
    kept = kept_records(trace(redact=patterns), redact)
    assert kept is not None
    return kept(record)


def routed(trace: Mapping[str, Any], outcomes: Mapping[str, Any], **options: Any) -> tuple[LeeLLMRouter, Memory]:
    names = list(outcomes)
    chain = {"provider": names[0], "model": "m", "fallback_providers": [{"provider": name} for name in names[1:]]}
    providers = {name: {"type": "scripted", "outcomes": list(plays)} for name, plays in outcomes.items()}
    config = load_config({"llm": {"providers": providers, "roles": {"r": chain}, "trace": trace}})
    router, memory, _ = router_for(config, **options)
    return router, memory


# --- capture: none ---


def test_with_capture_none_only_names_numbers_and_times_are_stored() -> None:
    """No metadata, no message of an error, no workspace, and no word of what was asked or answered."""
    router, memory = routed(
        {"capture": "none"}, {"a": [RateLimitError("card 4111", retry_after=1)], "b": ["the answer"]}
    )
    with router:
        router.complete("r", "the question", metadata={"customer": "Jane"})
    assert [record.failure_type for record in memory.records] == ["RATE_LIMIT", None]
    assert memory.records[1].usage is not None
    assert memory.records[1].response_chars == len("the answer")
    for record in memory.records:
        text = record.to_json().decode()
        assert not any(word in text for word in ("4111", "Jane", "customer", "question", 'answer"'))
        assert (record.workspace, record.error, record.metadata) == (None, None, {})


def test_observers_and_hooks_see_every_record_whole() -> None:
    """Whatever is stored of it: the policy learns from all calls, and all tokens are counted."""
    seen, spent = [], []

    class Watching:
        def choose(self, role: str, config: Any) -> Any:
            from lee_llm_router import SimpleRoutingPolicy

            return SimpleRoutingPolicy().choose(role, config)

        def observe(self, record: Any) -> None:
            seen.append(record.metadata)

    router, memory = routed(
        {"capture": "none", "sample": 0, "redact": ["Jane"]}, {"a": ["ok"]}, policy=Watching(),
        on_token_usage=lambda usage, role, provider: spent.append(usage.total_tokens),
    )  # fmt: skip
    with router:
        router.complete("r", "hi", metadata={"customer": "Jane"})
    assert memory.records == []
    assert seen == [{"customer": "Jane"}]
    assert spent == [5]


# --- redact ---


def test_a_pattern_is_masked_in_every_text_of_a_record() -> None:
    """Messages, tools, settings, the answer, reasoning, calls of tools, the error, metadata with its names."""
    record = make(
        error=f"no such card {CARD}", metadata={"note": {"deep": [f"see {CARD}"]}, CARD: 1}, text=f"It is {CARD}.",
        reasoning=CARD, messages=({"role": "user", "content": [{"type": "text", "text": f"My card: {CARD}!"}]},),
        tools=({"function": {"description": CARD}},), settings={"stop": [CARD]}, workspace=f"/home/{CARD}",
        tool_calls=({"id": "1", "name": "pay", "arguments": json.dumps({"card": CARD})},), asked_role=CARD,
    )  # fmt: skip
    kept = stored(record, patterns=[CARDS])
    line = kept.to_json().decode()
    assert CARD not in line
    assert kept.text == "It is ***."
    assert kept.metadata == {"note": {"deep": ["see ***"]}, "***": 1}
    assert kept.messages == ({"role": "user", "content": [{"type": "text", "text": "My card: ***!"}]},)
    assert kept.tool_calls[0]["arguments"] == '{"card": "***"}'
    assert kept.request_id == record.request_id


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        (r"[\w.]+@[\w.]+", "write to jane.doe@example.org, please", "write to ***, please"),
        (r"(?i)jane", "Jane and JANE", "*** and ***"),
        (r"Müller", '{"name": "M\\u00fcller"}', '{"name":"***"}'),
        (r"(?<=PIN )\d+", "PIN 1234, TAN 5678", "PIN ***, TAN 5678"),
        (r"(\w)\1\1", "aaa b", "*** b"),
        (r"^Dear .*$", "Dear Jane", "***"),
        (r"a|b", "cab", "c******"),
        (r"x", "nothing of it", "nothing of it"),
        (r"\d+", "half \udabc 1", "half \\udabc ***"),
    ],
)
def test_patterns_mean_what_they_mean_in_python(pattern: str, text: str, wanted: str) -> None:
    """Also those with look-around, and in arguments whose letters are escaped."""
    record = stored(make(tool_calls=({"id": "1", "name": "n", "arguments": text},)), patterns=[pattern])
    assert record.tool_calls[0]["arguments"] == wanted


def test_no_text_makes_a_pattern_take_for_ever() -> None:
    """One that would is stored as a mask: nobody knows what is in it."""
    record = stored(make(text="a" * 5000 + "c", reasoning="fine"), patterns=[r"(a+)+$", r"(?=(a+)+b)a+b"])
    assert record.text in ("***", "a" * 5000 + "c")
    assert record.reasoning == "fine"


@pytest.mark.parametrize(
    ("pattern", "reason"), [("(", "not a regular expression"), ("a*", "empty text"), ("x" * 20_000, "longer than")]
)
def test_a_pattern_that_is_none_is_a_finding(pattern: str, reason: str) -> None:
    """At its place in the file."""
    with pytest.raises(ConfigError) as caught:
        load_config(f"llm:\n  providers: {{m: {{type: mock}}}}\n  roles: {{r: {{provider: m}}}}\n"
                    f"  trace:\n    redact:\n      - 'good'\n      - '{pattern}'\n")  # fmt: skip
    (finding,) = caught.value.findings
    assert "7:9" in finding
    assert "trace.redact" in finding
    assert reason in finding


def test_without_the_library_the_file_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is stored unmasked because of it."""
    real = builtins.__import__

    def without_regex(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "regex":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_regex)
    with pytest.raises(ConfigError, match=r"lee-llm-router\[redact\]"):
        load_config({"llm": {"providers": {"m": {"type": "mock"}}, "roles": {"r": {"provider": "m"}},
                             "trace": {"redact": ["never compiled before"]}}})  # fmt: skip


def test_an_application_redacts_what_the_patterns_have_left() -> None:
    """`redact=` gets each text, keys of metadata too; what it returns is stored."""
    router, memory = routed(
        {"capture": "full", "redact": [CARDS]},
        {"a": [LLMResponse(text=f"Jane: {CARD}", finish_reason="tool_calls",
                           tool_calls=(ToolCall(id="1", name="f", arguments='{"who": "Jane"}'),))]},
        redact=lambda text: text.replace("Jane", "J."),
    )  # fmt: skip
    with router:
        router.complete("r", "I am Jane", metadata={"Jane": "Jane"})
    (record,) = memory.records
    assert record.text == "J.: ***"
    assert record.messages == ({"role": "user", "content": "I am J."},)
    assert record.metadata == {"J.": "J."}
    assert record.tool_calls == ({"id": "1", "name": "f", "arguments": '{"who": "J."}'},)


def test_a_redact_that_fails_lets_nothing_through(caplog: pytest.LogCaptureFixture) -> None:
    """What it raises may quote the text, so it is shown to nobody; the call goes on."""

    def failing(text: str) -> Any:
        if "secret" in text:
            raise ValueError(text)
        return None if "none" in text else text

    router, memory = routed({"capture": "full"}, {"a": ["a secret answer"]}, redact=failing)
    with caplog.at_level(logging.DEBUG), router:
        answer = router.complete("r", "a secret", metadata={"a": "none", "b": "fine"})
    assert answer.text == "a secret answer"
    (record,) = memory.records
    assert record.text == "***"
    assert record.metadata == {"a": "***", "b": "fine"}
    assert "secret" not in record.to_json().decode()
    assert "secret" not in caplog.text


def test_a_record_without_texts_is_stored_as_it_is() -> None:
    """And by default there is nothing between a record and its store."""
    assert kept_records(trace()) is None
    record = make()
    assert stored(record, redact=str.upper) == record


# --- sample ---


def sampled(records: Any, share: float) -> list[Any]:
    sampler = Sampler(share)
    return [kept for record in records if (kept := sampler.kept(record)) is not None]


def test_a_share_of_the_good_calls_is_kept_and_all_others_whole() -> None:
    """A call with a failure, a fallback, a skipped target or a cancellation is kept with all its records."""
    records = list(trace_set(3000, seed=5))
    kept = {call.request_id: call.records for call in calls_from(sampled(records, 0.1))}
    good, good_kept = 0, 0
    for call in calls_from(records):
        if len(call.records) == 1 and call.last.outcome == "ok":
            good += 1
            good_kept += call.request_id in kept
        else:
            assert kept[call.request_id] == call.records
    assert good > 2000
    assert 0.07 < good_kept / good < 0.13


def test_a_record_says_by_what_share_it_was_kept() -> None:
    """That of a call which was drawn; of calls with a failure all are kept. Others are written as without `sample`."""
    lone, failed, saved = make("lone"), make("other", outcome="error", verdict="next"), make("other", 1)
    sampler = Sampler(0.999999)
    assert [sampler.kept(record) for record in (failed, saved)] == [failed, saved]
    drawn = sampler.kept(lone)
    assert drawn == replace(lone, kept_share=0.999999)
    assert TraceRecord.from_json(drawn.to_json()) == drawn
    assert b"kept_share" not in lone.to_json()
    assert b"messages" not in drawn.to_json()
    assert b"kept_share" not in replace(lone, text="hi").to_json()
    assert json_object(replace(drawn, text="hi").to_json())["kept_share"] == 0.999999


def test_a_call_is_drawn_by_its_id() -> None:
    """The same ones in every process, and a larger share holds the smaller."""
    records = [make(new_request_id(EPOCH + number)) for number in range(2000)]
    few, again, more = (
        {record.request_id for record in sampled(records, share)} for share in (0.1, 0.1, 0.5)
    )  # fmt: skip
    assert few == again
    assert few < more
    assert sampled(records, 1.0) == records
    assert sampled(records, 0.0) == []


def test_a_call_that_skips_a_target_is_kept_although_its_first_attempt_is_good() -> None:
    """What is remembered of it ends with it."""
    sampler = Sampler(0.0)
    assert sampler.kept(make("call", None, outcome="skipped", verdict="next"))
    assert sampler.kept(make("call", 0))
    assert not sampler.kept(make("call", 0))
    assert sampler.kept(make("other", 0, outcome="cancelled", verdict="raise"))
    assert not sampler.kept(make("other", 0))


def test_calls_that_never_end_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first; no memory is used up."""
    monkeypatch.setattr("lee_llm_router.telemetry.kept_records._MOST_OPEN", 2)
    sampler = Sampler(0.0)
    for name in "abc":
        assert sampler.kept(make(name, outcome="error", verdict="retry"))
    assert [sampler.kept(make(name, 1)) is not None for name in "abc"] == [False, True, True]


def test_the_file_names_the_share() -> None:
    """Between 0 and 1; with a fallback the whole call is in the traces."""
    router, memory = routed({"sample": 0}, {"a": [RateLimitError("no"), "ok"], "b": ["saved", "ok"]})
    with router:
        router.complete("r", "one")
        for _ in range(5):
            router.complete("r", "more")
    assert [record.provider for record in memory.records][:2] == ["a", "b"]
    assert len({record.request_id for record in memory.records}) <= 6
    for wrong in (-0.1, 1.1, "half", True):
        with pytest.raises(ConfigError, match="sample"):
            load_config({"llm": {"providers": {"m": {"type": "mock"}}, "roles": {"r": {"provider": "m"}},
                                 "trace": {"sample": wrong}}})  # fmt: skip
