"""Find an installed policy by its name, and check that an object is a policy."""

from __future__ import annotations

from lee_llm_router.errors import ConfigError
from lee_llm_router.policy.contract import RoutingPolicy
from lee_llm_router.policy.simple import SimpleRoutingPolicy

ENTRY_POINT_GROUP = "lee_llm_router.policies"


def load_policy(name: str) -> RoutingPolicy:
    """Return a new instance of the policy whose entry point is `name`, built without arguments.

    Raises:
        ConfigError: there is no such entry point, or it cannot be loaded.
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
    """Return `policy`, if it is one.

    Raises:
        ConfigError: it has no method `choose`.
    """
    if not isinstance(policy, RoutingPolicy) or isinstance(policy, type) or not callable(policy.choose):
        raise ConfigError(f"a routing policy is an object with choose(role, config); this is {policy!r}")
    return policy
