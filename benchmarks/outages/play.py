"""Plays one scene with one library in a process of its own: a batch of calls, and what became of each.

``python -m outages.play SCENE LIBRARY WAY`` (SCENE is JSON) prints a `Result` as one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from outages.libraries import OURS, Library, names_its_reason, reason, set_up
from outages.scenes import Scene
from outages.server import LATENCY, Behaviour, Log, running

TEXT = "whole"

_IN_FLIGHT = LATENCY / 2
"""Seconds after a breaker has opened in which requests sent before may still arrive."""


@dataclass
class Result:
    """What became of a batch."""

    answered: int = 0
    losses: dict[str, int] = field(default_factory=dict)
    """How many calls were lost for each reason."""
    without_reason: int = 0
    """Losses of this router whose error does not say what happened."""
    seconds: list[float] = field(default_factory=list)
    """How long each answered call took."""
    wall: float = 0.0
    requests: int = 0
    """Requests that the first target has seen."""
    probes: list[int] = field(default_factory=list)
    """Requests that arrived in the outage, for each cool-down of the breaker."""
    refused_in: float | None = None
    """Seconds that one more call took, made while the breaker was open, if it ended UNAVAILABLE."""
    stopped: str = ""
    """Why there is no result."""

    @property
    def lost(self) -> int:
        """Calls without an answer."""
        return sum(self.losses.values())

    def quantile(self, share: float) -> float:
        """Return the seconds within which this share of the answered calls came."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Tally:
    """Counts what becomes of calls. Any thread may add."""

    def __init__(self, ours: bool) -> None:
        self._ours = ours
        self._ends: list[tuple[float, str | None, BaseException | None]] = []

    def add(self, seconds: float, text: str | None, error: BaseException | None) -> None:
        """Add one call."""
        self._ends.append((seconds, text, error))

    def result(self, wall: float) -> Result:
        """Return the counts."""
        answered = [seconds for seconds, text, _ in self._ends if text == TEXT]
        errors = [error for _, text, error in self._ends if text != TEXT]
        reasons = Counter("a wrong answer" if error is None else reason(error) for error in errors)
        unclear = sum(error is None or not names_its_reason(error) for error in errors) if self._ours else 0
        return Result(len(answered), dict(reasons.most_common()), unclear, answered, wall)


def play(scene: Scene, name: str, way: str) -> Result:
    """Play `scene` with the library `name`; `way` is ``sync`` (threads) or ``async``."""
    with ExitStack() as stack:
        _warm_up(name, way)
        main = stack.enter_context(running(scene.behaviour))
        spare = stack.enter_context(running(Behaviour())) if scene.spare else None
        library = set_up(name, main.url, spare.url if spare else None)
        stack.enter_context(library.closing)
        tally = Tally(name in OURS)
        began = time.perf_counter()
        if way == "sync":
            _in_threads(scene, library, tally)
        else:
            asyncio.run(_in_tasks(scene, library, tally))
        result = tally.result(time.perf_counter() - began)
        if scene.asks_once_more:
            result.refused_in = _refused_in(library)
        log = main.log()
    result.requests = log.requests
    result.probes = _probes(library.breaker.opened, log)
    return result


def _warm_up(name: str, way: str) -> None:
    """Make one call elsewhere, so that modules loaded by the first call slow down none that is measured."""
    with running(Behaviour()) as server:
        library = set_up(name, server.url, None)
        with library.closing:
            if way == "sync":
                _caught(library.ask)
            else:
                asyncio.run(_in_tasks(Scene("", Behaviour(), calls=1, at_once=1), library, Tally(False)))


def _in_threads(scene: Scene, library: Library, tally: Tally) -> None:
    began = time.perf_counter()

    def one(number: int) -> None:
        time.sleep(max(0.0, began + number * scene.every - time.perf_counter()))
        start = time.perf_counter()
        text, error = _caught(library.ask)
        tally.add(time.perf_counter() - start, text, error)

    with ThreadPoolExecutor(scene.at_once) as threads:
        list(threads.map(one, range(scene.calls)))


def _caught(ask: Callable[[], str | None]) -> tuple[str | None, Exception | None]:
    try:
        return ask(), None
    except Exception as error:  # noqa: BLE001 - a library may raise anything; that is what is counted
        return None, error


async def _in_tasks(scene: Scene, library: Library, tally: Tally) -> None:
    numbers = iter(range(scene.calls))
    began = time.perf_counter()

    async def lane() -> None:
        for number in numbers:
            await asyncio.sleep(max(0.0, began + number * scene.every - time.perf_counter()))
            start = time.perf_counter()
            text, error = None, None
            try:
                text = await library.ask_async()
            except Exception as caught:  # noqa: BLE001 - as above
                error = caught
            tally.add(time.perf_counter() - start, text, error)

    await asyncio.gather(*(lane() for _ in range(scene.at_once)))


def _refused_in(library: Library) -> float | None:
    _caught(library.ask)  # If the cool-down has just ended, this one is the probe that begins the next.
    start = time.perf_counter()
    _, error = _caught(library.ask)
    took = time.perf_counter() - start
    return took if str(getattr(error, "failure_type", "")) == "UNAVAILABLE" else None


def _probes(opened: list[float], log: Log) -> list[int]:
    """Count the requests that arrived in the outage after each opening of the breaker, until the next one.

    A request may arrive before the breaker opens and fail after it, so openings count from a moment later.
    """
    edges = [at + _IN_FLIGHT for at in opened]
    return [
        sum(begin <= arrived < end for arrived in log.arrived_down)
        for begin, end in zip(edges, [*edges[1:], float("inf")], strict=False)
    ]


def main(scene: str, name: str, way: str) -> None:
    """Play, and print the result."""
    # What a library prints must not end up in the result.
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    settings: dict[str, Any] = json.loads(scene)
    settings["behaviour"] = Behaviour(**settings["behaviour"])
    print(json.dumps(asdict(play(Scene(**settings), name, way))), file=told, flush=True)
    told.close()
    os._exit(0)  # SDKs leave threads and clients behind that would complain or hang.


if __name__ == "__main__":
    main(*sys.argv[1:])
