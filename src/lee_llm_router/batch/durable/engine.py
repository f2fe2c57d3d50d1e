"""The engine `dbos`: enqueues rows in a database, where any number of workers answer them, and collects the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from lee_llm_router._util.threads import call_in_thread_async
from lee_llm_router.batch.answers import RowOutcome, failure_of
from lee_llm_router.batch.durable.asking import RowAsker
from lee_llm_router.batch.durable.database import SCHEMA, BatchDatabase, need_dbos
from lee_llm_router.batch.durable.settings import DurableSettings
from lee_llm_router.batch.engine import BatchJob
from lee_llm_router.batch.outage import sleep_until
from lee_llm_router.batch.rows import BatchRow
from lee_llm_router.errors import ConfigError, LLMRouterError, UnavailableError, UnknownFailureError
from lee_llm_router.providers.json_schema import json_schema_of

if TYPE_CHECKING:
    from lee_llm_router.batch.durable.roll_call import RollCall
    from lee_llm_router.batch.durable.row_queue import RowQueue, StoredAnswer
    from lee_llm_router.batch.durable.worker import DurableWorker

T = TypeVar("T")

_CHUNK = 500
"""Rows that are enqueued in one transaction."""
_LOOK_SECONDS = 0.2
"""Seconds between two checks for answers while there are none."""
_LONGEST_WAIT = 10.0
"""The most seconds between two attempts while the database is unavailable."""


class DbosEngine:
    """Processes rows through a database; see `DurableSettings` for its options.

    Raises:
        ConfigError: the extra is missing, or an option is wrong.
    """

    def __init__(self, job: BatchJob) -> None:
        need_dbos()
        self._job = job
        self._settings = DurableSettings.of(job.settings.engine_options)
        self._database = BatchDatabase(self._settings.db)
        self._role = job.router.explain(job.settings.role).role
        self._options = storable_options(job.settings.options)
        self._read: list[BatchRow] = []
        """Rows that have been read but not enqueued."""
        self._asked: dict[str, BatchRow] = {}
        """Enqueued rows, by key; their requests are only in the database."""
        self._asker = RowAsker(job.router, job.clock)
        self._has_room = asyncio.Event()
        self._has_all = False
        self._is_done = False

    async def run(self) -> None:
        """Same as `BatchEngine.run`.

        Raises:
            ConfigError: DBOS is already in use in this process, or a row contains something that cannot be stored.
            UnavailableError: the database cannot be reached, or was unavailable for longer than `give_up_after`.
        """
        from lee_llm_router.batch.durable.limits import limits_of  # noqa: PLC0415 - the extra
        from lee_llm_router.batch.durable.row_queue import RowQueue  # noqa: PLC0415 - the extra

        job = self._job
        limits = limits_of(job.router, self._role, job.concurrency)
        queue = await call_in_thread_async(
            lambda: RowQueue(self._database, job.batch_id, self._role, limits, clock=job.clock)
        )
        stack = ExitStack()
        feeding = asyncio.ensure_future(self._feed())
        try:
            worker = await self._worker_in(stack)
            try:
                await self._pass_rows(queue, worker, feeding)
            except BaseException:
                if worker is not None:
                    worker.hurry()
                raise
            # Even if the batch has stopped, the worker's rows in flight are answered, and the answers are worth having.
            await call_in_thread_async(stack.close)
            while await self._collect(queue):
                pass
        finally:
            feeding.cancel()
            with suppress(asyncio.CancelledError, LLMRouterError):
                await feeding
            await call_in_thread_async(lambda: self._close(stack, queue))

    async def _worker_in(self, stack: ExitStack) -> DurableWorker | None:
        """Start the worker of this process, which ends with `stack`; None if other processes do the work."""
        from lee_llm_router.batch.durable.worker import DurableWorker  # noqa: PLC0415 - the extra

        if not self._settings.worker:
            return None
        worker = DurableWorker(self._database, [self._role], self._asker)
        entering = asyncio.ensure_future(call_in_thread_async(lambda: stack.enter_context(worker)))
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            # It must have started before it can be ended.
            worker.hurry()
            with suppress(LLMRouterError):
                await entering
            raise

    def _close(self, stack: ExitStack, queue: RowQueue) -> None:
        try:
            stack.close()
            if not self._is_done:
                with suppress(UnavailableError):
                    queue.withdraw()
        finally:
            queue.close()
            self._database.close()

    async def _feed(self) -> None:
        """Read rows, as far ahead of the answers as allowed."""
        while (row := await self._job.next_row()) is not None:
            self._read.append(row)
            while len(self._read) + len(self._asked) >= self._settings.ahead:
                self._has_room.clear()
                await self._has_room.wait()
        self._has_all = True

    async def _pass_rows(self, queue: RowQueue, worker: DurableWorker | None, feeding: asyncio.Future[None]) -> None:
        """Enqueue rows and put their answers, until all is done or the batch stops."""
        job = self._job
        watch = _WorkerWatch(self._database, job)
        while not job.is_stopped():
            if feeding.done():
                feeding.result()
            if self._read:
                await self._enqueue(queue)
            has_found = await self._collect(queue)
            if self._has_all and not (self._read or self._asked):
                await self._steadily(queue.clear)
                self._is_done = True
                return
            if worker is not None and worker.ended.is_set():
                job.stop(worker.failure)
            elif not (has_found or self._read):
                if worker is None:
                    await watch.look()
                await job.clock.sleep_async(_LOOK_SECONDS)

    async def _collect(self, queue: RowQueue) -> bool:
        """Put a few hundred answered rows at most, and return whether there were any."""
        found = await self._steadily(lambda: queue.answered(self._asked.keys()))
        for answer in found:
            row = self._asked.pop(answer.row_key)
            self._job.put(row, _outcome(row, answer))
        if found:
            await self._steadily(lambda: queue.forget([one.row_key for one in found]))
            self._has_room.set()
        figures, here = self._job.figures, self._asker.figures
        if self._settings.worker:
            # Rows in flight elsewhere are for others to await.
            figures.in_flight = here.in_flight
            figures.waiting_for, figures.waiting_seconds = here.waiting_for, here.waiting_seconds
        return bool(found)

    async def _enqueue(self, queue: RowQueue) -> None:
        """Enqueue the rows that have been read, in one transaction; repeating it after a kill has no second effect."""
        rows = self._read[:_CHUNK]
        stored = []
        asked = {}
        for row in rows:
            try:
                fields = self._stored(row)
            except ConfigError as error:
                self._job.put(row, failure_of(row, error))
                continue
            stored.append((row_key(row), fields))
            asked[row_key(row)] = replace(row, messages="", options={})
        await self._steadily(lambda: queue.put(stored))
        del self._read[: len(rows)]
        self._asked.update(asked)

    def _stored(self, row: BatchRow) -> Mapping[str, Any]:
        """Return the stored form of a row.

        Raises:
            ConfigError: part of it cannot be stored.
        """
        fields = {**row.as_fields(), "options": storable_options(row.options)}
        fields["messages"] = _as_json("messages", row.messages)
        return {
            "role": self._role,
            "batch": self._job.batch_id,
            "row": fields,
            "options": self._options,
            "give_up_after": self._job.settings.give_up_after,
        }

    async def _steadily(self, function: Callable[[], T]) -> T:
        """Return the result of `function`, called in a thread; retry while the database is unavailable.

        Raises:
            UnavailableError: it was unavailable for longer than `give_up_after`, or the batch was stopped meanwhile.
        """
        job, wait = self._job, _LOOK_SECONDS
        began = job.clock.monotonic()
        while True:
            try:
                result = await call_in_thread_async(function)
            except UnavailableError as error:
                if job.is_stopped() or job.clock.monotonic() - began > job.settings.give_up_after:
                    raise
                job.figures.waiting_for, job.figures.waiting_seconds = error.message, wait
                await sleep_until(job, job.clock.monotonic() + wait)
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                if wait > _LOOK_SECONDS:
                    job.figures.waiting_for, job.figures.waiting_seconds = None, 0.0
                return result


class _WorkerWatch:
    """Reports in the figures of a job that there is no worker, while that is so."""

    def __init__(self, database: BatchDatabase, job: BatchJob) -> None:
        self._database = database
        self._figures = job.figures
        self._clock = job.clock
        self._roll: RollCall | None = None
        self._due = 0.0

    async def look(self) -> None:
        """Check for workers, if it is time."""
        from lee_llm_router.batch.durable.roll_call import BEAT_SECONDS  # noqa: PLC0415 - the extra

        if self._clock.monotonic() < self._due:
            return
        self._due = self._clock.monotonic() + BEAT_SECONDS
        with suppress(UnavailableError):
            alive = await call_in_thread_async(self._alive)
            self._figures.waiting_for = None if alive else "a worker: start `lee-llm-router worker`"

    def _alive(self) -> int:
        from lee_llm_router.batch.durable.roll_call import RollCall  # noqa: PLC0415 - the extra

        with self._database.failures_named():
            if self._roll is None:
                self._roll = RollCall(self._database.engine, None if self._database.is_sqlite else SCHEMA)
                self._roll.prepare()
            self._roll.look()
            return self._roll.alive


def row_key(row: BatchRow) -> str:
    """Return the name of a row in the database, within its batch. It is the same after a restart."""
    return blake2b(row.id.encode(), digest_size=16).hexdigest()


def storable_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return call options as JSON values, for another process. A type as `schema` becomes its JSON Schema.

    Raises:
        ConfigError: an option cannot leave this process.
    """
    return {name: _as_json(name, value) for name, value in options.items()}


def _as_json(name: str, value: Any) -> Any:
    try:
        plain = json_schema_of(value) if name == "schema" and value is not None else value
        return json.loads(json.dumps(plain))
    except (TypeError, ValueError, RecursionError):
        raise ConfigError(
            f"{name} cannot be stored in a database, because it is not JSON; the engine dbos needs that", sent=False
        ) from None


def _outcome(row: BatchRow, answer: StoredAnswer) -> RowOutcome:
    """Return the outcome that a worker has stored; a failure if no worker could store one."""
    if answer.value is not None and answer.value.get("id") == row.id:
        return RowOutcome.of_fields(answer.value)
    if answer.ended == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        why = "each worker that asked it has died"
    elif answer.ended == "CANCELLED":
        why = "it was cancelled in the database"
    else:
        why = "the worker could not answer it"
    return failure_of(row, UnknownFailureError(why))
