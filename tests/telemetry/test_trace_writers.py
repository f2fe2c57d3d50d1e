"""Processes and threads write to one file of traces at once, fork, or are killed: each record is there, and whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from helpers.records import make
from helpers.trace_children import four_at_once, start_writer
from helpers.trace_files import DAY, clock_at, ids
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore


def test_kill_9_loses_no_record_that_was_reported(tmp_path: Path) -> None:
    """A child writes in a loop and says so after each; killed at once, everything it said is in the file."""
    script = """
import sys
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore
from helpers.records import make
store = LocalFileTraceStore(sys.argv[1])
n = 0
while True:
    store.write(make(f"id-{n}", metadata={"filler": "x" * 20_000}))
    print(f"id-{n}", flush=True)
    n += 1
"""
    reported: list[str] = []
    for _ in range(3):
        with start_writer(script, str(tmp_path), stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            said = [child.stdout.readline() for _ in range(50)]
            child.send_signal(signal.SIGKILL)
            said += child.stdout.readlines()
        assert child.returncode == -signal.SIGKILL
        reported += [line.strip() for line in said if line.endswith("\n")]
    store = LocalFileTraceStore(tmp_path)
    kept = [record.request_id for record in store.last(1_000_000)]
    assert set(reported) <= set(kept)
    assert len(reported) >= 150
    store.write(make("after"))
    assert ids(store.last(1)) == [("after", 0)]
    store.close()


def test_large_lines_of_four_processes_stay_whole(tmp_path: Path) -> None:
    """Four processes write lines of 200 kB to one file: none is mixed with another."""
    script = """
import sys
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore
from helpers.records import make
store = LocalFileTraceStore(sys.argv[1])
for n in range(25):
    store.write(make(f"{sys.argv[2]}-{n}", text=sys.argv[2] * 200_000))
"""
    four_at_once(script, str(tmp_path))
    store = LocalFileTraceStore(tmp_path)
    records = store.last(1000)
    assert store.skipped == 0
    assert sorted(r.request_id for r in records) == sorted(f"{letter}-{n}" for letter in "abcd" for n in range(25))
    assert all(record.text == record.request_id[0] * 200_000 for record in records)


def test_threads_write_while_the_file_is_swapped(tmp_path: Path) -> None:
    """Eight threads write over many midnights and closes: every record is kept, once."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path, keep_days=0, clock=clock)

    def work(name: int) -> None:
        for n in range(100):
            if n % 10 == name:
                clock.advance(DAY)
            if n % 17 == name:
                store.close()
            store.write(make(f"{name}-{n}"))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    lines = [line for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()]
    kept = [json.loads(line)["request_id"] for line in lines]
    assert sorted(kept) == sorted(f"{name}-{n}" for name in range(8) for n in range(100))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_write_does_not_hang_the_child(
    store: LocalFileTraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child finds the store free, though a thread of its parent was writing; both write on."""
    writing, go_on = threading.Event(), threading.Event()
    real = os.write

    def slow(fd: int, data: bytes) -> int:
        writing.set()
        go_on.wait(30)
        return real(fd, data)

    store.write(make("first"))
    monkeypatch.setattr(os, "write", slow)
    thread = threading.Thread(target=store.write, args=(make("parent"),))
    thread.start()
    writing.wait(30)
    pid = os.fork()
    if pid == 0:
        os.write = real
        signal.alarm(30)
        store.write(make("child"))
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    go_on.set()
    thread.join()
    assert status == 0
    assert ids(store.last(9)) == [("first", 0), ("child", 0), ("parent", 0)]


def test_a_write_inside_a_write_does_not_hang(store: LocalFileTraceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream collected as garbage leaves its trace, even while this very thread is writing one."""
    real = os.write
    nested = [make("inner")]

    def write(fd: int, data: bytes) -> int:
        if nested:
            store.write(nested.pop())
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    store.write(make("outer"))
    assert ids(store.last(9)) == [("inner", 0), ("outer", 0)]
