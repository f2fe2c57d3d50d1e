"""Stores in trouble: signal handlers that write, no threads left, forks, the end of the interpreter, odd files."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from helpers.servers import eventually
from lee_llm_router import ConfigError, LocalFileTraceStore, TraceRecord
from lee_llm_router.config.load import load_config
from lee_llm_router.telemetry.stores import buffered, sqlite, sqlite_file, sqlite_reader, sqlite_tidy
from lee_llm_router.telemetry.stores.buffered import BufferedStore
from lee_llm_router.telemetry.stores.failures import TraceStoreError
from lee_llm_router.telemetry.stores.multi import MultiStore
from lee_llm_router.telemetry.stores.open import open_store
from lee_llm_router.telemetry.stores.sqlite import SqliteTraceStore


class Kept:
    """A store that keeps records in a list; `on_write` is called with each first."""

    def __init__(self, on_write: Callable[[TraceRecord], object] = lambda _: None) -> None:
        self.records: list[TraceRecord] = []
        self.skipped = 3
        self.is_closed = False
        self._on_write = on_write

    def write(self, record: TraceRecord) -> None:
        self._on_write(record)
        self.records.append(record)

    def last(self, n: int = 1) -> list[TraceRecord]:
        return self.records[-n:]

    def find(self, request_id: str) -> list[TraceRecord]:
        return [record for record in self.records if record.request_id == request_id]


def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


# --- a buffer ---


def test_a_signal_handler_that_flushes_leaves_it_to_the_flush_that_it_interrupted() -> None:
    """Neither loses a record nor writes one twice."""
    store: BufferedStore

    def interrupt(record: TraceRecord) -> None:
        if record.request_id == "a":
            store.write(make("c"))
            store.flush()

    kept = Kept(interrupt)
    store = BufferedStore(kept)
    store.write(make("a"))
    store.write(make("b"))
    store.flush()
    assert [record.request_id for record in kept.records] == ["a", "b", "c"]
    store.close()


def test_a_buffer_before_a_store_that_cannot_be_closed_closes_itself() -> None:
    kept = Kept()
    store = BufferedStore(kept)
    store.write(make("a"))
    store.close()
    assert len(kept.records) == 1
    assert store.skipped == 3


def test_the_end_of_the_interpreter_writes_what_waits_also_beside_a_store_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Kept()

    class Broken(BufferedStore):
        def flush(self) -> None:
            raise OSError

    stores = [Broken(Kept()), BufferedStore(kept, flush_seconds=60)]
    monkeypatch.setattr(buffered, "_stores", weakref.WeakSet(stores))
    stores[1].write(make("a"))
    buffered._flush_all()
    assert [record.request_id for record in kept.records] == ["a"]
    stores[1].close()


def test_a_forked_child_leaves_its_parents_records_to_the_parent() -> None:
    """And has a thread of its own with its first record."""
    kept = Kept()
    store = BufferedStore(kept, flush_seconds=60)
    store.write(make("the parent's"))
    store._lock.renew()  # what the child does after a fork
    assert store.waiting == 0
    store.write(make("the child's"))
    store.close()
    assert [record.request_id for record in kept.records] == ["the child's"]


# --- several stores ---


def test_where_one_of_several_stores_cannot_be_made_the_others_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Any] = []

    def close(store: LocalFileTraceStore) -> None:
        closed.append(store)

    def refuse(*_: object, **__: object) -> SqliteTraceStore:
        raise ConfigError("no", sent=False)

    monkeypatch.setattr(LocalFileTraceStore, "close", close)
    monkeypatch.setattr(SqliteTraceStore, "from_settings", refuse)
    store = {"type": "multi", "stores": [{"type": "jsonl"}, {"type": "sqlite"}]}
    config = {
        "providers": {"p": {"type": "mock"}},
        "roles": {"r": {"provider": "p"}},
        "trace": {"dir": str(tmp_path), "store": store},
    }
    with pytest.raises(ConfigError):
        open_store(load_config({"llm": config}).trace)
    assert len(closed) == 1


def test_several_stores_pass_over_what_the_one_that_is_read_does() -> None:
    store = MultiStore([Kept(), Kept()])
    store.write(make("a"))
    assert store.last(1)[0].request_id == "a" and store.skipped == 3


# --- SQLite ---


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces.sqlite"


def names(store: SqliteTraceStore) -> list[str]:
    return [str(record["request_id"]) for record in store.scan()]


def test_a_store_says_where_its_file_is(path: Path) -> None:
    assert repr(SqliteTraceStore(path)) == f"<SqliteTraceStore {str(path)!r}>"


def test_a_record_of_a_signal_handler_goes_with_the_write_that_it_interrupted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler runs in the thread that holds the lock, and may close the store too."""
    store = SqliteTraceStore(path)
    commit, interrupts = SqliteTraceStore._commit, iter([True])

    def interrupted(self: SqliteTraceStore, *args: Any) -> None:
        if next(interrupts, False):
            self.write(make("handler's"))
            self.flush()
            self.close()
        commit(self, *args)

    monkeypatch.setattr(SqliteTraceStore, "_commit", interrupted)
    store.write(make("interrupted"))
    assert names(store) == ["interrupted", "handler's"]
    store.close()


