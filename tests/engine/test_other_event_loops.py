"""Asynchronous calls need asyncio, and say so at once, whoever runs them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

import pytest

from helpers.support import config_for, router_for
from lee_llm_router import InvalidRequestError, LeeLLMRouter
from lee_llm_router.engine.operation import COMPLETION
from lee_llm_router.errors import FailureType, error_for


class OwnLoop:
    """Runs coroutines as another library would: by sending into them, without asyncio."""

    @staticmethod
    def run(work: Callable[[], Awaitable[Any]]) -> Any:
        steps: Generator[Any, Any, Any] = work().__await__()
        try:
            while True:
                steps.send(None)
        except StopIteration as end:
            return end.value


async def _complete(router: LeeLLMRouter) -> Any:
    return await router.complete_async("r", "hi")


async def _perform(router: LeeLLMRouter) -> Any:
    return await router.perform_async(COMPLETION, "r", "hi")


async def _stream(router: LeeLLMRouter) -> Any:
    return [chunk async for chunk in router.stream_async("r", "hi")]


async def _entered(router: LeeLLMRouter) -> Any:
    async with router.stream_async("r", "hi") as stream:
        return [chunk async for chunk in stream]


WAYS = [_complete, _perform, _stream, _entered]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("plays", ["answer", "wait and answer"])
def test_without_asyncio_one_error_says_what_is_needed(way: Callable[..., Any], plays: str) -> None:
    """Nothing was tried, nobody was blamed, and the sync call still works."""
    scripts: dict[str, list[Any]] = {
        "answer": ["ok"],
        "wait and answer": [error_for(FailureType.OVERLOADED, "busy"), "ok"],
    }
    router, memory, _ = router_for(config_for({"a": scripts[plays], "b": ["ok"]}, {"retry": {"attempts": 2}}))
    with pytest.raises(InvalidRequestError, match="asyncio") as caught:
        OwnLoop.run(lambda: way(router))
    assert (caught.value.sent, caught.value.attempts, memory.records) == (False, (), [])
    assert router.health() == {}
    assert router.complete("r", "hi").text == "ok"


@pytest.mark.parametrize("way", WAYS)
def test_in_asyncio_of_any_thread_all_is_well(way: Callable[..., Any]) -> None:
    """A loop of its own in another thread, and one that runs by hand."""
    router, _, _ = router_for(config_for({"a": ["ok", "ok"]}))
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(asyncio.run(way(router))))
    thread.start()
    thread.join(30)
    loop = asyncio.new_event_loop()
    done.append(loop.run_until_complete(way(router)))
    loop.close()
    assert len(done) == 2


def test_a_stream_may_be_made_before_there_is_a_loop() -> None:
    """It needs one when it is read."""
    router, _, _ = router_for(config_for({"a": ["ok"]}))
    stream = router.stream_async("r", "hi")

    async def read(chunks: AsyncIterator[Any]) -> str:
        return "".join([chunk.text async for chunk in chunks])

    assert asyncio.run(read(stream)) == "ok"
