"""Which targets a call may use, in which order.

A `RoutingPolicy` chooses; `routing/chain.py` turns its choice into targets.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lee_llm_router._util.frozen import fast_init
from lee_llm_router.errors import LLMRouterError, PolicyError
from lee_llm_router.health.tracker import TargetHealth, TargetKey
from lee_llm_router.response import LLMRequest

if TYPE_CHECKING:
    from lee_llm_router.config.models import LLMConfig


@fast_init
@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """What a policy chose.

    Args:
        provider_name: Name of a provider in the configuration.
        request_overrides: What to ask for differently (`model`, `temperature`, ...; the settings a role may have).
            All but `model` hold for the role's own fallbacks as well.
        provider_overrides: Settings of the provider to use differently for this call.
        fallbacks: The targets after it: names or choices. None means the role's own chain.
    """

    provider_name: str
    request_overrides: Mapping[str, Any] = field(default_factory=dict)
    provider_overrides: Mapping[str, Any] = field(default_factory=dict)
    fallbacks: Sequence[str | ProviderChoice] | None = None


@dataclass(frozen=True, slots=True)
class RoutingContext:
    """What a policy may look at, besides the role and the configuration."""

    request: LLMRequest
    """What is asked, before any target's own settings (so without a model, unless the caller named one)."""
    metadata: Mapping[str, Any]
    health: Mapping[TargetKey, TargetHealth]
    """What is known of each target by (provider, model). A target never asked is not in it."""


@runtime_checkable
class RoutingPolicy(Protocol):
    """Chooses who serves a call.

    `choose` may take a keyword `context` (a `RoutingContext`); a policy may also have ``observe(record)`` and then
    sees the `TraceRecord` of every attempt. Both are called inline, from any thread, and must be quick.
    """

    def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
        """Choose for one call to `role`. What it raises becomes a `PolicyError`."""
        ...


def takes_context(policy: RoutingPolicy) -> bool:
    """Whether the policy's `choose` has a parameter `context` (or takes any keyword); no where that cannot be known."""
    try:
        parameters = inspect.signature(policy.choose).parameters.values()
    except (TypeError, ValueError):  # as of many functions written in C, which can be called all the same
        return False
    return any(p.name == "context" or p.kind is p.VAR_KEYWORD for p in parameters)


def choose(policy: RoutingPolicy, role: str, config: LLMConfig, context: RoutingContext | None) -> ProviderChoice:
    """Ask the policy.

    Raises:
        PolicyError: it raised, or gave back something else than a choice.
    """
    try:
        choice = policy.choose(role, config) if context is None else policy.choose(role, config, context=context)  # type: ignore[call-arg]
    except LLMRouterError:
        raise
    except Exception as error:
        raise PolicyError(f"{type(policy).__name__}.choose raised {type(error).__name__}: {error}") from error
    if not isinstance(choice, ProviderChoice):
        raise PolicyError(f"{type(policy).__name__}.choose gave back {type(choice).__name__}, not a ProviderChoice")
    return choice
