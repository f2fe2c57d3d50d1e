"""A batch against calls of `complete_async` at the same concurrency, and its memory over many rows.

    python benchmarks/batch.py              # 200,000 rows; takes some minutes
    python benchmarks/batch.py 20000        # as many rows as given

Both ask a loopback server in a process of its own, in turns. The rate is compared in CPU time of the asking process,
which is what limits it: a second process, and what else the machine does, would disturb a clock on the wall. Both
transports are measured: the quicker a call is, the more weighs what a batch does beside it. Exits 1 if the rate of the
batch is below 90% over either, if memory grows by more than 10 MB from the first tenth of the rows to the last, or if a
row has no answer or two.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

from lee_llm_router import BatchReport, LeeLLMRouter

ROWS = 200_000
AT_ONCE = 64
TRANSPORTS = ("httpx", "httptools")
ROUNDS = 7
ROWS_OF_ROUND = 4_000
LEAST_RATE = 0.9
MOST_GROWTH = 10.0
"""MB."""


@contextmanager
def serving() -> Iterator[int]:
    """Run the server of the speed benchmark, and give its port."""
    line = [sys.executable, "-m", "speed.server", "1"]
    with subprocess.Popen(line, cwd=Path(__file__).parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None and server.stdout is not None
        yield int(server.stdout.readline())
        server.stdin.close()


def prompt(number: int) -> str:
    return f"Say in one word what the text with the number {number} is about."


def write_rows(path: Path, count: int) -> None:
    with path.open("w") as file:
        file.writelines(json.dumps({"id": f"r{number}", "prompt": prompt(number)}) + "\n" for number in range(count))


def router_for(port: int, folder: Path, transport: str) -> LeeLLMRouter:
    llm: dict[str, Any] = {
        "providers": {"p": {"type": "http", "base_url": f"http://127.0.0.1:{port}/v1", "transport": transport}},
        "roles": {"r": {"provider": "p", "model": "m"}},
        "trace": {"dir": str(folder / "traces")},
    }
    return LeeLLMRouter({"llm": llm})


async def ask_plainly(router: LeeLLMRouter, count: int) -> None:
    """Ask as many rows as a program would that reads nothing, keeps nothing and writes nothing."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await router.complete_async("r", prompt(number))

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def rates(router: LeeLLMRouter, folder: Path, name: str) -> tuple[float, float]:
    """Return how fast a batch is compared with plain calls: by CPU time, and by the clock on the wall."""
    rows = folder / "round.jsonl"
    write_rows(rows, ROWS_OF_ROUND)
    by_cpu, by_wall = [], []
    for number in range(ROUNDS + 1):
        began, began_cpu = perf_counter(), process_time()
        await ask_plainly(router, ROWS_OF_ROUND)
        half, half_cpu = perf_counter(), process_time()
        await router.batch_async(rows, out=folder / f"{name}{number}.jsonl", role="r", concurrency=AT_ONCE)
        if number:  # the first round warms up
            by_cpu.append((half_cpu - began_cpu) / (process_time() - half_cpu))
            by_wall.append((half - began) / (perf_counter() - half))
            print(f"{name}, round {number}: {by_cpu[-1]:.1%} by CPU time, {by_wall[-1]:.1%} by the clock", flush=True)
    return median(by_cpu), median(by_wall)


def resident_mb() -> float:
    """Return the memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def memory(router: LeeLLMRouter, folder: Path, count: int) -> tuple[float, float, BatchReport]:
    """Return the memory in the first and in the last tenth of a batch of `count` rows, and its report."""
    rows = folder / "rows.jsonl"
    write_rows(rows, count)
    seen: list[tuple[float, float]] = []
    out = folder / "out.jsonl"
    report = await router.batch_async(
        rows, out=out, role="r", concurrency=AT_ONCE,
        progress=lambda figures: seen.append((figures.done / count, resident_mb())),
    )  # fmt: skip
    with out.open() as lines:
        ids = {json.loads(line)["id"] for line in lines}
    assert len(ids) == report.answered == count, "a row has no answer, or two"
    first = [mb for share, mb in seen if share <= 0.1] or [seen[0][1]]
    last = [mb for share, mb in seen if share > 0.9]
    return max(first), max(last), report


async def main(count: int) -> int:
    worst = 1.0
    with serving() as port, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for transport in TRANSPORTS:
            async with router_for(port, folder, transport) as router:
                by_cpu, by_wall = await rates(router, folder, transport)
            print(f"over {transport} a batch has {by_cpu:.1%} of the rate of plain calls ({by_wall:.1%} by the clock)")
            worst = min(worst, by_cpu)
        async with router_for(port, folder, TRANSPORTS[-1]) as router:
            first, last, report = await memory(router, folder, count)
    print(
        f"{count:,} rows at {report.rows_per_second:,.0f} a second: {first:.1f} MB in the first tenth, {last:.1f} MB in"
        f" the last\nwanted: a rate of {LEAST_RATE:.0%}, at most {MOST_GROWTH:g} MB more"
    )
    return int(worst < LEAST_RATE or last - first > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)))
