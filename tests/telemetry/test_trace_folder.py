"""The folder of traces may hold anything: the store opens and deletes plain files of its own user, and nothing else."""

from __future__ import annotations

import errno
import os
import random
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from helpers.support import EPOCH, FakeClock
from lee_llm_router import LeeLLMRouter
from lee_llm_router.telemetry import TraceRecord
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

DAY = 86_400
TODAY = "20270115.jsonl"


def clock_at(seconds: float) -> FakeClock:
    clock = FakeClock()
    clock.now = seconds
    return clock


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.jsonl"))


def ids(records: list[TraceRecord]) -> list[str]:
    return [record.request_id for record in records]


def other_user() -> int:
    """A user that is not this one; only root can make files for another."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of another user")
    return 65534


# --- what lies in the place of the day's file ---


def a_pipe(place: Path) -> None:
    os.mkfifo(place)


def a_folder(place: Path) -> None:
    place.mkdir()


def a_link_to_a_file(place: Path) -> None:
    place.symlink_to(_elsewhere(place))


def a_dangling_link(place: Path) -> None:
    place.symlink_to(place.parent.parent / "not-yet")


def a_link_in_a_circle(place: Path) -> None:
    place.symlink_to(place)


def a_link_to_a_pipe(place: Path) -> None:
    os.mkfifo(place.parent.parent / "pipe")
    place.symlink_to(place.parent.parent / "pipe")


def a_second_name_of_a_file(place: Path) -> None:
    os.link(_elsewhere(place), place)


def another_users_file(place: Path) -> None:
    place.write_text("")
    os.chown(place, other_user(), -1)


def another_users_open_file(place: Path) -> None:
    another_users_file(place)
    place.chmod(0o666)


def a_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(place))


def _elsewhere(place: Path) -> Path:
    file = place.parent.parent / "elsewhere"
    file.write_text("precious\n")
    return file


IN_THE_WAY = [
    a_pipe, a_folder, a_link_to_a_file, a_dangling_link, a_link_in_a_circle, a_link_to_a_pipe, a_second_name_of_a_file,
    another_users_file, another_users_open_file, a_socket,
]  # fmt: skip


@pytest.mark.parametrize("moment", ["before", "meanwhile", "after close"])
@pytest.mark.parametrize("put", IN_THE_WAY)
def test_what_is_no_plain_file_of_ours_is_left_alone_and_no_record_is_lost(
    tmp_path: Path, put: Callable[[Path], None], moment: str
) -> None:
    """Nothing hangs, nothing is written through it, and the records go to the day's next file."""
    folder, clock = tmp_path / "t", clock_at(0)
    folder.mkdir()
    place = folder / TODAY
    store = LocalFileTraceStore(folder, clock=clock)
    if moment != "before":
        store.write(make("first"))
        if moment == "after close":
            store.close()
        place.unlink()
        clock.advance(1)
    put(place)
    before = place.lstat()
    for name in ("a", "b", "c"):
        store.write(make(name, metadata={"filler": "x" * 30_000}))
    assert ids(store.last(9)) == ["a", "b", "c"]
    assert ids(store.find("b")) == ["b"]
    after = place.lstat()
    assert (after.st_size, after.st_mode, after.st_mtime_ns) == (before.st_size, before.st_mode, before.st_mtime_ns)
    assert not (tmp_path / "not-yet").exists()
    if (tmp_path / "elsewhere").exists():
        assert (tmp_path / "elsewhere").read_text() == "precious\n"
    store.close()


@pytest.mark.parametrize("put", IN_THE_WAY)
def test_what_is_no_plain_file_is_passed_over_by_readers(tmp_path: Path, put: Callable[[Path], None]) -> None:
    """A pipe or a link among the days of the past hides none of the other days, and is counted."""
    folder = tmp_path / "t"
    folder.mkdir()
    for day in ("20270101", "20270103"):
        (folder / f"{day}.jsonl").write_bytes(make(day).to_json() + b"\n")
    put(folder / "20270102.jsonl")
    store = LocalFileTraceStore(folder)
    assert ids(store.last(9)) == ["20270101", "20270103"]
    assert store.skipped == ("users" not in put.__name__)
    assert ids(store.find("20270101")) == ["20270101"]


