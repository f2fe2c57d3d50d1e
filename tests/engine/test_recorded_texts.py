"""What texts reach records, events, logs and messages: safe names, no word of an answer, no key, no flood."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

from helpers.records import make
from helpers.servers import Conversation, Server, http, json_answer
from helpers.support import Memory, Pieces, config_for, router_for
from lee_llm_router import (
    ContentFilterError,
    InvalidResponseError,
    LeeLLMRouter,
    LLMResponse,
    LLMRouterError,
    OverloadedError,
    ProviderError,
    RateLimitError,
    StreamChunk,
    ToolCall,
    TraceRecord,
    UnknownFailureError,
    load_config,
)
from lee_llm_router._util.printable import printable
from lee_llm_router.telemetry.record_json import MAX_LINE
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

UNSEEN = ["\n", "\r", "\t", "\x00", "\x07", "\x08", "\x1b[2J", "\x1b]0;title\x07", "\x7f", "\x85", "\x9b31m", "\u2028",
          "\u2029", "\u202e", "\u200b", "\ufeff", "\ud800", "\U000e0041"]  # fmt: skip
"""What a terminal or a reader of logs would act on, or not see."""


def is_shown_safely(text: str, lines: int = 1) -> bool:
    """Whether `text` has no more than `lines` lines, nothing unprintable in them, and a bounded length."""
    parts = text.split("\n")
    return len(parts) <= lines and all(part.isprintable() for part in parts) and len(text) < 3000 * lines


# --- names ---


@pytest.mark.parametrize("unseen", UNSEEN)
def test_a_callers_model_forges_no_line_anywhere(
    unseen: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the error and its repr, the log, the events, the records: printable, in each way of failing and succeeding."""
    model = f"gpt{unseen}ERROR forged"
    failures = [OverloadedError("no"), ProviderError("no", provider=f"p{unseen}", model=model), "ok"]
    router, memory, _ = router_for(config_for({"a": failures, "b": [RateLimitError("x", retry_after=9)]}))
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            try:
                router.complete("r", "x", model=model, deadline=2)
            except LLMRouterError as error:
                assert is_shown_safely(str(error), lines=1 + len(error.attempts))
                assert all(is_shown_safely(line) for line in str(error).split("\n"))
                assert is_shown_safely(repr(error))
    assert memory.records and memory.events
    for record in memory.records:
        assert is_shown_safely(record.target) and is_shown_safely(record.error or "")
    for event in memory.events:
        assert all(is_shown_safely(str(value)) for value in (event.role, event.provider, event.model, event.data))
    assert all(is_shown_safely(line.getMessage()) for line in caplog.records)


@pytest.mark.parametrize("length", [199, 200, 201, 5000, 1_000_000])
def test_a_long_name_is_shown_in_part(length: int, caplog: pytest.LogCaptureFixture) -> None:
    """A model's name of a million letters floods neither records nor logs nor messages; the provider gets all of it."""
    model = "m" * length
    router, memory, _ = router_for(config_for({"a": [OverloadedError("no")]}, {"retry": {"attempts": 1}}))
    with caplog.at_level(logging.DEBUG), pytest.raises(LLMRouterError) as raised:
        router.complete("r", "x", model=model)
    assert len(memory.records[0].model or "") == min(length, 200)
    assert len(str(raised.value)) < 1500 and all(len(line.getMessage()) < 3000 for line in caplog.records)
    assert router._parts.pool.open("a", {}).calls[0].model == model  # type: ignore[attr-defined]


@pytest.mark.parametrize("unseen", ["\n", "\x1b[1m", "\u202e"])
def test_names_of_roles_and_providers_are_shown_safely(unseen: str, caplog: pytest.LogCaptureFixture) -> None:
    """Those of a configuration may hold anything a YAML key can."""
    role, provider = f"role{unseen}x", f"provider{unseen}x"
    config = load_config({"llm": {"providers": {provider: {"type": "scripted", "outcomes": [OverloadedError("no")]}},
                                  "roles": {role: {"provider": provider, "model": "m"}},
                                  "trace": {"enabled": False}}})  # fmt: skip
    router, memory, _ = router_for(config)
    with caplog.at_level(logging.DEBUG), pytest.raises(LLMRouterError) as raised:
        router.complete(role, "x")
    assert all(is_shown_safely(line) for line in str(raised.value).split("\n"))
    assert len(str(raised.value).split("\n")) <= 1 + len(memory.records)
    for record in memory.records:
        assert is_shown_safely(record.target) and is_shown_safely(record.role)
    assert all(is_shown_safely(line.getMessage()) for line in caplog.records)


