"""The engine `vendor`: gathers rows into batches, sends them, and puts their outcomes."""

from __future__ import annotations

import asyncio
from dataclasses import field

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.log import logger
from lee_llm_router.batch.answers import RowOutcome
from lee_llm_router.batch.engine import BatchJob, BatchStoppedError
from lee_llm_router.batch.live_engine import all_or_none
from lee_llm_router.batch.outage import first_of, sleep_until
from lee_llm_router.batch.rows import BatchRow, key_of
from lee_llm_router.batch.vendor.api import MB, BatchResult
from lee_llm_router.batch.vendor.ledger import SentBatch, VendorLedger, new_token
from lee_llm_router.batch.vendor.live_rows import LiveRows
from lee_llm_router.batch.vendor.placing import Lane, Placing
from lee_llm_router.batch.vendor.sending import RefusedError, Sending, TooLargeError
from lee_llm_router.batch.vendor.settings import VendorSettings
from lee_llm_router.batch.vendor.settling import Settling
from lee_llm_router.batch.vendor.watch import OpenBatch, Watch
from lee_llm_router.errors import ConfigError, LLMRouterError

_ROWS_AT_ONCE = 100
"""Rows that are written before other tasks of the event loop get a turn."""


@dataclass(slots=True)
class _Gathered:
    """Rows that will form one batch."""

    lane: Lane
    token: str = field(default_factory=new_token)
    rows: list[BatchRow] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    size: int = 0


