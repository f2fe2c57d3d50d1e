"""A million trace records, in day files and in SQLite: what it costs to look into them.

Run it with ``python benchmarks/traces.py [RECORDS] [--days N] [--keep FOLDER]`` (1,000,000 and 10). Prints CPU seconds.
Exits 1 if one of them is above its bar. With ``--keep`` the traces stay in that folder, and are used again next time.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from time import process_time, time
from typing import Any

from lee_llm_router import LLMUsage, LocalFileTraceStore, SqliteTraceStore, TraceRecord
from lee_llm_router.telemetry.query import CallFilter
from lee_llm_router.telemetry.statistics import grouping_of, trace_statistics
from lee_llm_router.telemetry.stores.sqlite_rows import INSERT, Row

MANY, DAYS = 1_000_000, 10
DAY = 86_400
RECORDS_OF_A_CALL = (1, 1, 1, 1, 1, 2, 1, 1, 3, 1)
TEMPLATES = 1000
FILTERS: dict[str, dict[str, Any]] = {
    "--role": {"role": "planner"}, "--model": {"model": "gpt-*"}, "--status": {"status": "fallback"},
    "--failure": {"failure": "RATE_LIMIT"}, "--slower-than": {"slower_than": 2.0},
    "--metadata": {"metadata": {"tenant": "acme"}}, "--grep": {"grep": "no such word"},
}  # fmt: skip
Line = tuple[str, float, str]
"""The id, the moment and the JSON of a record."""


def lines(count: int, days: int) -> Iterator[Line]:
    """Yield records that were written evenly over the days before today: calls of one, two or three attempts."""
    made = [_template(number) for number in range(TEMPLATES)]
    first = (time() // DAY - days) * DAY
    place = 0
    while place < count:
        call = place
        request_id = _id(call, first + call * days * DAY / count)
        attempts = RECORDS_OF_A_CALL[call % 10]
        for attempt in range(min(attempts, count - place)):
            moment = first + place * days * DAY / count
            started = datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")[:26]
            before, between, rest = made[(call * 7 + attempt) % TEMPLATES][int(attempt == attempts - 1)]
            yield request_id, moment, f"{before}{request_id}{between}{started}Z{rest}"
            place += 1


def _template(number: int) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    """Return the parts between id and time of a failed record and of a good one."""
    chance = random.Random(number)
    target = chance.choice((("openai", "gpt-5"), ("anthropic", "claude-sonnet-5"), ("groq", "llama-4-scout")))
    took, tokens = round(chance.lognormvariate(6.8, 0.9), 3), chance.randint(20, 6000)
    good = TraceRecord(
        request_id="<id>", attempt=0, target_attempt=0, sent=True, provider=target[0], provider_type="http",
        model=target[1], served_model=target[1], role=chance.choice(("planner", "extractor", "summarizer")),
        policy="simple", started_at="<at>", elapsed_ms=took, offset_ms=0.0, outcome="ok", verdict="return",
        finish_reason="stop", usage=LLMUsage(prompt_tokens=tokens, completion_tokens=134, total_tokens=tokens + 134),
        cost_usd=tokens / 1e6, cost_source="pricing", request_bytes=4 * tokens, response_chars=536,
        metadata={"tenant": chance.choice(("acme", "globex", "initech")), "job": number % 7}, workspace="/srv/app",
    )  # fmt: skip
    failed = replace(
        good, outcome="error", verdict="next", failure_type="RATE_LIMIT", status_code=429, usage=None, cost_usd=None,
        error="rate limit reached: 30,000 tokens a minute", finish_reason=None, response_chars=None,
    )  # fmt: skip
    return _parts(failed), _parts(good)


def _parts(record: TraceRecord) -> tuple[str, str, str]:
    before, _, rest = record.to_json().decode().partition("<id>")
    between, _, rest = rest.partition("<at>")
    return before, between, rest


def _id(place: int, moment: float) -> str:
    digits = f"{int(moment * 1000):012x}7{place % 4096:03x}8{place:015x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def fill_files(folder: Path, count: int, days: int) -> None:
    """Write the records as day files."""
    folder.mkdir(mode=0o700)
    with ExitStack() as stack:
        day, file = -1, None
        for _, moment, line in lines(count, days):
            if file is None or int(moment // DAY) != day:
                day = int(moment // DAY)
                name = f"{datetime.fromtimestamp(moment, UTC):%Y%m%d}.jsonl"
                file = stack.enter_context((folder / name).open("w", encoding="utf-8"))
            file.write(line + "\n")


def fill_sqlite(path: Path, count: int, days: int) -> None:
    """Write the records into a SQLite file that the store has made, with the same rows."""
    store = SqliteTraceStore(path, keep_days=0)
    store.write(TraceRecord(request_id="first", attempt=0, role="r", started_at="", outcome="ok", verdict="return"))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM records")
        connection.executemany(INSERT, (_row(line) for line in lines(count, days)))
    connection.close()


def _row(line: Line) -> Row:
    request_id, moment, text = line
    target = text[text.index('"provider":"') + 12 :].partition('"')[0]
    is_good = '"outcome":"ok"' in text
    outcome, failure = ("ok", None) if is_good else ("error", "RATE_LIMIT")
    usage = (1000, 134, 0.001) if is_good else (None, None, None)
    return (request_id, moment, 0, "planner", target, target, outcome, failure, 812.345, None, *usage, text, None)


def timed(work: Callable[[], object]) -> float:
    """Return the CPU seconds that `work` takes, at best of three."""
    took = []
    for _ in range(3):
        began = process_time()
        work()
        took.append(process_time() - began)
    return min(took)


def measured(store: Any, count: int, days: int) -> Iterator[tuple[str, float, float | None]]:
    """Yield what was measured, its CPU seconds, and the bar that it must not pass."""
    first = (time() // DAY - days) * DAY
    wanted = next(islice(lines(count, days), count // 2, None))[0]
    assert store.find(wanted)
    new = store.poll()[1]
    yield "last(20)", timed(lambda: store.last(20)), 0.1
    yield "find(id)", timed(lambda: store.find(wanted)), 0.3
    yield "find(unknown id)", timed(lambda: store.find(wanted[:-4] + "ffff")), None
    yield "ids(first 12 characters)", timed(lambda: store.ids(wanted[:12])), 0.3
    yield "ids(whole id)", timed(lambda: store.ids(wanted)), 0.3
    yield "ids(2 characters)", timed(lambda: store.ids(wanted[:2])), 0.3
    yield "ids(unknown)", timed(lambda: store.ids("ffff")), None
    yield "poll(), nothing new", timed(lambda: store.poll(new)), 0.01
    yield "scan of an hour", timed(lambda: sum(1 for _ in store.scan(first, first + 3600))), None
    yield "calls of the last day", timed(lambda: sum(1 for _ in store.calls(first + (days - 1) * DAY))), None
    took = 0.0
    for by in ("role", "provider", "day", "metadata.tenant", ""):
        began = process_time()
        trace_statistics(store, grouping_of(by))
        took = process_time() - began
        yield f"stats --by {by}" if by else "stats", took, 10.0
    for words, chosen in FILTERS.items():
        began = process_time()
        trace_statistics(store, (), CallFilter(**chosen, since=first + DAY))
        yield f"stats --since {words}", process_time() - began, 2 * took
    began = process_time()
    assert sum(1 for _ in store.scan()) == count
    yield "scan of all", process_time() - began, None
    began = process_time()
    calls = sum(1 for _ in store.calls())
    yield f"all {calls:,} calls", process_time() - began, None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("records", nargs="?", type=int, default=MANY)
    parser.add_argument("--days", type=int, default=DAYS, help="days over which they lie")
    parser.add_argument("--keep", type=Path, help="folder in which the traces stay")
    asked = parser.parse_args()
    missed = 0
    with ExitStack() as stack:
        folder = asked.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files, path = folder / "files", folder / "traces.sqlite"
        if not files.exists():
            fill_files(files, asked.records, asked.days)
        if not path.exists():
            fill_sqlite(path, asked.records, asked.days)
        for store in (LocalFileTraceStore(files, keep_days=0), SqliteTraceStore(path, keep_days=0)):
            print(type(store).__name__)
            for what, seconds, bar in measured(store, asked.records, asked.days):
                missed += bar is not None and seconds > bar
                verdict = "" if bar is None else f"  bar {bar} s" + (" MISSED" if seconds > bar else "")
                print(f"  {what:28}{seconds:9.3f} s{verdict}", flush=True)
            store.close()
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
