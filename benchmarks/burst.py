"""A burst over a vendor's limit: 90 calls at once where 60 a minute are allowed. Takes a good minute.

Run it with ``python benchmarks/burst.py``. Exits 1 unless all come out whole, at most 45 requests are refused, and
none is sent before the time the vendor named.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from time import perf_counter
from typing import Any

from _server import running
from lee_llm_router import LeeLLMRouter, TraceRecord

CALLS = 90
MOST_REFUSED = 45


class Records(list[TraceRecord]):
    """A trace store in memory."""

    write = list.append


def too_early(records: list[TraceRecord]) -> int:
    """Attempts that began after a refusal had come in and before the time it named."""
    until, early = 0.0, 0
    moments = []
    for record in records:
        began = datetime.fromisoformat(record.started_at).timestamp()
        moments.append((began, "begin", 0.0))
        if record.retry_after is not None:
            moments.append((began + record.elapsed_ms / 1000, "refused", record.retry_after))
    for at, what, seconds in sorted(moments):
        if what == "refused":
            until = max(until, at + seconds)
        else:
            early += at < until - 0.005  # records are rounded, and the two clocks are read one after the other
    return early


async def burst(router: LeeLLMRouter) -> list[Any]:
    calls = [router.complete_async("r", "hi") for _ in range(CALLS)]
    ended: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
    return ended


def main() -> int:
    records = Records()
    with running("limited") as server:
        config: dict[str, Any] = {
            "llm": {
                "providers": {"p": {"type": "http", "base_url": server.url}},
                "roles": {"r": {"provider": "p", "model": "m", "deadline": 120}},
            }
        }
        began = perf_counter()
        with LeeLLMRouter(config, trace_store=records) as router:
            answers = asyncio.run(burst(router))
        took = perf_counter() - began
        counts = server.counts()
    whole = sum(getattr(answer, "text", "") == "whole" for answer in answers)
    early = too_early(records)
    print(f"{whole} of {CALLS} whole in {took:.1f} s; {counts['requests']} requests, {counts['refused']} refused,")
    print(f"{early} sent before the time the vendor named")
    return int(whole != CALLS or counts["refused"] > MOST_REFUSED or early > 0)


if __name__ == "__main__":
    sys.exit(main())
