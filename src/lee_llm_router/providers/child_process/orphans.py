"""Cleans up after a dead owner: ends its child, keeps what the child renewed, and removes its folder.

This runs in two places: in the process that `owner_watch` starts when the owner has died, and in the next program that
finds the folder (`owned_folder.sweep`). It imports only the standard library.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL
from time import monotonic, sleep

from lee_llm_router._util.folder_removal import remove_folder
from lee_llm_router.providers.child_process.lent_file import is_being_renewed, return_noted
from lee_llm_router.providers.child_process.process_tree import (
    HOLD_LIMIT,
    HOLD_PAUSE,
    descendants,
    marked_processes,
    signal_group,
    signal_tree,
    start_time,
)

LENT_NOTE = "lent.json"
"""The file in an owned folder that records what was lent to the child (see `lent_file`)."""
_ROUNDS = 50
"""How often to look again for processes that have not ended, or have been started meanwhile."""
_PAUSE = 0.02


def clean_up_after(folder: Path, leader: tuple[int, str] | None = None) -> None:
    """End all processes that belong to a dead owner's folder, keep what they renewed, and remove the folder.

    Args:
        folder: The owner's folder. If the system shows environments (Linux), processes with the folder in theirs are
            found even if they have left the group.
        leader: The child that leads the process group, and its start time ("" if unknown).
    """
    _let_renew(folder)
    found: dict[int, str] = {}
    if leader is not None and start_time(leader[0]) in (leader[1], ""):
        found = descendants(leader[0])
        signal_group(leader[0], SIGKILL)
    for _ in range(_ROUNDS):
        found.update(marked_processes(folder))
        signal_tree(found, SIGKILL)
        if not marked_processes(folder):
            break
        sleep(_PAUSE)
    return_noted(folder / LENT_NOTE)
    remove_folder(folder)


def _let_renew(folder: Path) -> None:
    """Wait a limited time for a child that may be renewing what it was lent; keep what it renewed.

    The result is kept while the child lives and holds the claim, so that nobody else renews in between.
    """
    note, until = folder / LENT_NOTE, monotonic() + HOLD_LIMIT
    while is_being_renewed(note) and monotonic() < until:
        sleep(HOLD_PAUSE)
    return_noted(note)


def main(arguments: Sequence[str] = ()) -> None:
    """Clean up after the owner named on the command line: its folder, and its child as told to `owner_watch`."""
    folder, told = arguments or sys.argv[-2:]
    pid, _, start = told.partition(" ")
    clean_up_after(Path(os.fspath(folder)), (int(pid), start) if pid else None)
