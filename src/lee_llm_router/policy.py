"""Which targets a call may use, in which order.

A `RoutingPolicy` chooses; `chain_of` turns its choice into targets. The order of overrides, weakest first: the role,
the fallback's own entry, the policy's `request_overrides`, the arguments of the call.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from lee_llm_router._frozen import quickly_made
from lee_llm_router._overrides import checked_fields, request_fields
from lee_llm_router.config import DEFAULT_TIMEOUT, LLMConfig, RoleConfig
from lee_llm_router.errors import ConfigError, LLMRouterError, PolicyError
from lee_llm_router.health import TargetHealth, TargetKey
from lee_llm_router.response import LLMRequest

ENTRY_POINT_GROUP = "lee_llm_router.policies"

_MERGED = ("extra_body", "headers")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@quickly_made
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


class SimpleRoutingPolicy:
    """The role's own provider, then its fallbacks, in the order of the file."""

    def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
        """The role's first provider."""
        return _choice_of(config.roles[role].provider)


@lru_cache(maxsize=1024)
def _choice_of(provider_name: str) -> ProviderChoice:
    return ProviderChoice(provider_name, _NOTHING, _NOTHING)


@dataclass(frozen=True, slots=True)
class Target:
    """One entry of a chain: a provider with a model and overrides."""

    provider: str
    model: str | None
    fields: Mapping[str, Any]
    """Request fields (as `LLMRequest` has them) and `timeout` in seconds."""
    provider_overrides: Mapping[str, Any] = field(default_factory=dict)
    lasting: bool = field(default=False, repr=False, compare=False)
    """Whether calls to come will use this very object."""
    key: TargetKey = field(init=False, repr=False, compare=False)
    """What its health is kept under: provider and model."""
    timeout: float = field(init=False, repr=False, compare=False)
    """Seconds one attempt may take."""
    request: LLMRequest = field(init=False, repr=False, compare=False)
    """What it is asked, but for what belongs to a call."""

    def __post_init__(self) -> None:
        asked = dict(self.fields)
        object.__setattr__(self, "key", (self.provider, self.model))
        object.__setattr__(self, "timeout", asked.pop("timeout", DEFAULT_TIMEOUT))
        object.__setattr__(self, "request", LLMRequest(messages=(), model=self.model, **asked))


def load_policy(name: str) -> RoutingPolicy:
    """The policy installed under the entry point `name`, built without arguments.

    Raises:
        ConfigError: there is none, or it cannot be loaded.
    """
    if name == "simple":
        return SimpleRoutingPolicy()
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and few configurations name a policy

    points = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in points:
        known = ", ".join(sorted({"simple", *points}))
        raise ConfigError(f"unknown policy {name!r}; installed: {known}")
    try:
        policy = points[name].load()()
    except Exception as error:
        raise ConfigError(f"policy {name!r} cannot be loaded: {error}") from error
    return ensure_policy(policy)


def ensure_policy(policy: object) -> RoutingPolicy:
    """`policy`, if it is one.

    Raises:
        ConfigError: it has no `choose`, or one that cannot be called.
    """
    if not isinstance(policy, RoutingPolicy) or isinstance(policy, type) or not callable(policy.choose):
        raise ConfigError(f"a routing policy is an object with choose(role, config); this is {policy!r}")
    return policy


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


def own_chain(role: str, config: LLMConfig) -> tuple[Target, ...]:
    """Return the targets that the configuration lists for `role`, in order."""
    return tuple(Target(spec.provider, spec.model, request_fields(spec.settings)) for spec in config.chain(role))


def chain_of(
    choice: ProviderChoice, role: str, config: LLMConfig, own: Sequence[Target], call_fields: Mapping[str, Any]
) -> tuple[Target, ...]:
    """The targets of one call, in order, each with its overrides merged. The same target never stands twice.

    Args:
        choice: What the policy chose.
        role: A role of `config`.
        config: The configuration.
        own: What `own_chain` gives for them. Working it out costs more than all the rest of this.
        call_fields: Arguments of the call, as `request_fields` gives them. `model` among them replaces the model of
            the role, so it reaches the first target and the fallbacks that have no model of their own.

    Raises:
        PolicyError: the choice names an unknown provider, or an override that does not exist.
    """
    role_config = config.roles[role]
    first = _chosen(choice, role_config, own, config)
    if choice.fallbacks is None:
        shared = {k: v for k, v in _policy_fields(choice).items() if k != "model"}
        rest = [Target(t.provider, t.model, _merge(t.fields, shared)) for t in own if t.key != first.key]
    else:
        choices = [ProviderChoice(f) if isinstance(f, str) else f for f in choice.fallbacks]
        rest = [_chosen(fallback, role_config, own, config) for fallback in choices]
    asked = dict(call_fields)
    model = asked.pop("model", None)
    inherits = _inheritors(choice, role_config, config) if model is not None else frozenset()
    return _distinct(
        Target(
            t.provider,
            model if model is not None and (i == 0 or t.key in inherits) else t.model,
            _merge(t.fields, asked),
            t.provider_overrides,
        )
        for i, t in enumerate([first, *rest])
    )


def _chosen(choice: ProviderChoice, role_config: RoleConfig, own: Sequence[Target], config: LLMConfig) -> Target:
    provider = config.providers.get(choice.provider_name)
    if provider is None:
        raise PolicyError(
            f"the routing policy chose provider {choice.provider_name!r}, which the configuration does not have"
        )
    fields = _policy_fields(choice)
    listed = next((target for target in own if target.provider == choice.provider_name), None)
    model = fields.pop("model", None)
    if model is None:
        model = listed.model if listed else provider.model or role_config.model
    base = listed.fields if listed else own[0].fields
    return Target(choice.provider_name, model, _merge(base, fields), dict(choice.provider_overrides))


def _policy_fields(choice: ProviderChoice) -> dict[str, Any]:
    try:
        return checked_fields(choice.request_overrides)
    except LLMRouterError as error:
        raise PolicyError(f"the routing policy's request_overrides are wrong: {error.message}") from error


def _inheritors(choice: ProviderChoice, role_config: RoleConfig, config: LLMConfig) -> frozenset[TargetKey]:
    """Keys of the role's fallbacks whose model is the role's own, which a model named by the caller replaces."""
    if choice.fallbacks is not None:
        return frozenset()
    return frozenset(
        (fallback.provider, role_config.model)
        for fallback in role_config.fallback_providers
        if fallback.model is None and config.providers[fallback.provider].model is None
    )


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Mapping[str, Any]:
    """`base` with `over` on top; `extra_body` and `headers` are merged by their keys."""
    if not over:
        return base
    merged = {**base, **over}
    for name in _MERGED:
        if name in base and name in over:
            merged[name] = {**base[name], **over[name]}
    return merged


def _distinct(targets: Iterable[Target]) -> tuple[Target, ...]:
    kept: list[Target] = []
    for target in targets:
        if target not in kept:
            kept.append(target)
    return tuple(kept)