def test_ctrl_c_within_a_write_leaves_its_records_to_the_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them or none, and each once."""
    store = SqliteTraceStore(path)
    store.write(make("first"))
    real, presses = sqlite._insert, iter([True])

    def insert(connection: sqlite3.Connection, rows: list[Any]) -> None:
        if next(presses, False):
            real(connection, [*rows, rows[0], ("too", "short")])
        real(connection, rows)

    monkeypatch.setattr(sqlite, "_insert", insert)
    with pytest.raises(OSError):
        store.write_all([make("a"), make("b")])
    assert names(store) == ["first"]

    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sqlite, "_insert", press)
    with pytest.raises(KeyboardInterrupt):
        store.write_all([make("c"), make("d")])
    assert store.late == 2
    monkeypatch.setattr(sqlite, "_insert", real)
    store.write(make("e"))
    assert names(store) == ["first", "c", "d", "e"] and store.late == 0
    store.close()


def test_without_threads_the_next_write_takes_along_what_is_late(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_PATIENCE", 0.0)
    store = SqliteTraceStore(path)
    store.write(make("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with monkeypatch.context() as context:
        no_threads(context)
        store.write(make("b"))
    assert store.late == 1
    other.close()
    store.write(make("c"))
    assert store.late == 0 and names(store) == ["a", "b", "c"]
    store.close()


def test_what_is_late_is_tried_until_the_file_is_free(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_PATIENCE", 0.0)
    pauses: list[float] = []
    store = SqliteTraceStore(path)
    store.write(make("a"))
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            other.execute("COMMIT")

    monkeypatch.setattr(sqlite, "sleep", pause)
    store.write(make("b"))
    assert eventually(lambda: store.late == 0, 20)
    assert len(pauses) == 3 and names(store) == ["a", "b"]
    other.close()
    store.close()


def test_without_threads_the_log_is_copied_by_a_later_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_CHECKPOINT_EVERY", 2)
    copies: list[int] = []
    monkeypatch.setattr(sqlite_reader.SqliteReader, "copy_log", lambda self, size: copies.append(size))
    store = SqliteTraceStore(path)
    with monkeypatch.context() as context:
        no_threads(context)
        store.write_all([make("a"), make("b")])
    assert copies == []
    store.write_all([make("c"), make("d")])
    assert eventually(lambda: len(copies) == 1, 20)
    store.close()


def test_a_store_that_nobody_has_any_more_is_not_copied() -> None:
    store = SqliteTraceStore(Path("gone.sqlite"))
    found = weakref.ref(store)
    del store
    sqlite._copy_log(found)
    assert found() is None and not Path("gone.sqlite").exists()


def test_a_forked_child_writes_its_own_records_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_PATIENCE", 0.0)
    store = SqliteTraceStore(path)
    store.write(make("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with monkeypatch.context() as context:
        no_threads(context)
        store.write(make("late in the parent"))
    other.close()
    process = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: process + 1)
    store.write(make("the child's"))
    assert store.late == 0 and names(store) == ["a", "the child's"]
    store.close()


def test_the_end_of_the_interpreter_closes_all_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also beside one whose file is locked: what is late there is lost."""
    stores = [SqliteTraceStore(tmp_path / f"{number}.sqlite") for number in range(3)]
    closed = []

    def close(store: SqliteTraceStore) -> None:
        closed.append(store.path.name)
        raise TraceStoreError("another program has locked the file", str(store.path))

    monkeypatch.setattr(SqliteTraceStore, "close", close)
    monkeypatch.setattr(sqlite, "_stores", weakref.WeakSet(stores))
    sqlite._close_all()
    assert sorted(closed) == ["0.sqlite", "1.sqlite", "2.sqlite"]


def test_long_histories_are_read_in_pages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And followed so: each record once, in order."""
    monkeypatch.setattr(sqlite_reader, "_PAGE", 3)
    store = SqliteTraceStore(path)
    _, position = store.poll()
    store.write_all([make(f"{number:02}") for number in range(10)])
    wanted = [f"{number:02}" for number in range(10)]
    assert names(store) == wanted
    found, position = store.poll((store._reader._database.store_id, 0))
    assert [record.request_id for record in found] == wanted
    assert store.poll(position)[0] == []
    store.close()


def test_a_file_that_is_gone_is_followed_from_where_its_reader_was(path: Path) -> None:
    """Until another one stands there."""
    store = SqliteTraceStore(path)
    assert store.poll(("of a file that is gone", 7)) == ([], ("of a file that is gone", 7))
    store.write(make("a"))
    found, _ = store.poll(("of a file that is gone", 7))
    assert [record.request_id for record in found] == ["a"]
    store.close()


def test_two_who_open_a_file_at_once_wait_for_each_other(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A switch to the log that is written ahead does not wait by itself."""
    pauses = []
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    path.chmod(0o600)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        other.close()

    monkeypatch.setattr(sqlite_file, "sleep", pause)
    monkeypatch.setattr(sqlite, "_PATIENCE", 0.01)
    store = SqliteTraceStore(path)
    store.write(make("a"))
    assert len(pauses) == 1 and names(store) == ["a"]
    store.close()


def test_another_users_file_is_not_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SqliteTraceStore(path).write(make("a"))
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(TraceStoreError, match="belongs to another user"):
        SqliteTraceStore(path).write(make("b"))


def test_old_records_that_cannot_be_deleted_now_stop_no_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next write tries again."""
    monkeypatch.setattr(sqlite_tidy, "_OUTDATED", "DELETE FROM no_such_table WHERE ? < ?")
    store = SqliteTraceStore(path, keep_days=1)
    store.write(make("a"))
    store.write(make("b"))
    monkeypatch.undo()
    store.write(make("c"))
    assert names(store)[-2:] == ["b", "c"]
    store.close()
