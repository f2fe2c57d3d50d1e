"""Four processes write while another reads: each record once, in both stores."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from helpers.trace_children import run_writer, start_writer
from lee_llm_router import BufferedStore, LocalFileTraceStore, MultiStore, SqliteTraceStore

WRITERS = """
import sys
import threading
from helpers.records import make
from helpers.trace_children import run_writer, start_writer
from lee_llm_router import LocalFileTraceStore, SqliteTraceStore
kind, place, letter, count = sys.argv[1:]
store = LocalFileTraceStore(place, max_mb=2) if kind == "files" else SqliteTraceStore(place + "/traces.sqlite")
for n in range(int(count)):
    store.write(make(f"{letter}-{n}", metadata={"filler": "x" * (n % 700)}))
    if kind == "loop":
        print(f"{letter}-{n}", flush=True)
if letter != "d":  # one of them does not close
    store.close()
"""


def start(kind: str, place: Path, letter: str, count: int, **options: Any) -> subprocess.Popen[str]:
    return start_writer(WRITERS, kind, str(place), letter, str(count), **options)


STORES: dict[str, Callable[[Path], Any]] = {
    "files": lambda place: LocalFileTraceStore(place, max_mb=2),
    "sqlite": lambda place: SqliteTraceStore(place / "traces.sqlite"),
}


@pytest.mark.parametrize("kind", STORES)
def test_a_reader_sees_each_record_of_four_processes_once(kind: str, tmp_path: Path) -> None:
    """While files are begun anew, and from a store that is not there yet."""
    store = STORES[kind](tmp_path)
    _, position = store.poll()
    seen: Counter[str] = Counter()
    with ExitStack() as running:
        children = [running.enter_context(start(kind, tmp_path, letter, 400)) for letter in "abcd"]
        while any(child.poll() is None for child in children):
            new, position = store.poll(position)
            seen.update(record.request_id for record in new)
    new, position = store.poll(position)
    seen.update(record.request_id for record in new)
    assert [child.returncode for child in children] == [0, 0, 0, 0]
    assert seen == Counter(f"{letter}-{n}" for letter in "abcd" for n in range(400))
    assert store.poll(position)[0] == []
    assert len(list(store.scan())) == 1600
    store.close()


def test_kill_9_loses_no_record_that_sqlite_has_taken(tmp_path: Path) -> None:
    """What `write` has returned for is in the file, and the file is whole."""
    with start("loop", tmp_path, "a", 1_000_000, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(60)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    reported = {line.strip() for line in said if line.endswith("\n")}
    store = SqliteTraceStore(tmp_path / "traces.sqlite")
    assert len(reported) >= 60
    assert reported <= {record.request_id for record in store.last(1_000_000)}
    store.write(make("after"))
    assert store.last()[0].request_id == "after"
    store.close()


FORKS = """
import os, sys
from helpers.records import make
from helpers.trace_children import run_writer, start_writer
from lee_llm_router import BufferedStore, LocalFileTraceStore, MultiStore, SqliteTraceStore
folder = sys.argv[1]
store = MultiStore([SqliteTraceStore(folder + "/a.sqlite"), BufferedStore(SqliteTraceStore(folder + "/b.sqlite"))])
store.write(make("parent-0"))
store.last()
children = []
for number in range(4):
    child = os.fork()
    if not child:
        for n in range(20):
            store.write(make(f"child-{number}-{n}"))
        store.close()
        os._exit(0)
    children.append(child)
    store.write(make(f"parent-{number + 1}"))
codes = [os.waitpid(child, 0)[1] for child in children]
print(codes)
"""


def test_a_forked_child_writes_on_its_own(tmp_path: Path) -> None:
    """Parent and children write at once: every record once, also of one that waited; the end of the program flushes."""
    assert run_writer(FORKS, str(tmp_path)) == "[0, 0, 0, 0]\n"
    wanted = Counter(
        [*(f"parent-{n}" for n in range(5)), *(f"child-{number}-{n}" for number in range(4) for n in range(20))]
    )
    for name in ("a.sqlite", "b.sqlite"):
        store = SqliteTraceStore(tmp_path / name)
        assert Counter(record["request_id"] for record in store.scan()) == wanted, name
        store.close()


def test_stores_of_one_process_share_a_file(tmp_path: Path) -> None:
    """Two routers of a program, say, with the same configuration."""
    stores = [SqliteTraceStore(tmp_path / "t.sqlite") for _ in range(3)]
    both = MultiStore([*stores, BufferedStore(stores[0])])
    for number in range(20):
        both.write(make(f"call-{number}"))
    both.close()
    assert len(stores[1].last(99)) == 80
    stores[1].close()


def test_readers_and_writers_may_come_to_a_new_file_at_once(tmp_path: Path) -> None:
    """While one makes the tables, nobody takes the file for another program's."""
    for number in range(40):
        path, together = tmp_path / f"{number}.sqlite", threading.Barrier(4)

        def come(name: str, path: Path = path, together: threading.Barrier = together) -> int:
            store = SqliteTraceStore(path)
            together.wait()
            try:
                store.write(make(name))
                return len(store.last(9))
            finally:
                store.close()

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(come, "abcd"))
