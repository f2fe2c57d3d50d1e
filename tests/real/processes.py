"""Finds the processes that a test has caused, by a word in their command line or environment."""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic, sleep

HANG = 60.0
"""Seconds after which something counts as hanging; nothing comes near."""


def processes(word: str) -> list[int]:
    """Return the numbers of the processes whose command line or environment contains `word`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                held = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if word.encode() in held:
                found.append(int(entry.name))
    return found


def gone(word: str) -> bool:
    """Whether every process with that word has ended; those just killed get a moment to be reaped."""
    until = monotonic() + HANG
    while processes(word) and monotonic() < until:
        sleep(0.05)
    return not processes(word)
