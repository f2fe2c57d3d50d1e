"""A lock that is released in a forked child, even if another thread of the parent held it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from types import TracebackType


class ForkLock:
    """A `threading.Lock` (or `RLock`, if `reentrant`) that is replaced in a forked child. Used with ``with``.

    Without it, a child forked while another thread held the lock would wait for ever: that thread is not in the child.

    Args:
        reentrant: Needed for locks taken while a stream is finalized: the collector may run while the same thread
            holds it.
        in_child: A method called in the child, to repair what the lock guards.
    """

    __slots__ = ("__weakref__", "_in_child", "_make", "held")

    def __init__(self, reentrant: bool = False, in_child: Callable[[], None] | None = None) -> None:
        self._make = threading.RLock if reentrant else threading.Lock
        self.held = self._make()
        """The lock of this process. Use ``with`` on the `ForkLock` itself."""
        self._in_child = weakref.WeakMethod(in_child) if in_child is not None else None
        _locks.add(self)

    def renew(self) -> None:
        """Replace the lock, in a forked child."""
        self.held = self._make()
        repair = self._in_child() if self._in_child is not None else None
        if repair is not None:
            repair()

    def __enter__(self) -> None:
        self.held.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.held.release()


_locks: weakref.WeakSet[ForkLock] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in _locks:
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
