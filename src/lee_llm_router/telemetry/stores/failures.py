"""Failures of a trace store that are not plain system errors."""

from __future__ import annotations

import errno


class TraceStoreError(OSError):
    """A trace store cannot be written or read: it is damaged, locked, full, or somebody else's.

    It is an OSError because it means the same as the others: a file cannot be used.
    """

    def __init__(self, reason: str, path: str | None = None, number: int = errno.EIO) -> None:
        super().__init__(number, reason, *(() if path is None else (path,)))


class StoreLockedError(TraceStoreError):
    """Another program has locked the store, and has not released it in time."""
