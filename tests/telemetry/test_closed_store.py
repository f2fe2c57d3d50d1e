"""A store that was closed keeps what still comes, and no file open."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from helpers.records import make
from helpers.trace_files import request_ids
from lee_llm_router import LeeLLMRouter
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore


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
    assert request_ids(store.last(9)) == ["a", "b", "c"]


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
