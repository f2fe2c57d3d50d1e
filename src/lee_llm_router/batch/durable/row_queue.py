"""The rows of one batch in the database: put there once, collected when answered, deleted once written out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable, Mapping
from typing import Any

from dbos import DBOSClient, EnqueueOptions, WorkflowStatus

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.data_class import dataclass
from lee_llm_router.batch.durable.database import SCHEMA, BatchDatabase
from lee_llm_router.batch.durable.limits import QueueLimits
from lee_llm_router.batch.durable.stored_rows import ANSWER_ROW, APPLICATION, VERSION, JsonSerializer, queue_of

POLL_SECONDS = 0.1
"""Seconds between a worker's checks for rows."""
_FINISHED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_PAGE = 500
"""Answers read at once."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """One finished row."""

    row_key: str
    """The key that `put` received."""
    value: Mapping[str, Any] | None
    """The value that the worker stored; None if no worker could."""
    ended: str
    """The final status of the workflow in DBOS: almost always ``SUCCESS``."""


class RowQueue:
    """The rows of one batch.

    Args:
        database: The database that holds them.
        batch_id: Distinguishes its rows from those of other batches.
        role: Role that the rows call.
        limits: How fast rows are taken, over all workers.
        clock: Tells how long ago a row was written to the output.

    Raises:
        UnavailableError: the database cannot be reached.
    """

    def __init__(
        self, database: BatchDatabase, batch_id: str, role: str, limits: QueueLimits, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._database = database
        self._prefix = f"{batch_id}:"
        self._queue = queue_of(role)
        self._clock = clock
        self._window = limits.period
        self._kept: list[tuple[float, str]] = []
        """Workflows of written rows that the rate limit still counts, with the time of writing."""
        self._unknown = 0
        """Finished rows at the last look that nobody was waiting for."""
        database.prepare()
        with database.failures_named():
            self._client = DBOSClient(
                system_database_url=database.address,
                dbos_system_schema=SCHEMA,
                serializer=JsonSerializer(),
                application_name=APPLICATION,
                # The batch itself waits, and can be stopped meanwhile.
                retry_connection_errors=False,
            )
            self._client.register_queue(
                self._queue,
                worker_concurrency=limits.each_worker,
                global_concurrency=limits.all_workers,
                limiter=limits.limiter,
                polling_interval_sec=POLL_SECONDS,
                on_conflict="always_update",
            )

    def close(self) -> None:
        """Close the connections."""
        self._client.destroy()

    def put(self, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Enqueue `rows`, each under its key, in one transaction. A row that exists already stays unchanged.

        Raises:
            UnavailableError: the database does not accept them.
        """
        with self._database.failures_named(), self._database.engine.begin() as connection:
            for key, row in rows:
                options: EnqueueOptions = {
                    "workflow_name": ANSWER_ROW,
                    "queue_name": self._queue,
                    "workflow_id": self._prefix + key,
                    "app_version": VERSION,
                }
                self._client.enqueue_in_transaction(connection, options, dict(row))

    def answered(self, waited_for: Container[str]) -> list[StoredAnswer]:
        """Return a few hundred finished rows at most whose keys are in `waited_for`.

        Raises:
            UnavailableError: the database does not answer.
        """
        with self._database.failures_named():
            # First read only the names: rows that nobody waits for may come before the others.
            done = self._list(limit=_PAGE + max(len(self._kept), self._unknown), load_output=False)
            keys = [self._key(one) for one in done]
            fresh = [one.workflow_id for one, key in zip(done, keys, strict=True) if key in waited_for][:_PAGE]
            self._unknown = len(done) - len(fresh)
            found = self._list(workflow_ids=fresh) if fresh else []
        return [self._answer(one) for one in found]

    def forget(self, row_keys: Iterable[str]) -> None:
        """Delete rows that are written to the output, with their prompts.

        With a rate limit, a row stays until it has left its window: DBOS counts the rows in the database.

        Raises:
            UnavailableError: the database does not answer. They are deleted with the next ones.
        """
        now = self._clock.monotonic()
        self._kept.extend((now, self._prefix + key) for key in row_keys)
        last = bisect_right(self._kept, now - self._window, key=lambda one: one[0])
        self._delete([workflow_id for _, workflow_id in self._kept[:last]])
        del self._kept[:last]

    def withdraw(self) -> None:
        """Delete the rows that no worker has started: the batch has stopped, and enqueues them again when resumed.

        Raises:
            UnavailableError: the database does not answer.
        """
        # Delete the last ones first: workers start with the others.
        self._delete_all(status="ENQUEUED", sort_desc=True)

    def clear(self) -> None:
        """Delete the rest of the batch: each row is written to the output, or nobody wants it any more.

        Raises:
            UnavailableError: the database does not answer.
        """
        self._delete_all()
        self._kept.clear()

    def _delete_all(self, **which: Any) -> None:
        while True:
            with self._database.failures_named():
                left = self._client.list_workflows(
                    workflow_id_prefix=self._prefix, limit=_PAGE, load_input=False, load_output=False, **which
                )
            if not left:
                break
            self._delete([one.workflow_id for one in left])

    def _delete(self, workflow_ids: list[str]) -> None:
        if workflow_ids:
            with self._database.failures_named():
                self._client.delete_workflows(workflow_ids)

    def _key(self, status: WorkflowStatus) -> str:
        return status.workflow_id.removeprefix(self._prefix)

    def _list(self, **which: Any) -> list[WorkflowStatus]:
        return self._client.list_workflows(workflow_id_prefix=self._prefix, status=_FINISHED, load_input=False, **which)

    def _answer(self, status: WorkflowStatus) -> StoredAnswer:
        value = status.output if status.status == "SUCCESS" else None
        return StoredAnswer(
            row_key=self._key(status),
            value=value if isinstance(value, Mapping) else None,
            ended=status.status,
        )
