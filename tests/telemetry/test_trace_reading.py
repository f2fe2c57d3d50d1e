"""Records are found again in the files of traces, by their time or id, and no more is read than must be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from helpers.support import EPOCH
from helpers.trace_files import DAY, clock_at, day_files, ids
from lee_llm_router._util.ids import new_request_id
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore


def test_last_gives_whole_calls_oldest_first_though_they_were_mixed(tmp_path: Path) -> None:
    """Calls that ran at once are told apart; the n whose records came last are given, with all their attempts."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path, clock=clock)
    names = [new_request_id(EPOCH + n) for n in range(4)]
    order = [(0, 0), (1, 0), (0, 1), (2, 0), (3, 0), (2, 1), (1, 1), (3, None)]
    for call, attempt in order:
        store.write(make(names[call], attempt, at=EPOCH + 10))
    assert ids(store.last(1)) == [(names[3], 0), (names[3], None)]
    assert ids(store.last(2)) == [(names[1], 0), (names[1], 1), (names[3], 0), (names[3], None)]
    assert [name for name, _ in ids(store.last(99))] == [names[n] for n in (0, 0, 2, 2, 1, 1, 3, 3)]
    assert store.last(0) == []
    store.close()


def test_last_and_find_follow_a_call_over_midnight(tmp_path: Path) -> None:
    """Attempts of one call in two files are one call."""
    clock = clock_at(DAY - EPOCH % DAY - 1)
    store = LocalFileTraceStore(tmp_path, clock=clock)
    call = new_request_id(clock.time())
    store.write(make(new_request_id(clock.time() - 50), at=clock.time() - 50))
    for attempt in range(3):
        store.write(make(call, attempt, at=clock.time()))
        clock.advance(1)
    assert len(day_files(tmp_path)) == 2
    assert ids(store.last(1)) == ids(store.find(call)) == [(call, 0), (call, 1), (call, 2)]
    store.close()


def test_last_reads_no_more_than_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a history of 20 MB over several days, `last` reads some blocks from the end; `find` the right file."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path, keep_days=0, clock=clock)
    names = []
    for _ in range(4):
        for _ in range(250):
            names.append(new_request_id(clock.time()))
            store.write(make(names[-1], at=clock.time(), metadata={"filler": "x" * 20_000}))
            clock.advance(5)
        clock.advance(DAY)
    store.close()
    read: list[int] = []
    real = os.pread

    def counting(fd: int, size: int, offset: int) -> bytes:
        read.append(size)
        return real(fd, size, offset)

    monkeypatch.setattr(os, "pread", counting)
    assert [record.request_id for record in store.last(2)] == names[-2:]
    assert sum(read) < 500_000
    read.clear()
    assert [record.request_id for record in store.find(names[300])] == [names[300]]
    assert sum(read) < 11_000_000


def test_last_finds_all_attempts_of_calls_whose_ids_hold_no_time(store: LocalFileTraceStore) -> None:
    """Ids of another make: attempts up to an hour back are found, and nobody reads for ever."""
    store.write(make("old", at=EPOCH - 5000))
    store.write(make("mine", 0, at=EPOCH))
    store.write(make("other", 0, at=EPOCH + 1))
    store.write(make("mine", 1, at=EPOCH + 3000))
    assert ids(store.last(1)) == [("mine", 0), ("mine", 1)]
    assert ids(store.find("mine")) == [("mine", 0), ("mine", 1)]


def test_records_with_times_that_are_none_are_read_all_the_same(store: LocalFileTraceStore) -> None:
    """A time nobody understands, a local one, and one at the end of the calendar harm no reader."""
    for n, text in enumerate(["yesterday", "2027-01-15T08:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"]):
        store.write(make(f"id-{n}", started_at=text, elapsed_ms=1e300))
    assert len(store.last(2)) == 2
    assert len(store.last(9)) == 4


def test_an_id_is_found_where_a_wrong_clock_put_it(tmp_path: Path) -> None:
    """A call written to a file of an earlier day than its id says is found, only later."""
    store = LocalFileTraceStore(tmp_path, clock=clock_at(0))
    call = new_request_id(EPOCH + 3 * DAY)
    store.write(make(call))
    store.write(make(new_request_id(EPOCH)))
    assert ids(store.find(call)) == [(call, 0)]
    assert store.find(new_request_id(EPOCH)) == []
    assert store.find("") == store.find("\ud800") == []
    store.close()


def test_a_file_deleted_between_listing_and_reading_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may tidy up while this one reads."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path, clock=clock)
    store.write(make("a"))
    clock.advance(DAY)
    store.write(make("b"))
    real = os.open

    def gone(path: Any, *args: Any, **kwargs: Any) -> Any:
        if Path(path).name == "20270115.jsonl":
            Path(path).unlink()
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", gone)
    assert ids(store.last(9)) == [("b", 0)]
    store.close()


def test_an_id_is_found_on_any_line_however_the_lines_lie_in_the_file(store: LocalFileTraceStore) -> None:
    """Files are read in blocks: short lines and lines longer than a block, ids across the edges of blocks."""
    names = [f"call-{number:03}" for number in range(150)]
    for number, name in enumerate(names):
        size = 200_000 if number % 50 == 7 else 797 * number % 3001
        store.write(make(name, text="x" * size))
        store.write(make(name, 1))
    for name in names:
        assert ids(store.find(name)) == [(name, 0), (name, 1)]
        assert store.skipped == 0
    assert store.find("call-150") == []
    assert [name for name, attempt in ids(store.last(150)) if attempt == 0] == names


def test_an_id_is_found_where_two_blocks_of_a_file_meet(tmp_path: Path) -> None:
    """For every way the edge of a block can lie in a line's first bytes."""
    store = LocalFileTraceStore(tmp_path)
    line = make("the-call").to_json() + b"\n"
    other = make("another", text="y" * 70_000).to_json()
    for inside in range(120):
        after = other[: (1 << 16) - len(line) + inside - 1] + b"\n"
        (tmp_path / "20250101.jsonl").write_bytes(b'{"an older": "line"}\n' + line + after)
        assert ids(store.find("the-call")) == [("the-call", 0)], inside
        assert store.skipped == 0