def test_a_printable_name_stays_as_it_is() -> None:
    for name in ("gpt-5", "模型", "modèle 1", "m" * 200, "", "a'b\"c"):
        assert printable(name) == name
    assert printable(None) is None


# --- no word of an answer with `capture: meta` ---

SECRET_WORDS = ["zebra", "rash", "Quixote"]
ANSWER = "the zebra patient has a rash, said Quixote"


def _pydantic_error() -> Exception:
    class Answer(pydantic.BaseModel):
        n: int

    try:
        Answer.model_validate({"n": ANSWER})
    except pydantic.ValidationError as error:
        return error
    raise AssertionError


def _json_error() -> Exception:
    try:
        json.loads(ANSWER)
    except ValueError as error:
        return error
    raise AssertionError


def _refusal(text: str) -> Exception:
    return ContentFilterError(f"the model refused: {text}", status_code=200)


RAISED: dict[str, Any] = {
    "a refusal": _refusal(ANSWER),
    "a refusal without a status": ContentFilterError(f"refused: {ANSWER}"),
    "a refusal in quotes": ContentFilterError(f'the model said "{ANSWER}"'),
    "a body that is no JSON": InvalidResponseError(f"the answer is not JSON but {ANSWER!r}", status_code=200),
    "typographic quotes": InvalidResponseError(f"the model wrote “{ANSWER}”"),
    "German quotes": InvalidResponseError(f"the model wrote „{ANSWER}“"),
    "a code fence": InvalidResponseError(f"cannot read ```{ANSWER}```"),
    "an exit code": InvalidResponseError(f"codex said: {ANSWER}", status_code=1),
    "a parser that shows its input": _pydantic_error(),
    "a foreign exception": ValueError(f"cannot read: {ANSWER}"),
    "a key that is missing": KeyError(ANSWER),
    "a foreign exception with lines": RuntimeError(f"\n\n{ANSWER}\n"),
    "an assertion": AssertionError(ANSWER),
    "an unknown failure": UnknownFailureError(f"ValueError: {ANSWER}"),
    "a JSON error": _json_error(),
}


