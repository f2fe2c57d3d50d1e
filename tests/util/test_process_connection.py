"""A connection of SQLite never comes into a forked child, whatever other threads do during the fork."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from lee_llm_router._util.process_connection import ProcessConnection, make_private


def _use(connection: ProcessConnection, path: Path) -> None:
    with connection.lock:
        db = connection.db or connection.opened(sqlite3.connect(path, check_same_thread=False), path)
        db.execute("SELECT 1").fetchone()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_thread_that_uses_it_during_a_fork_does_not_open_it_in_the_child(tmp_path: Path) -> None:
    connection, path, is_over = ProcessConnection(), tmp_path / "file.sqlite", threading.Event()

    def use_it() -> None:
        while not is_over.is_set():
            _use(connection, path)

    thread = threading.Thread(target=use_it)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if not child:
                os._exit(0 if connection.db is None else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        is_over.set()
        thread.join()
        connection.close()


def test_it_sees_that_its_file_was_replaced(tmp_path: Path) -> None:
    connection, path = ProcessConnection(), tmp_path / "file.sqlite"
    make_private(path)
    _use(connection, path)
    assert not connection.has_moved(path)
    path.rename(tmp_path / "other.sqlite")
    make_private(path)
    assert connection.has_moved(path)
    connection.close()
    assert not connection.has_moved(path)


def test_a_file_that_is_made_is_its_owners_alone_and_one_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite"
    make_private(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"something")
    make_private(path)
    assert path.read_bytes() == b"something"
