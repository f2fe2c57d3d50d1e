"""The folder of traces may hold anything: the store opens and deletes plain files of its own user, and nothing else."""

from __future__ import annotations

import errno
import os
import random
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from helpers.trace_files import clock_at, day_files, request_ids
from lee_llm_router import LeeLLMRouter
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

TODAY = "20270115.jsonl"


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
    assert request_ids(store.last(9)) == ["a", "b", "c"]
    assert request_ids(store.find("b")) == ["b"]
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
    assert request_ids(store.last(9)) == ["20270101", "20270103"]
    assert store.skipped == ("users" not in put.__name__)
    assert request_ids(store.find("20270101")) == ["20270101"]


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
    assert request_ids(store.last(9)) == ["old", "new"] and day_files(tmp_path) == [TODAY]


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
    assert not target.exists() and request_ids(store.last()) == ["a"]


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
    assert good <= set(request_ids(reader.last(99)))
    for call in good:
        assert call in request_ids(reader.find(call))
    store = LocalFileTraceStore(tmp_path, keep_days=seed % 3 * 100, max_mb=seed % 2 * 0.02, clock=clock)
    store.write(make("new"))
    clock.advance(1)
    store.write(make("newer"))
    store.close()
    assert {"new", "newer"} <= set(request_ids(store.last(99))) and request_ids(store.find("newer")) == ["newer"]
    for gone in before.keys() - {path.name for path in tmp_path.iterdir()}:
        assert stat.S_ISREG(before[gone].st_mode) and gone[:8].isascii() and gone[:8].isdigit()
        assert gone.endswith(".jsonl") and gone != TODAY


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
    assert request_ids(store.last(9)) == ["b", "c"]
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
    assert failed == [] and request_ids(store.last()) == ["last"]


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
        assert request_ids(store.last()) == [kept]
