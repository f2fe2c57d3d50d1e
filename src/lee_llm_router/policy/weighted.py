"""The policy `weighted`: puts each target first in a share of the calls, set by the file."""

from __future__ import annotations

import random as system_random
from collections.abc import Callable, Collection, Sequence
from math import log
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lee_llm_router.policy.contract import RoutingContext
from lee_llm_router.policy.spreading import Spread, SpreadPolicy, SpreadSettings
from lee_llm_router.settings.fields import Integer, Number
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.records import target_name

if TYPE_CHECKING:
    from lee_llm_router.engine.plan import Target


def _has_weight(weights: dict[str, float]) -> dict[str, float]:
    if not any(weights.values()):
        raise PydanticCustomError("wanted_weight", "a weight above 0 is wanted")
    return weights


Weight: TypeAlias = Annotated[Number, Field(ge=0, le=1e9)]


class WeightedSettings(SpreadSettings):
    """Settings of the policy `weighted`."""

    weights: Annotated[dict[str, Weight], AfterValidator(_has_weight)] = Field(
        description="Weights by provider or provider/model. A target with the weight 0, or without one, is only a"
        " fallback."
    )
    seed: Integer | None = Field(None, description="Makes the random choices of a router repeatable. Default: none.")

    def named_targets(self) -> Collection[str]:
        """See `SpreadSettings.named_targets`."""
        return self.weights

    def weight_of(self, target: Target) -> float:
        """Return the weight of `target`: its own if set, else its provider's."""
        by_provider = self.weights.get(target.provider, 0.0)
        return self.weights.get(target_name(*target.names), by_provider)

    def takes_part(self, target: Target) -> bool:
        """Return whether `target` has a weight."""
        return self.weight_of(target) > 0


class WeightedPolicy(SpreadPolicy):
    """Draws the order of a role's targets by their weights, without replacement.

    So the share of targets that are shut goes to the others by these weights too.

    Args:
        settings: The weights.
        random: Returns a number in [0, 1). Default: seeded by the settings, else by the system.
    """

    config_model: ClassVar[type[PluginSettings]] = WeightedSettings

    def __init__(self, settings: WeightedSettings, *, random: Callable[[], float] | None = None) -> None:
        super().__init__(settings)
        self._weights = settings
        seeded = None if settings.seed is None else system_random.Random(settings.seed).random  # noqa: S311 - no secret
        self._random = random or seeded or system_random.random
        self._kept: dict[str, tuple[Spread, list[tuple[float, int]], dict[int, str]]] = {}
        """Weights and reasons of the latest chains, by role."""

    def ordered(self, spread: Spread, context: RoutingContext) -> tuple[Sequence[int], str]:  # noqa: ARG002
        """See `SpreadPolicy.ordered`."""
        kept = self._kept.get(spread.role)
        if kept is None or kept[0] is not spread:
            kept = self._kept[spread.role] = (spread, *self._weighed(spread))
        _, weights, reasons = kept
        # Random processes with these rates have their first events in the order of such a draw (Efraimidis and
        # Spirakis, Weighted random sampling with a reservoir, 2006).
        random = self._random
        drawn = sorted([(-log(1.0 - random()) / weight, place) for weight, place in weights])
        order = [place for _, place in drawn]
        return order, reasons[order[0]]

    def _weighed(self, spread: Spread) -> tuple[list[tuple[float, int]], dict[int, str]]:
        weights = [(self._weights.weight_of(spread.targets[place]), place) for place in spread.places]
        whole = sum(weight for weight, _ in weights)
        reasons: dict[int, str] = {place: f"drawn by weight: {weight:g} of {whole:g}" for weight, place in weights}
        return weights, reasons
