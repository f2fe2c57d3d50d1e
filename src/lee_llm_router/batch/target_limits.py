"""What the target that a batch asks first takes, by the limits in its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lee_llm_router.providers.keys import KeyedConfig

if TYPE_CHECKING:
    from lee_llm_router.config.models import LLMConfig
    from lee_llm_router.engine.plan import Target


class TargetLimits(NamedTuple):
    """Limits of one target, each key of it apart."""

    max_concurrency: int | None
    """Attempts at once; None: no limit."""
    rpm: int | None
    """Attempts started in any 60 seconds; None: no limit."""
    keys: int
    """How many keys it is asked with. Each has the limits for itself."""


def limits_of_target(config: LLMConfig, target: Target) -> TargetLimits:
    """Return the limits of `target`: of those of its provider and those of its model the lower ones."""
    provider = config.providers[target.provider]
    both = [one for one in (provider, provider.model_limits.get(target.model or "")) if one is not None]
    keys = len(provider.several_keys) if isinstance(provider, KeyedConfig) else 0
    return TargetLimits(
        min((one.max_concurrency for one in both if one.max_concurrency is not None), default=None),
        min((one.rpm for one in both if one.rpm is not None), default=None),
        max(1, keys),
    )
