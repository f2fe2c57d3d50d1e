"""Who descends from a process, and signals to all of them.

A process group reaches only those who stayed in it. An agent's tools are often started in a session of their own, so
the descendants are looked up as well, where the system lists them (Linux). One that was cut loose on purpose (its
parent gone before) is beyond reach.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def descendants(pid: int) -> dict[int, str]:
    """The processes below `pid`: their numbers, each with its start time (which tells a reused number apart)."""
    children: dict[int, list[int]] = {}
    born: dict[int, str] = {}
    for entry in _process_folders():
        stat = _stat(entry)
        if stat is not None:
            number, parent, start = stat
            children.setdefault(parent, []).append(number)
            born[number] = start
    found: dict[int, str] = {}
    queue = [pid]
    while queue:
        for child in children.pop(queue.pop(), ()):
            found[child] = born[child]
            queue.append(child)
    return found


def signal_group(pid: int, number: int) -> None:
    """Send a signal to the group `pid` leads, if anyone is left in it who may be sent one."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def signal_tree(tree: Mapping[int, str], number: int) -> None:
    """Send a signal to those of `tree` that still are the processes they were."""
    for pid, start in tree.items():
        stat = _stat(PROC / str(pid))
        if stat is not None and stat[2] == start:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def _process_folders() -> list[Path]:
    try:
        return [folder for folder in PROC.iterdir() if folder.name.isdigit()]
    except OSError:
        return []


def _stat(folder: Path) -> tuple[int, int, str] | None:
    """(number, parent, start time) of a process: fields 1, 4 and 22 of its stat line (proc(5))."""
    try:
        line = (folder / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field, the name in parentheses, may itself hold spaces and parentheses.
    fields = line.rpartition(")")[2].split()
    return int(folder.name), int(fields[1]), fields[19]
