"""A lock on a file or folder that the system drops when its owner is gone, however the owner ended.

Unlike a process number in a file, a lock cannot be mistaken for another's: numbers are reused, and each container has
its own.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from lee_llm_router._util.fork_lock import ForkLock


class FileLock:
    """An open file or folder, and whether the lock on it was taken. Never waits.

    It also excludes others in this process: each object is a separate owner.

    Args:
        path: What to lock. It must exist, and is opened for reading.
        flags: Further flags for opening.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, flags: int = 0) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
        self.is_taken = False
        self.is_held_by_another = False
        """Neither attribute is true if the file system has no locks."""
        self._open = True
        # A forked child would hold the lock after its owner is gone.
        self._guard = ForkLock(in_child=self.close)
        with suppress(OSError):
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.is_taken = True
            except BlockingIOError:
                self.is_held_by_another = True

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_at(self, path: Path) -> bool:
        """Whether `path` still leads to what was locked; it may have been replaced."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), path.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Release the lock, even if a child program has inherited it."""
        with self._guard:
            if self._open:
                with suppress(OSError):
                    fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        self.close()

    def close(self) -> None:
        """Close it, which releases the lock unless a child program has inherited it. A second call does nothing."""
        with self._guard:
            if self._open:
                self._open = False
                os.close(self.descriptor)
