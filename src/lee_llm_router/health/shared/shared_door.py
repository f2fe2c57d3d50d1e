"""What this router and the others report about the doors of one target: breaker, vendor's wait, rest.

How this works
--------------
The local breaker, gate and rest decide, as they do without a shared state. A door remembers the shared state of the
last exchange (`_Shape`). A local change since then is reported; a change of the shared state is followed. If both have
changed at once, the local change is reported first, and the answer is followed.

Of the attempts that test whether a target is back, all routers together make one. Breaker and gate have `needs_pass`
for it: while that is set they let nobody through. A call that is kept out by it asks for the pass and waits a moment;
the router that has the pass lets one attempt through, and reports its outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.health import rest as rests
from lee_llm_router.health.shared.contract import DoorReport, DoorView, Rest
from lee_llm_router.health.shared.leased_limits import new_member

if TYPE_CHECKING:
    from lee_llm_router.health.shared.link import StateLink
    from lee_llm_router.health.states import TargetState

PASS_POLL = 0.1
"""Seconds after which a call that waits for the pass asks again: its holder may have lost it."""
_SAME_MOMENT = 0.02
"""Seconds within which two times count as equal: each is sent as a number of seconds from now."""


@dataclass(slots=True)
class _Shape:
    """The state that keeps attempts away, by the local clock."""

    probe_at: float | None = None
    closed_until: float = 0.0
    is_led: bool = True
    rest_until: float = 0.0
    rest_length: float = 0.0


class SharedDoor:
    """The door of one target, or the rest of a provider.

    Args:
        scope: Its name in the shared state.
        link: Asks the shared state.
        rest: The rest that is shared.
        target: The target; None for a provider, of which only the rest is shared.
        lock: Held by every caller of this object.
        wake: Wakes the calls for which a change matters, given the time.
    """

    __slots__ = (
        "__weakref__", "_asked", "_forgets", "_known", "_pass_until", "_reopened", "_said", "_version", "is_known",
        "is_noted", "is_troubled", "link", "lock", "member", "rest", "scope", "target", "wake",
    )  # fmt: skip

    def __init__(
        self, scope: str, link: StateLink, rest: rests.Rest, target: TargetState | None, *, lock: ForkLock,
        wake: Callable[[float], None],
    ) -> None:  # fmt: skip
        self.scope = scope
        self.link = link
        self.rest = rest
        self.target = target
        self.lock = lock
        self.wake = wake
        self._known = _Shape()
        """The shared state, as far as it is known here."""
        self._said = _Shape()
        """The local state at the last report."""
        self._version = 0
        self.is_known = False
        """Whether the shared state has reported its state."""
        self.is_troubled = False
        """Whether anything kept attempts away at the last check: then an answer may change that."""
        self._forgets = self._reopened = False
        self.renew()

    def renew(self) -> None:
        """Take a new name: at the start, and in a forked child, since the parent holds the pass."""
        self.member = new_member()
        self.is_noted = self._asked = False
        self._pass_until = 0.0
        if self.target is not None and self._version:
            self.target.breaker.needs_pass = self.target.gate.needs_pass = True

    def settled(self, *, reopened: bool) -> None:
        """Report what an attempt, or its start, has changed.

        Args:
            reopened: Whether it was a failed probe.
        """
        if reopened:
            self._reopened = True
        here = self._shape()
        self.is_troubled = here != _Shape()
        if here != self._known and not self.is_noted:
            self.link.refill(self)

    @property
    def poll(self) -> float:
        """Seconds after which a call that lacks the pass checks again."""
        return min(PASS_POLL, self.link.patience)

    def forget(self) -> None:
        """Report that a user asks to forget everything."""
        self._forgets = True
        self.link.refill(self)

    def ask(self, now: float) -> None:
        """Ask for the pass."""
        self._asked = True
        self.link.ask(self, now)

    def known_by(self, now: float) -> float | None:
        """Return when the shared state will have reported its state; None if it has, or does not answer."""
        alone_from = self.link.alone_from
        return None if self.is_known or now >= alone_from else min(alone_from, now + self.link.patience)

    def goes_alone(self, now: float) -> bool:
        """Whether the shared state does not answer, so that no pass is needed."""
        if now < self.link.alone_from:
            return False
        self.needs_pass(False)
        return True

    def needs_pass(self, needs: bool) -> None:
        """Set whether attempts need the pass."""
        if self.target is not None:
            self.target.breaker.needs_pass = self.target.gate.needs_pass = needs

    def is_awaited(self) -> bool:
        """Whether calls wait for an answer."""
        return self._asked or self._awaited()

    def again_at(self, now: float) -> float:
        """Return when waiting calls may get the pass; infinite if none waits."""
        return now + PASS_POLL if self._awaited() else inf

    def is_busy(self) -> bool:
        """Whether to report to the shared state again soon."""
        return self.is_awaited() or self._passing() or bool(self._pass_until) or self._shape() != self._known

    def report(self, now: float) -> DoorReport:
        """Return the local changes, and whether the pass is wanted."""
        here, known = self._shape(), self._known
        opened = reopened = None
        if here.probe_at is not None:
            if self._reopened:
                reopened = max(0.0, here.probe_at - now)
            elif known.probe_at is None or here.probe_at < known.probe_at - _SAME_MOMENT:
                opened = max(0.0, here.probe_at - now)
        rest, passing = None, self._passing()
        if here.rest_length and here.rest_until > known.rest_until + _SAME_MOMENT:
            rest = Rest(max(0.0, here.rest_until - now), here.rest_length, self.rest.reason)
        if self._pass_until and not passing and now >= self._pass_until:
            self._pass_until = 0.0
        drops = bool(self._pass_until) and not passing and not self._asked and not self._awaited()
        report = DoorReport(
            self.scope, self.member, self.link.lease,
            opened_for=opened, reopened_for=reopened, closed=here.probe_at is None and known.probe_at is not None,
            waits_for=here.closed_until - now if here.closed_until > known.closed_until + _SAME_MOMENT else None,
            led=here.is_led and not known.is_led, rest=rest, rested=bool(known.rest_length) and not here.rest_length,
            forgets=self._forgets, wants_pass=self._asked or passing or self._awaited(), despite_time=passing,
            keeps_pass=passing, drops_pass=drops,
        )  # fmt: skip
        if drops:
            self._pass_until = 0.0
            self.needs_pass(True)
        self._said, self._asked, self._reopened, self._forgets, self.is_noted = here, False, False, False, False
        return report

    def leaving(self, now: float) -> list[DoorReport]:
        """Return the unreported changes as the last report; empty if there are none. The pass is not wanted."""
        if self._shape() == self._known and not self._forgets:
            return []
        return [replace(self.report(now), wants_pass=False, despite_time=False, keeps_pass=False)]

    def unsaid(self, report: DoorReport) -> None:
        """Take back the contents of `report`, which nobody has received."""
        if report.member == self.member:
            self._reopened |= report.reopened_for is not None
            self._forgets |= report.forgets

    def apply(self, report: DoorReport, view: DoorView, began: float, now: float) -> None:
        """Follow the changes of others, in answer to a report that was sent at `began`."""
        if report.member != self.member:
            return  # reported before a fork
        was_known, self.is_known = self.is_known, True
        before, is_new = self._shape(), view.version != self._version or report.opened_for is not None
        known = _Shape(
            now + view.probe_in if view.is_open else None, now + view.waits_for if view.waits_for else 0.0,
            view.is_led, now + view.rest.seconds if view.rest else 0.0, view.rest.length if view.rest else 0.0,
        )  # fmt: skip
        self._version = view.version
        if before != self._said:
            self._known = known
            self.link.refill(self)
            return
        if is_new:
            self._follow(known, view, now)
        # If both states are equal, keep the local one: times sent in seconds are never exactly equal.
        self._known = self._shape()
        self.is_troubled = self._known != _Shape()
        self._pass_until = began + report.lease if view.has_pass else 0.0
        gained = not was_known or (view.has_pass and self.target is not None and self.target.breaker.needs_pass)
        self.needs_pass(not view.has_pass)
        if self._shape() != before or gained:
            self.wake(now)

    def rejoin(self) -> None:
        """Follow the shared state again after it did not answer for a while."""
        self._version = -1

    def _follow(self, known: _Shape, view: DoorView, now: float) -> None:
        target = self.target
        if target is not None:
            breaker, gate = target.breaker, target.gate
            if known.probe_at is None:
                if breaker.probe_at is not None:
                    target.follow_closing()
            elif not breaker.is_probing and (
                breaker.probe_at is None or abs(breaker.probe_at - known.probe_at) > _SAME_MOMENT
            ):
                breaker.follow_opening(now, view.probe_in)
            if known.closed_until > gate.closed_until + _SAME_MOMENT:
                share = 1.0 / (view.others + 1)
                gate.close_for(now, view.waits_for, target.breaker.answer_rate(now), share)
            elif view.is_led and not gate.is_led and not gate.leader_in_flight:
                gate.follow_leader(now)
        rest = self.rest
        if view.rest is None:
            if rest.length:
                rest.end()
        elif known.rest_until > rest.until + _SAME_MOMENT:
            rest.length, rest.until, rest.reason = view.rest.length, known.rest_until, view.rest.reason

    def _shape(self) -> _Shape:
        target, rest = self.target, self.rest
        if target is None:
            return _Shape(None, 0.0, True, rest.until, rest.length)
        gate = target.gate
        return _Shape(target.breaker.probe_at, gate.closed_until, gate.is_led, rest.until, rest.length)

    def _passing(self) -> bool:
        """Whether this router is making the one attempt."""
        return self.target is not None and (self.target.breaker.is_probing or self.target.gate.leader_in_flight)

    def _awaited(self) -> bool:
        """Whether calls here wait for the pass."""
        target = self.target
        return (
            target is not None
            and bool(target.queue)
            and (target.breaker.probe_at is not None or not target.gate.is_led)
        )
