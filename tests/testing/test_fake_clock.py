"""The clock for tests: waits cost no real time, and none lasts for ever."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lee_llm_router import Clock, LLMTimeoutError
from lee_llm_router.testing import After, FakeClock, ScriptedRouter


def test_the_fake_clock_is_a_clock_and_never_sleeps_for_real() -> None:
    clock = FakeClock()
    assert isinstance(clock, Clock)
    clock.sleep(3600)
    asyncio.run(clock.sleep_async(3600))
    clock.advance(1)
    assert (clock.monotonic(), clock.sleeps) == (7201, [3600, 3600])
    router = ScriptedRouter(answers={"r": After(1e6, "x")})
    with pytest.raises(LLMTimeoutError):
        router.complete("r", "hi")


def test_a_wait_ends_when_it_is_woken_or_time_is_advanced() -> None:
    clock, woken = FakeClock(now=5.0), Future[None]()
    for _ in range(3):
        clock.hold()
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(clock.wait, woken, 100), pool.submit(clock.sleep, 7)]
        woken.set_result(None)
        waits[0].result()
        clock.advance(7)
        waits[1].result()
    assert clock.now >= 12 and clock.sleeps[0] == 7
