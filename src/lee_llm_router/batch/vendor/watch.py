"""Polls the status of batches, with growing waits, and fetches those that have ended."""

from __future__ import annotations

import asyncio
from typing import Protocol

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.log import logger
from lee_llm_router._util.scrubbing import quoted
from lee_llm_router.batch.engine import BatchJob
from lee_llm_router.batch.outage import first_of, sleep_until
from lee_llm_router.batch.vendor.api import GONE, BatchResult, BatchStatus
from lee_llm_router.batch.vendor.ledger import SentBatch
from lee_llm_router.batch.vendor.placing import Lane
from lee_llm_router.batch.vendor.settings import VendorSettings
from lee_llm_router.errors import InvalidResponseError, LLMRouterError

_MOST_SAID = 300
"""The most characters of a vendor's reason that are shown."""
_GROWTH = 1.5
_MOST_FETCHES = 3
"""How often to fetch results that break off, before the missing rows are sent live."""
_ROWS_AT_ONCE = 50
"""Results that are settled before other tasks of the event loop get a turn."""


@dataclass(slots=True, eq=False)
class OpenBatch:
    """A batch at the vendor."""

    lane: Lane
    sent: SentBatch
    wait: float = 0.0
    """Seconds of the last wait."""
    due: float = 0.0
    """When to poll it next, on the batch's clock."""
    done: int = 0
    """Its requests that have ended, according to the latest poll."""


class Owner(Protocol):
    """The sender of the batches, which receives their results."""

    async def settle(self, one: OpenBatch, result: BatchResult) -> bool:
        """Take the result of a request; return whether it belongs to the batch."""
        ...

    def fetched(self, one: OpenBatch) -> None:
        """Record that everything was fetched."""
        ...

    async def disown(self, one: OpenBatch) -> None:
        """Record that a found batch is another one."""
        ...

    async def send_again(self, one: OpenBatch) -> None:
        """Send a batch again for which the vendor had no capacity."""
        ...

    def cancelled(self, one: OpenBatch) -> None:
        """Record that a batch was cancelled, and everything fetched."""
        ...

    def stop_cancelled(self, rows: int) -> None:
        """End, once all batches are cancelled."""
        ...


