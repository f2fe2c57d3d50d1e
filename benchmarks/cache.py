"""What a kept answer costs, and how many requests equal calls at once make.

Run it with ``python benchmarks/cache.py``: half a minute; ``--quick``: a few seconds. Times are CPU time of the whole
process for one call of `complete` (and of `complete_async`), the least of several rounds; a call that asks the mock
provider stands beside them. The question has 500 characters, the answer 300. With Redis (``--redis URL``) the thread
that asks it is counted too. Exits 1 if a bar is missed: 30 us for a hit in memory, 200 us in SQLite, one request for
100 equal calls at once.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

from lee_llm_router import LeeLLMRouter, LLMRequest, LLMResponse, WrapperProvider
from lee_llm_router.providers.base import Capabilities

QUESTION = "What does this text say about the weather in the north? " * 9
ANSWER = "It says that it rains there more often than not. " * 6
MEMORY_US, SQLITE_US, AT_ONCE = 30.0, 200.0, 100


def router_with(cache: dict[str, Any] | None, *, traces: str | None = None, **more: Any) -> LeeLLMRouter:
    """Return a router over the mock provider, whose role has the cache."""
    role = {"provider": "mock", "model": "m", "temperature": 0, **({} if cache is None else {"cache": cache})}
    trace = {"enabled": False} if traces is None else {"dir": traces}
    providers = {"mock": {"type": "mock", "response_text": ANSWER}}
    return LeeLLMRouter({"llm": {"providers": providers, "roles": {"r": role}, "trace": trace}}, **more)


def us_a_call(ask: Callable[[], object], count: int, rounds: int = 7) -> float:
    """Return microseconds of CPU for one call of `ask`, in the best of several rounds."""
    ask()
    took = []
    for _ in range(rounds):
        began = process_time()
        for _ in range(count):
            ask()
        took.append(process_time() - began)
    return min(took) / count * 1e6


def us_of_router(router: LeeLLMRouter, count: int) -> tuple[float, float]:
    """Return microseconds of CPU of a call, sync and async."""
    sync = us_a_call(lambda: router.complete("r", QUESTION), count)

    async def rounds() -> float:
        await router.complete_async("r", QUESTION)
        took = []
        for _ in range(7):
            began = process_time()
            for _ in range(count):
                await router.complete_async("r", QUESTION)
            took.append(process_time() - began)
        return min(took) / count * 1e6

    return sync, asyncio.run(rounds())


class Slow(WrapperProvider):
    """Answers once all calls are there."""

    asked = 0

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """Keeps its timeout."""
        return Capabilities(bounded=True)

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Count the request, and answer after a while."""
        Slow.asked += 1
        threading.Event().wait(0.3)
        return self.inner.complete(request, timeout)

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """As `complete`."""
        Slow.asked += 1
        await asyncio.sleep(0.3)
        return await self.inner.complete_async(request, timeout)


def requests_at_once(cache: dict[str, Any], way: str) -> int:
    """Return how many requests `AT_ONCE` equal calls make: in threads, in tasks, or half of each."""
    Slow.asked = 0
    with router_with(cache, wrap_provider=Slow) as router, ThreadPoolExecutor(AT_ONCE) as pool:

        async def tasks(count: int) -> None:
            await asyncio.gather(*(router.complete_async("r", QUESTION) for _ in range(count)))

        in_threads = {"threads": AT_ONCE, "tasks": 0, "both": AT_ONCE // 2}[way]
        started = [pool.submit(router.complete, "r", QUESTION) for _ in range(in_threads)]
        asyncio.run(tasks(AT_ONCE - in_threads))
        for one in started:
            one.result()
    return Slow.asked


def rows(folder: str, count: int, redis: str | None) -> Iterator[tuple[str, float, float, float | None]]:
    """Yield what a call costs: name, us sync, us async, and the bar."""
    memory = {"type": "memory"}
    sqlite = {"type": "sqlite", "path": f"{folder}/answers.sqlite"}
    with router_with(None) as router:
        yield ("asks the mock provider", *us_of_router(router, count), None)
    with router_with(memory) as router:
        yield ("hit in memory", *us_of_router(router, count), MEMORY_US)
    with router_with(memory, traces=f"{folder}/traces") as router:
        yield ("hit in memory, traced to a file", *us_of_router(router, count), None)
    with router_with(sqlite) as router:
        yield ("hit in SQLite", *us_of_router(router, count), SQLITE_US)
    if redis is not None:
        with router_with({"type": "redis", "url": redis, "namespace": "benchmark"}) as router:
            yield ("hit in Redis", *us_of_router(router, count // 4), None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer calls")
    parser.add_argument("--redis", metavar="URL", help="measure a cache in this Redis too")
    options = parser.parse_args(arguments)
    is_good = True
    with TemporaryDirectory() as folder:
        print(f"{'':34} {'sync us':>9} {'async us':>9} {'of asking':>10} {'bar us':>7}")
        asking = 0.0
        for name, sync, asynchronous, bar in rows(folder, 300 if options.quick else 2000, options.redis):
            asking = asking or sync
            good = bar is None or sync <= bar
            is_good &= good
            shown = "" if bar is None else f"{bar:7.0f}{'' if good else ' missed'}"
            print(f"{name:34} {sync:9.1f} {asynchronous:9.1f} {sync / asking:10.2f} {shown}")
        for kind in ("memory", "sqlite"):
            for way in ("threads", "tasks", "both"):
                path = {"path": str(Path(folder) / f"{way}.sqlite")} if kind == "sqlite" else {}
                count = requests_at_once({"type": kind, **path}, way)
                is_good &= count == 1
                print(f"{AT_ONCE} equal calls at once, {kind}, {way}: {count} request{'' if count == 1 else 's'}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
