"""What goes wrong with a trace store that is no plain failure of the system."""

from __future__ import annotations

import errno


class TraceStoreError(OSError):
    """A trace store cannot be written or read: it is damaged, locked, full, or somebody else's.

    It is an OSError because it concerns the same places as the others: a file that cannot be used.
    """

    def __init__(self, reason: str, path: str | None = None, number: int = errno.EIO) -> None:
        super().__init__(number, reason, *(() if path is None else (path,)))


class StoreLockedError(TraceStoreError):
    """Another program has locked the store, and has not let go of it in time."""
