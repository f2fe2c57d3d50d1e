"""What the records of a call say together, which calls a filter lets through, and how a store is read as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from lee_llm_router import LocalFileTraceStore, TraceRecord
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.telemetry.query import CallFilter
from lee_llm_router.telemetry.scanning import TraceScanner, scanner_of

FIRST, SECOND = "019a0000-0000-7000-8000-00000000000a", "019a0000-0000-7000-8000-00000000000b"


def record(call: str = FIRST, attempt: int | None = 0, **fields: Any) -> TraceRecord:
    return make(**{"request_id": call, "attempt": attempt, "provider": "a", "model": "m", **fields})


FAILED: dict[str, Any] = {"outcome": "error", "verdict": "next", "failure_type": "TIMEOUT"}
SAVED = TracedCall(
    (
        record(**FAILED, usage=LLMUsage(prompt_tokens=1, completion_tokens=2, total_tokens=3), cost_usd=0.5),
        record(attempt=1, provider="b", usage=LLMUsage(total_tokens=4), finish_reason="length"),
    )
)


def test_a_call_answered_by_another_target_was_saved() -> None:
    """It counts as ok, as a fallback and, by its finish reason, as cut."""
    assert [SAVED.has_status(status) for status in ("ok", "error", "fallback", "cut")] == [True, False, True, True]
    assert (SAVED.tried, SAVED.tokens, SAVED.cost_usd, SAVED.is_cost_whole) == (2, 7, 0.5, False)


def test_a_cost_that_nobody_knows_is_not_zero() -> None:
    """Nor are tokens that nobody reported."""
    call = TracedCall((record(),))
    assert (call.cost_usd, call.tokens) == (None, None)


@pytest.mark.parametrize(
    ("conditions", "passes"),
    [
        ({}, True),
        ({"role": "planner"}, True),
        ({"role": "other"}, False),
        ({"provider": "b"}, True),
        ({"provider": "c"}, False),
        ({"model": "m"}, True),
        ({"status": "fallback"}, True),
        ({"status": "error"}, False),
        ({"failure": "timeout"}, True),
        ({"failure": "AUTH"}, False),
        ({"since": 0.0}, True),
        ({"since": 4e9}, False),
        ({"until": 4e9}, True),
        ({"slower_than": 10_000.0}, False),
        ({"grep": "LENGTH"}, True),
        ({"grep": "nowhere"}, False),
        ({"metadata": {"job": "1"}}, False),
        ({"provider": "b", "status": "error"}, False),
    ],
)
def test_a_filter_lets_through_what_fits_all_its_conditions(conditions: dict[str, Any], passes: bool) -> None:
    """Each alone, and two together."""
    assert CallFilter(**conditions).matches(SAVED) is passes


class PlainStore:
    """A store that can be read by `last` and `find` alone."""

    def __init__(self, folder: Path) -> None:
        self._files = LocalFileTraceStore(folder)

    def write(self, record: TraceRecord) -> None:
        self._files.write(record)

    def last(self, n: int = 1) -> list[TraceRecord]:
        return self._files.last(n)

    def find(self, request_id: str) -> list[TraceRecord]:
        return self._files.find(request_id)


@pytest.mark.parametrize("kind", [LocalFileTraceStore, PlainStore])
def test_any_store_is_read_whole_by_call_by_prefix_and_for_what_is_new(kind: Any, tmp_path: Path) -> None:
    """A store that has only `last` and `find` gives the same as one made for it."""
    store = kind(tmp_path / "traces")
    scanner = scanner_of(store)
    assert isinstance(scanner, TraceScanner)
    store.write(record(**FAILED))
    _, position = scanner.poll()
    store.write(record(attempt=1))
    store.write(record(SECOND, started_at="2027-01-15T09:00:00.000000Z"))
    assert [one["request_id"] for one in scanner.scan()] == [FIRST, FIRST, SECOND]
    assert [(call.request_id, len(call.records)) for call in scanner.calls()] == [(SECOND, 1), (FIRST, 2)]
    assert scanner.ids(FIRST[:-1]) == [FIRST, SECOND]
    assert scanner.ids("nothing") == []
    new, position = scanner.poll(position)
    assert [one.request_id for one in new] == [FIRST, SECOND]
    assert scanner.poll(position)[0] == []
