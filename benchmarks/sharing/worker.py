"""One of several processes that share: ``python worker.py JSON``, told by `Task` what to do. Prints lines of JSON.

It says ``ready`` once its router is built, and begins when a line comes in, so that all begin together.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from math import inf
from pathlib import Path
from time import perf_counter, sleep, time
from typing import Any

from lee_llm_router import LeeLLMRouter, LLMRouterError, RouterEvent, TraceRecord

POLL = 0.002
WARMING = 2.5
"""Seconds in which connections are made, and calls take longer."""


@dataclass(frozen=True)
class Task:
    """What a worker does."""

    config: dict[str, Any]
    what: str
    """``calls``: for some seconds; ``break``: calls until the breaker opens; ``watch``: waits until it is open."""
    at_once: int = 16
    seconds: float = 60.0
    role: str = "r"
    beside: bool = False
    """Whether as many calls are made by a router that shares nothing."""


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def calls(router: LeeLLMRouter, task: Task) -> dict[str, Any]:
    """Make calls, so many at once, for as long as the task says; return how they ended.

    Those still under way at the end are given up, and do not count.
    """
    errors: Counter[str] = Counter()
    answered = 0

    async def caller() -> None:
        nonlocal answered
        while True:
            try:
                await router.complete_async(task.role, "hi")
            except LLMRouterError as error:
                errors[str(error)[:200]] += 1
            else:
                answered += 1

    # What is imported and built for the first calls of a process is no matter of limits.
    await asyncio.gather(*(router.complete_async("warming", "hi") for _ in range(task.at_once)))
    callers = [asyncio.ensure_future(caller()) for _ in range(task.at_once)]
    await asyncio.sleep(task.seconds)
    found = {"answered": answered, "errors": dict(errors)}
    for one in callers:
        one.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    return found


class Held:
    """Keeps how long the router held a call at most before it was sent: its number tells when it began."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.counts_from = inf
        """A moment in seconds since 1970."""

    def write(self, record: TraceRecord) -> None:
        began = int(record.request_id.replace("-", "")[:12], 16) / 1000
        if began > self.counts_from and record.attempt is not None:
            sent = datetime.fromisoformat(record.started_at).timestamp()
            self.longest = max(self.longest, sent - began)


async def calls_side_by_side(router: LeeLLMRouter, task: Task, held: Held) -> dict[str, Any]:
    """As `calls`, beside as many of a router that shares nothing: what slows down both is not the state's doing."""
    alone = {"llm": {name: value for name, value in task.config["llm"].items() if name != "state"}}
    usual = Held()

    def begin() -> None:
        held.counts_from = usual.counts_from = time()

    with LeeLLMRouter(alone, trace_store=usual) as other:
        asyncio.get_running_loop().call_later(WARMING, begin)
        made = await asyncio.gather(calls(router, task), calls(other, task))
    return {**made[0], "longest": held.longest, "usual": usual.longest}


class Doings:
    """Counts how often the shared state was lost and joined."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def emit(self, event: RouterEvent) -> None:
        if event.event.startswith("state."):
            self.counts[event.event] += 1


def opens(router: LeeLLMRouter) -> bool:
    return any(one.state != "closed" for one in router.health().values())


def break_it(router: LeeLLMRouter, task: Task) -> None:
    """Call a broken target until its breaker is open; tell when it was."""
    while not opens(router):
        try:
            router.complete(task.role, "hi")
        except LLMRouterError:
            continue
    say(open_at=time())


def watch(router: LeeLLMRouter, task: Task) -> None:
    """Ask once, so that the target is known here, and wait until its breaker is open; tell when it was."""
    with suppress(LLMRouterError):
        router.complete(task.role, "hi")
    say(waits=True)
    ends = perf_counter() + task.seconds
    while not opens(router) and perf_counter() < ends:
        sleep(POLL)
    say(open_at=time() if opens(router) else None)


def main(task: Task) -> None:
    doings, held = Doings(), Held()
    with LeeLLMRouter(task.config, trace_store=held, event_sink=doings) as router:
        say(ready=True)
        sys.stdin.readline()
        if task.what == "calls":
            made = calls_side_by_side(router, task, held) if task.beside else calls(router, task)
            say(**asyncio.run(made), doings=doings.counts)
        else:
            {"break": break_it, "watch": watch}[task.what](router, task)
        sys.stdin.readline()


class Worker:
    """A worker process, as those see it that begin it."""

    def __init__(self, task: Task) -> None:
        environment = {**os.environ, "NO_PROXY": "*"}
        self._child = subprocess.Popen(
            [sys.executable, __file__, json.dumps(asdict(task))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert self.heard()["ready"]

    def begin(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()

    def heard(self) -> dict[str, Any]:
        """The next thing that it says."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line, "a worker has ended"
        said: dict[str, Any] = json.loads(line)
        return said

    def end(self) -> None:
        """Let it close its router and end."""
        self.begin()
        self._child.communicate(timeout=60)

    def kill(self) -> None:
        self._child.kill()
        self._child.communicate()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main(Task(**json.loads(sys.argv[1])))
