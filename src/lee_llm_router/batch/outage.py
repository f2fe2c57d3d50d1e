"""Distinguishes a row that fails from a vendor that is gone, and waits out the latter.

A failure of the row's own making is final at once: a prompt that is too long, an answer that breaks its contract. Any
other failure may be the vendor's. If other rows were answered while this one failed, it is tried again, a few times. If
none was, it is an outage: all rows wait, except for one at a time that probes, after growing waits. The first answer
ends the outage, and no row has been given up because of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from enum import Enum

from lee_llm_router.batch.engine import BatchJob, BatchStoppedError
from lee_llm_router.errors import BudgetExceededError, ConfigError, FailureType, LLMRouterError, RouterClosedError

_OF_THE_ROW = frozenset(
    {
        FailureType.INVALID_REQUEST,
        FailureType.CONTEXT_LENGTH,
        FailureType.CONTENT_FILTER,
        FailureType.CONTRACT_VIOLATION,
        FailureType.UNKNOWN,
        FailureType.CANCELLED,
    }
)
_HOPELESS = frozenset({FailureType.AUTH, FailureType.QUOTA, FailureType.MODEL_NOT_FOUND})
_ENDS_BATCH = (BudgetExceededError, ConfigError, RouterClosedError)
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
"""The most seconds between two probes, unless the vendor names a longer wait."""


class Fault(Enum):
    """Who is responsible for a failure."""

    ROW = "the row's own: another try would end the same"
    TARGET = "a target's, which may serve again"
    NOBODY_SERVES = "every target's: no key, no money, no such model"
    BATCH = "the batch's: its budget is spent, its configuration cannot be used, its router is closed"


def fault_of(error: LLMRouterError) -> Fault:
    """Return who is responsible for a failed call, judging by the last attempt at each of its targets."""
    if isinstance(error, _ENDS_BATCH):
        return Fault.BATCH
    if error.failure_type is FailureType.UNAVAILABLE and error.final:
        return Fault.ROW
    last = {
        (record.provider, record.model): record.failure_type
        for record in error.attempts
        if record.failure_type and (record.outcome != "skipped" or record.retry_after is not None)
    }
    types = {*last.values(), error.failure_type.value}
    if types - {kind.value for kind in _OF_THE_ROW | _HOPELESS}:
        return Fault.TARGET
    return Fault.NOBODY_SERVES if types <= {kind.value for kind in _HOPELESS} else Fault.ROW


async def sleep_until(job: BatchJob, moment: float, *others: Awaitable[object]) -> None:
    """Sleep until `moment` on the batch's clock, or until the batch is stopped or one of `others` is done."""
    clock = job.clock
    await first_of(clock.sleep_async(max(0.0, moment - clock.monotonic())), job.stopping(), *others)


async def first_of(*ways: Awaitable[object]) -> None:
    """Return once one of `ways` is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


class OutageGate:
    """Lets rows through while the vendor answers, and one at a time while it does not.

    Args:
        job: The batch, which is stopped if an outage lasts too long.
    """

    def __init__(self, job: BatchJob) -> None:
        self._job = job
        self.is_shut = False
        """Whether there is an outage. A plain attribute, since it is read before each row."""
        self._since = 0.0
        self._wait = _FIRST_WAIT
        self._try_at = 0.0
        self._has_prober = False
        self._changed = asyncio.Event()
        self.answers = 0
        """How many rows the vendor has answered, including refusals."""

    async def enter(self) -> bool:
        """Return when the caller may send its row: True for the probe in an outage. A stopped batch admits everyone."""
        while self.is_shut and not self._job.is_stopped():
            if self._has_prober:
                await self._changed.wait()
                continue
            self._has_prober = True
            try:
                await self._sleep_until(self._try_at)
            except BaseException:
                self._has_prober = False
                raise
            if self._is_over():
                self._has_prober = False
            else:
                return True
        return False

    def _is_over(self) -> bool:
        return not self.is_shut

    @property
    def seconds_shut(self) -> float:
        """How long the outage has lasted; 0 if there is none."""
        return self._job.clock.monotonic() - self._since if self.is_shut else 0.0

    async def _sleep_until(self, moment: float) -> None:
        """Sleep until `moment`, or until the outage is over or the batch is stopped."""
        await sleep_until(self._job, moment, self._changed.wait())

    def answered(self) -> None:
        """Record that the vendor has answered; an outage is over."""
        self.answers += 1
        if self.is_shut:
            self.is_shut, self._wait = False, _FIRST_WAIT
            self._job.figures.waiting_for = None
            self._wake()

    def failed(self, error: LLMRouterError, *, is_prober: bool) -> None:
        """Record that a row has failed, and that none was answered meanwhile."""
        now = self._job.clock.monotonic()
        if not self.is_shut:
            self.is_shut, self._since = True, now
        elif not is_prober:
            # It was already in flight when the outage began.
            return
        self._try_at = now + max(self._wait, error.retry_after or 0.0)
        self._wait = min(_LONGEST_WAIT, self._wait * 2)
        figures, settings = self._job.figures, self._job.settings
        figures.waiting_for, figures.waiting_seconds = error.failure_type.value, self._try_at - now
        if self._try_at - self._since > settings.give_up_after:
            self._job.stop(
                BatchStoppedError(
                    f"no target has answered for {now - self._since:.0f} s, and the next try would come after the"
                    f" {settings.give_up_after:g} s that the batch waits for an outage to end: {error.message}",
                    failure_type=error.failure_type,
                )
            )

    def probed(self) -> None:
        """Record that the probing row has ended, with any result."""
        self._has_prober = False
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
