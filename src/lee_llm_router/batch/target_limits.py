"""The limits in the settings of the target that a batch calls first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lee_llm_router.providers.keys import KeyedConfig

if TYPE_CHECKING:
    from lee_llm_router.config.models import LLMConfig
    from lee_llm_router.engine.plan import Target


class TargetLimits(NamedTuple):
    """Limits of one target, for each of its keys."""

    max_concurrency: int | None
    """Attempts at once; None: no limit."""
    rpm: int | None
    """Attempts started in any 60 seconds; None: no limit."""
    keys: int
    """How many keys it has. Each has the limits for itself."""


def limits_of_target(config: LLMConfig, target: Target) -> TargetLimits:
    """Return the limits of `target`: the lower ones of its provider's and its model's."""
    provider = config.providers[target.provider]
    both = [one for one in (provider, provider.model_limits.get(target.model or "")) if one is not None]
    keys = len(provider.several_keys) if isinstance(provider, KeyedConfig) else 0
    return TargetLimits(
        min((one.max_concurrency for one in both if one.max_concurrency is not None), default=None),
        min((one.rpm for one in both if one.rpm is not None), default=None),
        max(1, keys),
    )
