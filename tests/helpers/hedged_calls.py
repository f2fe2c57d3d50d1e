"""Calls of a role that is hedged, in each form, on a clock that costs no time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

from lee_llm_router import LLMResponse, LLMRouterError
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.testing import ScriptedRouter

ATTEMPT_THREAD = "lee-llm-router-run"
"""The name of threads in which attempts run beside each other."""
Ask = Callable[..., LLMResponse]


def complete(router: ScriptedRouter, **options: Any) -> LLMResponse:
    return router.complete("r", "hi", **options)


def complete_async(router: ScriptedRouter, **options: Any) -> LLMResponse:
    return asyncio.run(router.complete_async("r", "hi", **options))


def stream(router: ScriptedRouter, **options: Any) -> LLMResponse:
    with router.stream("r", "hi", **options) as stream:
        text = "".join(chunk.text for chunk in stream)
    assert text == stream.response.text
    return stream.response


def stream_async(router: ScriptedRouter, **options: Any) -> LLMResponse:
    async def main() -> LLMResponse:
        async with router.stream_async("r", "hi", **options) as stream:
            text = "".join([chunk.text async for chunk in stream])
        assert text == stream.response.text
        return stream.response

    return asyncio.run(main())


FORMS = {
    "complete": complete, "complete_async": complete_async, "stream": stream, "stream_async": stream_async,
}  # fmt: skip


def hedged_router(
    answers: Mapping[str, Any], hedge: Mapping[str, Any] | None = None, providers: Any = None, **role: Any
) -> ScriptedRouter:
    """Return a router with a role `r`, whose chain is the keys of `answers`; hedged after a second."""
    first, *others = answers
    described = {name: {"type": "mock", "model": "m", **(providers or {}).get(name, {})} for name in answers}
    asked = {"provider": first, "fallback_providers": others, "hedge": {"after": 1, **(hedge or {})}, **role}
    return ScriptedRouter({"llm": {"providers": described, "roles": {"r": asked}}}, answers=answers)


def told(router: ScriptedRouter) -> list[tuple[Any, ...]]:
    """Return attempt, provider, outcome, verdict and hedge of each record."""
    return [(r.attempt, r.provider, r.outcome, r.verdict, r.hedge) for r in router.recorder.records]


def assert_nothing_is_held(router: ScriptedRouter) -> None:
    """Every permit is back, and no attempt goes on."""
    assert {target: health.in_flight for target, health in router.health().items() if health.in_flight} == {}
    for thread in threading.enumerate():
        if thread.name == ATTEMPT_THREAD:
            thread.join(5)
            assert not thread.is_alive()


def failure(kind: FailureType = FailureType.PROVIDER_ERROR, **details: Any) -> LLMRouterError:
    return error_for(kind, "broken", **details)
