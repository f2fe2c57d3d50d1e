"""A call on one axis: attempts, what was waited for between them, targets passed over, and where it ended."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from helpers.records import make
from helpers.trace_set import trace_set
from lee_llm_router import TraceRecord
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.telemetry.calls import TracedCall, calls_from
from lee_llm_router.telemetry.timeline import timeline_of
from lee_llm_router.testing import ScriptedRouter


def record(attempt: int | None = 0, **fields: Any) -> TraceRecord:
    return make(**{"request_id": "a", "attempt": attempt, "elapsed_ms": 100.0, **fields})


def spans(*records: TraceRecord) -> list[tuple[str, float, float]]:
    return [(span.kind, span.start_ms, span.end_ms) for span in timeline_of(TracedCall(records))]


BUSY = error_for(FailureType.OVERLOADED, "busy")
FAILED: dict[str, Any] = {"outcome": "error", "failure_type": "OVERLOADED", "verdict": "retry"}


def test_waits_lie_between_the_attempts_they_parted() -> None:
    """One before the first attempt too: in a queue, say."""
    first = record(offset_ms=50.0, waited_for="a place in the queue", **FAILED, wait_ms=200.0)
    second = record(1, offset_ms=350.0, waited_for="a backoff", first_token_ms=30.0)
    assert spans(first, second) == [
        ("wait", 0.0, 50.0), ("attempt", 50.0, 150.0), ("wait", 150.0, 350.0), ("attempt", 350.0, 450.0)
    ]  # fmt: skip
    found = timeline_of(TracedCall((first, second)))
    assert [span.waited_for for span in found if span.kind == "wait"] == ["a place in the queue", "a backoff"]
    assert found[-1].first_token_ms == 380.0


def test_records_without_an_offset_are_placed_by_their_clock() -> None:
    """An older version wrote none."""
    first = record(started_at="2027-01-15T08:00:00.000000Z", **FAILED, wait_ms=300.0)
    second = record(1, started_at="2027-01-15T08:00:00.400000Z")
    assert spans(first, second) == [("attempt", 0.0, 100.0), ("wait", 100.0, 400.0), ("attempt", 400.0, 500.0)]
    assert timeline_of(TracedCall((first, second)))[1].waited_for == "before the retry"


def test_targets_passed_over_and_the_end_outside_an_attempt_are_moments() -> None:
    """The duration of a record that ends a call is that of the whole call."""
    skipped = record(None, outcome="skipped", verdict="next", offset_ms=1.0, elapsed_ms=0.0)
    failed = record(0, offset_ms=2.0, **FAILED, wait_ms=10_000.0)
    end = record(None, outcome="error", verdict="raise", elapsed_ms=5000.0, failure_type="TIMEOUT", offset_ms=0.0)
    assert spans(skipped, failed, end) == [
        ("skipped", 1.0, 1.0), ("wait", 0.0, 2.0), ("attempt", 2.0, 102.0), ("wait", 102.0, 5000.0),
        ("end", 5000.0, 5000.0),
    ]  # fmt: skip


def test_an_unfinished_call_ends_with_the_wait_that_it_announced() -> None:
    assert spans(record(offset_ms=0.0, **FAILED, wait_ms=500.0))[-1] == ("wait", 100.0, 600.0)


@pytest.mark.parametrize("number", [-1.0, float("nan"), float("inf"), 10**400])
def test_times_that_cannot_be_true_count_as_unknown(number: Any) -> None:
    """Of a store of somebody else's."""
    odd = record(offset_ms=number, elapsed_ms=number, first_token_ms=number, wait_ms=number, **FAILED)
    assert all(0 <= one <= two <= 1e6 for _, one, two in spans(odd, record(1, started_at="soon"), odd))


def test_no_span_begins_before_its_call_or_ends_before_it_begins() -> None:
    for call in calls_from(trace_set(200, seed=5)):
        found = timeline_of(call)
        assert all(0 <= span.start_ms <= span.end_ms for span in found)
        assert max(span.end_ms for span in found) == pytest.approx(call.total_ms, abs=2)


def test_the_waits_of_a_real_call_say_what_they_were_for() -> None:
    """The axis of a call that the router made has no hole in it."""
    config = {"providers": {"a": {"type": "mock"}}, "roles": {"r": {"provider": "a", "model": "m"}}}
    router = ScriptedRouter({"llm": config}, answers={"a": [BUSY, BUSY, "ok"]}, random=lambda: 0.0)
    with router:
        router.complete("r", "hi")
    (call,) = calls_from(router.recorder.records)
    found = timeline_of(call)
    assert [span.kind for span in found] == ["attempt", "wait", "attempt", "wait", "attempt"]
    assert {span.waited_for for span in found if span.kind == "wait"} == {"a: a backoff"}
    assert all(one.end_ms == two.start_ms for one, two in pairwise(found))
    assert call.total_ms == found[-1].end_ms
