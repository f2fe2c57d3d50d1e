"""The arithmetic of one door of a shared state, without storage; `contract.py` defines its meaning."""

from __future__ import annotations

from math import inf
from typing import Any

from lee_llm_router.health.shared.contract import DoorReport, DoorView, Rest


class DoorScope:
    """The state of one door. The caller passes the time, in seconds of one clock, and holds a lock."""

    __slots__ = (
        "_first_expiry", "_is_led", "_members", "_pass_until", "_passing", "_probe_at", "_rest_length", "_rest_reason",
        "_rest_until", "_version", "_waits_until",
    )  # fmt: skip

    def __init__(self) -> None:
        self._version = 0
        self._probe_at: float | None = None
        """The earliest time for a probe; None: the breaker is closed."""
        self._waits_until = 0.0
        self._is_led = True
        self._rest_until = self._rest_length = 0.0
        """If the length is 0, there is no rest."""
        self._rest_reason = ""
        self._passing = ""
        """The member that has the pass, until `_pass_until`."""
        self._pass_until = 0.0
        self._members: dict[str, float] = {}
        """When the lease of each member ends."""
        self._first_expiry = inf

    def exchange(self, report: DoorReport, now: float) -> DoorView:
        """Take a report and return the new state of the door."""
        self._note_member(report, now)
        before = self._shape()
        if report.forgets:
            self._forget()
        self._hear_breaker(report, now)
        self._hear_waits(report, now)
        if self._shape() != before:
            self._version += 1
        self._lend_pass(report, now)
        is_lent = bool(self._passing) and now < self._pass_until
        return DoorView(
            version=self._version,
            is_open=self._probe_at is not None,
            probe_in=0.0 if self._probe_at is None else max(0.0, self._probe_at - now),
            waits_for=max(0.0, self._waits_until - now),
            is_led=self._is_led,
            rest=Rest(max(0.0, self._rest_until - now), self._rest_length, self._rest_reason)
            if self._rest_length
            else None,
            has_pass=is_lent and self._passing == report.member,
            is_passed=is_lent and self._passing != report.member,
            others=len(self._members) - (report.member in self._members),
        )

    @property
    def version(self) -> int:
        """The number of changes so far."""
        return self._version

    def to_data(self) -> list[Any]:
        """Return its state as lists, numbers and texts, as in JSON."""
        return [
            self._version, self._probe_at, self._waits_until, self._is_led, self._rest_until, self._rest_length,
            self._rest_reason, self._passing, self._pass_until, list(self._members.items()),
        ]  # fmt: skip

    @classmethod
    def from_data(cls, data: list[Any]) -> DoorScope:
        """Return the door that `to_data` wrote."""
        door = cls()
        (
            door._version, door._probe_at, door._waits_until, door._is_led, door._rest_until, door._rest_length,
            door._rest_reason, door._passing, door._pass_until, members,
        ) = data  # fmt: skip
        door._members = dict(members)
        door._first_expiry = min(door._members.values(), default=inf)
        return door

    def _note_member(self, report: DoorReport, now: float) -> None:
        if now >= self._first_expiry:
            self._members = {name: until for name, until in self._members.items() if until > now}
            self._first_expiry = min(self._members.values(), default=inf)
        self._members[report.member] = now + report.lease
        self._first_expiry = min(self._first_expiry, now + report.lease)

    def _shape(self) -> tuple[object, ...]:
        return self._probe_at, self._waits_until, self._is_led, self._rest_until, self._rest_length

    def _forget(self) -> None:
        self._probe_at = None
        self._waits_until = self._rest_until = self._rest_length = 0.0
        self._is_led = True
        self._passing = ""

    def _hear_breaker(self, report: DoorReport, now: float) -> None:
        mine = self._passing == report.member
        if report.closed:
            self._probe_at = None
        if report.opened_for is not None:
            probe_at = now + report.opened_for
            self._probe_at = probe_at if self._probe_at is None else min(self._probe_at, probe_at)
        if report.reopened_for is not None:
            self._probe_at = now + report.reopened_for
        if mine and (report.closed or report.reopened_for is not None or report.led or report.drops_pass):
            self._passing = ""

    def _hear_waits(self, report: DoorReport, now: float) -> None:
        """Apply the reported vendor waits and rests."""
        if report.led and now >= self._waits_until:
            self._is_led = True
        if report.waits_for is not None:
            self._waits_until = max(self._waits_until, now + report.waits_for)
            self._is_led = False
        if report.rested:
            self._rest_until = self._rest_length = 0.0
        if report.rest is not None and now + report.rest.seconds > self._rest_until:
            self._rest_until = now + report.rest.seconds
            self._rest_length, self._rest_reason = report.rest.length, report.rest.reason

    def _lend_pass(self, report: DoorReport, now: float) -> None:
        is_free = not self._passing or now >= self._pass_until
        if self._probe_at is not None:
            is_due = now >= self._probe_at or report.despite_time
        else:
            is_due = not self._is_led and now >= self._waits_until
        if report.keeps_pass or (report.wants_pass and is_due):
            if is_free or self._passing == report.member:
                self._passing, self._pass_until = report.member, now + report.lease
        elif is_free:
            self._passing = ""
