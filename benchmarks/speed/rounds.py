"""Subjects measured in turn: a round measures each once, and rounds follow each other."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from speed.bars import BARS
from speed.catalog import SUBJECTS
from speed.children import Child, FailedError, worker
from speed.samples import Key, Samples

FEWEST_CALLS = 20
QUICK_ROUNDS = 4
NEEDED = {key for bar in BARS for key in (bar.over, bar.under)}
"""What the bars are about."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Keys measured in the same rounds, each next to what it is compared with."""

    title: str
    keys: Sequence[Key]
    seconds: float = 0.2
    """Length of one measurement, about."""
    rounds: int = 11
    neighbour: Key | None = None
    """Measured again right before each that a bar holds against it."""

    def installed(self, only: Sequence[str]) -> list[Key]:
        """The keys that can be measured here; only those of the subjects `only`, if any are named."""
        return [key for key in self.keys if SUBJECTS[key[0]].installed and (not only or key[0] in only)]

    def quick(self) -> Phase:
        """Only what the bars need, in fewer rounds."""
        keys = [key for key in self.keys if key in NEEDED]
        rounds = min(self.rounds, max(QUICK_ROUNDS, self.rounds // 4))
        return replace(self, keys=keys, rounds=rounds, seconds=max(self.seconds / 2, 0.1))


@dataclass(slots=True)
class Measured:
    """A worker, and how many calls make up one measurement."""

    child: Child
    calls: int
    failed: str | None = None


@dataclass(slots=True)
class Bench:
    """Runs phases. `samples` and `failures` hold what came of them."""

    url: str
    quiet: bool = True
    samples: Samples = field(default_factory=Samples)
    failures: dict[Key, str] = field(default_factory=dict)

    def run(self, phase: Phase, only: Sequence[str] = (), rounds: int | None = None) -> None:
        """Measure all subjects of `phase` that are installed."""
        keys = phase.installed(only)
        if not keys:
            return
        rounds = rounds or phase.rounds
        if not sys.stderr.isatty():
            print(phase.title, file=sys.stderr, flush=True)
        neighbour = phase.neighbour
        with ExitStack() as stack:
            wanted = dict.fromkeys([*([neighbour] if neighbour else []), *keys])
            ready = {key: self._ready(stack, key, phase.seconds) for key in wanted}
            for number in range(rounds):
                _progress(f"{phase.title}: round {number + 1} of {rounds}")
                for key in turns(keys, number, neighbour):
                    if _takes_part(key, number):
                        self._measure(key, ready[key])
        _progress("")

    def grow(self, name: str) -> None:
        """Megabytes by which a worker grows from its 1,000th call to its 10,000th."""
        if not SUBJECTS[name].installed:
            return
        _progress(f"memory of {name}")
        with worker(name, "async-1", self.url, quiet=self.quiet) as child:
            first, last = child.tell(grow=[1000, 10_000])["bytes"]
        self.samples.add((name, "growth"), (last - first) / 2**20)
        _progress("")

    def _ready(self, stack: ExitStack, key: Key, seconds: float) -> Measured:
        _progress(f"starting {key[0]}")
        child = stack.enter_context(worker(*key, self.url, quiet=self.quiet))
        at_once = int(key[1].partition("-")[2] or 1)
        measured = Measured(child, 1 if key[1] == "chunk" else max(FEWEST_CALLS, at_once))
        if _takes_seconds(key):
            return measured
        try:
            took = child.tell(calls=measured.calls)["seconds"]
            fitting = measured.calls * seconds / max(took, 1e-6)
            measured.calls = max(round(fitting / at_once) * at_once, measured.calls if at_once > 1 else 1)
        except FailedError as error:
            self._fail(key, measured, error)
        return measured

    def _measure(self, key: Key, measured: Measured) -> None:
        if measured.failed:
            return
        try:
            told = measured.child.tell(calls=measured.calls)
        except FailedError as error:
            self._fail(key, measured, error)
        else:
            self.samples.add(key, told["cpu"], told["wall"])

    def _fail(self, key: Key, measured: Measured, error: FailedError) -> None:
        measured.failed = self.failures[key] = str(error)
        print(f"{key[0]}, {key[1]}: {error}", file=sys.stderr)


def turns(keys: Sequence[Key], number: int, neighbour: Key | None) -> Iterator[Key]:
    """The order of one round: another one first each time, and `neighbour` before each that a bar holds against it."""
    beside = {bar.over for bar in BARS if bar.under == neighbour}
    start = number % len(keys)
    last: Key | None = None
    for key in [*keys[start:], *keys[:start]]:
        if neighbour is not None and key in beside and last != neighbour:
            yield neighbour
        if not (key == neighbour and last == neighbour):
            yield key
        last = key


def _takes_part(key: Key, number: int) -> bool:
    """Whether `key` is measured in that round: not each time, if no bar needs it; once, if it takes seconds."""
    if _takes_seconds(key):
        return number == 0
    return number % 2 == 0 or key in NEEDED


def _takes_seconds(key: Key) -> bool:
    """Whether one measurement is long enough by itself."""
    return key[1] == "async-1000" and SUBJECTS[key[0]].slow


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
