"""Waits in pieces of a second, so that Ctrl-C always ends them soon.

Python notes a signal and handles it between two steps of the program; a system call that the signal interrupts returns
at once. But a signal that comes just before the system call, or that the system delivers to another thread, interrupts
nothing. It is handled when the call returns by itself, which may take a minute. This happened to two of 9,000 calls
that were interrupted right after sending their request. Python's C code cannot detect it, and all of its blocking calls
are affected. So nothing here waits longer than `LONGEST` at once.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from time import monotonic
from typing import TypeVar

T = TypeVar("T")

LONGEST = 1.0
"""Longest single wait, in seconds."""


def sleep(seconds: float) -> None:
    """As `time.sleep`."""
    until = monotonic() + seconds
    time.sleep(min(seconds, LONGEST))
    while (left := until - monotonic()) > 0:
        time.sleep(min(left, LONGEST))


def outcome(future: Future[T], timeout: float | None = None) -> T:
    """Return the result of `future`, or raise its error; wait for it like `Future.result`.

    Raises:
        TimeoutError: it is not done within `timeout` seconds.
    """
    until = None if timeout is None else monotonic() + timeout
    while not future.done():
        left = LONGEST if until is None else until - monotonic()
        try:
            return future.result(min(left, LONGEST))
        except TimeoutError:
            # The future may be done meanwhile, possibly with an error of this kind.
            if left <= LONGEST and until is not None and not future.done():
                raise
    return future.result()
