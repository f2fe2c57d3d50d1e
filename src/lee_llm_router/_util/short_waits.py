"""Waits in pieces of a second, so that Ctrl-C ends them soon, whenever it comes.

Python notes a signal and handles it between two steps of the program; a system call that the signal interrupts returns
at once for that. But a signal that comes in the last moment before the system call, or that the system gives to another
thread, interrupts nothing: it is handled when the call returns by itself, which may be after a minute. Of 9,000 calls
that were interrupted right after their request was sent, two were so. No C code of Python can tell, and no call of it
that waits is free of this. So nothing here waits longer than `LONGEST` at once.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from time import monotonic
from typing import TypeVar

T = TypeVar("T")

LONGEST = 1.0
"""Seconds to wait at once."""


def sleep(seconds: float) -> None:
    """As `time.sleep`."""
    until = monotonic() + seconds
    time.sleep(min(seconds, LONGEST))
    while (left := until - monotonic()) > 0:
        time.sleep(min(left, LONGEST))


def outcome(future: Future[T], timeout: float | None = None) -> T:
    """Return the result of `future`, or raise what broke; wait for it as `Future.result` does.

    Raises:
        TimeoutError: it is not done within `timeout` seconds.
    """
    until = None if timeout is None else monotonic() + timeout
    while not future.done():
        left = LONGEST if until is None else until - monotonic()
        try:
            return future.result(min(left, LONGEST))
        except TimeoutError:
            # The future may be done meanwhile, also by an error of this kind.
            if left <= LONGEST and until is not None and not future.done():
                raise
    return future.result()
