"""One subject in a process of its own, told what to do by lines of JSON on standard input.

``python -m speed.worker NAME CASE URL``; every line gets one line of JSON back. ``{"calls": n}`` measures n calls (or
n streamed answers) after a warm-up; ``{"grow": [1000, 10000]}`` tells the memory held after so many calls.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable, Coroutine
from time import perf_counter, process_time
from typing import Any

from speed.catalog import SUBJECTS
from speed.limits import allow_many_files, resident_bytes
from speed.subject import Made
from speed.wire import TEXT

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class WrongAnswerError(Exception):
    """The subject did not get what the server sent."""


class Worker:
    """Makes calls of one subject in one way."""

    def __init__(self, made: Made, case: str, run: Run) -> None:
        self._made = made
        self._run = run
        kind, _, count = case.partition("-")
        self._at_once = int(count or 1)
        self._kind = kind
        self._expected = TEXT if made.expected is None else made.expected

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what one line of JSON says; what to say back."""
        if "grow" in order:
            return {"bytes": self._grow(order["grow"])}
        return self._measure(order["calls"])

    def _measure(self, calls: int) -> dict[str, Any]:
        self._check()
        self._make(min(calls, 2 * self._at_once))
        gc.collect()
        wall, cpu = perf_counter(), process_time()
        units = self._make(calls)
        cpu, wall = process_time() - cpu, perf_counter() - wall
        return {"cpu": cpu / units * 1e6, "wall": wall / units * 1e6, "seconds": wall}

    def _grow(self, steps: list[int]) -> list[int]:
        held, done = [], 0
        for step in steps:
            self._make(step - done)
            done = step
            gc.collect()
            held.append(resident_bytes())
        return held

    def _make(self, calls: int) -> int:
        """Make so many calls; how many units (calls, streamed pieces) that were."""
        if self._kind == "sync":
            ask = self._made.ask_sync
            assert ask is not None
            for _ in range(calls):
                ask()
            return calls
        if self._kind == "chunk":
            pieces: int = self._run(self._stream(calls))
            return pieces
        self._run(self._ask(calls))
        return calls

    async def _ask(self, calls: int) -> None:
        ask = self._made.ask
        assert ask is not None
        if self._at_once == 1:
            for _ in range(calls):
                await ask()
            return

        async def lane(count: int) -> None:
            for _ in range(count):
                await ask()

        each, more = divmod(calls, self._at_once)
        await asyncio.gather(*(lane(each + (place < more)) for place in range(self._at_once)))

    async def _stream(self, calls: int) -> int:
        stream = self._made.stream
        assert stream is not None
        return sum([await stream() for _ in range(calls)])

    def _check(self) -> None:
        """A subject that is quick because it does nothing would be worthless."""
        made = self._made
        if self._kind == "sync" and made.ask_sync is not None:
            answer = made.ask_sync()
        elif self._kind == "async" and made.ask is not None:
            answer = self._run(_awaited(made.ask))
        else:
            return
        if answer != self._expected:
            raise WrongAnswerError(f"{answer!r:.100}")


async def _awaited(ask: Callable[[], Any]) -> Any:
    return await ask()


async def _made(name: str, url: str, case: str) -> Made:
    return SUBJECTS[name].make(url, case)


def main(name: str, case: str, url: str) -> None:
    """Serve the orders on standard input."""
    allow_many_files()
    # What a library prints must not end up among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with asyncio.Runner() as runner:
        run: Run = runner.run
        made = SUBJECTS[name].make(url, case) if case == "sync" else run(_made(name, url, case))
        worker = Worker(made, case, run)
        for line in sys.stdin:
            try:
                told = worker.obey(json.loads(line))
            except Exception as error:  # noqa: BLE001 - a subject may raise anything; the others go on
                told = {"error": f"{type(error).__name__}: {error}"[:300]}
            print(json.dumps(told), file=answers, flush=True)
        made.closing.close()
    answers.close()
    os._exit(0)  # SDKs leave threads and clients behind that would complain or hang


if __name__ == "__main__":
    main(*sys.argv[1:])