@pytest.mark.parametrize("way", ["sync", "stream", "in the stream"])
@pytest.mark.parametrize("kind", RAISED)
def test_no_word_of_an_answer_is_in_a_record_a_log_or_an_event(
    kind: str, way: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Whatever fails, and however: with `capture: meta` the type is there, the words of the answer are not."""
    raised = RAISED[kind]
    outcome = Pieces("x ", raised) if way == "in the stream" else raised
    config = config_for({"a": [outcome], "b": [_refusal(ANSWER)]}, {"retry": {"attempts": 1}, "fallback_on": []})
    store = LocalFileTraceStore(tmp_path)
    router, memory, _ = router_for(config, trace_store=store)
    with caplog.at_level(logging.DEBUG), pytest.raises(LLMRouterError) as error:
        _run(router, way)
    router.close()
    told = [caplog.text, repr(memory.events), *(file.read_text() for file in tmp_path.glob("*.jsonl"))]
    told += [repr(record) for record in error.value.attempts]
    for word in SECRET_WORDS:
        assert not [text for text in told if word in text]
    record = error.value.attempts[0]
    assert record.failure_type and record.error


def _run(router: LeeLLMRouter, way: str) -> None:
    if way == "sync":
        router.complete("r", "hi")
    else:
        list(router.stream("r", "hi"))


def _cut_body(conversation: Conversation) -> None:
    conversation.receive()
    conversation.send(http(200, json.dumps({"choices": [{"message": {"content": ANSWER}}]}).encode()[:-9]))


def _no_json(conversation: Conversation) -> None:
    conversation.receive()
    conversation.send(http(200, ANSWER.encode()))


def _wire_refusal(conversation: Conversation) -> None:
    conversation.receive()
    conversation.send(json_answer({"choices": [{"message": {"refusal": ANSWER}, "finish_reason": "stop"}]}))


def _cut_event(conversation: Conversation) -> None:
    conversation.receive()
    events = b'data: {"choices":[{"delta":{"content":"' + ANSWER.encode() + b"\n\ndata: [DONE]\n\n"
    conversation.send(http(200, events, {"Content-Type": "text/event-stream"}))


@pytest.mark.parametrize("way", ["sync", "stream"])
@pytest.mark.parametrize("script", [_cut_body, _no_json, _wire_refusal, _cut_event])
def test_no_word_of_an_answer_comes_over_the_wire_into_a_trace(
    script: Callable[[Conversation], None], way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused, cut, no JSON at all, a broken event."""
    with Server(script) as server:
        config = load_config({"llm": {
            "providers": {"p": {"type": "http", "base_url": server.url}},
            "roles": {"r": {"provider": "p", "model": "m", "retry": {"attempts": 1}}}, "trace": {"dir": str(tmp_path)},
        }})  # fmt: skip
        with caplog.at_level(logging.DEBUG, "lee_llm_router"), LeeLLMRouter(config) as router:
            try:
                _run(router, way)
            except LLMRouterError as error:
                assert error.attempts[0].error
    told = [caplog.text, *(file.read_text() for file in tmp_path.glob("*.jsonl"))]
    assert len(told) == 2
    for word in SECRET_WORDS:
        assert not [text for text in told if word in text]


@pytest.mark.parametrize(
    "error",
    [
        RateLimitError("slow down, please: 'tier 1' allows 3", status_code=429),
        OverloadedError('busy: try "later"', status_code=503),
        ProviderError("connection refused: 'host'"),
        ContentFilterError("policy: 'violence'", status_code=400),
        InvalidResponseError("HTTP 302: redirects are not followed", status_code=302),
        InvalidResponseError("the stream ended without a finish reason"),
        UnknownFailureError("HTTP 418: 'teapot'", status_code=418),
        InvalidResponseError("the answer was not accepted: it has 0 characters", response=LLMResponse(text="")),
    ],
)
def test_what_a_vendor_or_the_engine_says_of_a_failure_stays_whole(error: LLMRouterError) -> None:
    """No answer has come, or the message quotes none: the record tells all of it."""
    router, memory, _ = router_for(config_for({"a": [error]}, {"retry": {"attempts": 1}}))
    with pytest.raises(LLMRouterError):
        router.complete("r", "hi")
    assert memory.records[0].error == error.message


def test_the_caller_hears_all_of_it() -> None:
    """The error that is raised goes to the one who asked, and quotes what a record leaves out."""
    router, memory, _ = router_for(config_for({"a": [_refusal(ANSWER)]}))
    with pytest.raises(ContentFilterError, match="zebra"):
        router.complete("r", "hi")
    assert memory.records[0].error == "the model refused …"


def test_a_call_that_ends_between_attempts_quotes_no_earlier_answer() -> None:
    config = config_for({"a": [_refusal(ANSWER)]}, {"retry": {"attempts": 3}, "fallback_on": ["CONTENT_FILTER"]})
    router, memory, _ = router_for(config)
    with pytest.raises(LLMRouterError):
        router.complete("r", "hi")
    assert not any("zebra" in (record.error or "") for record in memory.records)


def test_a_hook_that_sees_prompts_is_not_quoted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """What a compression hook raises may hold the prompt."""

    def broken(messages: list[Any]) -> list[Any]:
        raise ValueError(f"cannot shorten {messages}")

    router, _, _ = router_for(config_for({"a": ["ok"]}), compression=broken)
    assert router.complete("r", ANSWER).text == "ok"
    assert "compression failed" in caplog.text and "ValueError" in caplog.text and "zebra" not in caplog.text


class _Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "raised",
    [_Mute(), ValueError("two\nlines\x1b[31m"), ValueError("x" * 10**6), OSError("key sk-abcdefghijklmnop1234")],
)
def test_what_a_listener_raises_is_one_safe_line_in_the_log(
    raised: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever its text is, or if it has none; and the call is answered."""

    class Store:
        def write(self, record: TraceRecord) -> None:
            raise raised

    router, _, _ = router_for(config_for({"a": ["ok"]}), trace_store=Store())
    assert router.complete("r", "hi").text == "ok"
    assert router.telemetry_errors == 1
    (line,) = (line.getMessage() for line in caplog.records if "trace store" in line.getMessage())
    assert is_shown_safely(line) and "abcdefghijklmnop" not in line and len(line) < 700


# --- words of providers ---

KEY = "Zq8-key/of+the~provider_0123456789"


@pytest.mark.parametrize("way", ["sync", "stream", "failed"])
@pytest.mark.parametrize("text", [
    f"gpt-{KEY}", KEY * 2, "m" * 3_000_000, f"{KEY}{'x' * 3_000_000}", "two\nlines", "\x1b[31mred", "sk-" + "a1" * 20,
    5, b"bytes", ["list"], 10**400, float("nan"),
], ids=range(12))  # fmt: skip
def test_a_served_model_and_a_finish_reason_are_bounded_and_without_keys(text: Any, way: str) -> None:
    """In the record of a whole answer, a streamed one, and one that came with a failure."""
    answer = LLMResponse(text="x", model=text, finish_reason=text)
    outcomes: dict[str, Any] = {
        "sync": answer,
        "stream": Pieces(StreamChunk(text="x", model=text, finish_reason=text)),
        "failed": OverloadedError("x", response=answer),
    }
    config = config_for({"a": [outcomes[way]]}, {"retry": {"attempts": 1}}, {"a": {"secret": KEY}})
    router, memory, _ = router_for(config)
    for _ in range(2):
        try:
            _run(router, "stream" if way == "stream" else "sync")
        except LLMRouterError:
            continue
    assert memory.records
    for record in memory.records:
        for word in (record.served_model, record.finish_reason):
            assert word is None or (isinstance(word, str) and len(word) <= 200 and word.isprintable())
            assert KEY not in (word or "") and "a1a1a1" not in (word or "")
        assert len(record.to_json()) < 2000


@pytest.mark.parametrize("options", [
    {"headers": {"X-Api-Key": "own-key-of-this-call"}},
    {"extra_body": {"api_key": "own-key-of-this-call"}},
    {"extra_body": {"upstream": [{"auth_token": "own-key-of-this-call"}]}},
])  # fmt: skip
def test_a_key_of_the_call_alone_is_in_no_record(options: Any) -> None:
    """A header of this call, or a part of its body, that a vendor echoes as its model."""
    answer = LLMResponse(text="x", model="m-own-key-of-this-call", finish_reason="stop")
    router, memory, _ = router_for(config_for({"a": [answer]}))
    router.complete("r", "hi", **options)
    assert memory.records[0].served_model == "m-***"


@pytest.mark.parametrize("code", [10**4000, -(10**400), 10**13], ids=range(3))
def test_a_status_nobody_can_have_counts_as_none(code: int) -> None:
    router, memory, _ = router_for(
        config_for({"a": [OverloadedError("x", status_code=code)]}, {"retry": {"attempts": 1}})
    )
    with pytest.raises(OverloadedError):
        router.complete("r", "hi")
    assert memory.records[0].status_code is None


def test_many_words_of_a_provider_do_not_fill_the_memory() -> None:
    router, memory, _ = router_for(config_for({"a": [Pieces()]}))
    for number in range(1200):
        router._parts.pool.open("a", {}).calls.clear()  # type: ignore[attr-defined]
        provider: Any = router._parts.pool.open("a", {})
        object.__setattr__(provider.config, "outcomes", (LLMResponse(text="x", model=f"m{number}"),))
        router.complete("r", "hi")
    assert memory.records[-1].served_model == "m1199"
    assert len(router._parts.provider_words) <= 500


# --- capture: full ---


def full_router(outcomes: list[Any], **providers: Any) -> tuple[LeeLLMRouter, Memory]:
    config = config_for({"a": outcomes}, {"retry": {"attempts": 1}}, {"a": providers})
    trace = config.trace.model_copy(update={"capture": "full"})
    router, memory, _ = router_for(config.model_copy(update={"trace": trace}))
    return router, memory


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize("way", ["sync", "stream"])
def test_full_holds_what_was_asked_and_what_was_answered(way: str, tmp_path: Path) -> None:
    """Tools, settings, reasoning and tool calls as well; written, read back, and the same when streamed."""
    answer = LLMResponse(text="", reasoning="it rains", finish_reason="tool_calls", model="m",
                         tool_calls=(ToolCall(id="c1", name="weather", arguments='{"at": "Oslo"}'),))  # fmt: skip
    router, memory = full_router([answer])
    options: Any = {"tools": [TOOL], "tool_choice": "auto", "temperature": 0, "seed": 0, "stop": ["END"],
                    "max_tokens": 9, "extra_body": {"top_k": 3}}  # fmt: skip
    if way == "sync":
        router.complete("r", "hi", **options)
    else:
        list(router.stream("r", "hi", **options))
    record = memory.records[0]
    store = LocalFileTraceStore(tmp_path)
    store.write(record)
    store.close()
    for seen in (record, *store.last()):
        assert list(seen.messages or ()) == [{"role": "user", "content": "hi"}]
        assert list(seen.tools or ()) == [TOOL]
        asked = dict(seen.settings or {})
        assert asked == {"temperature": 0, "seed": 0, "stop": ["END"], "max_tokens": 9, "tool_choice": "auto",
                         "extra_body": {"top_k": 3}}  # fmt: skip
        assert (seen.text, seen.reasoning) == ("", "it rains")
        assert list(seen.tool_calls or ()) == [{"id": "c1", "name": "weather", "arguments": '{"at": "Oslo"}'}]


def test_a_schema_is_shown_as_json_schema() -> None:
    class Answer(pydantic.BaseModel):
        n: int

    router, memory = full_router(['{"n": 1}'])
    router.complete("r", "hi", schema=Answer)
    router.complete("r", "hi", json_mode=True)
    assert memory.records[0].settings is not None and memory.records[1].settings is not None
    assert memory.records[0].settings["schema"]["properties"] == {"n": {"title": "N", "type": "integer"}}
    assert memory.records[1].settings == {"json_mode": True}


def test_meta_holds_none_of_it() -> None:
    answer = LLMResponse(text=ANSWER, reasoning=ANSWER, tool_calls=(ToolCall(id="1", name="f", arguments=ANSWER),))
    router, memory, _ = router_for(config_for({"a": [answer]}))
    router.complete("r", ANSWER, tools=[TOOL], stop=["Quixote"], extra_body={"x": ANSWER})
    line = memory.records[0].to_json().decode()
    assert not any(word in line for word in [*SECRET_WORDS, "weather"])
    assert not {"messages", "tools", "settings", "text", "reasoning", "tool_calls"} & json.loads(line).keys()


@pytest.mark.parametrize(
    "where", ["prompt", "answer", "reasoning", "arguments", "tool", "extra_body", "header", "deep"]
)
def test_full_holds_no_known_key(where: str) -> None:
    """Of the provider or the call, wherever it stands."""
    said = f"before {KEY} after"
    answer = LLMResponse(
        text=said if where == "answer" else "x", reasoning=said if where == "reasoning" else None,
        tool_calls=(ToolCall(id="1", name="f", arguments=json.dumps({"a": said})),) if where == "arguments" else (),
    )  # fmt: skip
    router, memory = full_router([answer], secret=KEY)
    options: Any = {
        "tool": {"tools": [{"type": "function", "function": {"name": "f", "description": said}}]},
        "extra_body": {"extra_body": {"api_key": "another-key-1", "note": said}},
        "header": {"headers": {"Authorization": "another-key-1", "X-Note": said}},
        "deep": {"extra_body": {"a": [{"b": {"c": [said, {"token": "another-key-1"}]}}]}},
    }.get(where, {})
    router.complete("r", said if where == "prompt" else "hi", **options)
    line = memory.records[0].to_json().decode()
    assert KEY not in line and "another-key-1" not in line and "***" in line


FLOODS = {
    "long": "x" * 5_000_000,
    "wide": "é\x00" * 2_500_000,
    "a key at the cut": "y" * (1_000_000 - 10) + KEY + "y" * 100_000,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_full_is_bounded(kind: str, tmp_path: Path) -> None:
    """Prompt, answer, reasoning and arguments of many megabytes: one line that can be read, without keys."""
    text = FLOODS[kind]
    answer = LLMResponse(text=text, reasoning=text, tool_calls=(ToolCall(id="1", name="f", arguments=text),))
    router, memory = full_router([answer], secret=KEY)
    router.complete("r", text)
    store = LocalFileTraceStore(tmp_path)
    store.write(memory.records[0])
    store.close()
    (file,) = tmp_path.glob("*.jsonl")
    assert file.stat().st_size <= MAX_LINE
    (record,) = store.last()
    assert record.text is not None and record.text[:100_000] == text[:100_000]
    assert KEY[:12] not in file.read_text()


def test_lines_without_the_new_fields_are_read() -> None:
    """As an earlier version has written them, with and without texts."""
    data = json.loads(make("old", text="t", messages=({"role": "user", "content": "x"},)).to_json())
    for name in ("tools", "settings", "reasoning", "tool_calls"):
        del data[name]
    record = TraceRecord.from_json(json.dumps(data))
    assert (record.text, record.tools, record.settings, record.tool_calls) == ("t", None, None, None)
    assert TraceRecord.from_json(make("older").to_json()) == make("older")


def test_a_cut_answer_is_visible_in_its_record() -> None:
    router, memory, _ = router_for(config_for({"a": [LLMResponse(text="half", finish_reason="length")]}))
    router.complete("r", "hi")
    assert (memory.records[0].outcome, memory.records[0].finish_reason) == ("ok", "length")
