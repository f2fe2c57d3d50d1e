"""Answers stored rows with a router as the usual engine would: the same calls, patience and outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router.batch.answers import RowOutcome
from lee_llm_router.batch.engine import BatchJob
from lee_llm_router.batch.figures import BatchReport
from lee_llm_router.batch.live_engine import LiveEngine
from lee_llm_router.batch.outage import OutageGate
from lee_llm_router.batch.rows import BatchRow
from lee_llm_router.batch.settings import BatchSettings
from lee_llm_router.errors import LLMRouterError, UnavailableError

if TYPE_CHECKING:
    from lee_llm_router.router import LeeLLMRouter

_MOST_BATCHES = 100
"""Batches whose outages are known at once; of the one that was asked for longest ago nothing is known any more."""


class RowAsker:
    """Asks a router for stored rows, all in one event loop.

    Args:
        router: Who is asked.
        clock: Where the time comes from.
    """

    def __init__(self, router: LeeLLMRouter, clock: Clock = SYSTEM_CLOCK) -> None:
        self._router = router
        self._clock = clock
        self._batches: dict[str, _StoredBatch] = {}

    async def __call__(self, stored: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is stored as the answer of a row: the fields of its line. An outage is waited out.

        Raises:
            LLMRouterError: no row of the batch can be answered.
        """
        batch_id = stored["batch"]
        batch = self._batches.pop(batch_id, None) or _StoredBatch.of(self._router, stored, self._clock)
        self._batches[batch_id] = batch
        if len(self._batches) > _MOST_BATCHES:
            del self._batches[next(iter(self._batches))]
        return (await batch.outcome(BatchRow.from_fields(stored["row"]))).plain_fields()


@dataclass(slots=True)
class _Stop:
    """Whether a batch is stopped here, and why."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    error: LLMRouterError | None = None

    def __call__(self, error: LLMRouterError | None) -> None:
        self.error = self.error or error
        self.event.set()

    async def wait(self) -> None:
        await self.event.wait()


class _StoredBatch:
    """What a worker knows of one batch: its settings, and whether the vendor is gone for it."""

    def __init__(self, job: BatchJob, stop: _Stop) -> None:
        self._job = job
        self._stop = stop
        self._gate = OutageGate(job)

    @classmethod
    def of(cls, router: LeeLLMRouter, stored: Mapping[str, Any], clock: Clock) -> _StoredBatch:
        stop = _Stop()
        job = BatchJob(
            router=router,
            settings=BatchSettings(
                role=stored["role"], out=Path(), options=stored["options"], give_up_after=stored["give_up_after"]
            ),
            batch_id=stored["batch"],
            concurrency=1,
            figures=BatchReport(),
            next_row=_no_row,
            put=_drop,
            stop=stop,
            is_stopped=stop.event.is_set,
            stopping=stop.wait,
            clock=clock,
        )
        return cls(job, stop)

    async def outcome(self, row: BatchRow) -> RowOutcome:
        """Return how a row has ended.

        Raises:
            LLMRouterError: the batch cannot go on here.
        """
        outcomes: list[RowOutcome] = []
        rows = [row]

        async def next_row() -> BatchRow | None:
            return rows.pop() if rows else None

        job = replace(self._job, next_row=next_row, put=lambda _, outcome: outcomes.append(outcome))
        await _RowEngine(job, self._gate).run()
        if outcomes:
            return outcomes[0]
        raise self._stop.error or UnavailableError("the worker has stopped", sent=False)


class _RowEngine(LiveEngine):
    """Asks the one row of its job, behind the gate that all rows of the batch share here."""

    def __init__(self, job: BatchJob, gate: OutageGate) -> None:
        super().__init__(job)
        self._gate = gate


async def _no_row() -> BatchRow | None:
    return None


def _drop(_row: BatchRow, _outcome: RowOutcome) -> None:
    """Stands where each row's own job puts something else."""
