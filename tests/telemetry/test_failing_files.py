"""Trace files that fail while they are read, change under a reader, or hold lines longer than any record."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from helpers.support import EPOCH, FakeClock
from lee_llm_router import LocalFileTraceStore
from lee_llm_router._util.ids import new_request_id
from lee_llm_router.telemetry.record_json import MAX_LINE
from lee_llm_router.telemetry.stores import day_history, line_reader
from lee_llm_router.telemetry.stores.day_history import DayHistory
from lee_llm_router.telemetry.stores.line_reader import first_line_from, lines_backwards, lines_forward


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = LocalFileTraceStore(tmp_path, clock=FakeClock())
    for name in ("one", "two"):
        store.write(make(request_id=name))
    store.close()
    return tmp_path


def day_file(folder: Path) -> Path:
    (found,) = folder.glob("*.jsonl")
    return found


READS: list[Callable[[DayHistory], Any]] = [
    lambda history: history.last(),
    lambda history: list(history.scan()),
    lambda history: history.find("one"),
    lambda history: history.ids("o"),
    lambda history: list(history.calls()),
]


@pytest.mark.parametrize("read", READS, ids=["last", "scan", "find", "ids", "calls"])
def test_a_disk_that_fails_while_a_file_is_read_is_counted_and_raises_nothing(
    read: Callable[[DayHistory], Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pread(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    history = DayHistory(folder)
    monkeypatch.setattr(os, "pread", pread)
    assert read(history) == [] and history.skipped == 1


@pytest.mark.parametrize(("error", "counted"), [(FileNotFoundError, 0), (PermissionError, 1)])
def test_a_file_that_goes_while_the_folder_is_read_is_no_damage(
    error: type[OSError], counted: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may delete old days at any time. One that may not be read is counted."""

    def refuse(_: Path) -> int:
        raise error

    monkeypatch.setattr(day_history, "open_to_read", refuse)
    history = DayHistory(folder)
    assert list(history.scan()) == [] and history.skipped == counted
    assert history.poll({}) == ([], {day_file(folder).name: (day_file(folder).stat().st_ino, 0)})


def test_lines_that_are_no_record_are_passed_over_and_counted_where_all_are_read(folder: Path) -> None:
    """A line cut short by a kill may have the record of another process right behind it."""
    file = day_file(folder)
    first, second = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([first, b"[1]", b"{}", b'{"request_id":1}', b"half", first[:-20] + second, b""]))
    history = DayHistory(folder)
    assert [record["request_id"] for record in history.scan()] == ["one", "two"]
    assert history.skipped == 5
    file.write_bytes(file.read_bytes() + b"half a line")
    assert len(list(history.scan(since=EPOCH - 1, until=EPOCH + 1))) == 2


def test_a_file_whose_first_and_last_lines_are_damaged_is_read_for_any_time(folder: Path) -> None:
    """They say when its records were written."""
    file = day_file(folder)
    file.write_bytes(b"damaged\n" + file.read_bytes() + b"damaged\n")
    found = DayHistory(folder).calls(since=EPOCH - 5, until=EPOCH + 5)
    assert [call.request_id for call in found] == ["two", "one"]


@pytest.mark.parametrize("change", ["emptied", "replaced"])
def test_a_file_that_is_another_one_now_is_followed_from_its_beginning(change: str, folder: Path) -> None:
    history, file = DayHistory(folder), day_file(folder)
    _, position = history.poll()
    lines = file.read_bytes()
    if change == "replaced":
        file.unlink()
        (folder / "held").write_bytes(lines)  # else the new file might get the number of the old one
    file.write_bytes(lines.splitlines(keepends=True)[0])
    if change == "replaced" and file.stat().st_ino == position[file.name][0]:
        position[file.name] = (position[file.name][0] + 1, len(lines))
    records, position = history.poll(position)
    assert [record.request_id for record in records] == ["one"]
    assert history.poll(position)[0] == []


