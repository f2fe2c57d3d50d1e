"""What tests of the files of traces share: a clock that is set, and what is in a folder."""

from __future__ import annotations

from pathlib import Path

from helpers.support import FakeClock
from lee_llm_router.telemetry import TraceRecord

DAY = 86_400


def clock_at(seconds: float) -> FakeClock:
    """A clock that says `seconds` after EPOCH."""
    clock = FakeClock()
    clock.now = seconds
    return clock


def ids(records: list[TraceRecord]) -> list[tuple[str, int | None]]:
    """The id and the number of each attempt."""
    return [(record.request_id, record.attempt) for record in records]


def request_ids(records: list[TraceRecord]) -> list[str]:
    """The id of each attempt."""
    return [record.request_id for record in records]


def day_files(folder: Path) -> list[str]:
    """The names of the files of days, the oldest first."""
    return sorted(path.name for path in folder.glob("*.jsonl"))
