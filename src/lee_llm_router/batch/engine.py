"""The interface of batch engines. An engine receives a `BatchJob`, takes rows from it, and puts their outcomes back.

An engine may be killed at any time, and then receives again each row without an outcome. It need not care about the
output: `BatchJob.put` writes exactly one line per row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.suggestions import Suggester
from lee_llm_router.batch.answers import RowOutcome
from lee_llm_router.batch.figures import BatchReport
from lee_llm_router.batch.rows import BatchRow
from lee_llm_router.batch.settings import BatchSettings
from lee_llm_router.errors import ConfigError, LLMRouterError

if TYPE_CHECKING:
    from lee_llm_router.router import LeeLLMRouter

ENGINES = {
    "live": "lee_llm_router.batch.live_engine:LiveEngine",
    "dbos": "lee_llm_router.batch.durable.engine:DbosEngine",
    "vendor": "lee_llm_router.batch.vendor.engine:VendorEngine",
}
"""The class of each engine, ``module:name``, by the name that `--engine` takes. It is imported when first used."""


class BatchStoppedError(LLMRouterError):
    """A batch ended before its last row: a budget is spent, no key works, an outage lasts too long, the disk is full.

    All answers so far are written, and the same call continues from there. `report` has the figures, and `cause` is the
    error that ended the batch.
    """

    def __init__(self, message: str = "", *, report: BatchReport | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.report = report if report is not None else BatchReport()


@dataclass(slots=True, kw_only=True)
class BatchJob:
    """One run of a batch, as its engine sees it. It belongs to one event loop."""

    router: LeeLLMRouter
    settings: BatchSettings
    batch_id: str
    """See `BatchReport.batch_id`."""
    concurrency: int
    """The number of rows to process concurrently."""
    figures: BatchReport
    """The current figures. `put` counts; an engine sets what is in flight, and what it waits for."""
    next_row: Callable[[], Awaitable[BatchRow | None]]
    """Returns the next row to process; None if there is none left, or the batch is stopped.

    Each row comes once, and only if it has no outcome yet. Any number of tasks may call it.
    """
    ready_row: Callable[[], BatchRow | None] = lambda: None
    """Same as `next_row`, if that need not wait: 0.5 us less per row. None says nothing about `next_row`."""
    put: Callable[[BatchRow, RowOutcome], None]
    """Writes the outcome of a row durably and at once: from here on it survives a kill. A second outcome of the same
    row is dropped.

    Raises `BatchStoppedError` if it cannot be written.
    """
    stop: Callable[[LLMRouterError | None], None]
    """Ends the batch: `next_row` returns None from now on. Rows in flight may still be put. The batch raises the first
    error given here at its end."""
    is_stopped: Callable[[], bool]
    """Whether no further rows are to be processed."""
    stopping: Callable[[], Awaitable[None]]
    """Returns once the batch is told to stop."""
    clock: Clock = SYSTEM_CLOCK


class BatchEngine(Protocol):
    """Processes the rows of one batch. It is built with the job."""

    def __init__(self, job: BatchJob) -> None: ...

    async def run(self) -> None:
        """Process rows until `next_row` returns None and each row has its outcome, or until the batch stops.

        A row without an outcome is processed again in the next run. On cancellation, abandon the rows in flight.

        Raises:
            LLMRouterError: it cannot go on at all.
        """
        ...


def engine_named(name: str) -> type[BatchEngine]:
    """Return the class of the engine `name`.

    Raises:
        ConfigError: there is no such engine, or something it needs is not installed.
    """
    place = ENGINES.get(name)
    if place is None:
        hint = Suggester().did_you_mean(name, ENGINES)
        raise ConfigError(f"there is no engine {name!r:.60}{hint}; there are: {', '.join(ENGINES)}", sent=False)
    module, _, attribute = place.partition(":")
    found: type[BatchEngine] = getattr(import_module(module), attribute)
    return found
