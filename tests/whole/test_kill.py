"""A process that is killed in the middle of its calls has lost nothing it said was done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from lee_llm_router import LocalFileTraceStore

CALLER = """
import sys
from lee_llm_router import LeeLLMRouter

config = {"llm": {
    "providers": {"bad": {"type": "mock", "script": [{"error": "UNKNOWN"}]}, "good": {"type": "mock"}},
    "roles": {"r": {"provider": "bad", "fallback_providers": ["good"]}},
    "trace": {"dir": sys.argv[1]},
}}
with LeeLLMRouter(config) as router:
    while True:
        sys.stdout.write(router.complete("r", "hi").request_id + "\\n")
        sys.stdout.flush()
"""


def test_kill_9_loses_no_call_that_was_reported_as_done(tmp_path: Path) -> None:
    """Every id on the pipe has both its attempts in the trace file, whenever the kill came."""
    done: list[str] = []
    for round_ in range(3):
        command = [sys.executable, "-c", CALLER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            read = b""
            while read.count(b"\n") < 40 * (round_ + 1):
                read += os.read(child.stdout.fileno(), 65536)
            child.send_signal(signal.SIGKILL)
            read += child.stdout.read()
        done += read.decode().split("\n")[:-1]
    store = LocalFileTraceStore(trace_dir=tmp_path)
    for request_id in done:
        outcomes = [record.outcome for record in store.find(request_id)]
        assert outcomes == ["error", "ok"], request_id
    assert len(done) >= 240
