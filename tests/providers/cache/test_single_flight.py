"""Equal calls at once: one asks, and all get its answer, in threads and tasks alike."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from helpers.cache_support import cached_router
from lee_llm_router._util.clock import SYSTEM_CLOCK
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.response import LLMResponse

MANY = 100


def _wait_until_together(router: Any, count: int) -> None:
    """Wait until `count` calls are in one flight; tests look inside to need no sleeping."""
    caches = router._assembly._caches._caches.values()
    while not any(len(members) >= count for cache in caches for members in [*cache.flights._flights.values()]):
        threading.Event().wait(0.001)


def test_a_hundred_threads_make_one_request() -> None:
    with cached_router(clock=SYSTEM_CLOCK) as (router, asked), ThreadPoolExecutor(MANY) as pool:
        asked.pause = lambda: _wait_until_together(router, MANY)
        answers = list(pool.map(lambda _: router.complete("r", "hi"), range(MANY)))
        assert asked.count == 1
        assert {answer.text for answer in answers} == {"1: hi"}
        assert sum(answer.cached for answer in answers) == MANY - 1
        assert len({answer.request_id for answer in answers}) == MANY


def test_a_hundred_tasks_threads_and_streams_make_one_request() -> None:
    with cached_router(clock=SYSTEM_CLOCK) as (router, asked):
        asked.pause = lambda: _wait_until_together(router, MANY)

        async def streamed() -> LLMResponse:
            stream = router.stream_async("r", "hi")
            async with stream:
                [chunk async for chunk in stream]
            assert stream.response is not None
            return stream.response

        async def all_at_once() -> list[LLMResponse]:
            whole = [router.complete_async("r", "hi") for _ in range(40)]
            pieces = [streamed() for _ in range(30)]
            threads = [asyncio.to_thread(router.complete, "r", "hi") for _ in range(30)]
            return await asyncio.gather(*whole, *pieces, *threads)

        async def main() -> list[LLMResponse]:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(MANY))
            return await all_at_once()

        answers = asyncio.run(main())
        assert asked.count == 1
        assert {answer.text for answer in answers} == {"1: hi"}


def test_a_failed_flight_fails_nobody_else() -> None:
    with (
        cached_router(clock=SYSTEM_CLOCK, role={"retry": {"attempts": 1, "patience": 0}}) as (router, asked),
        ThreadPoolExecutor(3) as pool,
    ):
        asked.fails = True

        def pause() -> None:
            if asked.count == 1:
                _wait_until_together(router, 3)
            else:
                asked.fails = False

        asked.pause = pause

        def ask(_: int) -> str:
            try:
                return router.complete("r", "hi").text[1:]
            except LLMRouterError:
                return "failed"

        outcomes = sorted(pool.map(ask, range(3)))
        assert outcomes.count("failed") == 1
        assert asked.count in (2, 3)


def test_a_cancelled_leader_hands_over_to_one() -> None:
    with cached_router(clock=SYSTEM_CLOCK) as (router, asked):
        released = threading.Event()

        def pause() -> None:
            if asked.count == 1:
                released.wait(10)

        asked.pause = pause

        async def main() -> list[LLMResponse]:
            leader = asyncio.ensure_future(router.complete_async("r", "hi"))
            while not asked.count:
                await asyncio.sleep(0)
            others = [asyncio.ensure_future(router.complete_async("r", "hi")) for _ in range(9)]
            await asyncio.to_thread(_wait_until_together, router, 10)
            leader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leader
            return await asyncio.gather(*others)

        try:
            answers = asyncio.run(main())
        finally:
            released.set()
        assert asked.count == 2
        assert {answer.text for answer in answers} == {"2: hi"}


def test_a_cancelled_follower_is_missed_by_nobody() -> None:
    with cached_router(clock=SYSTEM_CLOCK) as (router, asked):
        released = threading.Event()
        asked.pause = lambda: released.wait(10)

        async def main() -> LLMResponse:
            leader = asyncio.ensure_future(router.complete_async("r", "hi"))
            while not asked.count:
                await asyncio.sleep(0)
            follower = asyncio.ensure_future(router.complete_async("r", "hi"))
            await asyncio.to_thread(_wait_until_together, router, 2)
            follower.cancel()
            with pytest.raises(asyncio.CancelledError):
                await follower
            released.set()
            return await leader

        assert asyncio.run(main()).text == "1: hi"


def test_one_thread_may_read_two_equal_streams_by_turns() -> None:
    with cached_router(text="abc") as (router, asked):
        with router.stream("r", "hi") as one, router.stream("r", "hi") as other:
            pairs = [a.text + b.text for a, b in zip(one, other, strict=False)]
        assert pairs[:3] == ["aa", "bb", "cc"]
        assert asked.count == 2


def test_effects_are_not_shared() -> None:
    with cached_router(clock=SYSTEM_CLOCK, effects="external") as (router, asked), ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: router.complete("r", "hi"), range(4)))
        assert asked.count == 4
        assert len({answer.text for answer in answers}) == 4
