"""Runs a batch: opens its files, hands rows to an engine, and sorts the files at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from hashlib import blake2b
from logging import getLogger
from os import PathLike
from threading import Event
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.ids import new_request_id
from lee_llm_router._util.short_waits import outcome
from lee_llm_router._util.threads import awaitable, start_in_thread
from lee_llm_router.batch.answers import RowOutcome
from lee_llm_router.batch.engine import BatchJob, BatchStoppedError, engine_named
from lee_llm_router.batch.figures import BatchReport
from lee_llm_router.batch.intake import Intake, RowSource, source_of
from lee_llm_router.batch.output import BatchOutput, OutputFailedError
from lee_llm_router.batch.rows import BatchRow, key_of
from lee_llm_router.batch.settings import BatchSettings, Rows
from lee_llm_router.batch.target_limits import limits_of_target
from lee_llm_router.errors import ConfigError, InvalidRequestError, LLMRouterError
from lee_llm_router.telemetry.record_json import json_text

if TYPE_CHECKING:
    from lee_llm_router.router import LeeLLMRouter

DEFAULT_CONCURRENCY = 16
"""Rows in flight if the target's settings have no limit."""

_MOST_BY_RATE = 64
_RATE_SECONDS = 6
"""Seconds' worth of a rate limit that may be in flight at once; a call waits 10 s for its turn by default."""
_TICK = 0.1
_log = getLogger("lee_llm_router")