@pytest.mark.parametrize("mode", [0o666, 0o644, 0o640, 0o604, 0o777, 0o660, 0o622, 0o4755, 0o700, 0o600])
def test_a_file_of_ours_that_lets_others_in_is_closed_to_them(tmp_path: Path, mode: int) -> None:
    """Before a record is written to it; what it holds stays."""
    file = tmp_path / TODAY
    file.write_bytes(make("old").to_json() + b"\n")
    file.chmod(mode)
    store = LocalFileTraceStore(tmp_path, clock=clock_at(0))
    store.write(make("new"))
    store.close()
    assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0
    assert ids(store.last(9)) == ["old", "new"] and names(tmp_path) == [TODAY]


def test_the_gitignore_is_not_written_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is quicker, and puts a link where the file is about to be made."""
    target, folder = tmp_path / "target", tmp_path / "t"
    folder.mkdir()
    real = os.listdir

    def listed(path: Any) -> list[str]:
        found = real(path)
        (folder / ".gitignore").symlink_to(target)
        return found

    monkeypatch.setattr(os, "listdir", listed)
    store = LocalFileTraceStore(folder)
    store.write(make("a"))
    store.close()
    assert not target.exists() and ids(store.last()) == ["a"]


# --- a hundred odd folders ---


def _odd_folder(folder: Path, seed: int) -> set[str]:
    """Fill a folder with odd things that have names of day files or nearly so; return the ids of its good records."""
    chance, good = random.Random(seed), set()
    for number in range(chance.randrange(1, 9)):
        year = chance.choice([1970, 1999, 2026, 2027, 2099, 9999])
        day = f"{year}{chance.randrange(1, 13):02}{chance.randrange(1, 29):02}"
        tail = chance.choice(["", "", "", "_0001", "_0007", "_123456789"])
        wide = "".join(chr(0xFF10 + int(digit)) for digit in day)  # digits of another script
        others = ["99999999.jsonl", "00000000.jsonl", f"{day}.jsonl.gz", f"{day}_1.jsonl", f"{day}_0000.jsonl",
                  f"{wide}.jsonl", "a\nb.jsonl", "-rf"]  # fmt: skip
        name = chance.choice([f"{day}{tail}.jsonl"] * 6 + others)
        place = folder / name
        if os.path.lexists(place):
            continue
        kind = chance.choice(["good", "good", "empty", "garbage", "folder", "pipe", "link", "unreadable"])
        if kind == "good":
            call = f"call-{number}"
            place.write_bytes(
                chance.choice([b"", b"\n\n", b"\x00\x00\n", b"half a li\n"]) + make(call).to_json() + b"\n"
            )
            if name.startswith(day) and name.endswith("jsonl") and "_1." not in name and "_0000." not in name:
                good.add(call)
        elif kind == "folder":
            place.mkdir()
        elif kind == "pipe":
            os.mkfifo(place)
        elif kind == "link":
            place.symlink_to(chance.choice(["/etc/passwd", "nowhere", "/dev/zero", ".."]))
        else:
            place.write_bytes(b"" if kind == "empty" else chance.randbytes(300))
            place.chmod(0 if kind == "unreadable" else 0o600)
    return good


@pytest.mark.parametrize("seed", range(120))
def test_an_odd_folder_is_read_written_and_tidied(tmp_path: Path, seed: int) -> None:
    """All good records are found; a new one is kept and found; what is deleted is old, plain and a day file."""
    good = _odd_folder(tmp_path, seed)
    before = {path.name: path.lstat() for path in tmp_path.iterdir()}
    clock = clock_at(0)
    reader = LocalFileTraceStore(tmp_path, clock=clock)
    assert good <= set(ids(reader.last(99)))
    for call in good:
        assert call in ids(reader.find(call))
    store = LocalFileTraceStore(tmp_path, keep_days=seed % 3 * 100, max_mb=seed % 2 * 0.02, clock=clock)
    store.write(make("new"))
    clock.advance(1)
    store.write(make("newer"))
    store.close()
    assert {"new", "newer"} <= set(ids(store.last(99))) and ids(store.find("newer")) == ["newer"]
    for gone in before.keys() - {path.name for path in tmp_path.iterdir()}:
        assert stat.S_ISREG(before[gone].st_mode) and gone[:8].isascii() and gone[:8].isdigit()
        assert gone.endswith(".jsonl") and gone != TODAY


# --- pruning ---


def test_a_folder_with_the_name_of_a_day_stops_no_pruning(tmp_path: Path) -> None:
    for place in ("20200101.jsonl", "20210101.jsonl", "20220101.jsonl"):
        (tmp_path / place).mkdir()
    for file in ("20200102.jsonl", "20210102.jsonl", "20220102.jsonl", "20270114.jsonl"):
        (tmp_path / file).touch()
    store = LocalFileTraceStore(tmp_path, clock=clock_at(0))
    store.write(make())
    store.close()
    assert names(tmp_path) == ["20200101.jsonl", "20210101.jsonl", "20220101.jsonl", "20270114.jsonl", TODAY]


def test_a_file_that_cannot_be_deleted_stops_no_pruning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first and the third of five; and one that another process deletes first."""
    for day in range(1, 6):
        (tmp_path / f"2026010{day}.jsonl").touch()
    (tmp_path / "20270114.jsonl").touch()
    real = os.unlink

    def unlink(path: Any) -> None:
        if "20260101" in str(path) or "20260103" in str(path):
            raise PermissionError(errno.EACCES, "no", str(path))
        real(path)
        if "20260104" in str(path):
            real(path)

    monkeypatch.setattr(os, "unlink", unlink)
    store = LocalFileTraceStore(tmp_path, clock=clock_at(0))
    store.write(make())
    monkeypatch.undo()
    store.close()
    assert names(tmp_path) == ["20260101.jsonl", "20260103.jsonl", "20270114.jsonl", TODAY]


