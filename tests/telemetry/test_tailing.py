"""What is written from now on: each call once, when it ends, whole, of any process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from helpers.support import EPOCH, FakeClock
from helpers.trace_children import start_writer
from helpers.trace_set import trace_set
from lee_llm_router import LocalFileTraceStore, SqliteTraceStore
from lee_llm_router.telemetry.calls import calls_from
from lee_llm_router.telemetry.records import TraceRecord
from lee_llm_router.telemetry.tailing import TraceTail

FAILS: dict[str, Any] = {"outcome": "error", "verdict": "next"}


def written(store: LocalFileTraceStore | SqliteTraceStore, records: Iterable[TraceRecord]) -> None:
    for record in records:
        store.write(record)


def ids(found: Any) -> list[str]:
    return [call.request_id for call in found.calls]


def test_a_call_comes_when_it_ends_and_its_attempts_as_they_are_made(tmp_path: Path) -> None:
    """What was written before is not shown."""
    store = LocalFileTraceStore(tmp_path)
    store.write(make("old"))
    tail = TraceTail(store)
    written(store, [make("a", 0, **FAILS), make("b", 0)])
    found = tail.read()
    assert ([record.request_id for record in found.records], ids(found)) == (["a", "b"], ["b"])
    store.write(make("a", 1))
    found = tail.read()
    assert [len(call.records) for call in found.calls] == [2]
    assert tail.read() == ([], [])


def test_a_failed_call_comes_with_what_was_written_behind_its_end(tmp_path: Path) -> None:
    """The targets that it could not ask; so it comes with the look after."""
    store = LocalFileTraceStore(tmp_path)
    tail = TraceTail(store)
    store.write(make("a", 0, outcome="error", verdict="raise"))
    assert tail.read().calls == []
    store.write(make("a", None, outcome="skipped", verdict="raise"))
    assert [len(call.records) for call in tail.read().calls] == [2]
    assert tail.read().calls == []


def test_a_call_that_began_before_is_shown_whole(tmp_path: Path) -> None:
    store = LocalFileTraceStore(tmp_path)
    store.write(make("a", 0, **FAILS))
    tail = TraceTail(store)
    store.write(make("a", 1))
    assert [len(call.records) for call in tail.read().calls] == [2]


def _over_midnight(store: LocalFileTraceStore, clock: FakeClock) -> None:
    store.write(make("a", 0, **FAILS))
    clock.now += 86_400.0
    store.write(make("a", 1))


def _into_the_next_file(store: LocalFileTraceStore, _: FakeClock) -> None:
    written(store, (make(f"call-{number}", metadata={"text": "x" * 500}) for number in range(40)))


def _after_the_folder_was_removed(store: LocalFileTraceStore, clock: FakeClock) -> None:
    store.write(make("a"))
    for file in store.trace_dir.iterdir():
        file.unlink()
    clock.now += 1.0
    store.write(make("b"))


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (_over_midnight, ["a"]),
        (_into_the_next_file, [f"call-{number}" for number in range(40)]),
        (_after_the_folder_was_removed, ["b"]),
    ],
)
def test_a_store_is_followed_through(
    tmp_path: Path, write: Callable[[LocalFileTraceStore, FakeClock], None], expected: list[str]
) -> None:
    """Midnight, a full file, files that are deleted; and it need not be there when the first look is taken."""
    clock = FakeClock()
    store = LocalFileTraceStore(tmp_path / "not yet", max_mb=0.1, clock=clock)
    tail = TraceTail(LocalFileTraceStore(tmp_path / "not yet"))
    assert tail.read() == ([], [])
    write(store, clock)
    assert ids(tail.read()) == expected


def store_of(kind: str, folder: Path) -> LocalFileTraceStore | SqliteTraceStore:
    return LocalFileTraceStore(folder) if kind == "files" else SqliteTraceStore(folder / "t.sqlite", keep_days=0)


_WRITER = """
import sys
from pathlib import Path
from helpers.trace_set import trace_set
from telemetry.test_tailing import store_of, written
store = store_of(sys.argv[1], Path(sys.argv[2]))
written(store, trace_set(60, int(sys.argv[3])))
store.close()
"""


@pytest.mark.parametrize("kind", ["files", "sqlite"])
def test_each_call_of_four_processes_comes_once(tmp_path: Path, kind: str) -> None:
    """While they write, to either store."""
    tail = TraceTail(store_of(kind, tmp_path))
    # Not by `multiprocessing`, whose process for tidying up would stay.
    writers = [start_writer(_WRITER, kind, str(tmp_path), str(seed)) for seed in range(4)]
    found: list[str] = []
    while any(writer.poll() is None for writer in writers):
        found += ids(tail.read())
    assert [writer.wait() for writer in writers] == [0] * 4
    for _ in range(3):
        found += ids(tail.read())
    expected = [call.request_id for seed in range(4) for call in calls_from(trace_set(60, seed))]
    assert sorted(found) == sorted(expected)


def test_the_clock_of_the_records_does_not_matter(tmp_path: Path) -> None:
    """A record of last year that is written now is new."""
    store = LocalFileTraceStore(tmp_path)
    tail = TraceTail(store)
    store.write(make("a", at=EPOCH - 365 * 86_400.0))
    assert ids(tail.read()) == ["a"]
