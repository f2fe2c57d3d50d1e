"""Helpers for the tests of `providers/child_process/`: programs to run, and checks for what is left of them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from lee_llm_router.providers.child_process.runner import ChildResult, run_child

HANG = 60.0
"""Seconds after which a run counts as hanging; none comes near."""
FOREVER = "import time\nwhile True: time.sleep(9)\n"
IGNORES_TERM = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\n" + FOREVER
GRANDCHILD = (
    "import subprocess, sys\n"
    f"code = 'import time; time.sleep({HANG * 2:g})'\n"
    "def spawn(**how): return subprocess.Popen([sys.executable, '-IS', '-c', code], **how).pid\n"
)
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")


def run(code: str, **settings: Any) -> tuple[ChildResult, list[bytes]]:
    lines: list[bytes] = []
    settings = {"timeout": HANG, "env": {}, "cwd": "/", "on_line": lines.append, **settings}
    return run_child([sys.executable, "-IS", "-c", code], **settings), lines


def alive(pid: int) -> bool:
    """Whether a process runs. One that was just killed gets a moment to be reaped by its new parent."""
    until = monotonic() + HANG
    while monotonic() < until:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state in "ZX":
                return False
        except (ProcessLookupError, FileNotFoundError):
            return False
        # A process left behind sleeps. One that is ending still runs, or waits for the disk, with no signal pending.
        if state in "RD" or signal.SIGKILL in _pending(pid):
            sleep(0.01)
            continue
        return True
    return True


def _pending(pid: int) -> set[int]:
    """Return the signals pending for a process."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return set()
    masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return {number for mask in masks for number in range(1, 65) if mask >> (number - 1) & 1}


def descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))


def no_thread(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