@pytest.mark.parametrize("ahead", [31, 61, 400, 3650, 100_000, 2_000_000])
def test_a_record_of_a_wrong_clock_deletes_nothing(tmp_path: Path, ahead: int) -> None:
    """A clock that is weeks or centuries ahead for some records, then right again: the last days are still there."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path, keep_days=30, clock=clock)
    for _ in range(30):
        store.write(make(f"at-{clock.time():.0f}"))
        clock.advance(DAY)
    real = names(tmp_path)
    assert len(real) == 30
    clock.advance(ahead * DAY)
    store.write(make("wrong"))
    store.write(make("wrong again"))
    store.close()
    assert set(real) <= set(names(tmp_path))
    clock.now -= ahead * DAY
    store.write(make("right"))
    store.close()
    assert set(real) <= set(names(tmp_path))


def test_after_a_long_pause_the_old_days_go_with_the_second_day(tmp_path: Path) -> None:
    """What is too old by a clock that is right is deleted, a day later."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path, keep_days=30, clock=clock)
    store.write(make("old"))
    clock.advance(90 * DAY)
    store.write(make("new"))
    assert len(names(tmp_path)) == 2
    clock.advance(DAY)
    store.write(make("newer"))
    store.close()
    assert ids(store.last(9)) == ["new", "newer"]


def test_a_clock_that_jumps_over_midnight_and_back_loses_nothing(tmp_path: Path) -> None:
    """200 jumps, also to the edge of the day: each record is in the file of the day the clock showed."""
    clock, chance = clock_at(0), random.Random(3)
    store = LocalFileTraceStore(tmp_path, clock=clock)
    midnight = DAY - EPOCH % DAY
    written: dict[str, set[str]] = {}
    for number in range(200):
        clock.now = midnight + chance.choice([-1, -0.001, -1e-5, 0, 1e-5, 0.5, DAY, -DAY])
        store.write(make(f"n{number}"))
        day = "20270115" if midnight - DAY <= clock.now < midnight else "20270116"
        day = "20270117" if clock.now >= midnight + DAY else day
        written.setdefault(f"{day}.jsonl", set()).add(f"n{number}")
    store.close()
    assert len(store.last(999)) == 200
    kept = {path.name: {TraceRecord.from_json(line).request_id for line in path.read_bytes().splitlines()}
            for path in tmp_path.glob("*.jsonl")}  # fmt: skip
    assert kept == written


# --- the folder goes, comes, and refuses ---


def test_a_folder_that_becomes_a_file_and_a_folder_again(tmp_path: Path) -> None:
    """Meanwhile each write raises OSError and reading finds nothing; afterwards records are kept again."""
    folder, clock = tmp_path / "t", clock_at(0)
    store = LocalFileTraceStore(folder, clock=clock)
    store.write(make("a"))
    (folder / TODAY).unlink()
    (folder / ".gitignore").unlink()
    folder.rmdir()
    folder.write_text("a file\n")
    clock.advance(1)
    for _ in range(3):
        with pytest.raises(OSError):
            store.write(make("lost"))
        assert store.last(9) == [] == store.find("a") and store.skipped == 1
    assert folder.read_text() == "a file\n"
    folder.unlink()
    for name in ("b", "c"):
        store.write(make(name))
    assert ids(store.last(9)) == ["b", "c"]
    assert (folder / ".gitignore").exists()
    store.close()


