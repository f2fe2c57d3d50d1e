"""Streams left by `break` and dropped, in a crowd; and waiting calls with as many models as calls. Half a minute.

Run it with ``python benchmarks/left_streams.py``. Exits 1 unless

- of 64 threads at a limit of 2, where every second call is a stream left by `break`, all 1,280 calls end;
- 10,000 rounds of a dropped stream and a call, with the store of `examples/custom_trace_store.py`, end and leave a
  record each; in every tenth the stream is left to the garbage collector, which runs while the store holds its lock;
- 2,000 waiting calls with a model each cost at most 1.5 times the CPU of 2,000 with one model, and are served in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import runpy
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from lee_llm_router import LeeLLMRouter, TraceRecord

EXAMPLE = Path(__file__).parents[1] / "examples" / "custom_trace_store.py"
THREADS, CALLS = 64, 20
ROUNDS = 10_000
COLLECT_EVERY = 10
WAITING = 2_000
MOST = 1.5
HANG = 40.0
"""Seconds after which what has not ended is taken to hang."""


def router(store: Any = False, **provider: Any) -> LeeLLMRouter:
    settings = {"type": "mock", **provider}
    role = {"provider": "p", "model": "m", "timeout": 60, "deadline": HANG}
    return LeeLLMRouter({"llm": {"providers": {"p": settings}, "roles": {"r": role}}}, trace_store=store)


def ends(*works: Callable[[], object]) -> bool:
    """Run `works` in a thread each; return whether all have ended in time."""
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    until = perf_counter() + HANG
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - perf_counter()))
    return not any(thread.is_alive() for thread in threads)


def in_flight(asked: LeeLLMRouter) -> int:
    return sum(target.in_flight + target.waiting for target in asked.health().values())


def crowd() -> bool:
    """Every second call of each thread is a stream left by `break`."""
    asked = router(max_concurrency=2, script=[{"text": "one two three", "delay": 0.001}])
    ended = []

    def work() -> None:
        for number in range(CALLS):
            if number % 2:
                ended.append(asked.complete("r", "hi").text)
            else:
                for chunk in asked.stream("r", "hi"):
                    ended.append(chunk.text)
                    break

    began = perf_counter()
    all_ended = ends(*[work] * THREADS)
    print(f"crowd: {len(ended)} of {THREADS * CALLS} calls ended in {perf_counter() - began:.1f} s, ", end="")
    print(f"{in_flight(asked)} in flight")
    return all_ended and len(ended) == THREADS * CALLS and not in_flight(asked)


def example_store() -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        store_class = runpy.run_path(str(EXAMPLE))["SQLiteTraceStore"]

    class Collecting(store_class):  # type: ignore[misc, valid-type]
        """The store of the example, with a collection now and then where it holds its lock."""

        class Lock:
            def __init__(self) -> None:
                self.lock = threading.Lock()
                self.taken = 0

            def __enter__(self) -> None:
                self.lock.acquire()
                self.taken += 1
                if self.taken % COLLECT_EVERY == 0:
                    gc.collect(0)

            def __exit__(self, *_: object) -> None:
                self.lock.release()

        def __init__(self) -> None:
            super().__init__(":memory:")
            self._lock = self.Lock()

    return Collecting()


def dropped() -> bool:
    """A dropped stream and a call, again and again; some of the streams are in a cycle that the collector finds."""
    store = example_store()
    asked = router(store)
    done = 0

    def work() -> None:
        nonlocal done
        for number in range(ROUNDS):
            stream = asked.stream("r", "hi")
            next(stream)
            if number % COLLECT_EVERY == 0:
                ring: list[object] = [stream]
                ring.append(ring)
                del ring
            del stream
            asked.complete("r", "hi")
            done += 1
        gc.collect()

    began = perf_counter()
    all_ended = ends(work)
    query = "SELECT json_extract(record, '$.outcome'), count(*) FROM trace GROUP BY 1 ORDER BY 1"
    counts: dict[str, int] = {}
    while all_ended and perf_counter() < began + HANG and sum(counts.values()) < 2 * ROUNDS:
        with store._lock:
            counts = dict(store.connection.execute(query))
    print(f"dropped: {done} of {ROUNDS} rounds in {perf_counter() - began:.1f} s, records {counts}, ", end="")
    print(f"{in_flight(asked)} in flight, {asked.telemetry_errors} errors of the store")
    return counts == {"cancelled": ROUNDS, "ok": ROUNDS} and not in_flight(asked) and not asked.telemetry_errors


class Order(list[int]):
    """A trace store that keeps the numbers of the calls."""

    def write(self, record: TraceRecord) -> None:
        self.append(record.metadata["n"])


def waiting(models: int) -> tuple[float, bool]:
    """Let calls with `models` models wait for one limit; return the CPU seconds, and whether they kept their order."""
    order = Order()
    asked = router(order, max_concurrency=5, script=[{"text": "hi", "delay": 0.0005}])

    async def main() -> None:
        calls = [
            asked.complete_async("r", "hi", model=f"m{number % models}", metadata={"n": number})
            for number in range(WAITING)
        ]
        await asyncio.gather(*calls)

    began = process_time()
    asyncio.run(main())
    # The five under way at a time end in any order.
    return process_time() - began, all(abs(number - place) < 10 for place, number in enumerate(order))


def models() -> bool:
    """The best of several runs each, in turn, so that a busy machine does both the same harm."""
    runs = [(waiting(1), waiting(WAITING)) for _ in range(4)]
    one, many = (min(run[which][0] for run in runs) for which in (0, 1))
    in_order = all(ordered for run in runs for _, ordered in run)
    print(f"models: {WAITING} waiting calls, one model {one:.2f} s CPU, a model each {many:.2f} s: ", end="")
    print(f"{many / one:.2f} times; {'in order' if in_order else 'OUT OF ORDER'}")
    return many <= MOST * one and in_order


def main() -> int:
    kept = [crowd(), dropped(), models()]
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())
