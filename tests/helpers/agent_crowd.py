"""Many agents at once, a third of them killed at random moments."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from helpers.child_support import descriptors
from lee_llm_router import LLMRequest, LLMRouterError
from lee_llm_router.providers.agents.base import AgentProvider
from lee_llm_router.providers.child_process.process_tree import descendants

REQUEST = LLMRequest(messages=({"role": "user", "content": "hello"},), model="m")
_LIMIT = 300.0


def crowd(agents: Sequence[AgentProvider[Any]], seed: int, longest: float) -> Counter[str]:
    """Ask all agents at once; every third is cancelled, or a process of it killed, within `longest` seconds.

    Returns:
        How many ended in which way: `answer`, `cancelled`, or the type of a failure.
    """
    return asyncio.run(_crowd(agents, random.Random(seed), longest))


async def _crowd(agents: Sequence[AgentProvider[Any]], chance: random.Random, longest: float) -> Counter[str]:
    async def ask(agent: AgentProvider[Any]) -> str:
        try:
            response = await agent.complete_async(REQUEST, _LIMIT)
        except LLMRouterError as error:
            return error.failure_type.value
        return "answer" if response.text == "hello" else f"not the answer: {response.text!r}"

    async def kill(task: asyncio.Task[str], moment: float, program: str) -> None:
        await asyncio.sleep(moment)
        if chance.random() < 0.5:
            task.cancel()
        else:
            await asyncio.to_thread(_kill_one, program, chance.random())

    tasks = [asyncio.create_task(ask(agent)) for agent in agents]
    killers = [
        asyncio.create_task(kill(task, chance.uniform(0, longest), agent.config.program))
        for number, (task, agent) in enumerate(zip(tasks, agents, strict=True))
        if number % 3 == 0
    ]
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*killers)
    return Counter("cancelled" if isinstance(end, asyncio.CancelledError) else str(end) for end in ends)


def _kill_one(program: str, chance: float) -> None:
    """Kill one of the processes that run a program."""
    found = [pid for pid in descendants(os.getpid()) if program in _command_line(pid)]
    if found:
        with suppress(ProcessLookupError):
            os.kill(found[int(chance * len(found))], signal.SIGKILL)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


class Leftovers:
    """What there was before a crowd came."""

    def __init__(self) -> None:
        self._processes = set(descendants(os.getpid()))
        self._descriptors = descriptors()
        self._threads = set(threading.enumerate())

    def found(self, temp: Path) -> list[str]:
        """Return what has been left: processes, folders, descriptors and threads."""
        new_processes = set(descendants(os.getpid())) - self._processes
        left = [f"process {pid}: {_command_line(pid)[:80]}" for pid in sorted(new_processes)]
        left += [f"folder {path}" for path in temp.iterdir()]
        new = descriptors() - self._descriptors
        # One may be new: listing the folder opens a descriptor.
        left += [f"descriptor {number}" for number in sorted(new)] if len(new) > 1 else []
        for thread in set(threading.enumerate()) - self._threads:
            thread.join(_LIMIT)  # it has handed out what it was for, and may not have had the time to end
            left += [f"thread {thread.name}"] if thread.is_alive() else []
        return left
