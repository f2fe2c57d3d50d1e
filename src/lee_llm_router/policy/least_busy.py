"""The policy `least_busy`: the target with the fewest attempts in flight and calls waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import random as system_random

from lee_llm_router.policy.contract import RoutingContext
from lee_llm_router.policy.round_robin import Turns
from lee_llm_router.policy.spreading import AmongSettings, Spread, SpreadPolicy


class LeastBusyPolicy(SpreadPolicy):
    """Orders the targets by their load; targets with equal load take turns.

    Targets that are shut or resting come last.

    Args:
        settings: Say which targets take part.
        random: Returns a number in [0, 1), for the first turn of a role.
    """

    def __init__(self, settings: AmongSettings, *, random: Callable[[], float] = system_random) -> None:
        super().__init__(settings)
        self._turns = Turns(random)

    def ordered(self, spread: Spread, context: RoutingContext) -> tuple[Sequence[int], str]:
        """See `SpreadPolicy.ordered`."""
        turn, number = self._turns.next(spread.role), len(spread.places)
        health, targets = context.health, spread.targets
        loads: list[tuple[bool, int, int, int]] = []
        for index, place in enumerate(spread.places):
            known = health.get(targets[place].key)
            waits = (index - turn) % number
            if known is None:
                loads.append((False, 0, waits, place))
            else:
                loads.append((known.retry_after > 0, known.in_flight + known.waiting, waits, place))
        loads.sort()
        return [load[3] for load in loads], f"least busy: {loads[0][1]} in flight or waiting"
