"""A worker: takes rows from the queues in the database, answers them with a router, and stores the answers there.

DBOS takes and stores the rows, on an event loop of its own. This module adds that workers watch each other, and that
the rows of a dead worker are given back to the queue.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from dbos import DBOS, DBOSClient, DBOSConfig

from lee_llm_router._util.log import logger
from lee_llm_router.batch.durable.database import SCHEMA, BatchDatabase
from lee_llm_router.batch.durable.quiet import quiet_logs
from lee_llm_router.batch.durable.roll_call import BEAT_SECONDS, RollCall, new_worker_id
from lee_llm_router.batch.durable.stored_rows import ANSWER_ROW, APPLICATION, VERSION, JsonSerializer, queue_of
from lee_llm_router.errors import ConfigError, LLMRouterError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

RowAnswerer: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Answers a stored row with the value to store as its answer, even if the row has failed. If it raises an
`LLMRouterError`, no row can be answered: the worker stops, and the row goes to another."""

PATIENCE = 20.0
"""Seconds that rows in flight have when a worker ends: Kubernetes kills a container after 30."""
_LOOK_SECONDS = 0.2
_MOST_DEATHS = 20
"""Consecutive workers that a row may lose before it counts as failed: it may be what kills them."""


class DurableWorker:
    """One worker, active while entered. There is one per process, since DBOS has one application per process.

    Args:
        database: The database that holds the rows.
        roles: Roles whose rows it takes.
        answer: Answers a row; called on the event loop of DBOS.
        patience: Seconds that rows in flight have when the worker ends. Unfinished rows then go to others.
    """

    def __init__(
        self, database: BatchDatabase, roles: Collection[str], answer: RowAnswerer, *, patience: float = PATIENCE
    ) -> None:
        self.worker_id = new_worker_id()
        self._database = database
        self._roles = roles
        self._answer = answer
        self._patience = patience
        self._roll: RollCall | None = None
        self._beating: threading.Thread | None = None
        self._leaving = threading.Event()
        self.ended = threading.Event()
        """Set when the worker can answer no more rows; `failure` says why."""
        self.failure: LLMRouterError | None = None
        self.rows_taken = 0
        """Rows that it has started."""
        self.rows_under_way = 0

    def __enter__(self) -> Self:
        """Start taking rows.

        Raises:
            ConfigError: DBOS is already in use in this process.
            UnavailableError: the database cannot be reached.
        """
        if _is_dbos_in_use():
            raise ConfigError(
                "this process already uses DBOS, which it can only do once: run the worker in a process of its own"
            )
        self._database.prepare()
        with self._database.failures_named():
            self._roll = RollCall(self._database.engine, None if self._database.is_sqlite else SCHEMA)
            self._roll.prepare()
            # Beat before taking the first row: if the worker dies at once, others must notice.
            self._roll.beat(self.worker_id)
            try:
                self._launch()
            except BaseException:
                self._leave()
                raise
        self._beating = threading.Thread(target=self._beat, args=(self._roll,), name="batch-worker-beats", daemon=True)
        self._beating.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Take no more rows, finish those in flight, and give back the rest."""
        try:
            DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=int(self._patience))
        finally:
            self._leaving.set()
            if self._beating is not None:
                self._beating.join()
            self._leave()

    def wait(self, idle: float | None = None) -> None:
        """Return when no more rows can be answered, or none has been in flight for `idle` seconds."""
        quiet_since, taken = monotonic(), 0
        while not self.ended.wait(_LOOK_SECONDS):
            if self.rows_under_way or self.rows_taken != taken:
                quiet_since, taken = monotonic(), self.rows_taken
            elif idle is not None and monotonic() - quiet_since >= idle:
                return

    def hurry(self) -> None:
        """Abandon the rows in flight when the worker ends: they go to others."""
        self._patience = 0.0

    def _launch(self) -> None:
        quiet_logs()
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": self._database.address,
            "dbos_system_schema": SCHEMA,
            "db_engine_kwargs": {"hide_parameters": True},
            "executor_id": self.worker_id,
            "application_version": VERSION,
            "serializer": JsonSerializer(),
            "enable_otlp": False,
            "run_migrations": False,
            "log_level": "WARNING",
        }

        async def answer_row(row: dict[str, Any]) -> dict[str, Any]:
            return await self._answer_row(row)

        DBOS(config=config)
        try:
            DBOS.workflow(name=ANSWER_ROW, max_recovery_attempts=_MOST_DEATHS)(answer_row)
            DBOS.listen_queues([queue_of(role) for role in self._roles])
            DBOS.launch()
        except BaseException:
            DBOS.destroy(destroy_registry=True)
            raise

    async def _answer_row(self, row: dict[str, Any]) -> dict[str, Any]:
        """Answer a row. The whole workflow is one call: its result is stored, and then the row is not sent again."""
        if self.ended.is_set():
            raise asyncio.CancelledError
        self.rows_taken += 1
        self.rows_under_way += 1
        try:
            return dict(await self._answer(row))
        except LLMRouterError as error:
            self.failure = self.failure or error
            self.ended.set()
            # Leave it in the database as in flight at a worker that is leaving, so that it is given back.
            raise asyncio.CancelledError from None
        finally:
            self.rows_under_way -= 1

    def _beat(self, roll: RollCall) -> None:
        """Beat until the worker leaves, and give back the rows of dead workers."""
        while not self._leaving.wait(BEAT_SECONDS):
            try:
                roll.beat(self.worker_id)
                dead = [one for one in roll.look() if one != self.worker_id]
                if dead and not self.ended.is_set():
                    # Recover by executor name, so that two workers that see it give each row back only once.
                    DBOS._recover_pending_workflows(dead)
                    for one in dead:
                        roll.leave(one)
            except Exception as error:  # noqa: BLE001 - the database is unavailable for a while
                logger.debug("a beat of the batch worker failed: %s", type(error).__name__)

    def _leave(self) -> None:
        """Remove this worker from the roll, or record that it leaves rows for others to take."""
        if self._roll is None:
            return
        try:
            if self._has_rows():
                self._roll.resign(self.worker_id)
            else:
                self._roll.leave(self.worker_id)
        except Exception as error:  # noqa: BLE001 - others then notice its absence, as if it had died
            logger.debug("the batch worker could not leave: %s", type(error).__name__)

    def _has_rows(self) -> bool:
        client = DBOSClient(
            system_database_url=self._database.address,
            dbos_system_schema=SCHEMA,
            serializer=JsonSerializer(),
            application_name=APPLICATION,
            retry_connection_errors=False,
        )
        try:
            return bool(
                client.list_workflows(
                    status="PENDING", executor_id=self.worker_id, limit=1, load_input=False, load_output=False
                )
            )
        finally:
            client.destroy()


def _is_dbos_in_use() -> bool:
    """Whether the application uses DBOS itself, launched or with registered workflows: ours would be mixed with it."""
    from dbos import _dbos  # noqa: PLC0415 - nothing public tells

    return _dbos._dbos_global_instance is not None or _dbos._dbos_global_registry is not None
