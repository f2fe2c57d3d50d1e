"""What sharing costs a call in CPU time: this process's own, threads included."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from statistics import median
from time import process_time
from typing import Any

from lee_llm_router import LeeLLMRouter
from sharing.scenes import Measured, config
from sharing.server import serving

AT_ONCE, CALLS, ROUNDS = 64, 2000, 7
MOST_US = 60.0


def cost_of_a_call(state: Mapping[str, Any]) -> list[Measured]:
    """CPU time of a call with the state beyond that of one without: the median of rounds side by side."""
    limits = {"rpm": 600_000, "max_concurrency": 1000}
    with (
        serving() as server,
        LeeLLMRouter(config(f"{server.url}/free", None, **limits), trace_store=False) as plain,
        LeeLLMRouter(config(f"{server.url}/free", state, **limits), trace_store=False) as sharing,
    ):
        more, without = asyncio.run(_rounds(plain, sharing))
    return [Measured(f"CPU of a call at {AT_ONCE} at once, beyond {without:.0f} us without", more, "us", MOST_US)]


async def _rounds(plain: LeeLLMRouter, sharing: LeeLLMRouter) -> tuple[float, float]:
    for router in (plain, sharing):
        await _batch(router)
    found = [(await _batch(plain), await _batch(sharing)) for _ in range(ROUNDS)]
    return median(shared - alone for alone, shared in found), median(alone for alone, _ in found)


async def _batch(router: LeeLLMRouter) -> float:
    """Microseconds of CPU time a call."""
    left = iter(range(CALLS))

    async def caller() -> None:
        for _ in left:
            await router.complete_async("r", "hi")

    began = process_time()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return (process_time() - began) / CALLS * 1e6
