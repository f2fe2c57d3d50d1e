"""Many calls against a primary that fails 30% of the time in ten ways, with a healthy fallback.

Run it with ``python benchmarks/soak.py [CALLS] [CONCURRENCY]`` (20,000 and 200). Exits 1 unless every call has a whole
answer, the servers saw exactly the attempts that the trace says were sent, and memory stays flat.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from _server import running
from lee_llm_router import LeeLLMRouter, LLMRouterError

GROWTH_ALLOWED = 5 * 1024 * 1024


def memory() -> int:
    """Bytes this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def soak(router: LeeLLMRouter, calls: int, concurrency: int) -> tuple[int, list[LLMRouterError], list[int]]:
    """Whole answers, errors, and memory after each thousand calls."""
    left = iter(range(calls))
    whole, done, errors, sizes = 0, 0, [], []

    async def work() -> None:
        nonlocal whole, done
        for _ in left:
            try:
                answer = await router.complete_async("r", "hi")
                whole += answer.text == "whole"
            except LLMRouterError as error:
                errors.append(error)
            done += 1
            if done % 1000 == 0:
                sizes.append(memory())

    await asyncio.gather(*(work() for _ in range(concurrency)))
    return whole, errors, sizes


def main(calls: int, concurrency: int) -> int:
    with tempfile.TemporaryDirectory() as folder, running("flaky") as primary, running("healthy") as fallback:
        config: dict[str, Any] = {
            "llm": {
                "providers": {
                    "primary": {"type": "http", "base_url": primary.url},
                    "fallback": {"type": "http", "base_url": fallback.url},
                },
                "roles": {"r": {"provider": "primary", "model": "m", "fallback_providers": ["fallback"]}},
                "trace": {"dir": folder},
            }
        }
        with LeeLLMRouter(config) as router:
            whole, errors, sizes = asyncio.run(soak(router, calls, concurrency))
        seen = primary.counts()["requests"], fallback.counts()["requests"]
        lines = [json.loads(line) for path in Path(folder).glob("*.jsonl") for line in path.read_text().splitlines()]
        sent = tuple(sum(r["sent"] and r["provider"] == name for r in lines) for name in ("primary", "fallback"))
        skipped = sum(record["outcome"] == "skipped" for record in lines)
    growth = sizes[-1] - sizes[0] if sizes else 0
    print(f"calls {calls}, whole answers {whole}, errors {len(errors)}")
    print(f"requests the servers saw {seen}, records with sent {sent}, skips of an open breaker {skipped}")
    print(f"memory from the first to the last thousand: {growth / 1024:+.0f} KiB")
    for error in errors[:3]:
        print(error)
    return int(whole != calls or seen != sent or growth > GROWTH_ALLOWED)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(numbers + [20_000, 200][len(numbers) :])))
