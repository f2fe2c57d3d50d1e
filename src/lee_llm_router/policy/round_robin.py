"""The policy `round_robin`: the targets take turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from random import random as system_random

from lee_llm_router.policy.contract import RoutingContext
from lee_llm_router.policy.spreading import AmongSettings, Spread, SpreadPolicy, open_and_shut, rotated

_FIRST_TURNS = 1_000_000
"""The first turn of a role is drawn from so many, so that many processes do not all start at the same target."""


class Turns:
    """Counts turns for each role, starting at a random one.

    Args:
        random: Returns a number in [0, 1).
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._turns: dict[str, count[int]] = {}

    def next(self, role: str) -> int:
        """Return the number of the next turn of `role`. Two threads never get the same one."""
        turns = self._turns.get(role)
        if turns is None:
            turns = self._turns.setdefault(role, count(int(self._random() * _FIRST_TURNS)))
        return next(turns)


class RoundRobinPolicy(SpreadPolicy):
    """Starts each call at the next target that is available; targets that are shut come last.

    Args:
        settings: Say which targets take part.
        random: Returns a number in [0, 1), for the first turn of a role.
    """

    def __init__(self, settings: AmongSettings, *, random: Callable[[], float] = system_random) -> None:
        super().__init__(settings)
        self._turns = Turns(random)

    def ordered(self, spread: Spread, context: RoutingContext) -> tuple[Sequence[int], str]:
        """See `SpreadPolicy.ordered`."""
        is_open, shut = open_and_shut(spread, context)
        turn = self._turns.next(spread.role)
        if not is_open:
            return rotated(shut, turn), "its turn"
        return (*rotated(is_open, turn), *shut), "its turn"
