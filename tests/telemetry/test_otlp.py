"""Calls as spans of OpenTelemetry's protocol: what its own classes read of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.drawn_examples import examples
from helpers.records import make
from helpers.support import EPOCH
from helpers.trace_set import trace_set
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry.calls import TracedCall, calls_from
from lee_llm_router.telemetry.otlp import SKIPPED_EVENT, request_body, spans_of
from lee_llm_router.telemetry.record_json import json_text

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
json_format = pytest.importorskip("google.protobuf.json_format")

ID = "01a316a4-e511-7000-8000-1e2f414c343c"
FAILS: dict[str, Any] = {
    "outcome": "error", "failure_type": "RATE_LIMIT", "status_code": 429, "error": "slow down", "provider": "openai",
    "provider_type": "http", "model": "gpt-5",
}  # fmt: skip
CALL = TracedCall(
    (
        make(ID, 0, EPOCH, verdict="retry", elapsed_ms=100.0, wait_ms=50.0, **FAILS),
        make(ID, 1, EPOCH + 0.15, verdict="next", elapsed_ms=100.0, usage=LLMUsage(prompt_tokens=3), **FAILS),
        make(ID, None, EPOCH + 0.25, outcome="skipped", verdict="next", provider="groq", failure_type="UNAVAILABLE"),
        make(
            ID, 2, EPOCH + 0.25, elapsed_ms=750.0, provider="anthropic", provider_type="anthropic", model="claude",
            usage=LLMUsage(prompt_tokens=10, completion_tokens=5), cost_usd=0.25, stream=True, first_token_ms=20.0,
            messages=({"role": "user", "content": "hello"},), text="hi", finish_reason="stop",
        ),
    )
)  # fmt: skip


def parsed(calls: list[TracedCall], *, content: bool = False) -> list[Any]:
    """The spans, as the protocol's own classes read the request. These take the hexadecimal ids for base64."""
    lines = [json_text(span) for call in calls for span in spans_of(call, content=content)]
    text = request_body(lines, {"service.name": "app"}, "1").decode()
    found = json_format.Parse(text, trace_service.ExportTraceServiceRequest())
    (resource,) = found.resource_spans
    assert resource.resource.attributes[0].value.string_value == "app"
    (scope,) = resource.scope_spans
    assert (scope.scope.name, scope.scope.version) == ("lee_llm_router", "1")
    return list(scope.spans)


def attributes(span: Any) -> dict[str, Any]:
    values = {one.key: one.value for one in span.attributes}
    return {name: getattr(value, value.WhichOneof("value")) for name, value in values.items()}


def test_a_call_with_a_retry_and_a_fallback_is_one_parent_and_three_children() -> None:
    """Usage and errors stand on the attempts that had them; the call itself was answered."""
    call, *attempts = parsed([CALL])
    assert {span.trace_id for span in (call, *attempts)} == {call.trace_id}
    assert [span.parent_span_id for span in attempts] == [call.span_id] * 3
    assert len({span.span_id for span in (call, *attempts)}) == 4
    assert [span.kind for span in (call, *attempts)] == [1, 3, 3, 3]
    assert [span.name for span in (call, *attempts)] == ["chat planner", "chat gpt-5", "chat gpt-5", "chat claude"]
    assert [span.status.code for span in (call, *attempts)] == [0, 2, 2, 0]
    assert attempts[0].status.message == "slow down"
    assert attributes(attempts[0])["error.type"] == "RATE_LIMIT"
    used = [attributes(span).get("gen_ai.usage.input_tokens") for span in (call, *attempts)]
    assert used == [None, None, 3, 10]
    assert attributes(attempts[2])["lee_llm_router.cost_usd"] == 0.25
    assert attributes(call)["lee_llm_router.saved_by_fallback"] is True


def test_spans_last_as_long_as_what_they_stand_for() -> None:
    """Nanoseconds since 1970: the call from its first attempt to the end of the last, waits included."""
    start = int(EPOCH) * 10**9
    times = [(span.start_time_unix_nano - start, span.end_time_unix_nano - start) for span in parsed([CALL])]
    ms = 10**6
    assert times == [(0, 1000 * ms), (0, 100 * ms), (150 * ms, 250 * ms), (250 * ms, 1000 * ms)]


def test_a_target_that_was_skipped_is_an_event_of_the_call() -> None:
    (event,) = parsed([CALL])[0].events
    assert (event.name, event.time_unix_nano) == (SKIPPED_EVENT, int(EPOCH * 10**9) + 250_000_000)
    assert attributes(event) == {"lee_llm_router.target": "groq", "error.type": "UNAVAILABLE"}


def test_a_failed_call_is_an_error_itself() -> None:
    """And one that was left unfinished is none."""
    failed, left = parsed([TracedCall((make(ID, 0, verdict="raise", **FAILS),)),
                           TracedCall((make("b", 0, verdict="retry", **FAILS),))])[::2]  # fmt: skip
    assert (failed.status.code, left.status.code) == (2, 0)


def test_prompts_and_answers_are_sent_only_where_they_are_asked_for() -> None:
    assert "hello" not in str(parsed([CALL])) and "hi" not in str(attributes(parsed([CALL])[3]).values())
    found = attributes(parsed([CALL], content=True)[3])
    assert "hello" in found["gen_ai.input.messages"]
    assert '"hi"' in found["gen_ai.output.messages"]


def test_a_call_that_is_sent_twice_is_the_same_spans_twice() -> None:
    """The trace has the id of the call; one that is no UUID gets an id made from it."""
    assert spans_of(CALL) == spans_of(CALL)
    assert spans_of(CALL)[0]["traceId"] == ID.replace("-", "")
    odd = [spans_of(TracedCall((make(name),)))[0]["traceId"] for name in ("call-1", "call-2", "0" * 32, "\udc80")]
    assert all(len(name) == 32 and int(name, 16) for name in odd)
    assert len(set(odd)) == 4


@pytest.mark.parametrize("started", ["never", "", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_odd_times_break_nothing(started: str) -> None:
    """A call without a time is left out."""
    record = make(ID, 0, elapsed_ms=1e12)
    object.__setattr__(record, "started_at", started)
    spans = parsed([TracedCall((record,))])
    assert len(spans) == (0 if started in ("never", "") else 2)


@settings(max_examples=examples(50), deadline=None)
@given(
    st.text(max_size=50), st.one_of(st.floats(), st.integers(), st.text(), st.lists(st.text())), st.integers()
)  # fmt: skip
def test_whatever_a_record_holds_is_read_by_the_receiver(text: str, value: Any, number: int) -> None:
    """Escapes, numbers that are none, integers of any size."""
    record = make(text or "x", 0, role=text, provider=text, model=text, error=text, outcome="error", verdict="raise",
                  failure_type=text, metadata={text: value}, request_bytes=abs(number) % 10**12)  # fmt: skip
    assert len(parsed([TracedCall((record,))], content=True)) == 2


def test_many_calls_are_read() -> None:
    calls = calls_from(trace_set(50, full=True))
    assert len(parsed(calls, content=True)) == 50 + sum(len(call.attempts) for call in calls)
