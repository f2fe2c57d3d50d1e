"""An event loop whose time jumps: whenever nothing can run, the next timer is due at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from lee_llm_router._util.threads import awaitable

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events and timeout:
            self.now += timeout
        return events


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = _Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now


class LoopClock:
    """The running loop's time, as the router's clock. Only for async calls."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def time(self) -> float:
        return 1_800_000_000.0 + self.monotonic()

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a sync sleep on virtual time")

    async def sleep_async(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def wait(self, woken: Future[None], seconds: float) -> None:
        raise AssertionError("a sync wait on virtual time")

    async def wait_async(self, woken: Future[None], seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await awaitable(woken)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a loop of virtual time, from 0 on."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)