class VendorEngine:
    """Processes rows through the batch API of their vendor; see `VendorSettings` for its options.

    Raises:
        ConfigError: an option is wrong, or no target of the role has a batch API.
    """

    def __init__(self, job: BatchJob) -> None:
        self._job = job
        self._settings = VendorSettings.of(job.settings.engine_options)
        self._placing = Placing(job, self._settings.provider)
        self._ledger = VendorLedger(job.settings.out.with_name(f"{job.settings.out.name}.vendor"))
        self._sending = Sending(job, self._ledger)
        self._settling = Settling(job)
        self._has_room = asyncio.Event()
        self._live = LiveRows(job, self._put, self._has_room.set)
        self._watch = Watch(job, self._settings, self)
        self._gathered: dict[int, _Gathered] = {}
        self._waiting: dict[bytes, tuple[BatchRow, str]] = {}
        """Rows at the vendor, by their key: each with the name of its batch."""
        self._most_bytes = self._settings.max_mb * MB
        self._has_past = False
        self._is_done = False

    async def run(self) -> None:
        """Same as `BatchEngine.run`.

        Raises:
            ConfigError: a batch of an earlier run cannot be fetched with this configuration.
        """
        job = self._job
        try:
            await self._take_up()
            if self._settings.cancel:
                await self._watch.cancel_all()
                return
            await all_or_none((self._work(), self._live.run()))
            self._is_done = not job.is_stopped()
        except ConfigError:
            raise
        except LLMRouterError as error:
            job.stop(error)
        finally:
            if self._watch.batches:
                rows = sum(one.sent.rows for one in self._watch.batches)
                logger.warning("%d rows are still at the vendor: the same call fetches their results", rows)
            self._ledger.close(is_done=self._is_done)

    async def _take_up(self) -> None:
        """Resume the batches of earlier runs."""
        batches = self._ledger.batches()
        self._has_past = self._ledger.has_rows
        self._sending.known.update(one.id for one in batches if one.id is not None)
        for batch in batches:
            lane = self._placing.lane(batch.provider, batch.model, batch.key_variable, batch.path)
            if lane is None:
                raise ConfigError(
                    f"an earlier run has a batch at the provider {batch.provider!r:.60}, which has no batch API in this"
                    " configuration", sent=False,
                )  # fmt: skip
            if batch.id is None:
                # A batch that was being sent when the process was killed may appear a little later.
                await sleep_until(self._job, self._job.clock.monotonic() + self._seconds_young(batch))
            if batch.id is not None or await self._sending.again(lane, batch):
                self._watch.add(OpenBatch(lane, batch))

    def _seconds_young(self, batch: SentBatch) -> float:
        """Return the seconds until a batch is as old as the first wait."""
        age = self._job.clock.time() - batch.created
        return min(self._settings.first_wait, max(0.0, self._settings.first_wait - age))

    async def _work(self) -> None:
        """Send all rows, and watch the batches until none is left."""
        feeding = asyncio.ensure_future(self._feed())
        try:
            await self._watch.run(feeding)
            await feeding  # if the batch is stopped, a submission in progress still completes
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        self._live.close()

    async def _feed(self) -> None:
        taken = 0
        while (row := await self._job.next_row()) is not None:
            await self.take(row)
            taken += 1
            if not taken % _ROWS_AT_ONCE:
                await asyncio.sleep(0)
            while self._is_full() and not self._job.is_stopped():
                await self.flush()
                self._has_room.clear()
                if self._is_full():
                    await first_of(self._has_room.wait(), self._job.stopping())
        if not self._job.is_stopped():
            await self.flush()

    def _is_full(self) -> bool:
        gathered = sum(len(one.rows) for one in self._gathered.values())
        return len(self._waiting) + len(self._live) + gathered >= self._settings.ahead

    async def take(self, row: BatchRow) -> None:
        """Process a row: in the batch that it is in already, in the next one, or live."""
        key = row.key or key_of(row.id)
        mark = self._ledger.mark(key) if self._has_past else None
        if mark is not None and mark.asked != row.digest:
            mark = None  # the row has changed since
        if mark is not None and mark.result is not None:
            await self._settle_kept(row, mark.token, mark.result)
        elif mark is not None and mark.is_live:
            self._live.add(row)
        elif mark is not None and self._watch.has(mark.token):
            self._waiting[key] = (row, mark.token)
        else:
            await self._gather(row, key)

    async def _gather(self, row: BatchRow, key: bytes) -> None:
        placed = self._placing.placed(row)
        if placed is None:
            self._live.add(row)
            return
        lane = placed.lane
        gathered = self._gathered.get(id(lane)) or _Gathered(lane)
        line = lane.api.line(_custom_id(gathered.token, key), lane.path, placed.body)
        most = min(self._most_bytes, lane.api.limits.size, lane.most_bytes)
        if len(line) > most:
            self._live.add(row)
            return
        if gathered.size + len(line) > most or len(gathered.rows) >= self._most_rows(lane):
            await self._send(gathered)
            gathered = _Gathered(lane)
            line = lane.api.line(_custom_id(gathered.token, key), lane.path, placed.body)
        self._gathered[id(lane)] = gathered
        gathered.rows.append(row)
        gathered.lines.append(line)
        gathered.size += len(line) + 1

    def _most_rows(self, lane: Lane) -> int:
        own = self._settings.max_rows
        return lane.api.limits.rows if own is None else min(own, lane.api.limits.rows)

    async def flush(self) -> None:
        """Send the gathered rows."""
        while self._gathered and not self._job.is_stopped():
            await self._send(next(iter(self._gathered.values())))

    async def _send(self, gathered: _Gathered) -> None:
        self._gathered.pop(id(gathered.lane), None)
        lane, target = gathered.lane, gathered.lane.target
        self._sending.check_budget(lane)
        batch = SentBatch(
            token=gathered.token, provider=target.provider, model=target.model, key_variable=target.key_variable,
            path=lane.path, rows=len(gathered.rows), created=self._job.clock.time(),
        )  # fmt: skip
        keys = [row.key or key_of(row.id) for row in gathered.rows]
        self._ledger.intend(batch, [(key, row.digest) for key, row in zip(keys, gathered.rows, strict=True)])
        try:
            await self._sending.send(lane, batch, gathered.lines)
        except TooLargeError:
            lane.most_bytes = gathered.size / 2
            self._ledger.drop(batch)
            for row in gathered.rows:
                await self._gather(row, row.key or key_of(row.id))
            await self.flush()
            return
        except RefusedError:
            self._ledger.fetched(batch)
            for row in gathered.rows:
                self._live.add(row)
            return
        self._waiting.update((key, (row, batch.token)) for key, row in zip(keys, gathered.rows, strict=True))
        self._watch.add(OpenBatch(lane, batch))

    async def settle(self, one: OpenBatch, result: BatchResult) -> bool:
        """Put the result of a row, or keep it until that row is read again; return whether the row was in the batch."""
        key = _key_in(result.custom_id, one.sent.token)
        if key is None:
            return False
        if self._settings.cancel and not result.status:
            return True  # it was cancelled, and the next run sends it again
        row, token = self._waiting.get(key, (None, ""))
        if row is None or token != one.sent.token:
            self._ledger.keep(key, one.sent.token, result)
            return True
        del self._waiting[key]
        await self._settle(row, one.sent, one.lane, result)
        return True

    async def _settle_kept(self, row: BatchRow, token: str, result: BatchResult) -> None:
        """Put a result that was fetched, in an earlier run or in this one, before its row was read."""
        placed = self._placing.placed(row)
        if placed is None:
            self._live.add(row)
            return
        lane = placed.lane
        batch = SentBatch(
            token=token, provider=lane.target.provider, model=lane.target.model, key_variable=lane.target.key_variable,
            path=lane.path, rows=1, created=0.0,
        )  # fmt: skip
        await self._settle(row, batch, lane, result)

    async def _settle(self, row: BatchRow, batch: SentBatch, lane: Lane, result: BatchResult) -> None:
        outcome = await self._settling.outcome(row, result, batch, lane.door.provider)
        if outcome is not None:
            self._put(row, outcome)
        else:
            self._ledger.ask_live(row.key or key_of(row.id), row.digest)
            self._live.add(row)

    def _put(self, row: BatchRow, outcome: RowOutcome) -> None:
        self._job.put(row, outcome)
        self._ledger.ended(row.key or key_of(row.id))

    def fetched(self, one: OpenBatch) -> None:
        """Record that a batch was fetched. Its rows without a result are sent live."""
        self._ledger.fetched(one.sent)
        self._has_past = True
        for row in self._taken_back(one):
            self._live.add(row)

    async def disown(self, one: OpenBatch) -> None:
        """Record that a batch is not the one it was taken for: find that one, or send its rows again."""
        one.sent.id = None
        if await self._sending.again(one.lane, one.sent):
            self._watch.add(OpenBatch(one.lane, one.sent))
            return
        for row in self._taken_back(one):
            await self._gather(row, row.key or key_of(row.id))
        await self.flush()

    async def send_again(self, one: OpenBatch) -> None:
        """Send a batch again for which the vendor had no capacity; its file is already uploaded."""
        one.sent.id = None
        self._ledger.tell(one.sent)
        await self._sending.send(one.lane, one.sent, [])

    def cancelled(self, one: OpenBatch) -> None:
        """Record that a batch was cancelled and fetched: the next run sends its rows without a result again."""
        self._ledger.drop(one.sent)

    def stop_cancelled(self, rows: int) -> None:
        """End the batch of rows, whose vendor batches were cancelled."""
        self._job.stop(BatchStoppedError(f"{rows:,} rows at the vendor were cancelled; no more are sent", sent=False))

    def _taken_back(self, one: OpenBatch) -> list[BatchRow]:
        """Return the rows that still wait for a batch, and end their wait."""
        keys = [key for key, (_, token) in self._waiting.items() if token == one.sent.token]
        rows = [self._waiting.pop(key)[0] for key in keys]
        self._has_room.set()
        return rows


def _custom_id(token: str, key: bytes) -> str:
    """Return the id of a row within its batch: 41 letters, digits and dashes. Anthropic takes 64."""
    return f"{token}-{key.hex()}"


def _key_in(custom_id: str | None, token: str) -> bytes | None:
    """Return the key of the row with that id; None if it belongs to another batch."""
    if custom_id is None or not custom_id.startswith(f"{token}-"):
        return None
    try:
        return bytes.fromhex(custom_id[len(token) + 1 :])
    except ValueError:
        return None
