"""Interrupts work that waits for a system call, from another thread.

A thread cannot be stopped, but what it waits for can be closed. Interruptible work runs in `Interruption.run`. Every
wait in that thread happens within an `InterruptibleWait`, and `Interruption.interrupt` calls its `stop`, which ends the
wait. After that no such wait begins any more.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")

by_thread: dict[int, Interruption] = {}
"""By the thread whose work may be interrupted. Empty in most programs, so that to look costs next to nothing."""


class Interruption:
    """Work of one thread that another thread may interrupt."""

    __slots__ = ("_lock", "_stop", "is_set")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        """Reentrant: a signal handler may close a stream, and so interrupt work that is just being interrupted."""
        self._stop: Callable[[], object] | None = None
        """Ends the current wait."""
        self.is_set = False
        """Whether the work was interrupted."""

    def run(self, work: Callable[[], T]) -> T:
        """Do `work` in this thread, and return its result."""
        me = threading.get_ident()
        by_thread[me] = self
        try:
            return work()
        finally:
            by_thread.pop(me, None)

    def interrupt(self) -> None:
        """End the current wait, and prevent further ones. May be called from any thread, repeatedly."""
        with self._lock:
            self.is_set = True
            if self._stop is not None:
                self._stop()

    def begin(self, stop: Callable[[], object]) -> None:
        """Begin a wait that `stop` ends.

        Raises:
            ConnectionAbortedError: the work was interrupted.
        """
        with self._lock:
            if self.is_set:
                raise _interrupted()
            self._stop = stop

    def end(self) -> None:
        """End that wait: its `stop` will not be called any more."""
        with self._lock:
            self._stop = None


class InterruptibleWait:
    """A context in which this thread waits; another thread can call `stop` to end the wait.

    Raises:
        ConnectionAbortedError: on entry or exit, if the work of this thread was interrupted.
    """

    __slots__ = ("_interruption", "_stop")

    def __init__(self, stop: Callable[[], object]) -> None:
        self._stop = stop
        self._interruption = by_thread.get(threading.get_ident())

    def __enter__(self) -> None:
        if self._interruption is not None:
            self._interruption.begin(self._stop)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._interruption is not None:
            self._interruption.end()
            if error is None and self._interruption.is_set:
                # What was waited for is closed, even if something arrived first: nobody may use it again.
                raise _interrupted()


def _interrupted() -> ConnectionAbortedError:
    return ConnectionAbortedError("interrupted: the answer is no longer wanted")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=by_thread.clear)
