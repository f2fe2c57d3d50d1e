"""A file of traces is taken away, full, cut or at its size limit: no record that was written is lost, none is mixed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.records import make
from helpers.trace_children import run_writer
from helpers.trace_files import clock_at, ids
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

# --- the file is taken away while in use ---


def remove_file(file: Path) -> None:
    file.unlink()


def remove_folder(file: Path) -> None:
    for path in file.parent.iterdir():
        path.unlink()
    file.parent.rmdir()


def move_file(file: Path) -> None:
    file.rename(file.with_name("rotated"))


def replace_file(file: Path) -> None:
    new = file.with_name("new")
    new.touch()
    new.rename(file)


@pytest.mark.parametrize("disturb", [remove_file, remove_folder, move_file, replace_file])
def test_a_file_taken_away_is_made_anew(tmp_path: Path, disturb: Callable[[Path], None]) -> None:
    """The next record is in a file at the usual path, not in one nobody can find."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path / "traces", clock=clock)
    store.write(make("before"))
    disturb(tmp_path / "traces" / "20270115.jsonl")
    clock.advance(1)
    store.write(make("after"))
    store.write(make("more"))
    assert ids(store.last(9)) == [("after", 0), ("more", 0)]
    store.close()


def test_a_descriptor_closed_and_given_to_another_file_is_left_alone(tmp_path: Path) -> None:
    """A daemon closes every descriptor; its next file gets the number. No record goes there, and it stays open."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path / "traces", clock=clock)
    number = os.dup(0)
    os.close(number)
    store.write(make("before"))
    assert os.path.samestat(os.fstat(number), (tmp_path / "traces" / "20270115.jsonl").stat())
    os.close(number)
    foreign = os.open(tmp_path / "foreign", os.O_CREAT | os.O_RDWR)
    assert foreign == number
    try:
        clock.advance(1)
        store.write(make("after"))
        store.close()
        assert os.pread(foreign, 10, 0) == b""
    finally:
        os.close(foreign)
    assert ids(store.last(2)) == [("before", 0), ("after", 0)]


# --- disk full, short writes, torn lines ---


def test_after_a_short_write_the_next_record_is_whole(
    store: LocalFileTraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cut record raises OSError and is skipped by readers; the one before and the one after it are there."""
    store.write(make("before"))
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[: len(data) // 2]))
    with pytest.raises(OSError, match="bytes of a trace record"):
        store.write(make("cut"))
    monkeypatch.undo()
    store.write(make("after"))
    assert ids(store.last(9)) == [("before", 0), ("after", 0)]
    assert store.skipped == 1


def test_a_full_disk_raises_and_harms_nothing(store: LocalFileTraceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC reaches the caller of `write`; with space again, records are kept."""

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store.write(make("before"))
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError) as caught:
        store.write(make("lost"))
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    store.write(make("after"))
    assert ids(store.last(9)) == [("before", 0), ("after", 0)]
    assert store.skipped == 0


def test_a_file_at_its_size_limit_keeps_what_it_has(tmp_path: Path) -> None:
    """A child whose files may have 5,000 bytes: every record whose write returned is read back, and no other."""
    script = """
import resource, signal, sys
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore
from helpers.records import make
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
store = LocalFileTraceStore(sys.argv[1])
for n in range(20):
    try:
        store.write(make(f"id-{n}"))
    except OSError:
        continue
    print(f"id-{n}")
"""
    done = run_writer(script, str(tmp_path)).split()
    store = LocalFileTraceStore(tmp_path)
    assert 0 < len(done) < 20
    assert [record.request_id for record in store.last(99)] == done


def test_a_line_cut_by_another_process_takes_no_record_with_it(tmp_path: Path) -> None:
    """A torn line at the end of the file is ended before the first record; one that a record was glued to is salvaged.

    Blank lines are nothing; garbage is counted.
    """
    clock = clock_at(0)
    file = tmp_path / "20270115.jsonl"
    torn = make("torn").to_json()[:100]
    glued = torn + make("glued").to_json()
    file.write_bytes(b"\n\n" + glued + b"\nnot json\n[]\n{}\n\x00\x00\n" + torn)
    store = LocalFileTraceStore(tmp_path, clock=clock)
    store.write(make("whole"))
    assert ids(store.last(9)) == [("glued", 0), ("whole", 0)]
    assert store.skipped == 6
    assert ids(store.find("glued")) == [("glued", 0)]
    assert store.skipped == 1
    store.close()
