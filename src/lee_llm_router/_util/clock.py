"""The clock of the router. Tests, including users' own, can replace it."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic, time
from typing import Protocol, runtime_checkable

from lee_llm_router._util.short_waits import outcome, sleep
from lee_llm_router._util.threads import awaitable


@runtime_checkable
class Clock(Protocol):
    """Tells the time and waits. All values are in seconds."""

    def monotonic(self) -> float:
        """Return the time of a clock that never goes back. Only differences are meaningful."""
        ...

    def time(self) -> float:
        """Return the seconds since 1970-01-01 UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for `seconds`."""
        ...

    async def sleep_async(self, seconds: float) -> None:
        """Suspend the calling task for `seconds`."""
        ...

    def wait(self, woken: Future[None], seconds: float) -> None:
        """Block the calling thread until `woken` is done, at most `seconds`."""
        ...

    async def wait_async(self, woken: Future[None], seconds: float) -> None:
        """Suspend the calling task until `woken` is done, at most `seconds`."""
        ...


class SystemClock:
    """The clock of the operating system."""

    __slots__ = ()

    monotonic = staticmethod(monotonic)
    time = staticmethod(time)
    sleep = staticmethod(sleep)
    sleep_async = staticmethod(asyncio.sleep)

    def wait(self, woken: Future[None], seconds: float) -> None:
        """As `Clock.wait`."""
        with suppress(TimeoutError):
            outcome(woken, seconds)

    async def wait_async(self, woken: Future[None], seconds: float) -> None:
        """As `Clock.wait_async`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await awaitable(woken)


SYSTEM_CLOCK: Clock = SystemClock()
