"""Plays many routers against one vendor's limit, set up in one of several ways, and says what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from scaling.routers import Counts, Router, Shared
from scaling.timeline import Timeline
from scaling.vendor import MINUTE, Vendor

SETUPS = {
    "alone": "nothing stated, nothing shared",
    "doors": "nothing stated, state shared",
    "divided": "limit divided by hand",
    "leases": "limit stated, state shared",
}
RPM = 6000
BUSY = 1.2
"""Calls that are wanted, in terms of the limit: more than there is room for."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one play, after the first minute."""

    setup: str
    routers: int
    refused: float
    """Share of the requests sent that the vendor refused."""
    unused: float
    """Share of the vendor's limit that nobody used."""
    unanswered: float
    """Share of the calls that got no answer: refused as often as they may ask, or their deadline came first."""
    exchanges: float
    """Exchanges with the shared state per request sent."""


def play(
    setup: str, routers: int, *, load: float = BUSY, seed: int = 1, minutes: int = 3, rpm: int = RPM
) -> Outcome:  # fmt: skip
    """Play `routers` for some minutes, the first of which does not count.

    They want unequal shares: a few make most of the calls (Pareto's distribution with the exponent 1.16, where a fifth
    has four fifths, cut at 50 times the least). Calls come at random (Poisson).

    Args:
        setup: One of `SETUPS`.
        routers: Their number.
        load: Calls that are wanted, in terms of the limit.
        seed: Of chance.
        minutes: How long.
        rpm: The vendor's limit.
    """
    timeline, random, counts = Timeline(), Random(seed), Counts()
    vendor = Vendor(rpm)
    shared = Shared(timeline, counts) if setup in ("doors", "leases") else None
    own = {"divided": max(1, rpm // routers), "leases": rpm}.get(setup)
    crowd = [Router(timeline, vendor, counts, random, rpm=own, shared=shared) for _ in range(routers)]
    weights = [min(50.0, random.paretovariate(1.16)) for _ in crowd]
    rate, whole = rpm * load / MINUTE, sum(weights)
    for router, weight in zip(crowd, weights, strict=True):
        _calls(timeline, router, rate * weight / whole, random)
    timeline.play(MINUTE)
    before = replace(counts)
    timeline.play(MINUTE * minutes)
    sent, calls = max(1, counts.sent - before.sent), max(1, counts.calls - before.calls)
    return Outcome(
        setup, routers,
        refused=(counts.refused - before.refused) / sent,
        unused=1 - (counts.answered - before.answered) / (rpm * (minutes - 1)),
        unanswered=(counts.unanswered - before.unanswered) / calls,
        exchanges=(counts.exchanges - before.exchanges) / sent,
    )  # fmt: skip


def _calls(timeline: Timeline, router: Router, rate: float, random: Random) -> None:
    """Let calls come at `rate` a second, at random."""

    def call() -> None:
        router.call()
        timeline.after(random.expovariate(rate), call)

    timeline.after(random.expovariate(rate), call)
