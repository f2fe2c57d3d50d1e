"""What traces cost to write and to read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import process_time, time

from lee_llm_router import LLMUsage, LocalFileTraceStore, SqliteTraceStore, TraceRecord
from speed.programs import command_line, cpu_seconds
from speed.samples import Samples
from speed.wire import MODEL

FEW, MANY = 1_000, 1_000_000
DAYS = 10
"""The stores that are read have as many files."""
_DAY = 86_400
_SENT = TraceRecord(
    request_id="0199f3c8-0000-7000-8000-000000000000", attempt=0, target_attempt=0, sent=True, role="planner",
    provider="main", provider_type="http", model=MODEL, served_model=MODEL, policy="SimpleRoutingPolicy",
    started_at="2026-01-01T00:00:00.000000Z", elapsed_ms=812.345, outcome="ok", status_code=200, verdict="return",
    finish_reason="stop", usage=LLMUsage(prompt_tokens=39, completion_tokens=27, total_tokens=66), request_bytes=312,
    response_chars=134,
)  # fmt: skip


def append_rate(samples: Samples, rounds: int, records: int = 20_000) -> None:
    """Records that each store takes per second of CPU time."""
    made = [_record(at, time()) for at in range(1000)]
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, store in (
                ("append", LocalFileTraceStore(folder)),
                ("append to SQLite", SqliteTraceStore(f"{folder}/traces.sqlite")),
            ):
                store.write(_SENT)
                began = process_time()
                for place in range(records):
                    store.write(made[place % 1000])
                samples.add((name, "per second"), records / (process_time() - began))
                store.close()


def reads(samples: Samples, rounds: int, many: int = MANY) -> None:
    """CPU milliseconds of ``trace --last 20`` and of finding an id, over a small store and a large one."""
    with _filled(FEW) as few, _filled(many) as large:
        for _ in range(rounds):
            for size, folder in (("few", few), ("many", large)):
                command = [command_line(), "trace", "--last", "20", "--dir", str(folder)]
                samples.add(("last", size), cpu_seconds(command) * 1000)
        for _ in range(rounds):
            for size, folder, count in (("few", few, FEW), ("many", large, many)):
                samples.add(("last in process", size), _last(folder) * 1000)
                samples.add(("find in process", size), _find(folder, count) * 1000)


def _last(folder: Path) -> float:
    store = LocalFileTraceStore(folder)
    began = process_time()
    found = store.last(20)
    took = process_time() - began
    assert len(found) == 20
    return took


def _find(folder: Path, count: int) -> float:
    """Look for an id in the middle of the newest full day."""
    wanted = _id(count - count // DAYS // 2, _moment(count - count // DAYS // 2, count))
    store = LocalFileTraceStore(folder)
    began = process_time()
    found = store.find(wanted)
    took = process_time() - began
    assert len(found) == 1
    return took


def _record(place: int, moment: float) -> TraceRecord:
    started = datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return replace(_SENT, request_id=_id(place, moment), started_at=started)


def _id(place: int, moment: float) -> str:
    """A UUIDv7 of that moment; `place` stands where its random bits would."""
    digits = f"{int(moment * 1000):012x}7{place % 4096:03x}8{place:015x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _moment(place: int, count: int) -> float:
    """When record `place` of `count` was written: evenly over the days before today."""
    first = time() // _DAY - DAYS
    return (first + place * DAYS / count) * _DAY


@contextmanager
def _filled(count: int) -> Iterator[Path]:
    """A folder with so many records, over ten days up to yesterday."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        line = _SENT.to_json().decode() + "\n"
        before, _, after = line.partition(_SENT.request_id)
        between, _, rest = after.partition(_SENT.started_at)
        each = count // DAYS
        for day in range(DAYS):
            first = _moment(day * each, count)
            day_file = f"{datetime.fromtimestamp(first, UTC):%Y%m%d}.jsonl"
            with (folder / day_file).open("w", encoding="utf-8") as file:
                for place in range(day * each, (day + 1) * each):
                    moment = _moment(place, count)
                    started = datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")[:26]
                    file.write(f"{before}{_id(place, moment)}{between}{started}Z{rest}")
        os.sync()
        yield folder
