"""Rows that are handed over singly or in small groups, without files: by a worker's database, or by Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.data_class import dataclass
from lee_llm_router.batch.answers import RowOutcome, failure_of
from lee_llm_router.batch.engine import BatchJob
from lee_llm_router.batch.figures import BatchReport
from lee_llm_router.batch.live_engine import LiveEngine
from lee_llm_router.batch.outage import OutageGate
from lee_llm_router.batch.rows import BatchRow
from lee_llm_router.batch.settings import BatchSettings
from lee_llm_router.errors import LLMRouterError, UnavailableError

if TYPE_CHECKING:
    from lee_llm_router.router import LeeLLMRouter


@dataclass(slots=True)
class StopSignal:
    """Whether to stop sending rows, and why."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    error: LLMRouterError | None = None

    def __call__(self, error: LLMRouterError | None) -> None:
        """Signal the stop; the first error is kept."""
        self.error = self.error or error
        self.event.set()

    async def wait(self) -> None:
        """Return once the stop is signalled."""
        await self.event.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedRows:
    """The common state of rows that are handed over. It belongs to one event loop.

    Args:
        router: The router to call.
        role: Role to call; None: the default role.
        options: Options of every call.
        batch_id: Identifies the traces, under ``metadata: {batch: ...}``.
        give_up_after: Seconds to wait out an outage.
        concurrency: Rows in flight at once, of those handed over together.
        figures: Receives what is in flight, and any wait.
    """

    router: LeeLLMRouter
    role: str | None
    options: Mapping[str, Any]
    batch_id: str
    give_up_after: float
    concurrency: int = 1
    figures: BatchReport = field(default_factory=BatchReport)
    clock: Clock = SYSTEM_CLOCK

    def job(self, rows: Sequence[BatchRow], outcomes: dict[str, RowOutcome], stop: StopSignal) -> BatchJob:
        """Return a job that processes `rows`, and puts their outcomes into `outcomes`, by their ids."""
        left = list(reversed(rows))

        async def next_row() -> BatchRow | None:
            return left.pop() if left and not stop.event.is_set() else None

        def put(row: BatchRow, outcome: RowOutcome) -> None:
            outcomes[row.id] = outcome

        settings = BatchSettings(role=self.role, out=Path(), options=self.options, give_up_after=self.give_up_after)
        return BatchJob(
            router=self.router, settings=settings, batch_id=self.batch_id, concurrency=self.concurrency,
            figures=self.figures, next_row=next_row, put=put, stop=stop, is_stopped=stop.event.is_set,
            stopping=stop.wait, clock=self.clock,
        )  # fmt: skip

    async def outcomes(self, rows: Sequence[BatchRow]) -> dict[str, RowOutcome]:
        """Return the outcome of each of `rows`, by its id. If no row can be answered any more, all have failed."""
        found: dict[str, RowOutcome] = {}
        stop = StopSignal()
        await LiveEngine(self.job(rows, found, stop)).run()
        error = stop.error or UnavailableError("no target was asked", sent=False)
        return {row.id: found.get(row.id) or failure_of(row, error) for row in rows}


class RowByRow:
    """Processes such rows one by one, as they come. An outage applies to all of them."""

    def __init__(self, shared: HandedRows) -> None:
        self._shared = shared
        self._stop = StopSignal()
        self._gate = OutageGate(shared.job([], {}, self._stop))

    async def outcome(self, row: BatchRow) -> RowOutcome:
        """Return the outcome of `row`.

        Raises:
            LLMRouterError: no row can be answered any more.
        """
        found: dict[str, RowOutcome] = {}
        await _GatedEngine(self._shared.job([row], found, self._stop), self._gate).run()
        if found:
            return found[row.id]
        raise self._stop.error or UnavailableError("no target was asked", sent=False)


class _GatedEngine(LiveEngine):
    """Processes the rows of its job behind a gate that other jobs share."""

    def __init__(self, job: BatchJob, gate: OutageGate) -> None:
        super().__init__(job)
        self._gate = gate
