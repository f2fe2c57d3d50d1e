"""Routers and their calls: the real `Health`, asked as the engine asks it, joined to a real shared state if any.

A call asks for a permit, waits where it is refused one, and sends its request. What the vendor refuses it asks again,
once the wait is over, as often as `retry.attempts` allows by default. It ends with an answer, with the last refusal, or
at its deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from random import Random

from lee_llm_router.errors import FailureType
from lee_llm_router.health.settings import HealthConfig
from lee_llm_router.health.shared.link import StateLink
from lee_llm_router.health.shared.memory import MemoryRoom, MemoryState
from lee_llm_router.health.states import Permit, Refusal
from lee_llm_router.health.tracker import Health
from lee_llm_router.health.waiting import QueueTicket
from lee_llm_router.providers.base import ProviderConfig
from scaling.timeline import Timeline
from scaling.vendor import Vendor

KEY = ("vendor", "m")
DEADLINE = 10.0
ATTEMPTS = 3
"""As `retry.attempts` is by default."""
WAY = (0.005, 0.05)
"""Seconds to the vendor, between the shortest and the longest."""
ANSWER_SECONDS = 1.0
EXCHANGE_SECONDS = 0.001
"""Seconds of an exchange with the shared state, and until the others hear of a change."""


@dataclass(slots=True)
class Counts:
    """What has happened."""

    calls: int = 0
    sent: int = 0
    refused: int = 0
    answered: int = 0
    unanswered: int = 0
    """Calls that were refused as often as they may ask, or whose deadline came first."""
    exchanges: int = 0
    """Of routers with the shared state."""


class Shared:
    """A shared state in memory, and what goes to and fro.

    Args:
        timeline: The clock of all.
        counts: Where exchanges are counted.
    """

    def __init__(self, timeline: Timeline, counts: Counts) -> None:
        self._timeline = timeline
        self._counts = counts
        self._room = MemoryRoom(timeline.monotonic)
        self._watch = MemoryState(room=self._room)
        self._links: list[StateLink] = []
        self._stepping: set[StateLink] = set()

    def link(self) -> StateLink:
        """Return the link of one more router."""
        link = StateLink(MemoryState(room=self._room), clock=self._timeline, starts=self._starts)
        self._links.append(link)
        return link

    def _starts(self, link: StateLink) -> Callable[[], object]:
        def hurry() -> None:
            if link not in self._stepping:  # one exchange at a time, as its thread makes them
                self._stepping.add(link)
                self._timeline.after(EXCHANGE_SECONDS, lambda: self._hurried(link))

        hurry()
        return hurry

    def _hurried(self, link: StateLink) -> None:
        self._stepping.discard(link)
        self._step(link)

    def _step(self, link: StateLink) -> None:
        if not link.wants_step:
            return
        link.step()
        self._counts.exchanges += 1
        if link.due_at < float("inf"):
            self._timeline.at(link.due_at, lambda: self._step(link))
        changed = self._watch.wait_for_changes(0)
        if changed:
            self._timeline.after(EXCHANGE_SECONDS, lambda: self._tell_all(changed))

    def _tell_all(self, changed: Collection[str]) -> None:
        for link in self._links:
            link.hear(changed)


class Router:
    """One router.

    Args:
        timeline: The clock of all.
        vendor: Whom it asks.
        counts: Where everything is counted.
        random: Chance, seeded.
        rpm: The limit that its file states; None: none.
        shared: The shared state; None: there is none.
    """

    def __init__(
        self, timeline: Timeline, vendor: Vendor, counts: Counts, random: Random, *, rpm: int | None,
        shared: Shared | None,
    ) -> None:  # fmt: skip
        providers = {KEY[0]: ProviderConfig(type="simulated", rpm=rpm)}
        link = None if shared is None else shared.link()
        self.health = Health(HealthConfig(), providers, timeline, random.random, link)
        self.timeline = timeline
        self._vendor = vendor
        self.counts = counts
        self._random = random

    def call(self) -> None:
        """Begin a call."""
        self.counts.calls += 1
        _Call(self, self.timeline.now).go_on()

    def send(self, call: _Call, permit: Permit) -> None:
        """Send the request of `call`, and let it hear what has become of it."""
        way = self._random.uniform(*WAY)
        self.timeline.after(way, lambda: self._arrived(call, permit, way))

    def _arrived(self, call: _Call, permit: Permit, way: float) -> None:
        self.counts.sent += 1
        wait = self._vendor.refusal(self.timeline.now)
        self.counts.refused += wait is not None
        self.counts.answered += wait is None
        self.timeline.after(way if wait is not None else ANSWER_SECONDS, lambda: call.heard(permit, wait))


class _Call:
    """One call, under way."""

    def __init__(self, router: Router, began: float) -> None:
        self._router = router
        self._began = began
        self._ticket: QueueTicket | None = None
        self._attempts = 0
        self._turn = 0
        """Which wait it is in: what belongs to an earlier one has no effect."""

    def go_on(self) -> None:
        """Ask for a permit, and send or wait."""
        router = self._router
        now = router.timeline.now
        answer = router.health.acquire(KEY, self._ticket)
        if isinstance(answer, Permit):
            self._ticket = None
            self._attempts += 1
            router.send(self, answer)
            return
        if now >= self._began + DEADLINE:
            self._leave()
            return
        self._wait(answer)

    def _wait(self, refusal: Refusal) -> None:
        router, timeline = self._router, self._router.timeline
        if self._ticket is None:
            self._ticket = router.health.queue(KEY, refusal)
        self._turn += 1
        turn = self._turn

        def again(_: Future[None] | None = None) -> None:
            if turn == self._turn:
                self._turn += 1
                self.go_on()

        end = self._began + DEADLINE
        timeline.at(end if refusal.opens_at is None else min(end, refusal.opens_at), again)
        self._ticket.woken.add_done_callback(lambda done: timeline.at(timeline.now, lambda: again(done)))

    def _leave(self) -> None:
        self._router.counts.unanswered += 1
        if self._ticket is not None:
            self._router.health.leave_queue(self._ticket)

    def heard(self, permit: Permit, wait: float | None) -> None:
        """Give the permit back, and ask again if the vendor has refused."""
        health = self._router.health
        if wait is None:
            health.release(permit)
            return
        health.release(permit, FailureType.RATE_LIMIT, close_gate_for=wait)
        if self._attempts >= ATTEMPTS:
            self._router.counts.unanswered += 1
        else:
            self.go_on()
