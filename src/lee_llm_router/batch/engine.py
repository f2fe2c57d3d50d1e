"""Who asks the rows of a batch. An engine is handed a `BatchJob`, takes rows from it, and puts their outcomes back.

An engine may be killed at any moment, and is then handed again each row that it has not put an outcome of. It need not
care for the output: one line a row, and one only, is what `BatchJob.put` writes.
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
"""The class of each engine, ``module:name``, by the name that `--engine` takes. It is loaded when it is first used."""


class BatchStoppedError(LLMRouterError):
    """A batch has ended before its last row: a budget is spent, no key serves, an outage lasts too long, a full disk.

    All that was answered is written, and the same call goes on where it ended. `report` has the figures, and `cause`
    the error that ended it.
    """

    def __init__(self, message: str = "", *, report: BatchReport | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.report = report if report is not None else BatchReport()


@dataclass(slots=True, kw_only=True)
class BatchJob:
    """One run of a batch, as its engine sees it. All of it belongs to one event loop."""

    router: LeeLLMRouter
    settings: BatchSettings
    batch_id: str
    """See `BatchReport.batch_id`."""
    concurrency: int
    """Rows to be asked at once."""
    figures: BatchReport
    """The figures so far. `put` counts; an engine says what is in flight, and what it waits for."""
    next_row: Callable[[], Awaitable[BatchRow | None]]
    """Returns the next row to be asked; None when there is none left, or none is to be asked any more.

    Each row comes once, and none that has an outcome already. Any number of tasks may ask for rows.
    """
    ready_row: Callable[[], BatchRow | None] = lambda: None
    """Same as `next_row`, if that need not wait: 0.5 us less per row. None says nothing about `next_row`."""
    put: Callable[[BatchRow, RowOutcome], None]
    """Writes the outcome of a row, at once and for good: it survives a kill from here on. A second outcome of the same
    row is dropped.

    Raises `BatchStoppedError` where it cannot be written.
    """
    stop: Callable[[LLMRouterError | None], None]
    """Ends the batch: `next_row` returns None from now on. What is in flight may still be put. The first error given is
    the one that the batch raises at the end."""
    is_stopped: Callable[[], bool]
    """Whether no further row is to be asked."""
    stopping: Callable[[], Awaitable[None]]
    """Returns once the batch is told to stop: for those who wait."""
    clock: Clock = SYSTEM_CLOCK


class BatchEngine(Protocol):
    """Asks the rows of one batch. It is built with the job."""

    def __init__(self, job: BatchJob) -> None: ...

    async def run(self) -> None:
        """Ask until `next_row` returns None, and each row that it gave has its outcome; or until the batch stops.

        A row without an outcome is asked again in the next run. Cancelled, it gives up what is in flight.

        Raises:
            LLMRouterError: it cannot go on at all.
        """
        ...


def engine_named(name: str) -> type[BatchEngine]:
    """Return the class of the engine `name`.

    Raises:
        ConfigError: there is no such engine, or what it needs is not installed.
    """
    place = ENGINES.get(name)
    if place is None:
        hint = Suggester().did_you_mean(name, ENGINES)
        raise ConfigError(f"there is no engine {name!r:.60}{hint}; there are: {', '.join(ENGINES)}", sent=False)
    module, _, attribute = place.partition(":")
    found: type[BatchEngine] = getattr(import_module(module), attribute)
    return found
