"""A clock for tests. Its time passes only when nobody can do anything else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from time import sleep

from lee_llm_router._util.fork_lock import ForkLock

START = 1_800_000_000.0
"""What `FakeClock.time` says at moment 0, in seconds since 1970: a moment in January 2027."""

_PAUSES = (*[0.0] * 100, *[0.001] * 1000)
"""Real seconds between two looks at whether others are done. After the last one it is taken that they never will be."""


@dataclass(slots=True, eq=False)
class _Wait:
    due: float
    woken: Future[None] | None

    def is_over(self, now: float) -> bool:
        return self.due <= now or (self.woken is not None and self.woken.done())


class FakeClock:
    """A clock that moves only when somebody waits on it, or by `advance`. Threads and tasks may share it.

    A wait costs no real time. Of several waits at once the shortest ends first, and none ends while a call that is not
    waiting is under way (known for calls of a `ScriptedRouter`; each of these gets a real second at the most).

    Args:
        now: The moment it shows at first, in seconds.

    Attributes:
        now: The moment it shows; may be set.
        sleeps: Every wait so far, in seconds.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.sleeps: list[float] = []
        self._lock = ForkLock()
        self._waits: list[_Wait] = []
        self._busy = 0

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        with self._lock:
            self.now += seconds

    def monotonic(self) -> float:
        """The moment it shows."""
        return self.now

    def time(self) -> float:
        """Seconds since 1970: the moment it shows, counted from a fixed one in January 2027."""
        return START + self.now

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._note(seconds)
        self._pass(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Let `seconds` pass. Other tasks get their turn, and a cancellation takes effect."""
        self._note(seconds)
        await self._pass_async(seconds)

    def wait(self, woken: Future[None], seconds: float) -> None:
        """Let time pass until `woken` is done, `seconds` at the most."""
        began = self.now
        self._pass(seconds, woken)
        if self.now > began:
            self._note(self.now - began)

    async def wait_async(self, woken: Future[None], seconds: float) -> None:
        """Let time pass until `woken` is done, `seconds` at the most."""
        began = self.now
        await self._pass_async(seconds, woken)
        if self.now > began:
            self._note(self.now - began)

    def hold(self) -> None:
        """Somebody begins to do something that takes no time. Until `release`, only waiting for `self` ends a wait."""
        with self._lock:
            self._busy += 1

    def release(self) -> None:
        """It is done."""
        with self._lock:
            self._busy -= 1

    def _pass(self, seconds: float, woken: Future[None] | None = None) -> None:
        with self._waiting(seconds, woken) as wait:
            for pause in _PAUSES:
                if self._has_ended(wait):
                    return
                sleep(pause)
            self._reach(wait.due)

    async def _pass_async(self, seconds: float, woken: Future[None] | None = None) -> None:
        with self._waiting(seconds, woken) as wait:
            for pause in _PAUSES:
                await asyncio.sleep(pause)
                if self._has_ended(wait):
                    return
            self._reach(wait.due)

    @contextmanager
    def _waiting(self, seconds: float, woken: Future[None] | None) -> Iterator[_Wait]:
        with self._lock:
            wait = _Wait(self.now + seconds, woken)
            self._waits.append(wait)
        try:
            yield wait
        finally:
            with self._lock:
                self._waits.remove(wait)

    def _has_ended(self, wait: _Wait) -> bool:
        """Whether `wait` is over; lets time pass to its end if it is its turn."""
        with self._lock:
            if wait.is_over(self.now):
                return True
            others = [other for other in self._waits if not other.is_over(self.now)]
            if self._busy > len(others) or wait.due > min(other.due for other in others):
                return False
            self.now = wait.due
            return True

    def _reach(self, moment: float) -> None:
        with self._lock:
            self.now = max(self.now, moment)

    def _note(self, seconds: float) -> None:
        self.sleeps.append(round(seconds, 6))
