"""Turns a policy's choice into the targets of a call.

The order of overrides, weakest first: the role, the fallback's own entry, the policy's `request_overrides`, the
arguments of the call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lee_llm_router.config.models import LLMConfig, RoleConfig
from lee_llm_router.engine.plan import Target
from lee_llm_router.errors import LLMRouterError, PolicyError
from lee_llm_router.health.waiting import TargetKey
from lee_llm_router.policy.contract import ProviderChoice
from lee_llm_router.routing.options import OF_WHOLE_CALL, request_fields, validate_options

MERGED = frozenset({"extra_body", "extra_query", "headers"})


class ChosenTarget(NamedTuple):
    """A target of a policy's choice, and the sources of its settings."""

    target: Target
    listed: int | None
    """Its index in the role's chain, from 0; None if it is not in the chain and has the settings of the first."""
    policy_fields: Mapping[str, Any]
    """The fields that the policy overrides."""


def configured_chain(role: str, config: LLMConfig) -> tuple[Target, ...]:
    """Return the targets that the configuration lists for `role`, in order."""
    return tuple(Target(entry.provider, entry.model, request_fields(entry.settings)) for entry in config.chain(role))


def build_chain(
    choice: ProviderChoice, role: str, config: LLMConfig, own: Sequence[Target], call_fields: Mapping[str, Any]
) -> tuple[Target, ...]:
    """Return the targets of one call, in order: `chosen_chain`, then `asked_chain` applied to it.

    Raises:
        PolicyError: the choice names an unknown provider, or an override that does not exist.
    """
    chain = chosen_chain(choice, role, config, own)
    return asked_chain(chain, choice, role, config, call_fields) if call_fields else chain


def chosen_chain(choice: ProviderChoice, role: str, config: LLMConfig, own: Sequence[Target]) -> tuple[Target, ...]:
    """Return the targets of `choice`, in order, each with the policy's overrides merged.

    Args:
        choice: The policy's choice.
        role: A role of `config`.
        config: The configuration.
        own: The role's `configured_chain`, which takes longer to build than everything else here.

    Raises:
        PolicyError: the choice names an unknown provider, or an override that does not exist.
    """
    return _distinct([entry.target for entry in chosen_entries(choice, role, config, own)])


def chosen_entries(choice: ProviderChoice, role: str, config: LLMConfig, own: Sequence[Target]) -> list[ChosenTarget]:
    """Same as `chosen_chain`, with the sources of each target's settings; a target may occur twice."""
    if choice.order is not None:
        return _ordered_entries(choice, choice.order, own)
    role_config = config.roles[role]
    first = _chosen_target(choice, role_config, own, config)
    if choice.fallbacks is None:
        shared = {name: value for name, value in first.policy_fields.items() if name != "model"}
        rest = [
            ChosenTarget(t.with_fields(_merge(t.fields, shared)), index, shared)
            for index, t in enumerate(own)
            if t.key != first.target.key
        ]
    else:
        choices = [ProviderChoice(f) if isinstance(f, str) else f for f in choice.fallbacks]
        rest = [_chosen_target(fallback, role_config, own, config) for fallback in choices]
    return [first, *rest]


def asked_chain(
    chain: Sequence[Target], choice: ProviderChoice, role: str, config: LLMConfig, fields: Mapping[str, Any]
) -> tuple[Target, ...]:
    """Return `chain`, the `chosen_chain` of `choice`, with the arguments of a call merged into each target.

    Args:
        chain: The chain without the arguments.
        choice: The policy's choice.
        role: A role of `config`.
        config: The configuration.
        fields: Arguments of the call, as `validate_options` returns them. `model` among them replaces the model of the
            role: in the first target, and in fallbacks without a model of their own. If the policy has reordered the
            role's own chain, the first target of the file counts as the first.
    """
    return _distinct(asked_targets(chain, choice, role, config, fields))


