"""The local trace store writes one line for each record into the file of its day, which only its owner may read."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from helpers.records import make
from helpers.support import EPOCH
from helpers.trace_files import DAY, clock_at, day_files, ids
from lee_llm_router.telemetry import TraceStore
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

# --- where and how it is written ---


def test_is_a_trace_store(store: LocalFileTraceStore) -> None:
    """It satisfies the protocol that routers ask for."""
    assert isinstance(store, TraceStore)
    assert "traces" in repr(store)


def test_nothing_touches_the_disk_before_the_first_write(tmp_path: Path) -> None:
    """Building a store and reading from it makes no folder, and finds nothing."""
    store = LocalFileTraceStore(tmp_path / "a" / "b")
    assert store.last(5) == [] == store.find("x")
    assert list(tmp_path.iterdir()) == []


def test_one_line_of_json_in_the_file_of_the_utc_day(tmp_path: Path) -> None:
    """The file is named after the day of writing, and a line is plain JSON."""
    store = LocalFileTraceStore(tmp_path, clock=clock_at(0))
    store.write(make(model="m"))
    store.close()
    assert day_files(tmp_path) == ["20270115.jsonl"]
    (line,) = (tmp_path / "20270115.jsonl").read_text().splitlines()
    assert json.loads(line)["model"] == "m"


def test_only_the_owner_may_read_what_is_made_and_git_ignores_it(tmp_path: Path) -> None:
    """Folder 0700, file 0600, and a .gitignore that hides all of it, however permissive the umask."""
    old = os.umask(0)
    try:
        store = LocalFileTraceStore(tmp_path / "traces")
        store.write(make())
        store.close()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "traces").stat().st_mode) == 0o700
    (file,) = (tmp_path / "traces").glob("*.jsonl")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (tmp_path / "traces" / ".gitignore").read_text() == "*\n"


def test_a_folder_with_other_things_in_it_is_not_hidden_from_git(tmp_path: Path) -> None:
    """A user's own folder keeps its files in sight."""
    (tmp_path / "main.py").touch()
    store = LocalFileTraceStore(tmp_path)
    store.write(make())
    store.close()
    assert not (tmp_path / ".gitignore").exists()


def test_the_default_folder_is_under_the_workspace_or_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.lee-llm-router/traces`; a relative folder is taken from the workspace; a later chdir moves nothing."""
    monkeypatch.chdir(tmp_path)
    here = LocalFileTraceStore()
    monkeypatch.chdir("/")
    assert here.trace_dir == tmp_path / ".lee-llm-router/traces"
    assert LocalFileTraceStore(workspace=tmp_path / "w").trace_dir == tmp_path / "w/.lee-llm-router/traces"
    assert LocalFileTraceStore("t", workspace=tmp_path).trace_dir == tmp_path / "t"
    assert LocalFileTraceStore(tmp_path, workspace="/elsewhere").trace_dir == tmp_path


def test_a_current_directory_that_is_gone_breaks_write_not_the_constructor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building a router in a deleted directory works; the trace that cannot be written is an OSError."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    store = LocalFileTraceStore()
    with pytest.raises(OSError):
        store.write(make())
    monkeypatch.chdir(tmp_path)


def test_a_folder_that_cannot_be_made_raises_from_write_and_works_once_it_can(tmp_path: Path) -> None:
    """A file where the folder should be: OSError each time; when it is out of the way, records are kept."""
    (tmp_path / "traces").touch()
    store = LocalFileTraceStore(tmp_path / "traces")
    for _ in range(2):
        with pytest.raises(OSError):
            store.write(make())
    (tmp_path / "traces").unlink()
    store.write(make("late"))
    assert ids(store.last(9)) == [("late", 0)]
    store.close()


def test_write_after_close_opens_again(store: LocalFileTraceStore) -> None:
    """A record that comes late is not lost."""
    store.write(make("a"))
    store.close()
    store.close()
    store.write(make("b"))
    assert ids(store.last(2)) == [("a", 0), ("b", 0)]


def test_a_dropped_store_gives_its_descriptor_back(tmp_path: Path) -> None:
    """Not closing leaks nothing once the store is gone."""
    before = open_descriptors()
    store = LocalFileTraceStore(tmp_path)
    store.write(make())
    assert open_descriptors() == before + 1
    del store
    assert open_descriptors() == before


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


# --- days ---


def test_midnight_starts_a_new_file_and_old_files_go(tmp_path: Path) -> None:
    """Each record lands in the file of its day, to the second; files beyond `keep_days` are deleted, no others."""
    clock = clock_at(0)
    clock.now = DAY - EPOCH % DAY - 0.001
    for name in ("20261201.jsonl", "20270101.jsonl", "20261201.json", "notes.txt", "2026.jsonl"):
        (tmp_path / name).touch()
    store = LocalFileTraceStore(tmp_path, keep_days=15, clock=clock)
    store.write(make("before"))
    assert day_files(tmp_path) == ["2026.jsonl", "20270101.jsonl", "20270115.jsonl"]
    clock.advance(0.001)
    store.write(make("after"))
    assert day_files(tmp_path) == ["2026.jsonl", "20270101.jsonl", "20270115.jsonl", "20270116.jsonl"]
    clock.advance(DAY)
    store.write(make("next"))
    assert day_files(tmp_path) == ["2026.jsonl", "20270115.jsonl", "20270116.jsonl", "20270117.jsonl"]
    assert (tmp_path / "20261201.json").exists()
    assert (tmp_path / "notes.txt").exists()
    assert ids(store.last(3)) == [("before", 0), ("after", 0), ("next", 0)]
    store.close()


@pytest.mark.parametrize("keep_days", [0, 10**9])
def test_old_files_may_be_kept_for_ever(tmp_path: Path, keep_days: int) -> None:
    """0 keeps all, and so does a number of days that no calendar has."""
    (tmp_path / "19991231.jsonl").touch()
    store = LocalFileTraceStore(tmp_path, keep_days=keep_days)
    store.write(make())
    store.close()
    assert "19991231.jsonl" in day_files(tmp_path)


def test_an_old_file_that_cannot_be_deleted_does_not_stop_the_writing(tmp_path: Path) -> None:
    """Tidying up is not worth a record."""
    (tmp_path / "19991231.jsonl").mkdir()
    store = LocalFileTraceStore(tmp_path)
    store.write(make("a"))
    store.close()
    assert '"a"' in next(tmp_path.glob("2*.jsonl")).read_text()
