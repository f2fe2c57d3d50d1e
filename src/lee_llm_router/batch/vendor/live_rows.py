"""The rows that are sent live: those that failed in a batch, or that no batch takes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from lee_llm_router.batch.answers import RowOutcome
from lee_llm_router.batch.engine import BatchJob
from lee_llm_router.batch.live_engine import LiveEngine
from lee_llm_router.batch.outage import first_of
from lee_llm_router.batch.rows import BatchRow


class LiveRows:
    """Processes rows like the usual engine: all rows so far together, then those that came meanwhile.

    Args:
        job: The batch.
        put: As `BatchJob.put`.
        taken: Called when a row is started.
    """

    def __init__(self, job: BatchJob, put: Callable[[BatchRow, RowOutcome], None], taken: Callable[[], object]) -> None:
        self._job = job
        self._taken = taken
        self._own = replace(job, next_row=self._next, ready_row=lambda: None, put=put)
        self._rows: deque[BatchRow] = deque()
        self._changed = asyncio.Event()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: BatchRow) -> None:
        """Add a row to process."""
        self._rows.append(row)
        self._changed.set()

    def close(self) -> None:
        """Declare that no more rows come."""
        self._is_closed = True
        self._changed.set()

    async def run(self) -> None:
        """Run until all rows are processed and no more come, or the batch is stopped."""
        while not self._job.is_stopped():
            if self._rows:
                await LiveEngine(self._own).run()
            elif self._is_closed:
                return
            else:
                self._changed.clear()
                await first_of(self._changed.wait(), self._job.stopping())

    async def _next(self) -> BatchRow | None:
        if not self._rows or self._job.is_stopped():
            return None
        self._taken()
        return self._rows.popleft()
