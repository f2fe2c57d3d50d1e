"""Small parts in the cases that are rare: what is broken, late, held by others, or asked twice."""

from __future__ import annotations

import inspect
import logging
import os
import runpy
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

import lee_llm_router
from helpers.forked import become_child
from lee_llm_router import LLMResponse
from lee_llm_router._util import fork_lock, process_connection, short_waits
from lee_llm_router._util import outside_collection as collections
from lee_llm_router._util.answer_headers import AnswerHeaders
from lee_llm_router._util.file_lock import FileLock
from lee_llm_router._util.host_database import HostDatabase, HostDatabaseError
from lee_llm_router._util.interruption import InterruptibleWait, Interruption
from lee_llm_router._util.lenient_json import read_json
from lee_llm_router._util.masked_text import MaskedText, masked_paths
from lee_llm_router._util.process_connection import ProcessConnection
from lee_llm_router._util.text_pattern import PatternError, compile_mask, compile_pattern
from lee_llm_router._util.work_limit import WorkLimit, WorkLimitError
from lee_llm_router.compression import pass_through

# The package


def test_the_module_runs_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["lee-llm-router", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("lee_llm_router", run_name="__main__")
    assert ended.value.code in (0, None)
    assert lee_llm_router.__version__ in capsys.readouterr().out


@pytest.mark.parametrize("name", ["batch", "health", "telemetry"])
def test_a_folder_of_public_names_is_an_attribute_before_anybody_imports_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(lee_llm_router, name, raising=False)
    assert getattr(lee_llm_router, name) is sys.modules[f"lee_llm_router.{name}"]


def test_the_default_hook_changes_no_message() -> None:
    messages: Any = [{"role": "user", "content": "hi"}]
    assert pass_through(messages) is messages


def test_whoever_looks_at_the_class_of_an_answer_finds_its_fields() -> None:
    """Debuggers, documentation tools and mocks do."""
    assert {"text", "raw", "usage"} <= {name for name, _ in inspect.getmembers(LLMResponse)}


def test_equal_headers_have_equal_hashes() -> None:
    headers = [AnswerHeaders([(b"X-Request-Id", value)]) for value in (b"a", b"a", b"b")]
    assert headers[0] == headers[1] and len(set(headers)) == 2


# Text and JSON


def test_json_that_is_too_deep_is_a_value_error_whatever_characters_it_holds() -> None:
    deep = b"[" * 100_000 + b'"\\ud800"' + b"]" * 100_000
    with pytest.raises(ValueError, match="too deep"):
        read_json(deep)


def test_masked_texts_are_found_by_the_way_to_them_and_nothing_else_is() -> None:
    secret = MaskedText("s")
    assert list(masked_paths({"a": [{"b": secret}, 1], "c": (secret,)})) == [
        (("a", 0, "b"), secret),
        (("c", 0), secret),
    ]
    assert list(masked_paths(7)) == []


@pytest.mark.parametrize(("pattern", "text", "is_in"), [
    ("a++b", "aaab", True), ("(?:a|ab)++c", "abc", False), ("[x-z]", "\ud800z", True),
])  # fmt: skip
def test_a_pattern_means_what_it_means_to_python(pattern: str, text: str, is_in: bool) -> None:
    assert compile_pattern(pattern).is_in(text, WorkLimit()) is is_in


def test_a_pattern_that_no_bounded_engine_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import regex

    def refuses(*_: Any) -> Any:
        raise regex.error("no such thing")

    monkeypatch.setattr(regex, "compile", refuses)
    with pytest.raises(PatternError, match="not a regular expression: no such thing"):
        compile_pattern(r"(?=never-seen-before)x")


def test_to_mask_a_text_takes_no_longer_than_it_may() -> None:
    """The places of a match are found by an engine that may take long where to find that there is one does not."""

    class Slow:
        def sub(self, *_: Any, **__: Any) -> str:
            raise TimeoutError

    mask = compile_mask(r"(?:a|aa)+b")
    assert mask.masked("xaab", "*", WorkLimit()) == "x*"
    mask._timed = Slow()
    try:
        with pytest.raises(WorkLimitError):
            mask.masked("xaab", "*", WorkLimit())
    finally:
        compile_mask.cache_clear()


def test_work_that_counts_no_steps_ends_with_its_time_too() -> None:
    with pytest.raises(WorkLimitError):
        WorkLimit(until=monotonic() - 1).seconds()


# Waits


def test_a_long_sleep_is_slept_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(short_waits, "monotonic", lambda: now[0])
    short_waits.sleep(2.5)
    assert slept == [1.0, 1.0, 0.5]


def test_work_that_was_ended_begins_no_wait() -> None:
    interruption, begun = Interruption(), list[str]()

    def work() -> None:
        interruption.interrupt()
        with InterruptibleWait(lambda: None):
            begun.append("waits")

    with pytest.raises(ConnectionAbortedError):
        interruption.run(work)
    assert not begun


# What a garbage collection puts off


@pytest.fixture
def put_off(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What is put off in a collection, seen by this thread as if one had interrupted it."""
    made = collections._PutOff()
    monkeypatch.setattr(collections, "_put_off", made)
    made.note_collection("start", {})
    assert collections.is_collecting()
    yield made
    made.note_collection("stop", {})


def test_what_breaks_outside_a_collection_hinders_nothing_else(put_off: Any, caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()

    def breaks() -> None:
        raise ValueError("not told: it may hold anything")

    caplog.set_level(logging.ERROR)
    for function in (breaks, done.set):
        collections.outside_collection(function)
    assert done.wait(20)
    put_off.work()
    assert "closing a dropped stream raised ValueError" in caplog.text and "not told" not in caplog.text


def test_what_is_put_off_is_done_at_the_end_of_a_program_that_can_start_no_thread(
    put_off: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> Future[None]:
        raise BlockingIOError("no more threads")

    done: list[str] = []
    monkeypatch.setattr(collections, "start_new_thread", lambda function, _: done.append("asked"))
    collections.outside_collection(done.append, "late")
    assert done == ["asked"]
    with put_off._working:  # another thread is at it
        put_off.work(0.001)
    assert done == ["asked"]
    monkeypatch.setattr(collections, "start_in_thread", none)
    put_off._start()
    assert done == ["asked", "late"]


def test_a_forked_child_leaves_to_its_parent_what_was_put_off_there(
    put_off: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(collections, "start_new_thread", lambda *_: None)
    collections.outside_collection(done.append, "late")
    with put_off._working:
        put_off.forget()
        put_off.work()
    assert not done


# Files


def test_a_lock_on_a_file_may_be_given_up_and_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    lock = FileLock(path)
    assert lock.is_taken and lock.is_at(path)
    path.unlink()
    assert not lock.is_at(path)
    for give_up in (lock.release, lock.release, lock.close):
        give_up()


def test_a_forked_child_has_no_part_in_its_parents_lock(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    lock = FileLock(path)
    become_child(lock)
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(lock.descriptor)


def test_a_forked_child_never_closes_the_connection_of_its_parent(tmp_path: Path) -> None:
    connection = ProcessConnection()
    with connection.lock:
        db = connection.opened(sqlite3.connect(tmp_path / "file"), tmp_path / "file")
    become_child(connection)
    assert connection.db is None and db.execute("SELECT 1").fetchone() == (1,)
    process_connection._of_parents.remove(db)
    db.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("how", ["held", "used"])
def test_a_fork_in_the_middle_of_work_with_a_connection_does_not_wait_for_ever(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread holds it for too long, or a signal handler forks while this thread uses it."""
    monkeypatch.setattr(process_connection, "_FORK_SECONDS", 0.001)
    connection = ProcessConnection(reentrant=how == "used")
    with connection.lock:
        db = connection.opened(sqlite3.connect(tmp_path / "file"), tmp_path / "file")
        connection.users = int(how == "used")
        child = os.fork()
        if not child:
            os._exit(0 if connection.db is None else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert connection.db is db and db.execute("SELECT 1").fetchone() == (1,)
        connection.close()


# A small database of one host


def _database(path: Path, tables: str = "CREATE TABLE t (a)", patience: float = 0.0) -> HostDatabase:
    return HostDatabase(path, tables, application_id=77, patience=patience)


def test_what_fails_in_a_transaction_has_changed_nothing(tmp_path: Path) -> None:
    database = _database(tmp_path / "file")
    with pytest.raises(KeyError), database.writing() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        raise KeyError("a bug of ours")
    with database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    with pytest.raises(HostDatabaseError), database.writing() as connection:
        connection.execute("ROLLBACK")
        connection.execute("INSERT INTO nothing VALUES (1)")
    database.close()


def test_tables_that_cannot_be_made_are_an_error_and_leave_the_file_empty(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(HostDatabaseError), _database(path, "CREATE TABLE t (a); CREATE NONSENSE").reading():
        pass
    again = _database(path)
    with again.reading() as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    again.close()


def test_a_file_that_another_process_holds_is_waited_for_as_long_as_patience_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        other.execute("COMMIT")

    with pytest.raises(HostDatabaseError, match="locked"), _database(path).reading():
        pass
    monkeypatch.setattr("lee_llm_router._util.host_database.sleep", nap)
    database = _database(path, patience=0.02)
    with database.reading():
        pass
    assert len(naps) == 1
    database.close()
    other.close()


def test_somebody_elses_file_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.touch()
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(HostDatabaseError, match="belongs to another user"), _database(path).reading():
        pass
    assert path.read_bytes() == b""


def test_every_lock_of_the_process_is_open_in_a_forked_child(monkeypatch: pytest.MonkeyPatch) -> None:
    repaired: list[str] = []

    class Owner:
        def __init__(self, name: str) -> None:
            self.name = name
            self.lock = fork_lock.ForkLock(in_child=self.repair)

        def repair(self) -> None:
            repaired.append(self.name)

    monkeypatch.setattr(fork_lock, "_locks", weakref.WeakSet())
    owners = [Owner("a"), Owner("b")]
    with owners[0].lock:
        fork_lock._renew()
        with owners[0].lock:
            pass
    assert sorted(repaired) == ["a", "b"]