class Watch:
    """Watches the batches of one run.

    Args:
        job: The batch of rows.
        settings: How long to wait.
        owner: Receives the results.
    """

    def __init__(self, job: BatchJob, settings: VendorSettings, owner: Owner) -> None:
        self._job = job
        self._settings = settings
        self._owner = owner
        self._changed = asyncio.Event()
        self.batches: list[OpenBatch] = []
        """Batches that have not been fetched yet."""

    def add(self, one: OpenBatch) -> None:
        """Watch a batch. A batch from an earlier run may have ended, so it is polled at once."""
        one.wait = self._settings.first_wait
        one.due = self._job.clock.monotonic() + (0.0 if one.sent.was_found else one.wait)
        self.batches.append(one)
        self._changed.set()

    def has(self, token: str) -> bool:
        """Whether the batch with that name is watched."""
        return any(one.sent.token == token for one in self.batches)

    async def run(self, feeding: asyncio.Future[None]) -> None:
        """Watch until `feeding` is done and everything was fetched, or the batch of rows is stopped.

        Raises:
            LLMRouterError: it cannot go on; also what `feeding` raises.
        """
        job = self._job
        feeding.add_done_callback(lambda _: self._changed.set())
        while not job.is_stopped():
            if feeding.done():
                feeding.result()
                if not self.batches:
                    return
            due = min((one.due for one in self.batches), default=float("inf"))
            if due > job.clock.monotonic():
                await self._wait(due)
                continue
            await self._look(next(one for one in self.batches if one.due <= due))

    async def cancel_all(self) -> None:
        """Cancel all batches, and fetch their results. Then the batch of rows is stopped.

        Raises:
            LLMRouterError: the vendor cannot be reached.
        """
        rows = sum(one.sent.rows for one in self.batches)
        for one in self.batches:
            await self._steadily_cancelled(one)
        while self.batches and not self._job.is_stopped():
            await self._wait(min(one.due for one in self.batches))
            for one in [*self.batches]:
                status = await self._status(one)
                if status is None or status.is_ended:
                    if status is not None:
                        await self._fetch(one, status)
                    self.batches.remove(one)
                    self._owner.cancelled(one)
                else:
                    self._put_off(one)
        self._owner.stop_cancelled(rows)

    async def _steadily_cancelled(self, one: OpenBatch) -> None:
        door, batch_id = one.lane.door, str(one.sent.id)
        try:
            await door.steadily(lambda: one.lane.api.cancel(door, batch_id))
        except LLMRouterError as error:
            if error.status_code is None or not 400 <= error.status_code < 500:
                raise
            logger.warning("a batch at %s cannot be cancelled: %s", door.provider.name, error.message)

    async def _wait(self, due: float) -> None:
        """Wait until `due`, or until something changes."""
        self._changed.clear()
        figures = self._job.figures
        if self.batches:
            names = ", ".join(sorted({one.sent.provider for one in self.batches}))
            rows, done = sum(one.sent.rows for one in self.batches), sum(one.done for one in self.batches)
            number = len(self.batches)
            figures.waiting_for = (
                f"{names}: {number:,} {'batch' if number == 1 else 'batches'}, {done:,} of {rows:,} rows done"
            )
            figures.waiting_seconds = max(one.wait for one in self.batches)
            await sleep_until(self._job, due, self._changed.wait())
            figures.waiting_for = None
        else:
            await first_of(self._changed.wait(), self._job.stopping())

    async def _look(self, one: OpenBatch) -> None:
        """Poll the status of a batch, and fetch it if it has ended."""
        if one.sent.id is None:
            await self._owner.send_again(one)
            self._put_off(one)
            return
        status = await self._status(one)
        if status is not None and not status.is_ended:
            one.done = status.done
            self._put_off(one)
        elif status is not None and status.is_wanted_later:
            one.sent.id = None
            one.wait = self._settings.longest_wait
            self._put_off(one)
        elif not one.sent.is_certain and (status is None or not await self._is_ours(one, status)):
            self.batches.remove(one)
            await self._owner.disown(one)
        else:
            if status is not None:
                if status.reason is not None:
                    reason = quoted(status.reason, tuple(one.lane.door.provider.secrets()), _MOST_SAID)
                    logger.warning("a batch at %s has failed: %s", one.sent.provider, reason)
                await self._fetch(one, status)
            self._owner.fetched(one)
            self.batches.remove(one)

    def _put_off(self, one: OpenBatch) -> None:
        one.due = self._job.clock.monotonic() + one.wait
        one.wait = min(one.wait * _GROWTH, self._settings.longest_wait)

    async def _status(self, one: OpenBatch) -> BatchStatus | None:
        """Return the status of a batch; None if it no longer exists.

        Raises:
            LLMRouterError: the vendor cannot be reached.
        """
        door, batch_id = one.lane.door, str(one.sent.id)
        try:
            return await door.steadily(lambda: one.lane.api.status(door, batch_id))
        except LLMRouterError as error:
            if error.status_code not in GONE:
                raise
            logger.warning("a batch at %s no longer exists: %s", door.provider.name, error.message)
            return None

    async def _is_ours(self, one: OpenBatch, status: BatchStatus) -> bool:
        """Return whether the results of a batch carry our ids; False if there are none, or if they are gone.

        Raises:
            LLMRouterError: the vendor cannot be reached.
        """
        door = one.lane.door

        async def look() -> bool:
            async for result in one.lane.api.results(door, str(one.sent.id), status):
                return (result.custom_id or "").startswith(one.sent.token)
            return False

        try:
            return await door.steadily(look)
        except LLMRouterError as error:
            if error.status_code not in GONE:
                raise
            return False

    async def _fetch(self, one: OpenBatch, status: BatchStatus) -> None:
        """Settle all results of a batch that has ended."""
        fetches = 0

        async def fetch() -> None:
            nonlocal fetches
            fetches += 1
            try:
                await self._fetch_once(one, status)
            except InvalidResponseError as error:
                if fetches < _MOST_FETCHES:
                    raise
                logger.warning("results of a batch at %s are lost: %s", one.sent.provider, error.message)

        try:
            await one.lane.door.steadily(fetch)
        except LLMRouterError as error:
            if error.status_code not in GONE:
                raise
            logger.warning("results at %s no longer exist: %s", one.sent.provider, error.message)

    async def _fetch_once(self, one: OpenBatch, status: BatchStatus) -> None:
        seen = 0
        async for result in one.lane.api.results(one.lane.door, str(one.sent.id), status):
            seen += await self._owner.settle(one, result)
            if not seen % _ROWS_AT_ONCE:
                await asyncio.sleep(0)
        if seen < min(status.done, one.sent.rows):
            raise InvalidResponseError(f"of {status.done} results {seen} are there")
