"""Answers cached in this process: the least recently used go when there is no room left."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.providers.cache.contract import AnswerStore, KeptValue

_OVERHEAD = 300
"""Bytes that an entry takes besides its value: its key, the time, the tuple and its slot in the table."""


class MemoryStore(AnswerStore):
    """Keeps values in a table.

    Args:
        max_bytes: Maximum total size of all entries in bytes.
        clock: Tells when one has expired.
    """

    def __init__(self, max_bytes: float, clock: Clock) -> None:
        self._room = max_bytes
        self._clock = clock
        self._lock = ForkLock()
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._size = 0

    def find(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `AnswerStore.find`."""
        now = self._clock.monotonic()
        with self._lock.inner:
            return [self._find(key, now) for key in keys]

    def keep(self, values: Sequence[KeptValue]) -> None:
        """As `AnswerStore.keep`; drops a value that is too large for the cache."""
        now = self._clock.monotonic()
        with self._lock:
            for key, value, seconds in values:
                self._drop(key)
                if len(value) + _OVERHEAD > self._room:
                    continue
                self._entries[key] = (now + seconds, value)
                self._size += len(value) + _OVERHEAD
                while self._size > self._room:
                    self._drop(next(iter(self._entries)))

    def clear(self) -> int:
        """As `AnswerStore.clear`."""
        with self._lock:
            count = len(self._entries)
            self._entries.clear()
            self._size = 0
            return count

    def _find(self, key: bytes, now: float) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= now:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= len(entry[1]) + _OVERHEAD
