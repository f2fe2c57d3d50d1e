"""Connects the `Health` of one router to a shared state: sends its reports, and passes on the answers.

How this works
--------------
A call never asks the shared state. It decides with what this router holds: the leases of its limits
(`leased_limits.py`) and its doors (`shared_door.py`), the *items* of the link. An item that has something to report is
noted. Urgent items (a call waits, a lease runs low, a breaker has opened) are reported at once, the others at the next
beat, four times per lease: what was used, and what is still held. Each step of the link takes the reports of all items
that are due, makes one exchange of them, and applies the answers. While nothing is held or reported, no step is due.

Two threads (`link_threads.py`) make the steps and listen for changes of doors, from the first time that there is
something to report. Without them, the owner of the link calls `step` and `hear`: tests and simulations on their own
clock.

**If the state does not answer.** A call that needs an answer waits for `patience` seconds at most: from the time
`alone_from` on, all calls decide by themselves, with the configured limits. It is infinite while nothing is asked. An
exchange that answers a question sets it when it begins, and its answer resets it. When an exchange fails, or two in a
row are slower than `patience`, the state counts as gone: `alone_from` becomes minus infinity, nobody waits, one warning
is given, and the link tries again, with growing pauses, until an exchange is answered in time. That exchange reports
the use in the meantime.

The callers of an item hold the lock of `Health`; the link's own lock is taken inside it, never the other way round.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Sequence
from math import inf
from typing import TypeAlias

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.health.shared.contract import DoorReport, Exchange, LimitsReport, SharedState
from lee_llm_router.health.shared.leased_limits import BEATS, LeasedLimits
from lee_llm_router.health.shared.settings import StateSettings
from lee_llm_router.health.shared.shared_door import SharedDoor

Item: TypeAlias = LeasedLimits | SharedDoor

_SHORTEST_PAUSE = 0.002
"""The fewest seconds between two exchanges for calls that wait."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
"""Seconds between two attempts to reach a state that is gone: the first pause, doubling to the longest."""
_PATIENCE_WITH_ITSELF = 6
"""Multiple of `patience` after which calls decide by themselves if the thread has not even begun an exchange."""
_NAP = 0.001
_LAG = 0.005
"""Seconds by which a nap may be late; more means that the machine, or this process, is overloaded."""
_GOODBYE_SECONDS = 0.5
"""Seconds that closing waits for an exchange in progress."""
_ITEMS_AT_ONCE = 256
_SLOW_IN_A_ROW = 2
"""Exchanges slower than `patience` after which the state counts as gone; one may be this process's own fault."""


