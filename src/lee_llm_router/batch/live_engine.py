"""The usual engine: a few workers, each of which processes one row at a time through `complete_async`."""

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
"""How often a row may fail while others are answered, before it goes to the errors file."""
_ALONE_SECONDS = 600.0
"""Seconds for which one of the last rows is retried, twice at least, with no other rows left to reveal an outage."""
_LONGEST_PAUSE = 30.0
_ROWS_A_TURN = 64
"""Rows after which the event loop runs in any case: kept answers come without a wait, but signals need one."""
_NOT_COUNTED = frozenset({FailureType.RATE_LIMIT, FailureType.OVERLOADED, FailureType.UNAVAILABLE})
"""Failures that say nothing about the row: the vendor has no capacity for it now."""


@dataclass(slots=True)
class _OpenRow:
    """A row that has failed, and may be tried again."""

    row: BatchRow
    answers_before: int
    """How many rows the vendor had answered at this row's last failure or, before that, at its first attempt."""
    failures: int = 0
    """How often it has failed while others were answered."""
    alone: int = 0
    """How often it has failed with no other rows left for comparison."""


class RowOptions:
    """The options of a row's call: those of its batch and its own, and the metadata that identifies its trace."""

    def __init__(self, job: BatchJob) -> None:
        options = dict(job.settings.options)
        self._found_by = {"batch": job.batch_id}
        self._metadata: dict[str, Any] = {**(options.pop("metadata", None) or {}), **self._found_by}
        self._options = options

    def of(self, row: BatchRow) -> dict[str, Any]:
        """Return the options of `row`."""
        options = {**self._options, "metadata": {**self._metadata, "row": row.id}}
        if row.options:
            own = row.options.get("metadata") or {}
            metadata = {**self._metadata, **own, **self._found_by, "row": row.id}
            options = {**options, **row.options, "metadata": metadata}
        return options


class LiveEngine:
    """Processes rows while there are any; see `BatchEngine`.

    Rows that fail for possibly temporary reasons are put aside and tried again. Their number is bounded, so that no
    further rows are read while the vendor does not answer.
    """

    def __init__(self, job: BatchJob) -> None:
        self._job = job
        self._gate = OutageGate(job)
        self._aside: list[tuple[float, int, _OpenRow]] = []
        """A heap of rows put aside; the one due first is in front."""
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
            # Nearly always there is a row, and nothing to consider: this saves three coroutines.
            row = None if gate.is_shut or aside else ready_row()
            if row is not None:
                await self._settle(row, None, is_prober=False)
            elif not await self._settle_next():
                return
            self._turns += 1
            if self._turns % _ROWS_A_TURN == 0:
                await asyncio.sleep(0)

    async def _settle_next(self) -> bool:
        """Wait for a row, and settle it; return False if no further rows are to be processed."""
        job, gate = self._job, self._gate
        is_prober = gate.is_shut and await gate.enter()
        try:
            # A prober prefers a row that has not failed yet: that tells more.
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
        """Whether a row that was put aside comes before one that has not failed yet."""
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
        """Process a row, and put its outcome; or put it aside, or stop the batch."""
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
        """Whether a row has finally failed. Otherwise it is put aside, or the batch is stopped."""
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
            # The gate says when to try again.
            pause = 0.0
        is_hopeless = open_row.alone > 1 and gate.seconds_shut >= _ALONE_SECONDS
        if is_hopeless or open_row.failures >= _MOST_FAILURES:
            return True
        heappush(self._aside, (self._job.clock.monotonic() + pause, next(self._numbers), open_row))
        return False


async def all_or_none(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all of `works` concurrently. If one raises, the others are cancelled, and its error is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
