"""What is known of each target now: breaker, vendor gate, limits, queue."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.health.tracker import (
        BREAKER_OPEN,
        MAX_TARGETS,
        Health,
        Permit,
        Refusal,
        TargetHealth,
        Transition,
    )
    from lee_llm_router.health.waiting import QueueTicket, TargetKey
else:
    __getattr__ = loaded_when_asked(__name__, "lee_llm_router.health.tracker")

__all__ = [
    "BREAKER_OPEN",
    "MAX_TARGETS",
    "Health",
    "Permit",
    "QueueTicket",
    "Refusal",
    "TargetHealth",
    "TargetKey",
    "Transition",
]
