"""Policies of roles that have their own: built, kept across reloads, and given the records of their calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lee_llm_router._util.printable import printable
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.policy.contract import RoutingPolicy
from lee_llm_router.policy.loading import load_policy
from lee_llm_router.telemetry.records import TraceRecord


def role_policies(
    config: LLMConfig, before: Mapping[str, RoutingPolicy], config_before: LLMConfig | None
) -> dict[str, RoutingPolicy]:
    """Return the policies of the roles that have their own, reusing those of `before` whose settings are the same.

    Args:
        config: The current configuration.
        before: The policies of the roles of `config_before`.
        config_before: The previous configuration; None if there was none.

    Raises:
        ConfigError: a policy cannot be built.
    """
    found: dict[str, RoutingPolicy] = {}
    for name, role in config.roles.items():
        if role.policy is None:
            continue
        old = None if config_before is None else config_before.roles.get(name)
        kept = None if old is None or old.policy != role.policy else before.get(name)
        found[name] = load_policy(role.policy) if kept is None else kept
    return found


def observer_of(policy: object, own: Mapping[str, object]) -> Callable[[TraceRecord], Any] | None:
    """Return what passes a record to the `observe` of the policy that chose for its call; None if none has one.

    Args:
        policy: Chooses for the roles without a policy of their own.
        own: The policies of the other roles.
    """
    shared = getattr(policy, "observe", None)
    observers = {printable(role): getattr(one, "observe", None) for role, one in own.items()}
    if not observers or (shared is None and not any(observers.values())):
        return shared

    def observe(record: TraceRecord) -> None:
        observer = observers.get(record.role, shared)
        if observer is not None:
            observer(record)

    return observe
