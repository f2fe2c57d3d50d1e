"""What the router tells, and that nobody who listens can break a call."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from helpers.support import Memory, Took, config_for, router_for
from lee_llm_router import LeeLLMRouter, LLMRouterError, LLMUsage, RouterEvent, TraceRecord
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.response import LLMResponse

NO = error_for(FailureType.AUTH, "no")


def test_events_of_a_call_that_falls_back() -> None:
    router, memory, _ = router_for(config_for({"a": [error_for(FailureType.PROVIDER_ERROR, "x"), NO], "b": ["ok"]}))
    router.complete("r", "hi")
    assert [(event.event, event.provider, event.attempt) for event in memory.events] == [
        ("call.start", None, None),
        ("policy.choice", "a", None),
        ("llm.complete.start", "a", 0),
        ("llm.complete.error", "a", 0),
        ("llm.retry", "a", 0),
        ("llm.wait", "a", None),
        ("llm.complete.start", "a", 1),
        ("llm.complete.error", "a", 1),
        ("policy.fallback", "b", 2),
        ("llm.complete.start", "b", 2),
        ("llm.complete.success", "b", 2),
        ("call.end", "b", None),
    ]
    assert memory.events[1].data["chain"] == ["a/m", "b/m"]
    assert {event.request_id for event in memory.events} == {memory.records[0].request_id}


def test_several_sinks_hear_everything_even_if_one_raises(caplog: pytest.LogCaptureFixture) -> None:
    """A raising store, sink or hook is counted each time, logged once each, and never reaches the caller."""

    class Broken:
        def emit(self, event: RouterEvent) -> None:
            raise OSError("sink down")

        def write(self, record: TraceRecord) -> None:
            raise OSError("disk full")

    def hook(usage: LLMUsage, role: str, provider: str) -> None:
        raise ValueError("hook")

    good = Memory()
    router, _, _ = router_for(
        config_for({"a": ["ok"]}), event_sink=[Broken(), good], trace_store=Broken(), on_token_usage=hook
    )
    with caplog.at_level(logging.ERROR, "lee_llm_router"):
        for _ in range(2):
            assert router.complete("r", "hi").text == "ok"
    assert len(good.events) == 10
    assert router.telemetry_errors == 2 * (5 + 1 + 1)
    assert sorted(r.getMessage().split(" failed")[0] for r in caplog.records) == [
        "event sink", "on_token_usage", "trace store",
    ]  # fmt: skip


def test_token_usage_is_told_once_for_each_attempt_that_reports_it() -> None:
    """Also where the answer breaks its contract; not where an attempt reports none."""
    told: list[tuple[int | None, str, str]] = []
    unreported = LLMResponse(text="ok", finish_reason="stop")
    router, _, _ = router_for(
        config_for({"a": ["not json", unreported]}),
        on_token_usage=lambda usage, role, provider: told.append((usage.total_tokens, role, provider)),
    )
    with pytest.raises(Exception, match="contract"):
        router.complete("r", "hi", json_mode=True)
    router.complete("r", "hi")
    assert told == [(5, "r", "a")]


def test_listeners_of_one_router_hear_nothing_of_another() -> None:
    first, heard_first, _ = router_for(config_for({"a": ["1"]}))
    second, heard_second, _ = router_for(config_for({"a": ["2"]}))
    first.complete("r", "hi")
    assert heard_first.events and heard_first.records
    assert not heard_second.events and not heard_second.records
    second.complete("r", "hi")
    assert len(heard_first.records) == 1


def test_failures_are_logged_as_warnings_with_fields(caplog: pytest.LogCaptureFixture) -> None:
    """Events go to the `lee_llm_router` logger, with their fields in `extra`; failures as warnings."""
    router, _, _ = router_for(config_for({"a": [NO], "b": ["ok"]}))
    with caplog.at_level(logging.DEBUG, "lee_llm_router"):
        router.complete("r", "hi")
    error = next(r for r in caplog.records if r.__dict__.get("llm_event") == "llm.complete.error")
    assert error.levelno == logging.WARNING
    assert (error.__dict__["llm_provider"], error.__dict__["llm_failure_type"]) == ("a", "AUTH")
    success = next(r for r in caplog.records if r.__dict__.get("llm_event") == "llm.complete.success")
    assert success.levelno == logging.DEBUG


@pytest.mark.parametrize("how", ["failed", "cancelled", "cancelled in a wait", "refused"])
def test_an_error_event_tells_what_its_record_tells(how: str) -> None:
    """However the call ends: the failure, the time, the reason, and what comes next."""
    outcome = {"failed": NO, "cancelled": KeyboardInterrupt()}.get(how, error_for(FailureType.PROVIDER_ERROR, "x"))
    router, memory, clock = router_for(config_for({"a": [Took(0.5, outcome)]}))
    if how == "cancelled in a wait":

        def interrupted(seconds: float) -> None:
            raise KeyboardInterrupt

        clock.sleep = interrupted  # type: ignore[method-assign]
    options: dict[str, Any] = {"temprature": 1} if how == "refused" else {}
    with pytest.raises((LLMRouterError, KeyboardInterrupt)):
        router.complete("r", "hi", **options)
    record = memory.records[-1]
    event = [event for event in memory.events if event.event == "llm.complete.error"][-1]
    assert (event.provider, event.model, event.attempt) == (record.provider, record.model, record.attempt)
    assert event.data == {
        "failure_type": record.failure_type, "elapsed_ms": record.elapsed_ms, "error": record.error, "verdict": "raise",
    }  # fmt: skip
    assert record.error
    assert record.elapsed_ms == (0.0 if how == "refused" else 500.0)


def test_a_cancelled_attempt_is_taken_to_have_sent_something_and_a_cancelled_wait_is_not() -> None:
    """How far an attempt had come is not known; a wait has sent nothing."""
    router, memory, clock = router_for(config_for({"a": [KeyboardInterrupt(), error_for(FailureType.RATE_LIMIT, "x")]}))

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    clock.sleep = interrupted  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            router.complete("r", "hi")
    assert [(r.outcome, r.attempt, r.sent) for r in memory.records] == [
        ("cancelled", 0, True), ("error", 0, True), ("cancelled", None, False),
    ]  # fmt: skip


def test_no_event_is_built_when_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    def boom(**_: Any) -> None:
        raise AssertionError("an event was built")

    monkeypatch.setattr("lee_llm_router.telemetry.reporter.RouterEvent", boom)
    router, _, _ = router_for(config_for({"a": ["ok"]}), event_sink=())
    router.complete("r", "hi")
    assert router.telemetry_errors == 0


def test_prompts_and_answers_are_stored_only_when_asked_for() -> None:
    """`capture: meta` (the default) keeps neither; `capture: full` keeps both."""
    router, memory, _ = router_for(config_for({"a": ["the answer"]}))
    router.complete("r", "the prompt")
    assert (memory.records[0].messages, memory.records[0].text) == (None, None)

    config = config_for({"a": ["the answer"]})
    trace = config.trace.model_copy(update={"capture": "full"})
    router, memory, _ = router_for(config.model_copy(update={"trace": trace}))
    router.complete("r", "the prompt")
    assert list(memory.records[0].messages or ()) == [{"role": "user", "content": "the prompt"}]
    assert memory.records[0].text == "the answer"


def test_a_record_tells_what_the_attempt_was() -> None:
    router, memory, _ = router_for(config_for({"a": ["ok"]}, role={"metadata": {"team": "x"}}), workspace="/somewhere")
    router.complete("r", "hi", metadata={"job": 1})
    record = memory.records[0]
    assert (record.schema, record.attempt, record.target_attempt, record.verdict) == (1, 0, 0, "return")
    assert (record.provider_type, record.served_model, record.policy) == ("scripted", "m", "SimpleRoutingPolicy")
    assert record.metadata == {"team": "x", "job": 1}
    assert record.workspace == "/somewhere"
    assert record.started_at == "2027-01-15T08:16:40.000000Z"
    assert record.finish_reason == "stop" and record.usage == LLMUsage(
        prompt_tokens=3, completion_tokens=2, total_tokens=5
    )


def test_compression_sees_the_messages_once_for_each_target_and_cannot_break_a_call() -> None:
    """By role or for all; what it gives back goes out; if it raises, the messages go as they are."""
    seen: list[int] = []

    def shorten(messages: list[Any]) -> list[Any]:
        seen.append(len(messages))
        return messages[:1]

    def broken(messages: list[Any]) -> list[Any]:
        raise ValueError("no")

    retry = error_for(FailureType.PROVIDER_ERROR, "again")
    two = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    router, _, _ = router_for(config_for({"a": [retry, NO], "b": ["ok"]}), compression={"r": shorten})
    router.complete("r", two)
    assert seen == [2, 2], "once for a (asked twice) and once for b"

    config = config_for({"a": ["ok"]})
    for hook, sent in (({"other": shorten}, 2), (broken, 2), (shorten, 1)):
        router, _, _ = router_for(config, compression=hook)
        router.complete("r", two)
        assert len(router._parts.pool.open("a", {}).calls[0].messages) == sent  # type: ignore[attr-defined]


def test_a_store_that_is_empty_is_a_store() -> None:
    """A list with a `write`, for one, is false as long as it holds nothing."""

    class Kept(list[TraceRecord]):
        write = list.append

    kept = Kept()
    router = LeeLLMRouter(config_for({"a": ["hi"]}), trace_store=kept)
    router.complete("r", "hi")
    assert [record.outcome for record in kept] == ["ok"] and router.trace_store is kept
