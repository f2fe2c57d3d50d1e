"""The arithmetic of one limits scope of a shared state, without storage; `contract.py` defines its meaning.

How this works
--------------
Uses are added up in ticks of a tenth of a second, and count until a minute after their tick has ended. So a limit holds
for any 60 seconds, and costs at most a tenth of a second of them. Everything that was neither used in the last minute
nor is lent is free.

Members that lack something for their next attempt wait in the order in which they began to. Each of those ahead is owed
one attempt, and only what remains after that is lent; for starts, no more than an equal share while others wait. The
member at place n is told when the n-th attempt becomes free, so that a thousand routers at a limit do not all ask again
at the same time.

Other implementations may choose their own storage; `to_data` shows what has to be stored.
"""

from __future__ import annotations

from dataclasses import astuple
from math import floor, inf
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.health.shared.contract import LimitsReport, LimitsView

MINUTE = 60.5
"""Seconds for which a use counts. A request reaches the vendor later than it is counted here; the first requests, which
open connections, are later than those of a minute after, by 0.3 s as measured. This costs 0.8% of a limit."""
TICK = 0.1
"""Seconds in a tick, by which uses are added up."""
LENT_POLL = 0.25
"""Seconds, for each place in the order, after which holders may have given back what they do not use."""
SLOT_POLL = 0.02
"""Seconds, for each place in the order, after which someone else's attempt may have ended."""
LONGEST_POLL = 1.0
"""The most seconds until it is worth asking again, if no time is known."""


@dataclass(slots=True)
class Holding:
    """The holdings of one member."""

    expires: float = 0.0
    starts: int = 0
    tokens: int = 0
    slots: int = 0
    place: int | None = None
    """Its place in the order of the waiting members: lower numbers first. None: it does not wait."""
    tokens_owed: int = 0
    """Tokens that its next attempt lacks, while it waits."""
    waits_for_slot: bool = False


