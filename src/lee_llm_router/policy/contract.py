"""The contract of routing policies.

A `RoutingPolicy` chooses a provider and its fallbacks; `routing/chain.py` turns that choice into a chain of targets.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.scrubbing import text_of_exception
from lee_llm_router.config.references import MAX_CHAIN
from lee_llm_router.errors import LLMRouterError, PolicyError
from lee_llm_router.health.states import TargetHealth
from lee_llm_router.health.waiting import TargetKey
from lee_llm_router.response.types import LLMRequest

if TYPE_CHECKING:
    from lee_llm_router.config.models import LLMConfig
    from lee_llm_router.engine.plan import Target
    from lee_llm_router.telemetry.pricing.cards import PriceCard


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """The choice of a policy: a provider for one call, and the targets to try after it.

    Args:
        provider_name: Name of a provider in the configuration.
        request_overrides: Settings of the role to replace for this call (`model`, `temperature`, ...). All but `model`
            also apply to the role's own fallbacks.
        provider_overrides: Settings of the provider to replace for this call.
        fallbacks: The targets to try after it: provider names or choices. None means the role's own fallbacks.
        reason: Why it was chosen, in words for the trace: "the cheapest that takes pictures".
        order: Indexes (from 0) of targets in the role's own chain, in the order in which to try them; targets left out
            are not tried. Each keeps its settings from the file. Such a choice has no overrides and no `fallbacks`, and
            `provider_name` is the provider of the first target. None means that the fields above decide.
    """

    provider_name: str
    request_overrides: Mapping[str, Any] = field(default_factory=dict)
    provider_overrides: Mapping[str, Any] = field(default_factory=dict)
    fallbacks: Sequence[str | ProviderChoice] | None = None
    reason: str | None = None
    order: tuple[int, ...] | None = None


def _no_price(target: Target) -> PriceCard | None:  # noqa: ARG001 - as `RoutingContext.price_of`
    return None


@dataclass(frozen=True, slots=True)
class RoutingContext:
    """What a policy may consider in addition to the role and the configuration."""

    request: LLMRequest
    """The request before a target's settings are added. It has no model unless the caller named one."""
    metadata: Mapping[str, Any]
    health: Mapping[TargetKey, TargetHealth]
    """The health of each target, by its `key`. A target never called is missing. Entries are looked up on access, so
    they show that moment; copy the mapping to keep it."""
    targets: Sequence[Target] = ()
    """The role's own chain, in the order of the file. `ProviderChoice.order` holds indexes into it."""
    price_of: Callable[[Target], PriceCard | None] = _no_price
    """Returns the price of a target if it is known without waiting; else None."""


@runtime_checkable
class RoutingPolicy(Protocol):
    """Chooses the provider that serves a call.

    `choose` may take a keyword argument `context`, a `RoutingContext`. A policy may also have a method
    ``observe(record)``, which gets the `TraceRecord` of every attempt. The router calls both from any thread and waits
    for them, so they must be quick.
    """

    def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
        """Return the choice for one call to `role`. An exception raised here becomes a `PolicyError`."""
        ...


def takes_context(policy: RoutingPolicy) -> bool:
    """Whether the policy's `choose` takes `context` or any keyword; False if that cannot be determined."""
    try:
        parameters = inspect.signature(policy.choose).parameters.values()
    except Exception:  # noqa: BLE001 - many C functions have no signature, and others may raise anything
        return False
    return any(p.name == "context" or p.kind is p.VAR_KEYWORD for p in parameters)


def choose(policy: RoutingPolicy, role: str, config: LLMConfig, context: RoutingContext | None) -> ProviderChoice:
    """Return the choice of `policy`.

    Raises:
        PolicyError: the policy raised, or returned something other than a choice.
    """
    try:
        choice = policy.choose(role, config) if context is None else policy.choose(role, config, context=context)  # type: ignore[call-arg]
    except LLMRouterError:
        raise
    except Exception as error:
        raise PolicyError(f"{type(policy).__name__}.choose raised {text_of_exception(error)}") from error
    if not isinstance(choice, ProviderChoice):
        raise PolicyError(f"{type(policy).__name__}.choose returned {type(choice).__name__}, not a ProviderChoice")
    return choice


def check_choice(choice: ProviderChoice) -> None:
    """Check the types in a policy's choice.

    Raises:
        PolicyError: a type is wrong; the message says where.
    """
    fallbacks: Any = choice.fallbacks
    problem = _problem_of(choice) or (None if choice.order is None else _problem_of_order(choice))
    if problem is None and fallbacks is not None:
        if not isinstance(fallbacks, list | tuple):
            problem = f"fallbacks are {type(fallbacks).__name__}, not a list"
        elif len(fallbacks) > MAX_CHAIN:
            problem = f"there are more than {MAX_CHAIN} fallbacks"
        else:
            problems = (_problem_of(one) for one in fallbacks if not isinstance(one, str))
            problem = next((f"a fallback's {found}" for found in problems if found), None)
    if problem is not None:
        raise PolicyError(f"the routing policy's choice cannot be used: {problem}")


def _problem_of(choice: Any) -> str | None:
    if not isinstance(choice, ProviderChoice):
        return f"type is {type(choice).__name__}, not ProviderChoice"
    name: Any = choice.provider_name
    if not isinstance(name, str):
        return f"provider_name is {type(name).__name__}, not text"
    for name in ("request_overrides", "provider_overrides"):
        value = getattr(choice, name)
        if not isinstance(value, Mapping):
            return f"{name} are {type(value).__name__}, not a mapping"
        if not all(isinstance(key, str) for key in value):
            return f"{name} have a name that is not text"
    reason: Any = choice.reason
    if reason is not None and not isinstance(reason, str):
        return f"reason is {type(reason).__name__}, not text"
    return None


def _problem_of_order(choice: ProviderChoice) -> str | None:
    order: Any = choice.order
    if not isinstance(order, tuple) or not order or not all(type(place) is int and place >= 0 for place in order):
        return "order is not a tuple of places in the chain, counted from 0"
    if len(set(order)) < len(order):
        return "order names a place twice"
    if choice.request_overrides or choice.provider_overrides or choice.fallbacks is not None:
        return "order cannot be combined with overrides or fallbacks"
    return None
