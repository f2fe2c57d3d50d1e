"""The usual engine: a few workers, each of which asks one row at a time over `complete_async`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.batch.answers import answer_of, failure_of
from lee_llm_router.batch.engine import BatchJob
from lee_llm_router.batch.outage import Fault, OutageGate, fault_of, sleep_until
from lee_llm_router.batch.rows import BatchRow
from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.response.types import LLMResponse

_MOST_FAILURES = 3
"""Times that a row may fail, while others are answered, before it goes to the errors file."""
_ALONE_SECONDS = 600.0
"""Seconds for which one of the last rows is asked again, twice at least, with nobody left to tell an outage by."""
_LONGEST_PAUSE = 30.0
_ROWS_A_TURN = 64
"""Rows after which the event loop runs in any case: answers that were kept come without a wait, signals want one."""
_NOT_COUNTED = frozenset({FailureType.RATE_LIMIT, FailureType.OVERLOADED, FailureType.UNAVAILABLE})
"""Failures that say nothing of the row: the vendor has no room for it now."""


@dataclass(slots=True)
class _OpenRow:
    """A row that has failed, and may be asked again."""

    row: BatchRow
    answers_before: int
    """How many rows the vendor had answered when this one failed last; before that, when it was asked."""
    failures: int = 0
    """How often it failed while others were answered."""
    alone: int = 0
    """How often it failed with nobody left to tell by."""


class RowOptions:
    """The options of the call that asks a row: those of its batch and its own, and what its trace is found by."""

    def __init__(self, job: BatchJob) -> None:
        options = dict(job.settings.options)
        self._found_by = {"batch": job.batch_id}
        self._metadata: dict[str, Any] = {**(options.pop("metadata", None) or {}), **self._found_by}
        self._options = options

    def of(self, row: BatchRow) -> dict[str, Any]:
        """Return those of `row`."""
        options = {**self._options, "metadata": {**self._metadata, "row": row.id}}
        if row.options:
            own = row.options.get("metadata") or {}
            metadata = {**self._metadata, **own, **self._found_by, "row": row.id}
            options = {**options, **row.options, "metadata": metadata}
        return options


class LiveEngine:
    """Asks rows while there are any; see `BatchEngine`.

    Rows that fail for reasons that may pass are put aside, and asked again; a bounded number, so that the next rows are
    not read while nobody answers.
    """

    def __init__(self, job: BatchJob) -> None:
        self._job = job
        self._gate = OutageGate(job)
        self._aside: list[tuple[float, int, _OpenRow]] = []
        """Rows put aside, the one that is due first in front; a heap."""
        self._most_aside = 2 * job.concurrency + 8
        self._numbers = count()
        self._is_at_end = False
        self._turns = 0
        self._options_of = RowOptions(job).of
        self._role = job.settings.role
        self._complete = job.router.complete_async
        self._figures = job.figures
        self._put = job.put

    async def run(self) -> None:
        """See `BatchEngine.run`."""
        await all_or_none(self._work() for _ in range(self._job.concurrency))

    async def _work(self) -> None:
        gate, aside, ready_row = self._gate, self._aside, self._job.ready_row
        while True:
            # Nearly always there is a row, and nothing to consider: three coroutines less.
            row = None if gate.is_shut or aside else ready_row()
            if row is not None:
                await self._settle(row, None, is_prober=False)
            elif not await self._settle_next():
                return
            self._turns += 1
            if self._turns % _ROWS_A_TURN == 0:
                await asyncio.sleep(0)

    async def _settle_next(self) -> bool:
        """Wait for a row that is to be asked, and settle it; return False if no further one is to be."""
        job, gate = self._job, self._gate
        is_prober = gate.is_shut and await gate.enter()
        try:
            # One that tries for all takes a row that has not failed yet, where it may: that tells more.
            open_row = await self._taken_up() if self._aside and self._is_due(is_prober) else None
            row = await self._next_row() if open_row is None else open_row.row
            if row is None and self._aside and not job.is_stopped():
                open_row = await self._taken_up()
                row = open_row.row
            if row is None or job.is_stopped():
                return False
            await self._settle(row, open_row, is_prober=is_prober)
        finally:
            if is_prober:
                gate.probed()
        return True

    def _is_due(self, is_prober: bool) -> bool:
        """Whether a row that was put aside is to be asked before one that has not failed yet."""
        aside = self._aside
        return len(aside) >= self._most_aside or not (is_prober or aside[0][0] > self._job.clock.monotonic())

    async def _next_row(self) -> BatchRow | None:
        if self._is_at_end:
            return None
        row = await self._job.next_row()
        self._is_at_end = row is None
        return row

    async def _taken_up(self) -> _OpenRow:
        due, _, open_row = heappop(self._aside)
        if due > self._job.clock.monotonic():
            await sleep_until(self._job, due)
        return open_row

    async def _settle(self, row: BatchRow, open_row: _OpenRow | None, *, is_prober: bool) -> None:
        """Ask a row, and put its outcome; or put it aside, or stop the batch."""
        gate, figures = self._gate, self._figures
        answers_before = gate.answers
        options = self._options_of(row)
        figures.in_flight += 1
        try:
            response: LLMResponse[Any] = await self._complete(self._role, row.messages, **options)
        except LLMRouterError as error:
            if self._is_final(open_row or _OpenRow(row, answers_before), error, is_prober=is_prober):
                self._put(row, failure_of(row, error))
            return
        finally:
            figures.in_flight -= 1
        gate.answered()
        self._put(row, answer_of(row, response))

    def _is_final(self, open_row: _OpenRow, error: LLMRouterError, *, is_prober: bool) -> bool:
        """Whether a row has failed for good. Otherwise it is put aside, or the batch is stopped."""
        gate, fault = self._gate, fault_of(error)
        if fault is Fault.BATCH:
            self._job.stop(error)
            return False
        if fault is Fault.ROW or (fault is Fault.NOBODY_SERVES and "model" in open_row.row.options):
            if error.sent:
                gate.answered()
            return True
        others_answered = gate.answers > open_row.answers_before
        open_row.answers_before = gate.answers
        if not others_answered and fault is Fault.NOBODY_SERVES:
            self._job.stop(error)
            return False
        says_something = error.sent and error.failure_type not in _NOT_COUNTED
        pause = error.retry_after or 0.0
        if others_answered:
            open_row.failures += says_something
            pause = max(pause, min(_LONGEST_PAUSE, 2.0**open_row.failures / 2))
        else:
            gate.failed(error, is_prober=is_prober)
            open_row.alone += says_something and self._is_at_end and gate.answers > 0
            # The gate says when it is tried again.
            pause = 0.0
        is_hopeless = open_row.alone > 1 and gate.seconds_shut >= _ALONE_SECONDS
        if is_hopeless or open_row.failures >= _MOST_FAILURES:
            return True
        heappush(self._aside, (self._job.clock.monotonic() + pause, next(self._numbers), open_row))
        return False


async def all_or_none(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all of `works` at once. If one raises, the others are cancelled, and its error is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
