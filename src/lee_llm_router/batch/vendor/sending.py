"""Sends batches: each at most once, whatever is killed and when."""

from __future__ import annotations

from lee_llm_router._util.log import logger
from lee_llm_router.batch.engine import BatchJob, BatchStoppedError
from lee_llm_router.batch.vendor.api import GONE
from lee_llm_router.batch.vendor.ledger import SentBatch, VendorLedger
from lee_llm_router.batch.vendor.placing import Lane
from lee_llm_router.batch.vendor.planning import parts_of
from lee_llm_router.errors import FailureType, LLMRouterError

_NO_API = GONE | {405, 501}
_TOO_LARGE = 413
_OF_BATCH = frozenset({FailureType.INVALID_REQUEST, FailureType.CONTEXT_LENGTH, FailureType.CONTENT_FILTER})
"""Failures with which a vendor refuses this batch, not every batch."""


class TooLargeError(Exception):
    """A batch is larger than its vendor accepts."""


class RefusedError(Exception):
    """A vendor refuses a batch because of its content."""


class Sending:
    """Sends the batches of one run.

    Args:
        job: The batch of rows.
        ledger: Records everything that is sent.
    """

    def __init__(self, job: BatchJob, ledger: VendorLedger) -> None:
        self._job = job
        self._ledger = ledger
        self.known: set[str] = set()
        """Known batch ids: ours, and some that turned out to be others'."""

    def check_budget(self, lane: Lane) -> None:
        """Raise if a budget is spent.

        Raises:
            BudgetExceededError: a budget is spent.
        """
        parts = parts_of(self._job.router)
        if parts.billing is not None and parts.billing.has_budgets:
            role = self._job.router.explain(self._job.settings.role).role
            spent = parts.billing.refusal(role, lane.target, parts.clock.time())
            if spent is not None:
                raise spent

    async def send(self, lane: Lane, batch: SentBatch, lines: list[bytes]) -> None:
        """Send a batch that is in the ledger, and record its id there.

        Raises:
            TooLargeError: it has to be split.
            RefusedError: it cannot be sent at all.
            LLMRouterError: no batch can be sent.
        """
        try:
            await self._upload(lane, batch, lines)
            await self._create(lane, batch, lines)
        except LLMRouterError as error:
            if isinstance(error, BatchStoppedError) or not error.sent or not 400 <= (error.status_code or 0) < 500:
                raise
            # A refused batch does not exist at the vendor.
            if error.status_code in _NO_API:
                self._ledger.drop(batch)
                raise BatchStoppedError(
                    f"{lane.target.provider} has no batch API that can be used: {error.message}",
                    failure_type=error.failure_type,
                ) from error
            if error.status_code == _TOO_LARGE and batch.rows > 1:
                raise TooLargeError from error
            if error.failure_type in _OF_BATCH:
                logger.warning("%s refused a batch of %d rows: %s", lane.target.provider, batch.rows, error.message)
                raise RefusedError from error
            if batch.file_id is None:
                self._ledger.drop(batch)
            raise

    async def _upload(self, lane: Lane, batch: SentBatch, lines: list[bytes]) -> None:
        if not lane.api.needs_file or batch.file_id is not None:
            return
        is_first = True

        async def upload() -> str:
            nonlocal is_first
            if not is_first and (found := await lane.api.find_upload(lane.door, batch.submission())) is not None:
                return found
            is_first = False
            return await lane.api.upload(lane.door, batch.submission(lines))

        batch.file_id = await lane.door.steadily(upload)
        self._ledger.tell(batch)

    async def _create(self, lane: Lane, batch: SentBatch, lines: list[bytes]) -> None:
        is_first = True

        async def create() -> str:
            nonlocal is_first
            if not is_first and await self.found(lane, batch):
                return str(batch.id)
            is_first = False
            return await lane.api.create(lane.door, batch.submission(lines))

        batch.id = await lane.door.steadily(create)
        self.known.add(batch.id)
        self._ledger.tell(batch)

    async def found(self, lane: Lane, batch: SentBatch) -> bool:
        """Search the vendor for a batch that was sent but whose id was never received; return whether it is there."""
        found = await lane.api.find(lane.door, batch.submission(), frozenset(self.known))
        if found is None:
            return False
        batch.id, batch.is_certain = found, False
        self.known.add(found)
        self._ledger.tell(batch)
        return True

    async def again(self, lane: Lane, batch: SentBatch) -> bool:
        """Resume a batch of an earlier run whose id is unknown; return whether it is at the vendor now.

        If it is not, it is forgotten, and its rows are sent in another one.
        """
        if await lane.door.steadily(lambda: self.found(lane, batch)):
            return True
        if lane.api.needs_file and batch.file_id is None:
            batch.file_id = await lane.door.steadily(lambda: lane.api.find_upload(lane.door, batch.submission()))
        if batch.file_id is None:
            self._ledger.drop(batch)
            return False
        try:
            await self.send(lane, batch, [])
        except (TooLargeError, RefusedError):
            self._ledger.drop(batch)
            return False
        return True