def asked_targets(
    chain: Sequence[Target], choice: ProviderChoice, role: str, config: LLMConfig, fields: Mapping[str, Any]
) -> list[Target]:
    """Same as `asked_chain`, but return one target for each of `chain`; a target may occur twice."""
    asked = dict(fields)
    model = asked.pop("model", None)
    inherits = _targets_with_role_model(choice, config.roles[role], config) if model is not None else frozenset()
    first = 0 if choice.order is None or 0 not in choice.order else choice.order.index(0)
    return [
        t.with_fields(_merge(t.fields, asked), model if i == first or t.key in inherits else None)
        for i, t in enumerate(chain)
    ]


def reasons_of(choice: ProviderChoice, chain: Sequence[Target]) -> dict[TargetKey, str]:
    """Return the policy's reasons for the targets of `chain`, the chain of `choice`, where it gave any."""
    reasons = {}
    for one in reversed([choice, *(choice.fallbacks or ())]):
        if isinstance(one, str) or not one.reason:
            continue
        model = one.request_overrides.get("model")
        meant = (t.key for t in chain if t.provider == one.provider_name and model in (None, t.model))
        key = chain[0].key if one is choice else next(meant, None)
        if key is not None:
            reasons[key] = one.reason
    return reasons


def _ordered_entries(choice: ProviderChoice, order: Sequence[int], own: Sequence[Target]) -> list[ChosenTarget]:
    if max(order) >= len(own):
        raise PolicyError(f"the routing policy's order has the place {max(order)} of a chain of {len(own)}")
    if own[order[0]].provider != choice.provider_name:
        raise PolicyError("the routing policy's order begins with a different provider than it names")
    return [ChosenTarget(own[place], place, {}) for place in order]


def _chosen_target(
    choice: ProviderChoice, role_config: RoleConfig, own: Sequence[Target], config: LLMConfig
) -> ChosenTarget:
    provider = config.providers.get(choice.provider_name)
    if provider is None:
        raise PolicyError(
            f"the routing policy chose provider {choice.provider_name!r}, which the configuration does not have"
        )
    fields = _policy_fields(choice)
    index = next((i for i, target in enumerate(own) if target.provider == choice.provider_name), None)
    listed = None if index is None else own[index]
    if listed is not None and not fields and not choice.provider_overrides:
        return ChosenTarget(listed, index, fields)
    asked = {**fields}
    model = asked.pop("model", None)
    if model is None:
        model = listed.model if listed else provider.model or role_config.model
    base = listed.fields if listed else own[0].fields
    target = Target(choice.provider_name, model, _merge(base, asked), dict(choice.provider_overrides))
    return ChosenTarget(target, index, fields)


def _policy_fields(choice: ProviderChoice) -> dict[str, Any]:
    try:
        fields = validate_options(choice.request_overrides)
    except LLMRouterError as error:
        raise PolicyError(f"the routing policy's request_overrides are wrong: {error.message}") from error
    for name in OF_WHOLE_CALL:
        if name in fields:
            raise PolicyError(f"the routing policy's request_overrides cannot set {name}: it applies to a whole call")
    return fields


def _targets_with_role_model(
    choice: ProviderChoice, role_config: RoleConfig, config: LLMConfig
) -> frozenset[TargetKey]:
    """Return the keys of the fallbacks that use the role's model, which a model named by the caller replaces."""
    if choice.fallbacks is not None:
        return frozenset()
    return frozenset(
        (fallback.provider, role_config.model)
        for fallback in role_config.fallback_providers
        if fallback.may_have_role_model and config.providers[fallback.provider].model is None
    )


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `base` updated with `over`; `extra_body`, `extra_query` and `headers` are merged key by key."""
    if not over:
        return base
    merged = {**base, **over}
    if not MERGED.isdisjoint(over):
        merged.update({name: {**base[name], **over[name]} for name in MERGED if name in base and name in over})
    return merged


def _distinct(targets: Iterable[Target]) -> tuple[Target, ...]:
    kept: list[Target] = []
    for target in targets:
        if target not in kept:
            kept.append(target)
    return tuple(kept)
