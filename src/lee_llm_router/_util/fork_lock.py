"""A lock that a forked child finds open, whatever other threads of its parent were doing."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from types import TracebackType


class ForkLock:
    """A `threading.Lock` (or RLock, if `reentrant`) made anew in a forked child, for use with ``with``.

    Args:
        reentrant: What the end of a stream calls has to be: a dropped stream may be garbage collected at any place,
            one where this is held included.
        in_child: A method called in the child, to mend what it guards: the parent's other threads are not there.
    """

    __slots__ = ("__weakref__", "_in_child", "_make", "held")

    def __init__(self, reentrant: bool = False, in_child: Callable[[], None] | None = None) -> None:
        self._make = threading.RLock if reentrant else threading.Lock
        self.held = self._make()
        """The lock of this process, for a ``with`` at half the price."""
        self._in_child = weakref.WeakMethod(in_child) if in_child is not None else None
        _locks.add(self)

    def renew(self) -> None:
        """Open it, in a forked child."""
        self.held = self._make()
        mend = self._in_child() if self._in_child is not None else None
        if mend is not None:
            mend()

    def __enter__(self) -> None:
        self.held.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.held.release()


_locks: weakref.WeakSet[ForkLock] = weakref.WeakSet()


def _renew() -> None:
    for lock in _locks:
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
