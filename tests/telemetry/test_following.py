"""A sink that follows calls is told of each from its begin to its end, whatever happens in between."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, cast

import pytest

from helpers.support import END, Memory, Pieces, config_for, router_for
from lee_llm_router import AttemptEnd, AttemptStart, CallFollower, CallStart, LeeLLMRouter, LLMRouterError
from lee_llm_router.errors import FailureType, error_for

LIMITED = error_for(FailureType.RATE_LIMIT, "slow down", status_code=429, sent=True)
_place: ContextVar[str] = ContextVar("place", default="nowhere")


class Follower(CallFollower):
    """Writes down what it is told."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def attempt_started(self, attempt: AttemptStart) -> None:
        self.told.append(f"start {attempt.provider}")
        attempt.context.run(_place.set, f"attempt {attempt.index}")

    def recorded(self, end: AttemptEnd) -> None:
        self.told.append(f"{end.record.outcome} {end.record.provider}")

    def breaker_changed(self, provider: str, model: str | None, change: str) -> None:
        self.told.append(f"{change} {provider}")

    def ended(self, outcome: str, failure_type: str | None, elapsed_ms: float) -> None:
        self.told.append(f"end {outcome}")


class Watch:
    """Follows every call, or raises."""

    def __init__(self, broken: str = "") -> None:
        self.told: list[str] = []
        self.broken = broken

    def follow(self, call: CallStart) -> CallFollower:
        if self.broken == "follow":
            raise ValueError("broken")
        self.told.append(f"call {call.role}")
        follower = Follower(self.told)
        if self.broken:

            def fail(*_: Any) -> None:
                raise ValueError("broken")

            setattr(follower, self.broken, fail)
        return follower


def _leave(router: LeeLLMRouter) -> None:
    for _ in router.stream("r", "hi"):
        break
    gc.collect()


def _fail(router: LeeLLMRouter) -> None:
    with pytest.raises(LLMRouterError):
        router.complete("r", cast("str", 7))


@pytest.mark.parametrize(
    ("act", "outcomes", "told"),
    [
        (lambda r: r.complete("r", "hi"), {"a": [LIMITED], "b": ["ok"]},
         ["call r", "start a", "error a", "start b", "ok b", "end ok"]),
        (lambda r: asyncio.run(r.complete_async("r", "hi")), {"a": ["ok"]}, ["call r", "start a", "ok a", "end ok"]),
        (_leave, {"a": [Pieces("one", "two", END)]}, ["call r", "start a", "cancelled a", "end cancelled"]),
        (_fail, {"a": ["ok"]}, ["call r", "error None", "end error"]),
    ],
    ids=["fallback", "async", "left stream", "refused"],
)  # fmt: skip
def test_a_follower_is_told_of_everything_in_order_and_of_the_end_once(
    act: Callable[[LeeLLMRouter], object], outcomes: dict[str, Any], told: list[str]
) -> None:
    watch = Watch()
    act(router_for(config_for(outcomes), event_sink=watch)[0])
    assert watch.told == told


@pytest.mark.parametrize("broken", ["follow", "attempt_started", "recorded", "ended"])
def test_what_a_follower_raises_is_counted_and_keeps_nothing_from_anybody(broken: str) -> None:
    sound = Watch()
    router, _, _ = router_for(config_for({"a": ["ok"]}), event_sink=[Watch(broken), sound])
    assert router.complete("r", "hi").text == "ok"
    assert router.telemetry_errors == 1
    assert sound.told == ["call r", "start a", "ok a", "end ok"]


def test_a_sink_may_receive_events_as_well() -> None:
    class Both(Memory, Watch):
        def __init__(self) -> None:
            Memory.__init__(self)
            Watch.__init__(self)

    both = Both()
    router_for(config_for({"a": ["ok"]}), event_sink=both)[0].complete("r", "hi")
    assert both.told[-1] == "end ok"
    assert both.named("call.end")


def test_a_provider_runs_in_the_context_of_its_attempt_and_the_caller_in_its_own() -> None:
    places: list[str] = []

    def wrap(provider: Any) -> Any:
        inner = provider.complete

        def complete(*args: Any) -> Any:
            places.append(_place.get())
            return inner(*args)

        provider.complete = complete
        return provider

    router, _, _ = router_for(config_for({"a": [LIMITED], "b": ["ok"]}), event_sink=Watch(), wrap_provider=wrap)
    router.complete("r", "hi")
    assert places == ["attempt 0", "attempt 1"]
    assert _place.get() == "nowhere"
