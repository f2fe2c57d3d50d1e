"""The default policy: the role's own chain."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from lee_llm_router.config.models import LLMConfig
from lee_llm_router.policy.contract import ProviderChoice

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class SimpleRoutingPolicy:
    """Chooses the role's provider, then its fallbacks, in the order of the configuration."""

    def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
        """Return the role's provider; its fallbacks follow automatically."""
        return _choice_of(config.roles[role].provider)


@lru_cache(maxsize=1024)
def _choice_of(provider_name: str) -> ProviderChoice:
    return ProviderChoice(provider_name, _NOTHING, _NOTHING)