class BatchRun:
    """One run of a batch.

    Args:
        router: The router to call.
        rows: The rows.
        settings: The settings of the batch.
        clock: Tells the time.

    Raises:
        ConfigError: the output has no name: it is the root or the current directory.
    """

    def __init__(self, router: LeeLLMRouter, rows: Rows, settings: BatchSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        if settings.out.name in ("", ".."):
            raise ConfigError(f"{settings.out}: cannot be used: Is a directory", sent=False)
        self._router, self._rows, self._settings, self._clock = router, rows, settings, clock
        self.figures = BatchReport(out=settings.out, errors=settings.errors)
        """The current figures."""
        self._error: LLMRouterError | None = None
        self._is_stopped = False
        self._stopping = asyncio.Event()

    def stop(self, error: LLMRouterError | None = None) -> None:
        """Send no more rows. Rows in flight are still awaited and written. Call it in the loop's thread."""
        if self._error is None:
            self._error = error
        self._is_stopped = True
        self._stopping.set()

    async def run(self) -> BatchReport:
        """Process all rows, and return the figures. On cancellation, it keeps the answers so far.

        Raises:
            ConfigError: the rows, the output or a setting cannot be used.
            BatchStoppedError: it ended before the last row.
        """
        settings, started = self._settings, self._clock.monotonic()
        _check(settings)
        engine_class = engine_named(settings.engine)
        usual = self._usual_concurrency()
        _check_distinct(self._rows, settings)
        source = source_of(self._rows, settings)
        self.figures.total_rows = source.total
        try:
            output = await _opened(settings)
        except BaseException:
            source.close()
            raise
        intake = Intake(
            source, output, settings, self.figures, stopped=self._stopping, failed=self._stop_if_too_many_failed
        )
        try:
            self.figures.batch_id = _same_batch(output, settings, source)
            engine = engine_class(self._job(intake, output, settings.concurrency or usual))
            await self._with_progress(engine.run(), started)
            if intake.failure is not None:
                raise intake.failure
            if intake.is_at_end and not self._is_stopped:
                await _in_order(output, settings)
                self.figures.is_complete = True
        except OutputFailedError as failure:
            self.stop(BatchStoppedError(str(failure), sent=False))
        except BatchStoppedError as stopped:
            self.stop(stopped)
        finally:
            self.figures.elapsed_seconds = self._clock.monotonic() - started
            await intake.close()
            self._close(output)
        self._tell(force=True)
        self._raise_if_stopped()
        return self.figures.snapshot()

    def _job(self, intake: Intake, output: BatchOutput, concurrency: int) -> BatchJob:
        def put(row: BatchRow, outcome: RowOutcome) -> None:
            try:
                is_new = output.put(row.key or key_of(row.id), outcome)
            except OutputFailedError as failure:
                raise BatchStoppedError(str(failure), sent=False) from failure
            if is_new:
                self.figures.count(outcome)
                if not outcome.is_answer:
                    self._stop_if_too_many_failed()

        async def stopping() -> None:
            await self._stopping.wait()

        return BatchJob(
            router=self._router, settings=self._settings, batch_id=self.figures.batch_id, concurrency=concurrency,
            figures=self.figures, next_row=intake.next_row, ready_row=intake.ready_row, put=put, stop=self.stop,
            is_stopped=lambda: self._is_stopped, stopping=stopping, clock=self._clock,
        )  # fmt: skip

    def _stop_if_too_many_failed(self) -> None:
        most, figures = self._settings.max_failures, self.figures
        if most is not None and figures.failed > most:
            kinds = ", ".join(f"{name} {number:,}" for name, number in figures.failures.items())
            self.stop(BatchStoppedError(f"the batch has stopped: {figures.failed:,} rows have failed ({kinds})"))

    def _usual_concurrency(self) -> int:
        """Return how many concurrent rows the role's first target takes, by the limits in its settings.

        Raises:
            ConfigError: the role or an option cannot be used.
        """
        settings = self._settings
        try:
            target = self._router.resolve(settings.role, **settings.options)[0]
        except InvalidRequestError as error:
            raise ConfigError(error.message, sent=False) from error
        limits = limits_of_target(self._router.config, target)
        most = [] if limits.max_concurrency is None else [limits.max_concurrency]
        if limits.rpm is not None:
            most.append(min(_MOST_BY_RATE, max(1, limits.rpm * _RATE_SECONDS // 60)))
        return min(most) * limits.keys if most else DEFAULT_CONCURRENCY

    async def _with_progress(self, work: Any, started: float) -> None:
        async def tick() -> None:
            while True:
                await self._clock.sleep_async(_TICK)
                self.figures.elapsed_seconds = self._clock.monotonic() - started
                self._tell()

        if self._settings.progress is None:
            await work
            return
        ticking = asyncio.ensure_future(tick())
        try:
            await work
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)

    def _tell(self, *, force: bool = False) -> None:
        hook = self._settings.progress
        if hook is not None:
            try:
                hook(self.figures.snapshot() if force else self.figures)
            except Exception:  # noqa: BLE001 - a listener's failure must not affect the batch
                _log.debug("the progress hook of a batch has raised", exc_info=True)

    def _close(self, output: BatchOutput) -> None:
        try:
            output.close()
        except OutputFailedError as failure:
            self.stop(BatchStoppedError(str(failure), sent=False))

    def _raise_if_stopped(self) -> None:
        error = self._error
        if error is None:
            return
        figures = self.figures
        if isinstance(error, BatchStoppedError):
            error.report = figures.snapshot()
            raise error
        details = {"failure_type": error.failure_type, "provider": error.provider, "model": error.model}
        raise BatchStoppedError(
            f"the batch has stopped after {figures.done:,} rows: {error.message}",
            report=figures.snapshot(), retry_after=error.retry_after, request_id=error.request_id, **details,
        ) from error  # fmt: skip


def run_here(run: BatchRun) -> BatchReport:
    """Run a batch to its end; in a thread of its own if an event loop is already running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run.run())
    loops: list[asyncio.AbstractEventLoop] = []
    tasks: list[asyncio.Task[BatchReport]] = []

    async def main() -> BatchReport:
        loops.append(asyncio.get_running_loop())
        tasks.append(asyncio.ensure_future(run.run()))
        return await tasks[0]

    def work() -> BatchReport:
        return asyncio.run(main())

    future = start_in_thread(work)
    try:
        return outcome(future)
    except BaseException:
        # Ctrl-C arrives in this thread.
        if tasks and not future.done():
            loops[0].call_soon_threadsafe(tasks[0].cancel)
            with suppress(BaseException):
                future.result()
        raise


def _check(settings: BatchSettings) -> None:
    if settings.concurrency is not None and not _is_number(settings.concurrency, int, 1):
        raise ConfigError("concurrency must be a whole number of at least 1", sent=False)
    if settings.max_failures is not None and not _is_number(settings.max_failures, int, 0):
        raise ConfigError("max_failures must be a whole number of at least 0", sent=False)
    if not _is_number(settings.give_up_after, (int, float), 0):
        raise ConfigError("give_up_after must be a number of seconds of at least 0", sent=False)
    if settings.engine == "live" and settings.engine_options:
        names = ", ".join(sorted(settings.engine_options))
        raise ConfigError(f"the usual engine has no option {names!r:.60}: name the engine that has it", sent=False)


def _is_number(value: object, kind: type[int] | tuple[type[int], type[float]], least: int) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and value >= least


def _check_distinct(rows: Rows, settings: BatchSettings) -> None:
    """Raise if the output or the errors file is the input."""
    if isinstance(rows, str | PathLike):
        for path in (settings.out, settings.errors, settings.ledger):
            with suppress(OSError, ValueError):
                if path.samefile(rows):
                    raise ConfigError(f"{path}: this is the input", sent=False)


async def _opened(settings: BatchSettings) -> BatchOutput:
    """Open the files in a thread: if the ledger was lost, the whole output is read."""

    def dispose(late: Future[BatchOutput]) -> None:
        if late.exception() is None:
            late.result().close()

    opening = start_in_thread(BatchOutput, settings.out, settings.errors, settings.ledger)
    try:
        return await awaitable(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(dispose)
        raise


def _same_batch(output: BatchOutput, settings: BatchSettings, source: RowSource) -> str:
    """Return the id of the batch that the output belongs to, which must be this one.

    Raises:
        ConfigError: the output was started with another input or other settings.
    """
    facts = {
        "input": source.name,
        "role": settings.role,
        "template": _hash({"template": settings.template}),
        "system": _hash({"system": settings.system}),
        "options": _hash(settings.options),
    }
    kept = output.ledger.fact("batch")
    before = json.loads(kept) if kept else None
    if before is not None and not (settings.append or output.is_empty):
        other = [name for name, value in facts.items() if before[name] != value]
        if other:
            raise ConfigError(
                f"{settings.out}: it holds the answers to another batch (other {', '.join(other)}): give another"
                " output, or say `append` to go on with this one",
                sent=False,
            )
    batch_id = before["id"] if before else new_request_id(SYSTEM_CLOCK.time())
    with output.failing():
        output.ledger.set_facts({"batch": json.dumps({**facts, "id": batch_id})})
        output.ledger.tell()
    return str(batch_id)


def _hash(options: Any) -> str:
    """Return a hash of options that is the same in each run; values that are not JSON count by their text form."""
    shown = {name: _plain(name, value) for name, value in sorted(options.items())}
    return blake2b(json_text(shown), digest_size=10).hexdigest()


def _plain(name: str, value: Any) -> Any:
    if name == "schema":
        from lee_llm_router.providers.json_schema import json_schema_of  # noqa: PLC0415 - few batches have one

        return json_schema_of(value)
    if name == "tools":
        return [_plain("", tool) for tool in value]
    return getattr(value, "__qualname__", type(value).__name__) if callable(value) else value


async def _in_order(output: BatchOutput, settings: BatchSettings) -> None:
    """Sort the files in a thread; on cancellation, they stay unchanged."""
    given_up = Event()

    def work(is_cancelled: Callable[[], bool]) -> None:
        output.tidy_failures()
        if settings.ordered:
            output.put_in_order(is_cancelled)

    working = awaitable(start_in_thread(work, given_up.is_set))
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        given_up.set()
        with suppress(Exception):
            await working
        raise
