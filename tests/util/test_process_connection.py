"""A connection of SQLite never comes into a forked child, whatever other threads do during the fork."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

from lee_llm_router._util.process_connection import ProcessConnection, make_private


def _use(connection: ProcessConnection, path: Path) -> None:
    with connection.lock:
        db = connection.db or connection.opened(sqlite3.connect(path, check_same_thread=False), path)
        db.execute("SELECT 1").fetchone()


_FORKING = """
import os, sqlite3, sys, threading
from pathlib import Path

def use():
    with connection.lock:
        connection.db or connection.opened(sqlite3.connect(path, check_same_thread=False), path)

def use_late():
    thread = threading.Thread(target=use)
    thread.start()
    thread.join(0.2)
    late.append(thread.is_alive())

os.register_at_fork(before=use_late)  # registered first, so it runs last
from lee_llm_router._util.process_connection import ProcessConnection

connection, path, late = ProcessConnection(), Path(sys.argv[1]), []
use()
child = os.fork()
if not child:
    os._exit(0 if connection.db is None else 1)
assert os.waitpid(child, 0)[1] == 0, "the child has a copy"
assert late == [True], "it was opened between its closing and the fork"
"""


def test_a_thread_that_wants_it_during_a_fork_waits_until_that_is_over(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _FORKING, str(tmp_path / "file.sqlite")]
    subprocess.run(command, check=True, timeout=60)


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