def test_a_text_that_looks_like_an_id_is_none(folder: Path) -> None:
    LocalFileTraceStore(folder, clock=FakeClock()).write(make("zzz", metadata={"request_id": "abc"}))
    assert DayHistory(folder).ids("abc") == []


def test_a_call_is_not_looked_for_in_what_was_written_long_after(tmp_path: Path) -> None:
    """Its id says when it began; a later record of the same id is found all the same, where it is looked for."""

    store = LocalFileTraceStore(tmp_path, clock=FakeClock())
    name = new_request_id(EPOCH)
    store.write(make(name, verdict="next", outcome="error"))
    for hours in (2, 3):
        store.write(make(f"later {hours}", at=EPOCH + hours * 3600))
    store.write(make(name, attempt=1, at=EPOCH + 4 * 3600))
    assert [record.attempt for record in DayHistory(tmp_path).find(name)] == [0, 1]
    assert DayHistory(tmp_path).ids(name[:13]) == [name]


def test_calls_that_were_whole_are_forgotten_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history of millions of calls takes no more memory than one of thousands."""
    monkeypatch.setattr(day_history, "_REMEMBERED", 3)
    store = LocalFileTraceStore(tmp_path, clock=FakeClock())
    for number in range(20):
        store.write(make(new_request_id(EPOCH + number * 10), at=EPOCH + number * 10))
    assert len(list(DayHistory(tmp_path).calls())) == 20


# --- lines ---


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[bytes], int]]:
    fds: list[int] = []

    def made(data: bytes) -> int:
        path = tmp_path / f"lines {len(fds)}"
        path.write_bytes(data)
        fds.append(os.open(path, os.O_RDONLY))
        return fds[-1]

    yield made
    for fd in fds:
        os.close(fd)


def test_a_line_longer_than_any_record_hides_no_other(opened: Callable[[bytes], int]) -> None:
    """It is not held in memory: backwards None stands for it, forwards parts of it."""
    fd = opened(b"one\n" + b"x" * (MAX_LINE + 1_000_000) + b"\ntwo\n")
    assert list(lines_backwards(fd)) == [b"two", None, b"one"]
    found = [line for lines, _ in lines_forward(fd) for line in lines]
    assert [line for line in found if not line.startswith(b"x")] == [b"one", b"two"]
    assert max(map(len, found)) <= MAX_LINE + line_reader._FORWARD_BLOCK


def test_a_line_over_several_blocks_is_whole(opened: Callable[[bytes], int]) -> None:
    long = b"y" * 700_000
    fd = opened(b"one\n" + long + b"\nhalf")
    assert [line for lines, _ in lines_forward(fd) for line in lines] == [b"one", long]


def test_no_more_is_read_than_was_asked_for(opened: Callable[[bytes], int]) -> None:
    """About so much; where it goes on is said."""
    fd = opened(b"a line of twenty byt\n" * 100_000)
    blocks = list(lines_forward(fd, most=1))
    assert len(blocks) == 1 and len(blocks[0][0]) < 20_000
    following = next(lines_forward(fd, start=blocks[0][1]))
    assert following[0][0] == b"a line of twenty byt"


def test_a_line_is_found_from_any_place(opened: Callable[[bytes], int]) -> None:
    """From the end of a file, or within a line that has no end, there is none."""
    long = b"z" * 20_000
    fd = opened(b"one\n" + long + b"\ntwo\nhalf")
    assert first_line_from(fd, 0) == (b"one", 0)
    assert first_line_from(fd, 4) == (long, 4)
    assert first_line_from(fd, 5) == (b"two", 4 + 20_001)
    assert first_line_from(fd, 4 + 20_001 + 5)[0] == b""
    assert first_line_from(fd, 4 + 20_001 + 8)[0] == b""
    assert first_line_from(opened(b""), 0) == (b"", 0)
