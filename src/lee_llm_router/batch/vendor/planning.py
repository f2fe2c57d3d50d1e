"""The plans of calls that are not made in the usual way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lee_llm_router.engine.plan import CallPlan, RouterParts
from lee_llm_router.errors import RouterClosedError

if TYPE_CHECKING:
    from lee_llm_router.router import LeeLLMRouter
    from lee_llm_router.routing.planner import CallPlanner


def _planner(router: LeeLLMRouter) -> CallPlanner:
    if router._closed:
        raise RouterClosedError("the router is closed", sent=False)
    return router._assembly.planner


def parts_of(router: LeeLLMRouter) -> RouterParts:
    """Return the parts with which the router works now."""
    return _planner(router).parts


def drafted(router: LeeLLMRouter, role: str | None, messages: Any, options: Mapping[str, Any]) -> CallPlan:
    """Return the plan that a call would have now, without making the call.

    Raises:
        LLMRouterError: it could not be made.
    """
    return _planner(router).draft(role, messages, options)


def planned(
    router: LeeLLMRouter, role: str | None, messages: Any, options: Mapping[str, Any]
) -> tuple[CallPlan, RouterParts]:
    """Return the plan of a call to make at once, and the parts to make it with.

    Raises:
        LLMRouterError: it cannot be made; that is traced.
    """
    planner = _planner(router)
    return planner.plan(role, messages, options), planner.parts