class StateLink:
    """The link of one router.

    Args:
        state: The shared state; the link closes it.
        settings: How long leases are, and how long calls wait.
        clock: Tells the time.
        starts: Called when there is something to do, at the start and after a fork; None: the owner of the link knows.
    """

    def __init__(
        self,
        state: SharedState,
        settings: StateSettings | None = None,
        *,
        clock: Clock,
        starts: Callable[[StateLink], Callable[[], object]] | None = None,
    ) -> None:
        settings = StateSettings(type="memory") if settings is None else settings
        self.state = state
        self.lease: float = settings.lease
        self.patience: float = settings.patience
        self.alone_from = inf
        """The time from which calls decide without the shared state."""
        self.due_at = inf
        """When the next step is due, apart from urgent items."""
        self.is_closed = False
        self._clock = clock
        self.on_change: Callable[[str | None], object] = lambda reason: None  # noqa: ARG005
        """Called when the state becomes unavailable (with the reason) and when it is back (with None)."""
        self._starts = starts
        self._hurry: Callable[[], object] | None = None
        """Makes the thread take a step now; None: the thread is not started."""
        self._lock = ForkLock(reentrant=True, in_child=self._renew)
        self._exchanging = ForkLock()
        self._items: weakref.WeakSet[Item] = weakref.WeakSet()
        self._urgent: set[Item] = set()
        self._busy: set[Item] = set()
        self._is_asking = False
        """Whether an exchange is in progress."""
        self._greets = False
        """Whether to ask the state only whether it answers, which also connects to it."""
        self._gone: str | None = None
        """Why the state is unavailable."""
        self._pause = _FIRST_PAUSE
        self._slow = 0

    def add(self, item: Item) -> None:
        """Include an item from now on, as long as somebody else holds a reference to it."""
        with self._lock:
            self._items.add(item)
        if isinstance(item, SharedDoor):
            self.refill(item)  # others may know something about it

    def note(self, item: Item) -> None:
        """Report `item` at the next beat."""
        with self._lock:
            item.is_noted = True
            self._busy.add(item)
            if self.due_at == inf and self._gone is None:
                self.due_at = self._clock.monotonic() + self.lease / BEATS
                self._run()

    def refill(self, item: Item) -> None:
        """Report `item` at once; no call waits for the answer."""
        with self._lock:
            item.is_noted = True
            self._urgent.add(item)
            if self._gone is None:
                self._run()

    def ask(self, item: Item, now: float) -> None:
        """Report `item` at once, since a call waits for the answer (until `alone_from` at most)."""
        with self._lock:
            if self.alone_from == inf:
                # If the thread has not begun yet, it waits for this process: that is not the state's fault.
                self.alone_from = now + self.patience * (1 if self._is_asking else _PATIENCE_WITH_ITSELF)
            self.refill(item)

    def begin(self) -> None:
        """Connect to the state before a call needs it."""
        with self._lock:
            self._greets = True
            self._run()

    @property
    def wants_step(self) -> bool:
        """Whether a step is due now."""
        return (bool(self._urgent or self._greets) and self._gone is None) or self._clock.monotonic() >= self.due_at

    def step(self) -> None:
        """Make one exchange of everything due."""
        now = self._clock.monotonic()
        with self._exchanging:
            self._step(now)

    def _step(self, now: float) -> None:
        is_retry = self._gone is not None and now >= self.due_at
        items, greets = self._take(now)
        if self.is_closed or not (items or greets or is_retry):
            self._is_asking = False
            return
        limits: list[tuple[LeasedLimits, LimitsReport]] = []
        doors: list[tuple[SharedDoor, DoorReport]] = []
        for item in items:
            with item.lock:
                if isinstance(item, LeasedLimits):
                    limits.append((item, item.report(now)))
                else:
                    doors.append((item, item.report(now)))
        try:
            answer = self.state.exchange([report for _, report in limits], [report for _, report in doors])
        except Exception as error:  # noqa: BLE001 - any exception of an implementation means that the state is gone
            for one, said in limits:
                with one.lock:
                    one.unsaid(said)
            for door, told in doors:
                with door.lock:
                    door.unsaid(told)
            self._lost(str(error) or type(error).__name__)
            return
        ended = self._clock.monotonic()
        self._slow = self._slow + 1 if ended - now > self.patience and not self._lags() else 0
        if self._slow >= (1 if self._gone is not None else _SLOW_IN_A_ROW):
            self._lost(f"an answer took {ended - now:.3f} s")
            return
        self._answered(limits, doors, answer, now, ended)

    def hear(self, scopes: Collection[str] | None) -> None:
        """Ask for the doors that others have changed; None: for all."""
        with self._lock:
            doors = [item for item in self._items if isinstance(item, SharedDoor)]
        for door in doors:
            if scopes is None or door.scope in scopes:
                self.refill(door)

    def close(self) -> None:
        """Give back all holdings, report unreported changes of doors, and close the state.

        Calls in progress decide by themselves from now on.
        """
        with self._lock:
            if self.is_closed:
                return
            self.is_closed, self.alone_from = True, -inf
            if self._hurry is not None:
                self._hurry()
            items = list(self._items)
        last: list[LimitsReport] = []
        told: list[DoorReport] = []
        for item in items:
            with item.lock:
                if isinstance(item, SharedDoor):
                    told += item.leaving(self._clock.monotonic())
                elif item.is_busy():
                    last.append(item.leaving(self._clock.monotonic()))
        is_free = self._exchanging.inner.acquire(timeout=_GOODBYE_SECONDS)
        try:
            if (last or told) and is_free and self._gone is None:
                self.state.exchange(last, told)
        except Exception as error:  # noqa: BLE001 - the leases will expire by themselves
            self._gone = str(error)
        finally:
            if is_free:
                self._exchanging.inner.release()
            self.state.close()

    def _take(self, now: float) -> tuple[list[Item], bool]:
        """Return the items that are due, and whether to greet the state; begin to wait for the answer."""
        with self._lock:
            if self._gone is not None:
                return [], False
            if now >= self.due_at:
                self._urgent |= self._busy
                self._busy.clear()
                self.due_at = inf
            due = [self._urgent.pop() for _ in range(min(_ITEMS_AT_ONCE, len(self._urgent)))]
            self._is_asking = True
            if any(item.is_awaited() for item in due):
                self.alone_from = min(self.alone_from, now + self.patience)
            greets, self._greets = self._greets, False
            return due, greets

    def _answered(
        self, limits: Sequence[tuple[LeasedLimits, LimitsReport]], doors: Sequence[tuple[SharedDoor, DoorReport]],
        answer: Exchange, began: float, now: float,
    ) -> None:  # fmt: skip
        with self._lock:
            self.alone_from, self._is_asking = (-inf if self.is_closed else inf), False
        was_gone, self._gone = self._gone, None
        for (one, said), lent in zip(limits, answer.limits, strict=True):
            with one.lock:
                one.apply(said, lent, began, now)
        for (door, told), stands in zip(doors, answer.doors, strict=True):
            with door.lock:
                door.apply(told, stands, began, now)
        with self._lock:
            self._busy.update(one for one, _ in limits if one.is_busy())
            self._busy.update(door for door, _ in doors if door.is_busy())
        if was_gone is not None:
            self._joined(now)
        with self._lock:
            if self._busy:
                again_at = min(item.again_at(now) for item in self._busy)
                self.due_at = min(self.due_at, now + self.lease / BEATS, max(again_at, now + _SHORTEST_PAUSE))

    def _lags(self) -> bool:
        """Whether this process is scheduled late, so that a slow answer says nothing about the state."""
        began = self._clock.monotonic()
        self._clock.sleep(_NAP)
        return self._clock.monotonic() - began > _NAP + _LAG

    def _joined(self, now: float) -> None:
        self._pause = _FIRST_PAUSE
        for item in list(self._items):
            with item.lock:
                if isinstance(item, SharedDoor):
                    item.rejoin()
            self.refill(item)
        self.due_at = now
        self.on_change(None)

    def _lost(self, reason: str) -> None:
        """Let every router decide by its own state, and try again later."""
        is_new, self._gone = self._gone is None, reason
        now = self._clock.monotonic()
        with self._lock:
            self.alone_from, self._is_asking = -inf, False
            self._slow = 0
            self._urgent.clear()
            self._busy.clear()
            self.due_at = now + self._pause
            items = list(self._items)
        self._pause = min(_LONGEST_PAUSE, self._pause * 2)
        if not is_new:
            return
        for item in items:
            with item.lock:
                if isinstance(item, SharedDoor):
                    item.needs_pass(False)
                item.wake(now)
        if not self.is_closed:
            self.on_change(reason)

    def _run(self) -> None:
        """Make a thread take a step, starting the thread if necessary. The lock is held."""
        if self._hurry is not None:
            self._hurry()
        elif self._starts is not None and not self.is_closed:
            try:
                self._hurry = self._starts(self)
            except RuntimeError:  # the process may be out of threads: another call will try again
                self.alone_from = -inf

    def _renew(self) -> None:
        """Start over in a forked child: the threads and the leases are the parent's."""
        self._hurry = None
        self._urgent, self._busy = set(), set()
        self._is_asking = self._greets = False
        self.alone_from, self.due_at = -inf if self.is_closed else inf, inf
        self._gone, self._slow, self._pause = None, 0, _FIRST_PAUSE
        for item in self._items:
            item.renew()
