"""Runs of the engine `vendor` in tests: rows, what they are answered, and runs that are ended early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from helpers.support import FakeClock
from helpers.vendor_batches import VendorServer
from lee_llm_router import LeeLLMRouter
from lee_llm_router.batch.figures import BatchReport

ROWS = [{"id": f"r{number}", "prompt": f"row {number}"} for number in range(20)]
CAPITALS = {f"r{number}": f"ROW {number}" for number in range(20)}
MIXED = [
    {"id": name, "prompt": name}
    for name in ("good 1", "error 1", "expired 1", "missing 1", "twice 1", "good 2", "error 2", "expired 2")
]


def run(server: VendorServer, out: Path, rows: Any = ROWS, llm: Any = None, **options: Any) -> BatchReport:
    clock = options.pop("clock", None) or FakeClock()
    store = options.pop("trace_store", False)
    config = {"llm": {**server.config(), **(llm or {})}}
    with LeeLLMRouter(config, trace_store=store, clock=clock) as router:
        return router.batch(rows, out=out, engine="vendor", **options)


def stop_at(server: VendorServer, event: str, times: int, out: Path, rows: Any = ROWS, *, is_done: bool = True) -> None:
    """Run a batch, and cancel it when something is asked of the server for the n-th time, done there or not."""

    async def main() -> None:
        config = {"llm": server.config()}
        async with LeeLLMRouter(config, trace_store=False, clock=FakeClock()) as router:
            task = asyncio.ensure_future(router.batch_async(rows, out=out, engine="vendor"))
            loop, begun = asyncio.get_running_loop(), server.times(event)

            def cancel(now: str) -> None:
                if now == event and server.times(event) >= begun + times:
                    loop.call_soon_threadsafe(task.cancel)
                    raise OSError

            setattr(server, "after" if is_done else "before", cancel)
            with pytest.raises(asyncio.CancelledError):
                await task
            server.after = server.before = lambda event: None

    asyncio.run(main())


async def slowly(rows: Any, server: VendorServer) -> AsyncIterator[Any]:
    """Rows, the first of which comes once the server has been asked for results."""
    wanted, begun = ("status" if server.vendor == "gemini" else "results"), len(server.seen)
    while wanted not in server.seen[begun:]:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    for row in rows:
        yield row
