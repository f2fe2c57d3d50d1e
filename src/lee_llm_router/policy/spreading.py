"""The common base of policies that spread calls over a role's own chain: it decides which targets take part.

Such a policy orders the targets that take part; all others follow in the order of the file. So if the first target
fails a call, the others are tried, and a target that takes no part serves when nothing else does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pydantic import Field

from lee_llm_router.policy.contract import ProviderChoice, RoutingContext
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.records import target_name

if TYPE_CHECKING:
    from lee_llm_router.config.models import LLMConfig
    from lee_llm_router.engine.plan import Target


class SpreadSettings(PluginSettings, ABC):
    """Settings of a policy that spreads calls over the targets of a role."""

    @abstractmethod
    def named_targets(self) -> Collection[str]:
        """Return the targets named in these settings: provider or provider/model, as written."""

    @abstractmethod
    def takes_part(self, target: Target) -> bool:
        """Return whether the policy may reorder `target`; otherwise it stays behind those that take part."""


class AmongSettings(SpreadSettings):
    """Settings of a policy that treats all participating targets alike."""

    among: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Targets that take part, as provider or provider/model; the others follow. Default: all.",
    )

    def named_targets(self) -> Collection[str]:
        """See `SpreadSettings.named_targets`."""
        return self.among or ()

    def takes_part(self, target: Target) -> bool:
        """See `SpreadSettings.takes_part`."""
        return self.among is None or target.provider in self.among or target_name(*target.names) in self.among


class Spread(NamedTuple):
    """The chain of one role, split in two."""

    role: str
    targets: Sequence[Target]
    """The whole chain, in the order of the file."""
    places: tuple[int, ...]
    """Indexes of the targets that take part."""
    others: tuple[int, ...]
    """Indexes of the other targets."""


class SpreadPolicy(ABC):
    """A policy that orders the targets of the role's own chain.

    Args:
        settings: Say which targets take part.
    """

    config_model: ClassVar[type[PluginSettings]] = AmongSettings

    def __init__(self, settings: SpreadSettings) -> None:
        self._settings = settings
        self._spreads: dict[str, Spread] = {}
        """The latest chains, by role. They change only when the configuration does."""

    def choose(self, role: str, config: LLMConfig, *, context: RoutingContext | None = None) -> ProviderChoice:
        """Return the role's own chain in the order of this policy, with the reason for the first target.

        Without a context (a router always passes one) it keeps the order of the file.
        """
        if context is None:
            return ProviderChoice(config.roles[role].provider)
        spread = self._spreads.get(role)
        if spread is None or spread.targets is not context.targets:
            spread = self._spreads[role] = self._divided(role, context.targets)
        reason = None
        order: Sequence[int] = spread.places
        if len(order) > 1:
            order, reason = self.ordered(spread, context)
        places = (*order, *spread.others)
        return ProviderChoice(spread.targets[places[0]].provider, reason=reason, order=places)

    @abstractmethod
    def ordered(self, spread: Spread, context: RoutingContext) -> tuple[Sequence[int], str]:
        """Return the places of `spread` in order, and the reason for the first. There are at least two places."""

    def _divided(self, role: str, targets: Sequence[Target]) -> Spread:
        part = [self._settings.takes_part(target) for target in targets]
        places = tuple(place for place, takes_part in enumerate(part) if takes_part)
        return Spread(role, targets, places, tuple(place for place, takes_part in enumerate(part) if not takes_part))


def open_and_shut(spread: Spread, context: RoutingContext) -> tuple[list[int], list[int]]:
    """Return the places of the targets that may be called now, and of those that are shut or resting.

    A target whose breaker is ready for a probe counts as open: if nobody called it, it would stay shut.
    """
    is_open: list[int] = []
    shut: list[int] = []
    for place in spread.places:
        known = context.health.get(spread.targets[place].key)
        (is_open if known is None or not known.retry_after else shut).append(place)
    return is_open, shut


def rotated(places: Sequence[int], turn: int) -> Sequence[int]:
    """Return `places` rotated to start at the one whose turn it is."""
    if not places:
        return places
    start = turn % len(places)
    return (*places[start:], *places[:start])
