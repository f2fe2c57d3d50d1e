"""A clock for tests. Time advances only when every running call is waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from time import sleep

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.interruption import InterruptibleWait

START = 1_800_000_000.0
"""The value of `FakeClock.time` at time 0: seconds since 1970, in January 2027."""

_PAUSES = (*[0.0] * 100, *[0.001] * 1000)
"""Real seconds between checks whether other calls are still busy. After the last pause they count as stuck."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """One `sleep` or `wait` in progress."""

    due: float
    woken: Future[None] | None

    def is_over(self, now: float) -> bool:
        return self.due <= now or (self.woken is not None and self.woken.done())


class FakeClock:
    """A clock that moves only when a caller waits on it, or by `advance`. Threads and tasks may share it.

    A wait takes no real time. Of several concurrent waits the shortest ends first. None ends while another call is busy
    (the clock knows this of calls of a `ScriptedRouter`), but the clock waits for a busy call for at most a second.

    Args:
        now: The initial time, in seconds.

    Attributes:
        now: The current time, in seconds; may be set.
        sleeps: The length of every wait so far, in seconds.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.sleeps: list[float] = []
        self._lock = ForkLock()
        self._waits: list[_Waiter] = []
        self._busy = 0

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        with self._lock:
            self.now += seconds

    def monotonic(self) -> float:
        """Return the current time, in seconds."""
        return self.now

    def time(self) -> float:
        """Return the current time as seconds since 1970, counted from a fixed time in January 2027."""
        return START + self.now

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._note(seconds)
        self._pass(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Let `seconds` pass. Other tasks run meanwhile, and a cancellation takes effect."""
        self._note(seconds)
        await self._pass_async(seconds)

    def wait(self, woken: Future[None], seconds: float) -> None:
        """Let time pass until `woken` is done, at most `seconds`."""
        began = self.now
        self._pass(seconds, woken)
        if self.now > began:
            self._note(self.now - began)

    async def wait_async(self, woken: Future[None], seconds: float) -> None:
        """Let time pass until `woken` is done, at most `seconds`."""
        began = self.now
        await self._pass_async(seconds, woken)
        if self.now > began:
            self._note(self.now - began)

    def hold(self) -> None:
        """Mark a call as busy. Until `release`, time advances only if this call waits on the clock too."""
        with self._lock:
            self._busy += 1

    def release(self) -> None:
        """Mark that call as no longer busy."""
        with self._lock:
            self._busy -= 1

    def _pass(self, seconds: float, woken: Future[None] | None = None) -> None:
        # An attempt that is no longer wanted stops waiting, like one at a real provider.
        with self._waiting(seconds, woken) as wait, InterruptibleWait(partial(setattr, wait, "due", self.now)):
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
    def _waiting(self, seconds: float, woken: Future[None] | None) -> Iterator[_Waiter]:
        with self._lock:
            wait = _Waiter(self.now + seconds, woken)
            self._waits.append(wait)
        try:
            yield wait
        finally:
            with self._lock:
                self._waits.remove(wait)

    def _has_ended(self, wait: _Waiter) -> bool:
        """Whether `wait` is over. If it is the next one to end, time advances to its end."""
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
