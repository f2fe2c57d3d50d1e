"""Finds the descendants of a process and sends signals to them.

A signal to a process group reaches only processes that stayed in the group, but an agent often starts its tools in new
sessions. So the descendants are looked up as well, if the system lists them (Linux). A process whose parent has already
ended (a daemon) can only be found by a mark in its environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
HOLD_LIMIT = 2.0
"""Most seconds that a process may continue, although it should end, because it is doing something that must not be
interrupted."""
HOLD_PAUSE = 0.02
"""Seconds between checks whether the process may be ended."""


def descendants(pid: int) -> dict[int, str]:
    """Return the processes below `pid`: the number, and the start time, which shows later whether the number was
    reused."""
    children: dict[int, list[int]] = {}
    start_times: dict[int, str] = {}
    for entry in _process_folders():
        stat = _stat(entry)
        if stat is not None:
            number, parent, start = stat
            children.setdefault(parent, []).append(number)
            start_times[number] = start
    found: dict[int, str] = {}
    queue = [pid]
    while queue:
        for child in children.pop(queue.pop(), ()):
            found[child] = start_times[child]
            queue.append(child)
    return found


def marked_processes(folder: Path) -> dict[int, str]:
    """Return the processes, except this one, that have the path of `folder` in their environment (Linux only).

    Children inherit the environment, so this finds daemons too, and processes whose ancestors are all gone.
    """
    mark = os.fsencode(folder)
    found: dict[int, str] = {}
    for entry in _process_folders():
        # OSError: another user's process, or one that has just ended.
        with suppress(OSError):
            stat = _stat(entry)
            if stat is not None and stat[0] != os.getpid() and mark in (entry / "environ").read_bytes():
                found[stat[0]] = stat[2]
    return found


def start_time(pid: int) -> str:
    """Return when a process started, in the system's units; "" if the system does not say (macOS), or there is no such
    process."""
    stat = _stat(PROC / str(pid))
    return "" if stat is None else stat[2]


def has_ended(pid: int) -> bool:
    """Whether a child of this process has ended. Does not reap it, so that its number is not reused."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def signal_group(pid: int, number: int) -> None:
    """Send a signal to the group that `pid` leads, if a process is left in it that we may signal."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def signal_tree(tree: Mapping[int, str], number: int) -> None:
    """Send a signal to the processes of `tree`, except if the number now belongs to another process."""
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
    """Return (number, parent, start time) of a process: fields 1, 4 and 22 of its stat line (see proc(5))."""
    try:
        line = (folder / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the name in parentheses, which may itself contain spaces and parentheses.
    fields = line.rpartition(")")[2].split()
    return int(folder.name), int(fields[1]), fields[19]
