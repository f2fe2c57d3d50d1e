"""A temporary folder that does not outlive its owner, however the owner ends.

The owner holds a lock on the folder. The system drops the lock when the owner dies, so a folder that can be locked is a
leftover.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from lee_llm_router._util.file_lock import FileLock
from lee_llm_router._util.folder_removal import remove_folder
from lee_llm_router._util.log import logger
from lee_llm_router._util.threads import call_in_thread, start_in_thread
from lee_llm_router.providers.child_process.orphans import clean_up_after
from lee_llm_router.providers.child_process.owner_watch import OwnerWatch

REMOVAL_TIMEOUT = 5.0
"""Seconds that the end of a call waits for the removal of its folder. After that a thread continues it."""

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW

# Prefixes and places that this process has swept.
_swept: set[tuple[str, str]] = set()


@contextmanager
def owned_folder(prefix: str) -> Iterator[tuple[Path, OwnerWatch]]:
    """Create a folder that only the user may access, and watch over it; remove it with its contents at the end.

    The first call in a process removes leftovers of dead owners with the same prefix.

    Raises:
        OSError: it cannot be created.
    """
    _sweep_once(prefix)
    with ExitStack() as stack:
        folder, lock = _create(prefix)
        stack.callback(lock.close)
        remove = partial(_remove, folder, os.getpid())
        try:
            watch = OwnerWatch(folder)
        except BaseException:
            remove()
            raise
        # In this order, since the watch must outlive the folder.
        stack.callback(watch.close)
        stack.callback(remove)
        yield folder, watch


def sweep(prefix: str) -> None:
    """Clean up after dead owners: end their children, keep what these renewed, and remove their folders."""
    _sweep(_folders(prefix))


def _folders(prefix: str) -> list[Path]:
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        return [Path(entry.path) for entry in entries if entry.name.startswith(prefix)]
    return []


def _sweep(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError), FileLock(folder, _FOLDER) as lock:
            # Leave another user's folder alone, even if this program could remove it.
            if os.fstat(lock.descriptor).st_uid == os.geteuid() and lock.is_taken:
                clean_up_after(folder)


def _create(prefix: str) -> tuple[Path, FileLock]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        try:
            lock = FileLock(folder, _FOLDER)
        except FileNotFoundError:
            continue
        except BaseException:
            remove_folder(folder)
            raise
        # A sweeper may have come between, and mistaken the new folder for a leftover.
        if not lock.is_held_by_another and lock.is_at(folder):
            return folder, lock
        lock.close()


def _sweep_once(prefix: str) -> None:
    place = (tempfile.gettempdir(), prefix)
    if place not in _swept:
        _swept.add(place)
        # List the folders here, so that one which this process creates meanwhile is not taken for a leftover. Sweep in
        # a thread, since a call should not wait for others' leftovers; if no thread can start, the next call does it.
        folders = _folders(prefix)
        if folders:
            with suppress(BlockingIOError):
                start_in_thread(_sweep, folders)


def _remove(folder: Path, owner: int) -> None:
    # A forked child that leaves this block must not remove its parent's folder.
    if os.getpid() != owner:
        return
    try:
        is_removed = call_in_thread(remove_folder, folder, timeout=REMOVAL_TIMEOUT)
    except TimeoutError:
        return
    except BlockingIOError:
        is_removed = remove_folder(folder)
    if not is_removed:
        logger.warning("the private folder %s could not be removed", folder)
