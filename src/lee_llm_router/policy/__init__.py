"""Routing policies, which choose the targets of a call: the contract, and a file for each."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.engine.plan import Target
    from lee_llm_router.policy.contract import ProviderChoice, RoutingContext, RoutingPolicy, choose, takes_context
    from lee_llm_router.policy.loading import ENTRY_POINT_GROUP, ensure_policy, load_policy, register_policy
    from lee_llm_router.policy.simple import SimpleRoutingPolicy
    from lee_llm_router.routing.chain import build_chain
else:
    __getattr__ = loaded_when_asked(
        __name__,
        "lee_llm_router.policy.contract",
        "lee_llm_router.policy.simple",
        "lee_llm_router.policy.loading",
        "lee_llm_router.engine.plan",
        "lee_llm_router.routing.chain",
    )

__all__ = [
    "ENTRY_POINT_GROUP",
    "ProviderChoice",
    "RoutingContext",
    "RoutingPolicy",
    "SimpleRoutingPolicy",
    "Target",
    "build_chain",
    "choose",
    "ensure_policy",
    "load_policy",
    "register_policy",
    "takes_context",
]
