"""The limits of a shared scope: what was lent to this router, what it used, what it wants. Arithmetic only.

How this works
--------------
An attempt may start if the router's own count allows it, as without a shared state, and if the lease has a permit, a
slot and the tokens for it. `opens_at` tells; `acquire` takes them. If the lease lacks something, `cause` tells why:
``state`` means that the shared state has not been asked, or has not answered yet, and the call waits for that answer
before it tries other targets; ``limit`` means that it has answered, and nothing is free. Then the link asks again at
the time that the state has named, and wakes the calls. They also check by themselves a little later, which only matters
if the state is gone.

The link asks for a `report`, and hands the answer to `apply`. The report asks for what the waiting calls need, and a
lease in advance: as many permits as start in a fifth of a second, 10 to 50, and no more than a thirtieth of the limit.
Whatever is not used between two reports goes back.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.health.limits import AttemptLimits, RetryBudget
from lee_llm_router.health.minute_window import MINUTE, TokenUse
from lee_llm_router.health.shared.contract import LimitsReport, LimitsView, Use

if TYPE_CHECKING:
    from lee_llm_router.health.shared.link import StateLink

BEATS = 4
"""Reports per lease, if nothing is urgent: several may be missed before it ends."""
_LARGEST_LEASE = 50
_SMALLEST_RESERVE = 10
_RESERVE_SECONDS = 0.2
"""Seconds that the reserve should last."""
_LEASES_IN_LIMIT = 30
"""A lease is at most this fraction of its limit, so that one router does not keep it from the others."""
_PLENTY = 4
"""With tokens for this many requests of the usual size and of the largest waiting one, order does not matter."""
_TICKS = 10
"""Ticks per second, by which uses are added up."""
_SLOT_LOOK = 0.2
"""Seconds after which a call that waits for a slot checks again by itself; the link wakes it as soon as one is free."""
_SHORTEST_WAIT = 0.01
"""The fewest seconds before a lack is reported again: a tenth of a tick. At the edge of a tick a state may say "now"
but lend nothing, and waiting calls would make the link ask without a pause."""
_TRUST = 1.0
"""Seconds after which a call asks again even if the answer named a later time: others may have given something back."""


def new_member() -> str:
    """Return a random name for a member, from the system's generator, so that a forked child's name differs."""
    return os.urandom(8).hex()


class LeasedLimits(AttemptLimits):
    """Limits of which a part at a time is lent to this router.

    Args:
        own: The configured limits.
        scope: Their name in the shared state.
        link: Asks the shared state.
        lock: Held by every caller of this object.
        waiting: Returns how many calls wait for these limits.
        wake: Wakes the first of those calls, given the time.
        budget: The retry budget that is shared under this scope; None if none is.
    """

    __slots__ = (
        "__weakref__", "_asked", "_asked_tokens", "_begun", "_peak", "_peak_since", "_rate", "_reported",
        "_reported_at", "_tokens_each", "_trust_until", "_used", "_waiting", "budget", "cause", "expires",
        "is_contended", "is_noted", "link", "lock", "member", "next_at", "scope", "slots", "starts",
        "tokens", "wake",
    )  # fmt: skip

    def __init__(
        self, own: AttemptLimits, scope: str, link: StateLink, *, lock: ForkLock,
        waiting: Callable[[], int], wake: Callable[[float], None], budget: SharedBudget | None = None,
    ) -> None:  # fmt: skip
        super().__init__(own.max_concurrency, own.rpm, own.tpm)
        self.scope = scope
        self.link = link
        self.lock = lock
        self.wake = wake
        self._waiting = waiting
        self.budget = budget
        self.cause = "limit"
        self.renew()

    def renew(self) -> None:
        """Hold nothing, under a new name: at the start, and in a forked child, since the parent holds what was lent."""
        self.member = new_member()
        self.starts = self.tokens = self.slots = 0
        """What is left of the lease; `slots` includes those in flight."""
        self.expires = -inf
        """When the lease ends."""
        self.next_at = self._trust_until = -inf
        """When more may be lent, according to the shared state; and until when nobody asks earlier than that."""
        self.is_contended = self._asked = False
        self.is_noted = False
        """Whether the link knows that there is something to report."""
        self._asked_tokens = 0
        self._used: dict[int, list[float]] = {}
        """What has not been reported yet, by tick: time, starts, tokens."""
        self._reported: tuple[int, int] = (0, 0)
        """Starts and tokens held, as last reported."""
        self._reported_at = -inf
        self._begun = self._peak = 0
        """Attempts begun since the last report, and the most concurrent ones since `_peak_since`, a beat ago."""
        self._peak_since = -inf
        self._rate = self._tokens_each = 0.0

    def opens_at(self, now: float, tokens: int = 0) -> float | None:
        """Same as `AttemptLimits.opens_at`; the shared state should answer by the returned time."""
        self.cause = "limit"
        at = super().opens_at(now, tokens)
        if at is None or at > now or not self.is_set:
            return at
        if self._has(now, tokens):
            return at
        alone_from = self.link.alone_from
        if now >= alone_from:
            return max(at, self.next_at)  # the latest answer still holds
        if now < self.next_at and now < self._trust_until:
            if self.max_concurrency is not None and self.in_flight >= self.slots:
                return max(self.next_at, now + _SLOT_LOOK)
            return self.next_at + self.link.patience
        self.cause = "state"
        return min(alone_from, now + self.link.patience)

    def acquire(self, now: float, tokens: int = 0) -> TokenUse | None:
        """Same as `AttemptLimits.acquire`; takes what the lease has."""
        use = super().acquire(now, tokens)
        if self.starts:
            self.starts -= 1
        if self.tokens:
            self.tokens = max(0, self.tokens - tokens)
        self._note_use(now, 1, tokens)
        self._begun += 1
        self._tokens_each += (tokens - self._tokens_each) / 8
        self._peak = max(self._peak, self.in_flight)
        if not self._asked and self._runs_low():
            self._asked = True
            self.link.refill(self)
        elif not self.is_noted:
            self.link.note(self)
        return use

    def release(self) -> None:
        """Same as `AttemptLimits.release`; the slot goes back at once if others wait for one."""
        super().release()
        if self.is_contended and self.slots > self.in_flight:
            self.slots = self.in_flight
            self.link.refill(self)

    def settle(self, now: float, use: TokenUse | None, more: int) -> None:
        """See `AttemptLimits.settle`."""
        super().settle(now, use, more)
        if use is not None and self.tpm is not None:
            self._note_use(use.at, 0, more)
            if not self.is_noted:
                self.link.note(self)

    def ask(self, now: float, tokens: int) -> None:
        """Have the link ask for what a call lacks that was refused with the cause ``state``."""
        if not self.is_set:
            return
        self._asked = True
        self._asked_tokens = max(self._asked_tokens, tokens)
        self.link.ask(self, now)

    def answered_by(self, now: float) -> float | None:
        """Same as `AttemptLimits.answered_by`; None if the state does not answer, or the lease has ended."""
        if not self.is_set or now >= min(self.link.alone_from, self.expires):
            return None
        return now + self.link.patience

    def spare(self, now: float) -> int:
        """Return how many attempts the lease has permits for."""
        if now >= self.link.alone_from:
            return self._room(now)
        if not self.is_set or now >= self.expires:
            return 0
        if self.tpm is not None and self.tokens < _PLENTY * max(self._tokens_each, self._asked_tokens):
            return 0  # small requests must not overtake a large one for ever
        starts = _LARGEST_LEASE if self.rpm is None else self.starts
        return starts if self.max_concurrency is None else min(starts, self.slots - self.in_flight)

    def is_awaited(self) -> bool:
        """Whether calls wait for an answer."""
        return self._asked or self._waiting() > 0

    def again_at(self, now: float) -> float:  # noqa: ARG002 - as `SharedDoor.again_at`
        """Return when waiting calls may be lent more; infinite if none waits for that."""
        return self.next_at if self._waiting() and self.next_at > -inf else inf

    def is_busy(self) -> bool:
        """Whether to report to the shared state again soon, so that holdings stay lent or go back."""
        held = self.is_set and (self.in_flight or self.starts or self.tokens or self.slots)
        return bool(held or self._used or self._asked or self._waiting())

    def report(self, now: float) -> LimitsReport:
        """Return the report and request; the answer goes to `apply`, or the report to `unsaid` if there is none."""
        waiting = self._waiting()
        calls, needed = max(waiting, int(self._asked)), self._asked_tokens
        is_active = calls > 0 or self._begun > 0
        elapsed = now - self._reported_at
        self._rate = max(self._begun / max(elapsed, 0.02), self._rate * 0.5 ** (elapsed / _RESERVE_SECONDS))
        reserve = int(min(_LARGEST_LEASE, max(_SMALLEST_RESERVE, self._rate * _RESERVE_SECONDS))) if is_active else 0
        starts, tokens, slots = self._wants(calls, reserve, needed)
        if now >= self.expires:
            self.starts = self.tokens = 0
        self.starts, self.tokens, self.slots = (
            min(self.starts, starts),
            min(self.tokens, tokens),
            min(self.slots, slots),
        )
        used = tuple(
            Use(now - at, int(begun), int(amount)) for at, begun, amount in self._used.values() if now - at < MINUTE
        )
        budget = self.budget
        report = LimitsReport(
            self.scope, self.member, self.link.lease, self.rpm, self.tpm, self.max_concurrency, used=used,
            starts_held=self.starts, tokens_held=self.tokens, in_flight=self.in_flight,
            starts_wanted=starts, tokens_wanted=tokens, slots_wanted=slots,
            tokens_needed=min(needed, self.tpm or 0) if calls else 0,
            retries_spent=budget.spent if budget else 0.0, retries_earned=budget.earned if budget else 0.0,
            retry_burst=budget.burst if budget else 0.0,
        )  # fmt: skip
        self._reported, self._reported_at = (self.starts, self.tokens), now
        self._used = {}
        self._begun = 0
        if now - self._peak_since >= self.link.lease / BEATS:
            self._peak, self._peak_since = self.in_flight, now
        self._asked = False
        if not waiting:
            self._asked_tokens = 0
        self.is_noted = False
        if budget is not None:
            budget.spent = budget.earned = 0.0
        return report

    def apply(self, report: LimitsReport, view: LimitsView, began: float, now: float) -> None:
        """Hold what `view` lends, in answer to a report that was sent at `began`."""
        if report.member != self.member:
            return  # reported before a fork
        starts, tokens = self._reported
        self.starts = max(0, self.starts + view.starts - starts)  # some may have been used since the report
        self.tokens = max(0, self.tokens + view.tokens - tokens)
        self.slots = view.slots
        self.is_contended = view.is_contended
        self.expires = began + report.lease
        self.next_at = -inf if view.next_in is None else now + max(view.next_in, _SHORTEST_WAIT)
        self._trust_until = now + _TRUST
        if self.budget is not None:
            self.budget.hear(view.retries)
        self.wake(now)

    def unsaid(self, report: LimitsReport) -> None:
        """Take back the contents of `report`, which nobody has received."""
        if report.member != self.member:
            return
        for use in report.used:
            self._note_use(self._reported_at - use.seconds_ago, use.starts, use.tokens)
        if self.budget is not None:
            self.budget.spent += report.retries_spent
            self.budget.earned += report.retries_earned

    def leaving(self, now: float) -> LimitsReport:
        """Return the last report: nothing is held or wanted any more."""
        report = self.report(now)
        return LimitsReport(
            self.scope, self.member, report.lease, self.rpm, self.tpm, self.max_concurrency, used=report.used,
            retries_spent=report.retries_spent, retries_earned=report.retries_earned, retry_burst=report.retry_burst,
            leaves=True,
        )  # fmt: skip

    def _has(self, now: float, tokens: int) -> bool:
        """Whether the lease has what one attempt needs."""
        return (
            now < self.expires
            and (self.rpm is None or self.starts > 0)
            and (self.max_concurrency is None or self.in_flight < self.slots)
            and (self.tpm is None or self.tokens >= min(tokens, self.tpm))
        )

    def _room(self, now: float) -> int:
        """Return how many attempts the router's own count allows at least."""
        starts = _LARGEST_LEASE if self.rpm is None else self.rpm - len(self._starts)
        if self._tokens is not None and self.tpm is not None:
            left = self.tpm - self._tokens.used(now)
            starts = min(starts, int(left / max(1.0, self._tokens_each, self._asked_tokens)))
        return starts if self.max_concurrency is None else min(starts, self.max_concurrency - self.in_flight)

    def _runs_low(self) -> bool:
        """Whether the lease is nearly used up, so that it is worth asking for more before a call lacks it."""
        if self.rpm is not None and self.starts <= _part_of(self.rpm) // 2:
            return self.starts > 0 or _part_of(self.rpm) >= _SMALLEST_RESERVE
        return self.tpm is not None and 0 < self.tokens < 2 * self._tokens_each

    def _wants(self, calls: int, reserve: int, needed: int) -> tuple[int, int, int]:
        """Return the starts, tokens and slots that it wants to hold in total."""
        starts = tokens = slots = 0
        if self.rpm is not None:
            starts = calls + min(reserve, _part_of(self.rpm))
        if self.tpm is not None and calls + reserve:
            each, share = max(1.0, self._tokens_each or needed), max(1, self.tpm // _LEASES_IN_LIMIT)
            tokens = min(self.tpm, needed + int(calls * each + min(share, reserve * each)))
        if self.max_concurrency is not None:
            spare = 0 if self.is_contended else min(reserve, _part_of(self.max_concurrency * 4))
            slots = max(self.in_flight + calls + spare, 0 if self.is_contended else self._peak)
        return starts, tokens, slots

    def _note_use(self, at: float, starts: int, tokens: int) -> None:
        tick = int(at * _TICKS)
        found = self._used.get(tick)
        if found is None:
            if len(self._used) > 2 * MINUTE * _TICKS:  # the state is gone: uses older than a minute do not matter
                self._used = {key: use for key, use in self._used.items() if use[0] > at - MINUTE}
            self._used[tick] = [at, starts, tokens]
        else:
            found[1] += starts
            found[2] += tokens


class SharedBudget(RetryBudget):
    """A retry budget that several routers share; its content is the last one reported, plus local changes since."""

    __slots__ = ("_link", "_owner", "earned", "spent")

    def __init__(self, own: RetryBudget, link: StateLink) -> None:
        super().__init__(own.ratio, own.burst)
        self._link = link
        self._owner: LeasedLimits | None = None
        self.spent = self.earned = 0.0
        """Local changes since the last report."""

    def belongs_to(self, owner: LeasedLimits) -> None:
        """Set the limits whose reports share it."""
        self._owner = owner

    def earn(self) -> None:
        """Same as `RetryBudget.earn`; a full budget has nothing to report."""
        if self.tokens < self.burst:
            super().earn()
            self.earned += self.ratio
            self._tell()

    def spend(self) -> bool:
        """See `RetryBudget.spend`."""
        if not super().spend():
            self._tell()  # others may have earned some
            return False
        self.spent += 1
        self._tell()
        return True

    def reset(self) -> None:
        """Same as `RetryBudget.reset`, for all that share it."""
        super().reset()
        self.earned += self.burst
        self._tell()

    def hear(self, tokens: float) -> None:
        """Apply the content that all routers together have left."""
        self.tokens = min(self.burst, max(0.0, tokens - self.spent) + self.earned)

    def _tell(self) -> None:
        if self._owner is not None and not self._owner.is_noted:
            self._link.note(self._owner)


def _part_of(limit: int) -> int:
    """Return the largest lease in advance of a limit; 0 if the limit is so small that each permit is requested."""
    return min(_LARGEST_LEASE, limit // _LEASES_IN_LIMIT)