def test_a_folder_is_removed_again_and_again_while_threads_write(tmp_path: Path) -> None:
    """No write raises anything but OSError, and the last records are found."""
    folder = tmp_path / "t"
    store = LocalFileTraceStore(folder)
    failed: list[BaseException] = []

    def work(name: int) -> None:
        for number in range(200):
            try:
                store.write(make(f"{name}-{number}"))
            except OSError:
                continue
            except BaseException as error:
                failed.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for path in [*folder.glob("*"), *folder.glob(".g*")]:
            path.unlink(missing_ok=True)
        try:
            folder.rmdir()
        except OSError:
            continue
    store.close()
    store.write(make("last"))
    assert failed == [] and ids(store.last()) == ["last"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG])
def test_a_disk_that_refuses_is_counted_and_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Opening, writing and tidying fail in turn: calls are answered, the lost records counted, later ones kept."""
    config = {"llm": {"providers": {"m": {"type": "mock"}}, "roles": {"r": {"provider": "m"}}}}

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    with LeeLLMRouter(config, trace_dir=tmp_path / "t") as router:
        for name in ("open", "write", "scandir"):
            monkeypatch.setattr(os, name, refuse)
            for _ in range(3):
                router.complete("r", "x")
            monkeypatch.undo()
            router.trace_store.close()  # type: ignore[union-attr]
        lost = router.telemetry_errors
        kept = router.complete("r", "x").request_id
        store = router.trace_store
        assert isinstance(store, LocalFileTraceStore)
        assert lost >= 6 and router.telemetry_errors == lost
        assert ids(store.last()) == [kept]


# --- closing ---


def open_files(folder: Path) -> int:
    """How many descriptors of this process lead into `folder`."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{fd}").startswith(str(folder))
        except OSError:
            continue
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")


@needs_proc
def test_a_record_that_comes_after_close_leaves_no_file_open(tmp_path: Path) -> None:
    """It is kept, by each way of writing it; also where the disk is full then."""
    store = LocalFileTraceStore(tmp_path)
    store.write(make("a"))
    assert open_files(tmp_path) == 1
    store.close()
    for name in ("b", "c"):
        store.write(make(name))
        assert open_files(tmp_path) == 0
    assert ids(store.last(9)) == ["a", "b", "c"]


@needs_proc
def test_a_router_closed_during_a_call_keeps_its_record_and_no_file(tmp_path: Path) -> None:
    config = {
        "llm": {"providers": {"m": {"type": "mock", "response_text": "one two"}}, "roles": {"r": {"provider": "m"}}}
    }
    router = LeeLLMRouter(config, trace_dir=tmp_path)
    router.complete("r", "x")
    stream = router.stream("r", "x")
    next(stream)
    router.close()
    assert open_files(tmp_path) == 0
    stream.close()
    assert open_files(tmp_path) == 0
    assert len(LocalFileTraceStore(tmp_path).last(9)) == 2


@needs_proc
def test_a_full_disk_after_close_leaves_no_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalFileTraceStore(tmp_path)
    store.close()

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError):
        store.write(make("lost"))
    monkeypatch.undo()
    assert open_files(tmp_path) == 0


# --- two processes at once ---


def test_processes_that_delete_at_once_disturb_no_one(tmp_path: Path) -> None:
    """Four start together in a folder of 400 old days: all records are kept, the old days are gone."""
    for day in range(400):
        (tmp_path / f"20{day // 28 % 20:02}{day % 12 + 1:02}{day % 28 + 1:02}.jsonl").write_text("old\n")
    script = """
import sys
from helpers.records import make
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore
for n in range(20):
    store = LocalFileTraceStore(sys.argv[1], keep_days=1)
    store.write(make(f"{sys.argv[2]}-{n}"))
    store.close()
"""
    yesterday = time.strftime("%Y%m%d", time.gmtime(time.time() - DAY))
    (tmp_path / f"{yesterday}.jsonl").touch()
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    children = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), letter], env={**os.environ, "PYTHONPATH": path})
        for letter in "abcd"
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    assert len(names(tmp_path)) <= 3
    assert len(LocalFileTraceStore(tmp_path).last(999)) == 80
