"""What this router and the others tell each other of the doors of one target: breaker, vendor's wait, rest.

How this works
--------------
The local breaker, gate and rest decide, as they do without a shared state. A door remembers how the shared state stood
as of the last exchange (`_Shape`). What is otherwise here, and has come about here, is what there is to say; what is
otherwise there is followed. Where both have changed at once, what was done here is said first, and the answer to that
is followed.

Of the attempts that find out whether a target is back, one is made over all routers. Breaker and gate have
`needs_pass` for it: while that is set they let nobody through. A call that finds it so asks for the pass and waits a
moment; the router that has the pass lets one attempt through, and what comes of that is said.
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
"""Seconds after which a call that waits for the pass asks again: whoever had it may have lost it."""
_SAME_MOMENT = 0.02
"""Seconds within which two moments are taken for the same: each is told as a number of seconds from now."""


@dataclass(slots=True)
class _Shape:
    """What keeps attempts away, by the local clock."""

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
        lock: Held by whoever calls anything here.
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
        """How the shared state stands, as far as is known here."""
        self._said = _Shape()
        """How this router's own stood at the last report."""
        self._version = 0
        self.is_known = False
        """Whether the shared state has told how it stands."""
        self.is_troubled = False
        """Whether anything kept attempts away when this was last looked at: then an answer may change that."""
        self._forgets = self._reopened = False
        self.renew()

    def renew(self) -> None:
        """Take a new name: at first, and in a forked child, since the parent has the pass."""
        self.member = new_member()
        self.is_noted = self._asked = False
        self._pass_until = 0.0
        if self.target is not None and self._version:
            self.target.breaker.needs_pass = self.target.gate.needs_pass = True

    def settled(self, *, reopened: bool) -> None:
        """Say what an attempt, or its beginning, has changed.

        Args:
            reopened: Whether it was a probe that has failed.
        """
        if reopened:
            self._reopened = True
        here = self._shape()
        self.is_troubled = here != _Shape()
        if here != self._known and not self.is_noted:
            self.link.refill(self)

    @property
    def poll(self) -> float:
        """Seconds after which a call that lacks the pass looks again."""
        return min(PASS_POLL, self.link.patience)

    def forget(self) -> None:
        """Say that everything is to be forgotten, on a user's word."""
        self._forgets = True
        self.link.refill(self)

    def ask(self, now: float) -> None:
        """Ask for the pass."""
        self._asked = True
        self.link.ask(self, now)

    def known_by(self, now: float) -> float | None:
        """Return when the shared state will have told how it stands; None if it has, or does not answer."""
        alone_from = self.link.alone_from
        return None if self.is_known or now >= alone_from else min(alone_from, now + self.link.patience)

    def goes_alone(self, now: float) -> bool:
        """Whether the shared state does not answer, so that no pass is needed."""
        if now < self.link.alone_from:
            return False
        self.needs_pass(False)
        return True

    def needs_pass(self, needs: bool) -> None:
        """Let nobody through without the pass, or anybody."""
        if self.target is not None:
            self.target.breaker.needs_pass = self.target.gate.needs_pass = needs

    def is_awaited(self) -> bool:
        """Whether calls wait for an answer."""
        return self._asked or self._awaited()

    def again_at(self, now: float) -> float:
        """Return when calls that wait may have the pass; infinite if none waits."""
        return now + PASS_POLL if self._awaited() else inf

    def is_busy(self) -> bool:
        """Whether the shared state is to hear of this again soon."""
        return self.is_awaited() or self._passing() or bool(self._pass_until) or self._shape() != self._known

    def report(self, now: float) -> DoorReport:
        """Return what has changed here, and whether the pass is wanted."""
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
        """Return what nobody has heard yet, as the last report; empty if there is nothing. The pass is not wanted."""
        if self._shape() == self._known and not self._forgets:
            return []
        return [replace(self.report(now), wants_pass=False, despite_time=False, keeps_pass=False)]

    def unsaid(self, report: DoorReport) -> None:
        """Take back what `report` has said, since nobody has heard it."""
        if report.member == self.member:
            self._reopened |= report.reopened_for is not None
            self._forgets |= report.forgets

    def apply(self, report: DoorReport, view: DoorView, began: float, now: float) -> None:
        """Follow what others have done, as the answer to a report that was sent at `began` tells."""
        if report.member != self.member:
            return  # said before a fork
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
        # What is the same here and there is known as it stands here: moments told in seconds are never quite equal.
        self._known = self._shape()
        self.is_troubled = self._known != _Shape()
        self._pass_until = began + report.lease if view.has_pass else 0.0
        gained = not was_known or (view.has_pass and self.target is not None and self.target.breaker.needs_pass)
        self.needs_pass(not view.has_pass)
        if self._shape() != before or gained:
            self.wake(now)

    def rejoin(self) -> None:
        """Follow the shared state anew, after it did not answer for a while."""
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
        """Whether the one attempt is under way from here."""
        return self.target is not None and (self.target.breaker.is_probing or self.target.gate.leader_in_flight)

    def _awaited(self) -> bool:
        """Whether calls wait here for the pass to come round."""
        target = self.target
        return (
            target is not None
            and bool(target.queue)
            and (target.breaker.probe_at is not None or not target.gate.is_led)
        )
