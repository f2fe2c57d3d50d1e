"""Draws inputs of one kind, gives each to its subject, and counts what came of them."""

from __future__ import annotations

import io
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from fuzzing.inputs import KEY
from lee_llm_router import FailureType, LLMRouterError

LONGEST_SECONDS = 2.0
"""CPU time that one input may take."""
_SHOWN = 3
"""Broken inputs of each sort that are printed."""

Try: TypeAlias = Callable[[Any], Iterable[str]]
"""Gives one input to the router. Returns the texts that came out, or raises what the router raised."""


@dataclass(frozen=True)
class Subject:
    """One kind of input, and what tries it."""

    inputs: SearchStrategy[Any]
    opened: Callable[[], AbstractContextManager[Try]]


@dataclass
class Tally:
    """What became of the inputs so far."""

    inputs: int = 0
    good: int = 0
    refused: int = 0
    slowest: float = 0.0
    foreign: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)

    def note(self, item: Any, outputs: Iterable[str], error: BaseException | None, seconds: float) -> None:
        """Count one input."""
        self.inputs += 1
        self.good += error is None
        is_foreign = error is not None and _is_foreign(error)
        self.refused += error is not None and not is_foreign
        self.slowest = max(self.slowest, seconds)
        if is_foreign and error is not None:
            self.foreign.append(f"{item!r:.800}\n{''.join(traceback.format_exception(error))[-1500:]}")
        if seconds > LONGEST_SECONDS:
            self.slow.append(f"{seconds:.1f} s: {item!r:.800}")
        leak = next((text for text in outputs if KEY in text), None)
        if leak is not None:
            at = leak.index(KEY)
            self.leaks.append(f"{item!r:.800}\n... {leak[max(0, at - 400) : at + 60]}")


def _is_foreign(error: BaseException) -> bool:
    """Return whether an error is none of the router's, or the router's word for one: UNKNOWN without a status."""
    if not isinstance(error, LLMRouterError):
        return True
    return error.failure_type is FailureType.UNKNOWN and error.status_code is None


def texts_of(error: BaseException) -> Iterator[str]:
    """Yield all that an error can say: its own words, its records, its whole chain of causes and contexts."""
    yield str(error)
    yield "".join(traceback.format_exception(error))
    seen: set[int] = set()
    stack: list[BaseException | None] = [error]
    while stack:
        one = stack.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield repr(one) + repr(one.args)
            stack += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    if isinstance(error, LLMRouterError):
        yield repr(error.attempts)


def fuzz(kind: str, subject: Subject, inputs: int, number: int) -> int:
    """Try `inputs` inputs, print the line of `kind`, and return the exit code."""
    tally, log = Tally(), io.StringIO()
    logging.basicConfig(stream=log, level=logging.DEBUG, force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    started = time.monotonic()
    with subject.opened() as attempt:

        @seed(number)
        @settings(
            max_examples=inputs, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(subject.inputs)
        def one(item: Any) -> None:
            log.seek(0)
            log.truncate()
            outputs: list[str] = []
            error: Exception | None = None
            began = time.process_time()
            try:
                outputs += attempt(item)
            except Exception as caught:  # noqa: BLE001 - what comes out is what is counted
                error = caught
            seconds = time.process_time() - began
            tally.note(item, [*outputs, log.getvalue(), *(() if error is None else texts_of(error))], error, seconds)

        one()
    foreign, leaks = len(tally.foreign), len(tally.leaks)
    print(f"{kind:<25}{tally.inputs:>8,}{tally.good:>8,}{tally.refused:>9,}{foreign:>9,}{leaks:>10,}"
          f"{tally.slowest:>7.2f} s{time.monotonic() - started:>6.0f} s", flush=True)  # fmt: skip
    for name, broken in (("foreign", tally.foreign), ("key seen", tally.leaks), ("slow", tally.slow)):
        for text in broken[:_SHOWN]:
            print(f"--- {name}: {text}", file=sys.stderr)
    return int(bool(foreign or leaks or tally.slow))
