"""A lock that is always free in a forked child, even if another thread of the parent held it during the fork."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from operator import attrgetter


class ForkLock:
    """A `threading.Lock`, or an RLock if `reentrant`, that a forked child replaces by a new one. Use it in a ``with``
    statement.

    Args:
        reentrant: Needed for locks that closing a stream takes: a signal handler may close one while the same thread
            holds the lock. (The garbage collector never takes a lock; see `outside_collection`.)
        in_child: A method called in the child to repair what the lock guards: the parent's other threads do not exist
            there.
    """

    __slots__ = ("__weakref__", "_in_child", "_make", "inner")

    def __init__(self, reentrant: bool = False, in_child: Callable[[], None] | None = None) -> None:
        self._make = threading.RLock if reentrant else threading.Lock
        self.inner = self._make()
        """The lock itself: ``with lock.inner`` has the effect of ``with lock``, in three quarters of the time."""
        self._in_child = weakref.WeakMethod(in_child) if in_child is not None else None
        _locks.add(self)

    # Properties, so that `with` calls the methods of the inner lock, which are written in C. Ctrl-C could interrupt
    # Python methods after the lock is taken and before `with` knows it, and the lock would stay taken forever.
    __enter__ = property(attrgetter("inner.__enter__"))
    __exit__ = property(attrgetter("inner.__exit__"))

    def renew(self) -> None:
        """In a forked child, replace the lock and repair what it guards."""
        self.inner = self._make()
        repair = self._in_child() if self._in_child is not None else None
        if repair is not None:
            repair()


_locks: weakref.WeakSet[ForkLock] = weakref.WeakSet()


def _renew() -> None:
    for lock in _locks:
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
