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
from pathlib import Path
from time import perf_counter, sleep, time
from typing import Any

from lee_llm_router import LeeLLMRouter, LLMRouterError

POLL = 0.002


@dataclass(frozen=True)
class Task:
    """What a worker does."""

    config: dict[str, Any]
    what: str
    """``calls``: for some seconds; ``break``: calls until the breaker opens; ``watch``: waits until it is open."""
    at_once: int = 16
    seconds: float = 60.0
    role: str = "r"


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def calls(router: LeeLLMRouter, task: Task) -> None:
    """Make calls, so many at once, for as long as the task says; tell how they ended and how long each took."""
    ends = perf_counter() + task.seconds
    errors: Counter[str] = Counter()
    took: list[float] = []

    async def caller() -> None:
        while perf_counter() < ends:
            began = perf_counter()
            try:
                await router.complete_async(task.role, "hi", deadline=max(0.1, ends - began))
            except LLMRouterError as error:
                if perf_counter() < ends - 0.2:
                    errors[type(error).__name__] += 1
            else:
                took.append(perf_counter() - began)

    await asyncio.gather(*(caller() for _ in range(task.at_once)))
    say(answered=len(took), errors=errors, took=took)


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
    with LeeLLMRouter(task.config, trace_store=False) as router:
        say(ready=True)
        sys.stdin.readline()
        if task.what == "calls":
            asyncio.run(calls(router, task))
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