class LimitsScope:
    """The use and the leases of one scope. The caller passes the time, in seconds of one clock, and holds a lock."""

    __slots__ = ("_first_expiry", "_members", "_next_place", "_retries", "_starts", "_tokens")

    def __init__(self) -> None:
        self._starts: dict[int, int] = {}
        """Attempts started, by tick number."""
        self._tokens: dict[int, int] = {}
        self._members: dict[str, Holding] = {}
        self._first_expiry = inf
        """No member's lease ends earlier."""
        self._next_place = 0
        self._retries: float | None = None
        """Content of the retry budget; None: nobody has spent anything, so it is full."""

    def exchange(self, report: LimitsReport, now: float) -> LimitsView:
        """Take a report and return the member's new holdings."""
        self._expire(now)
        self._use(report, now)
        retries = self._pay(report)
        if report.leaves:
            self._members.pop(report.member, None)
            return LimitsView(retries=retries)
        mine = self._members.setdefault(report.member, Holding())
        mine.expires = now + report.lease
        self._first_expiry = min(self._first_expiry, mine.expires)
        # Anything it does not want any more is free for others.
        mine.starts = min(report.starts_held, report.starts_wanted)
        mine.tokens = min(report.tokens_held, report.tokens_wanted)
        mine.slots = report.in_flight
        ahead = [
            other
            for other in self._members.values()
            if other is not mine and other.place is not None and (mine.place is None or other.place < mine.place)
        ]
        contended = any(other.waits_for_slot for other in self._members.values() if other is not mine)
        lacks_slot = self._lend_slots(report, mine, len(ahead))
        if not (lacks_slot and contended):
            self._lend(report, mine, ahead)
        next_in = self._wait(report, mine, ahead, lacks_slot, now)
        return LimitsView(mine.starts, mine.tokens, mine.slots, next_in, contended, retries)

    def is_idle(self, now: float) -> bool:
        """Whether there is nothing left worth keeping."""
        self._expire(now)
        return not (self._starts or self._tokens or self._members or self._retries is not None)

    def to_data(self) -> list[Any]:
        """Return its state as lists, numbers and texts, as in JSON."""
        members = [[name, *astuple(held)] for name, held in self._members.items()]
        return [list(self._starts.items()), list(self._tokens.items()), members, self._next_place, self._retries]

    @classmethod
    def from_data(cls, data: list[Any]) -> LimitsScope:
        """Return the scope that `to_data` wrote."""
        scope = cls()
        starts, tokens, members, scope._next_place, scope._retries = data
        scope._starts, scope._tokens = dict(starts), dict(tokens)
        scope._members = {name: Holding(*held) for name, *held in members}
        scope._first_expiry = min((held.expires for held in scope._members.values()), default=inf)
        return scope

    def _expire(self, now: float) -> None:
        """Drop uses older than a minute, and members whose lease has ended."""
        oldest = floor((now - MINUTE) / TICK)
        for uses in (self._starts, self._tokens):
            # A late report may have put an old tick behind a newer one; it is at most as old as a lease, and can wait
            # there.
            while uses and (first := next(iter(uses))) < oldest:
                del uses[first]
        if now >= self._first_expiry:
            self._members = {name: held for name, held in self._members.items() if held.expires > now}
            self._first_expiry = min((held.expires for held in self._members.values()), default=inf)

    def _use(self, report: LimitsReport, now: float) -> None:
        for use in report.used:
            ago = max(0.0, use.seconds_ago)
            if ago >= MINUTE:
                continue
            tick = floor((now - ago) / TICK)
            if report.rpm is not None and use.starts:
                self._starts[tick] = self._starts.get(tick, 0) + use.starts
            if report.tpm is not None and use.tokens:
                self._tokens[tick] = max(0, self._tokens.get(tick, 0) + use.tokens)

    def _pay(self, report: LimitsReport) -> float:
        """Apply the changes to the retry budget, and return its content."""
        held = report.retry_burst if self._retries is None else self._retries
        held = min(report.retry_burst, max(0.0, held - report.retries_spent) + report.retries_earned)
        self._retries = None if held >= report.retry_burst else held
        return held

    def _lend_slots(self, report: LimitsReport, mine: Holding, ahead: int) -> bool:
        """Lend slots, and return whether the next attempt lacks one."""
        if report.max_concurrency is None:
            mine.slots = max(report.in_flight, report.slots_wanted)
            return False
        others = sum(held.slots for held in self._members.values()) - mine.slots
        mine.slots = max(report.in_flight, min(report.slots_wanted, report.max_concurrency - others - ahead))
        return report.slots_wanted > report.in_flight >= mine.slots

    def _lend(self, report: LimitsReport, mine: Holding, ahead: list[Holding]) -> None:
        """Lend the starts and tokens that are free beyond what is owed to those ahead."""
        if report.rpm is not None:
            free = self._free_starts(report.rpm)
            others = sum(other.place is not None for other in self._members.values() if other is not mine)
            share = max(1, free // (others + 1)) if others else free
            mine.starts += max(0, min(report.starts_wanted - mine.starts, share, free - len(ahead)))
        if report.tpm is not None:
            left = self._free_tokens(report.tpm) - sum(other.tokens_owed for other in ahead)
            mine.tokens += max(0, min(report.tokens_wanted - mine.tokens, left))

    def _wait(
        self, report: LimitsReport, mine: Holding, ahead: list[Holding], lacks_slot: bool, now: float
    ) -> float | None:
        """Add the member to the waiting ones if it lacks something; return the seconds until it may get it."""
        lacks_start = report.rpm is not None and report.starts_wanted > 0 and not mine.starts
        lacks_tokens = report.tpm is not None and report.tokens_wanted > 0 and mine.tokens < report.tokens_needed
        mine.waits_for_slot = lacks_slot
        mine.tokens_owed = report.tokens_needed - mine.tokens if lacks_tokens else 0
        if not (lacks_slot or lacks_start or lacks_tokens):
            mine.place = None
            return None
        if mine.place is None:
            mine.place = self._next_place
            self._next_place += 1
        place, next_in = len(ahead) + 1, 0.0
        if lacks_slot:
            next_in = min(LONGEST_POLL, place * SLOT_POLL)
        if lacks_start and report.rpm is not None:
            others = sum(held.starts for held in self._members.values()) - mine.starts
            missing = place - self._free_starts(report.rpm)
            next_in = max(next_in, _free_in(self._starts, missing, others > 0, place, now))
        if lacks_tokens and report.tpm is not None:
            others = sum(held.tokens for held in self._members.values()) - mine.tokens
            owed = mine.tokens_owed + sum(other.tokens_owed for other in ahead)
            missing = owed - self._free_tokens(report.tpm)
            next_in = max(next_in, _free_in(self._tokens, missing, others > 0, place, now))
        return next_in

    def _free_starts(self, rpm: int) -> int:
        return rpm - sum(self._starts.values()) - sum(held.starts for held in self._members.values())

    def _free_tokens(self, tpm: int) -> int:
        return tpm - sum(self._tokens.values()) - sum(held.tokens for held in self._members.values())


def _free_in(uses: dict[int, int], missing: int, some_lent: bool, place: int, now: float) -> float:
    """Return the seconds until `missing` more are free.

    Args:
        uses: Uses by tick, oldest first.
        missing: How many are needed beyond the free ones.
        some_lent: Whether others hold some, which may come back earlier.
        place: The place in the order of waiting members, from 1.
        now: The time.
    """
    if missing <= 0:  # something else is missing, so do not wait for a use to expire
        return 0.0
    poll = min(LONGEST_POLL, place * LENT_POLL)
    for tick, used in uses.items():
        missing -= used
        if missing <= 0:
            free_in = max(0.0, (tick + 1) * TICK + MINUTE - now)
            return min(poll, free_in) if some_lent else free_in
    return poll
