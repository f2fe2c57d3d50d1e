"""Answers stored rows with a router like the usual engine: the same calls, patience and outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router.batch.figures import BatchReport
from lee_llm_router.batch.handed_rows import HandedRows, RowByRow
from lee_llm_router.batch.rows import BatchRow

if TYPE_CHECKING:
    from lee_llm_router.router import LeeLLMRouter

_MOST_BATCHES = 100
"""The most batches whose outages are tracked at once; the least recently used one is forgotten."""


class RowAsker:
    """Calls a router for stored rows, all on one event loop.

    Args:
        router: The router to call.
        clock: Tells the time.
    """

    def __init__(self, router: LeeLLMRouter, clock: Clock = SYSTEM_CLOCK) -> None:
        self._router = router
        self._clock = clock
        self._batches: dict[str, RowByRow] = {}
        self.figures = BatchReport()
        """The rows in flight here, and any wait."""

    async def __call__(self, stored: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the stored form of a row's answer: the fields of its line. An outage is waited out.

        Raises:
            LLMRouterError: no row of the batch can be answered.
        """
        outcome = await self._batch_of(stored).outcome(BatchRow.from_fields(stored["row"]))
        return outcome.plain_fields()

    def _batch_of(self, stored: Mapping[str, Any]) -> RowByRow:
        batch_id = stored["batch"]
        batch = self._batches.pop(batch_id, None)
        if batch is None:
            batch = RowByRow(
                HandedRows(
                    router=self._router, role=stored["role"], options=stored["options"], batch_id=batch_id,
                    give_up_after=stored["give_up_after"], figures=self.figures, clock=self._clock,
                )
            )  # fmt: skip
        self._batches[batch_id] = batch
        if len(self._batches) > _MOST_BATCHES:
            del self._batches[next(iter(self._batches))]
        return batch
