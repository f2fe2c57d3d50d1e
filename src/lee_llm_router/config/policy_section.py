"""The section `policy`: the routing policy and its settings."""

from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, SerializeAsAny

from lee_llm_router.settings.fields import AllowString
from lee_llm_router.settings.plugins import PluginRegistry, PluginSettings, check_named_plugin


def _problem(loaded: object) -> str | None:
    return None if callable(loaded) else "neither a class nor a function that makes one"


POLICIES: PluginRegistry[Any] = PluginRegistry(
    "routing policy",
    "lee_llm_router.policies",
    {
        "simple": "lee_llm_router.policy.simple:SimpleRoutingPolicy",
        "weighted": "lee_llm_router.policy.weighted:WeightedPolicy",
        "round_robin": "lee_llm_router.policy.round_robin:RoundRobinPolicy",
        "least_busy": "lee_llm_router.policy.least_busy:LeastBusyPolicy",
        "lowest_latency": "lee_llm_router.policy.lowest_latency:LowestLatencyPolicy",
        "lowest_cost": "lee_llm_router.policy.lowest_cost:LowestCostPolicy",
        "sticky": "lee_llm_router.policy.sticky:StickyPolicy",
    },
    problem=_problem,
)
"""Routing policies by name. They are registered here because the file names policies, and policies know the file."""


def _check_policy(value: Any) -> Any:
    return check_named_plugin(POLICIES, value)


AnyPolicy: TypeAlias = Annotated[SerializeAsAny[PluginSettings], BeforeValidator(_check_policy), AllowString()]
"""A policy's settings, as the model of its type; in the file a bare name is enough."""
