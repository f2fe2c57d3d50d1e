"""Runs what must not run inside a garbage collection after it, in a thread.

How this works
--------------
The collector interrupts a thread at any point, even while it holds a lock, and runs finalizers in that thread. A
finalizer that takes a lock may therefore wait forever for the very code it interrupts: for a lock that is not
reentrant, or for another thread that waits for a lock of the interrupted one. Closing a stream that the collector finds
takes many locks: it gives its permit back, wakes calls that wait, and notifies stores, sinks and observers, whose locks
are not ours. No way of locking makes that safe, so none of it happens there.

`gc.callbacks` report in which thread a collection runs. There `outside_collection` only appends to a deque and starts a
bare thread, neither of which takes a lock of Python code (`threading.Thread.start` does). That thread then waits for
locks like any other. It starts at once, not with the next call: perhaps all calls wait for the permit. Work that is
left when the program ends, because no thread could start, is done then.

If no collection runs, which is nearly always, the function is called at once. So a stream that is dropped, and not left
to the collector, is closed and traced by the end of the statement that dropped it.
"""

from __future__ import annotations

import atexit
import gc
import os
import threading
from _thread import get_ident, start_new_thread
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from lee_llm_router._util.log import logger
from lee_llm_router._util.threads import start_in_thread

_EXIT_SECONDS = 5.0
"""The longest time that the end of the program waits for a thread at work here."""


class _PutOff:
    """Deferred work, and the thread that a collection has interrupted."""

    def __init__(self) -> None:
        self.interrupted: int | None = None
        """The identity of the thread in which a collection runs."""
        self._late: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._working = threading.Lock()
        """Held while an item of `_late` runs, so that they run one after the other."""

    def note_collection(self, phase: Literal["start", "stop"], _: dict[str, int]) -> None:
        """Record that a collection starts or stops in this thread."""
        self.interrupted = get_ident() if phase == "start" else None

    def add(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Have another thread call ``function(*args)``."""
        self._late.append((function, args))
        with suppress(RuntimeError):  # no thread can start: the next one does this too, or the end of the program
            start_new_thread(self._start, ())

    def work(self, timeout: float = -1) -> None:
        """Do deferred work, unless another thread is busy with it for longer than `timeout` seconds."""
        if not self._working.acquire(timeout=timeout):
            return
        try:
            while self._late:
                function, args = self._late.popleft()
                try:
                    function(*args)
                except Exception as error:  # noqa: BLE001 - there is nobody to raise it to, and the rest must be done
                    logger.error("closing a dropped stream raised %s", type(error).__name__)
        finally:
            self._working.release()

    def forget(self) -> None:
        """In a forked child, leave the parent what is the parent's."""
        self._late.clear()
        self._working = threading.Lock()

    def _start(self) -> None:
        try:
            start_in_thread(self.work)  # `threading` would list a bare thread that logs as a dummy, forever
        except BlockingIOError:
            self.work()


_put_off = _PutOff()
gc.callbacks.append(_put_off.note_collection)
atexit.register(_put_off.work, _EXIT_SECONDS)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_put_off.forget)


def outside_collection(function: Callable[..., object], *args: Any) -> None:
    """Call ``function(*args)``: now, or soon in another thread if a garbage collection has interrupted this one."""
    if _put_off.interrupted is None or not is_collecting():
        function(*args)
    else:
        _put_off.add(function, args)


def is_collecting() -> bool:
    """Whether a garbage collection has interrupted this thread."""
    return _put_off.interrupted == get_ident()
