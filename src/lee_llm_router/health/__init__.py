"""The current health of each target: breaker, vendor gate, limits, queue."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.health.states import BREAKER_OPEN, Permit, Refusal, TargetHealth, Transition
    from lee_llm_router.health.tracker import MAX_TARGETS, Health
    from lee_llm_router.health.waiting import KeyedTarget, QueueTicket, TargetKey
else:
    __getattr__ = loaded_when_asked(
        __name__,
        "lee_llm_router.health.states",
        "lee_llm_router.health.tracker",
        "lee_llm_router.health.waiting",
    )

__all__ = [
    "BREAKER_OPEN",
    "MAX_TARGETS",
    "Health",
    "KeyedTarget",
    "Permit",
    "QueueTicket",
    "Refusal",
    "TargetHealth",
    "TargetKey",
    "Transition",
]
