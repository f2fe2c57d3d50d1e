"""Reading streams of the `http` provider through the router, sync and async."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from helpers.servers import open_descriptors
from helpers.support import Memory
from lee_llm_router import LeeLLMRouter, LLMConfig, LLMResponse, LLMRouterError, StreamChunk
from lee_llm_router.config import load_config

HANG = 8.0
"""Seconds: far more than any call here may take, far less than for ever."""
IDLE = 0.4
PATIENT = 20.0
"""Seconds no busy machine makes an answer wait that is on its way."""


@dataclass
class Ended:
    """What came of a stream."""

    chunks: list[StreamChunk] = field(default_factory=list)
    response: LLMResponse | None = None
    error: LLMRouterError | None = None

    @property
    def text(self) -> str:
        return "".join("|" if chunk.restart else chunk.text for chunk in self.chunks)

    @property
    def ends(self) -> str:
        return self.error.failure_type.value if self.error else "whole"


def config_to(*urls: str, role: Any = None, **settings: Any) -> LLMConfig:
    names = [f"p{number}" for number in range(len(urls))]
    settings = {"type": "http", "model": "m", **settings}
    return load_config(
        {
            "llm": {
                "providers": {name: {**settings, "base_url": url} for name, url in zip(names, urls, strict=True)},
                "roles": {
                    "r": {
                        "provider": names[0],
                        "fallback_providers": names[1:],
                        "timeout": 5,
                        "stream": {"idle_timeout": PATIENT},
                        "retry": {"attempts": 2},
                        **(role or {}),
                    }
                },
                "trace": {"enabled": False},
            }
        }
    )


def router_of(config: LLMConfig, memory: Memory | None = None) -> LeeLLMRouter:
    return LeeLLMRouter(config, trace_store=memory or Memory(), random=lambda: 0.0)


def router_to(*urls: str, memory: Memory | None = None, role: Any = None, **settings: Any) -> LeeLLMRouter:
    return router_of(config_to(*urls, role=role, **settings), memory)


def read_sync(router: LeeLLMRouter, **options: Any) -> Ended:
    ended = Ended()
    stream = router.stream("r", "hi", **options)
    try:
        for chunk in stream:
            ended.chunks.append(chunk)
        ended.response = stream.response
    except LLMRouterError as error:
        ended.error = error
    return ended


def read_async(router: LeeLLMRouter, **options: Any) -> Ended:
    async def main() -> Ended:
        ended = Ended()
        stream = router.stream_async("r", "hi", **options)
        try:
            async for chunk in stream:
                ended.chunks.append(chunk)
            ended.response = stream.response
        except LLMRouterError as error:
            ended.error = error
        await router.aclose()
        return ended

    return asyncio.run(main())


Read = Callable[..., Ended]
READERS: dict[str, Read] = {"sync": read_sync, "async": read_async}


def reader(name: str) -> Read:
    """Reads one stream to its end, in time, and closes the router."""

    def bounded(router: LeeLLMRouter, **options: Any) -> Ended:
        started = monotonic()
        ended = READERS[name](router, **options)
        router.close()
        assert monotonic() - started < HANG
        return ended

    return bounded


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Within it, whatever is opened is closed."""
    before = open_descriptors()
    gc.collect()
    gc.freeze()  # so that the collection below, and that of the next test, look at what is new alone
    yield
    gc.collect()
    assert open_descriptors() <= before


def is_hello(ended: Ended) -> None:
    """The whole answer of `stream_servers.EVENTS` came, its pieces counted."""
    assert ended.ends == "whole" and ended.text == "hello", ended.error
    assert ended.response is not None and ended.response.text == "hello"
    assert [chunk.index for chunk in ended.chunks] == list(range(len(ended.chunks)))
