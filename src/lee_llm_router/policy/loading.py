"""Find an installed policy by its name, and check that an object is a policy."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from lee_llm_router.config.policy_section import POLICIES
from lee_llm_router.errors import ConfigError
from lee_llm_router.policy.contract import RoutingPolicy
from lee_llm_router.settings.plugins import PluginSettings, check_named_plugin

ENTRY_POINT_GROUP = POLICIES.group

register_policy = POLICIES.register
"""Register a policy under a name; see `PluginRegistry.register`."""


def load_policy(policy: str | PluginSettings) -> RoutingPolicy:
    """Return a new instance of the policy with that name, or of the type in its settings.

    Raises:
        ConfigError: there is no such policy, it cannot be built, or it needs settings and has none.
    """
    if isinstance(policy, str):
        POLICIES.get(policy)
    try:
        settings: Any = check_named_plugin(POLICIES, policy)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise ConfigError(f"policy {policy!r}: {first['msg']}") from None
    return ensure_policy(POLICIES.build(settings))


def ensure_policy(policy: object) -> RoutingPolicy:
    """Return `policy` if it is a policy.

    Raises:
        ConfigError: it has no method `choose`.
    """
    if not isinstance(policy, RoutingPolicy) or isinstance(policy, type) or not callable(policy.choose):
        shown = policy.__name__ if isinstance(policy, type) else f"of the type {type(policy).__name__}"
        raise ConfigError(f"a routing policy is an object with choose(role, config); this is {shown}")
    return policy
