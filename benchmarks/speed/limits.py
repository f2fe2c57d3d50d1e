"""What the operating system allows and tells."""

from __future__ import annotations

import os
import resource
import subprocess
from contextlib import suppress
from pathlib import Path

_ENOUGH = 16_384


def allow_many_files() -> None:
    """Let this process hold a thousand connections and more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def resident_bytes() -> int:
    """Memory this process holds now."""
    # Not statm: since Linux 6.2 its counts are sums over processors that lag behind.
    rollup = Path("/proc/self/smaps_rollup")
    if rollup.exists():
        return next(int(line.split()[1]) for line in rollup.read_text().splitlines() if line.startswith("Rss:")) * 1024
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, check=True)
    return int(told.stdout) * 1024
