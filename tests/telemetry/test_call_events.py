"""`call.start` and `call.end`: one pair a call, whatever becomes of it, around all its other events."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any

import pytest

from helpers.scenarios import SCENARIOS
from helpers.support import END, FakeClock, Memory, Pieces, Took, config_for, router_for
from lee_llm_router import LeeLLMRouter, LLMRouterError, RouterClosedError, RouterEvent
from lee_llm_router.errors import FailureType, error_for

DOWN = error_for(FailureType.PROVIDER_ERROR, "x")
NO = error_for(FailureType.AUTH, "no")


def interrupted(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def ask(router: LeeLLMRouter, clock: FakeClock) -> None:
    router.complete("r", "hi")


def ask_with_a_wrong_option(router: LeeLLMRouter, clock: FakeClock) -> None:
    router.complete("r", "hi", temprature=1)  # type: ignore[call-overload]


def be_interrupted_in_the_policy(router: LeeLLMRouter, clock: FakeClock) -> None:
    router.policy.choose = interrupted  # type: ignore[method-assign]
    router.complete("r", "hi")


def be_interrupted_in_a_wait(router: LeeLLMRouter, clock: FakeClock) -> None:
    clock.sleep = interrupted  # type: ignore[method-assign]
    router.complete("r", "hi")


def run_out_of_time_in_a_wait(router: LeeLLMRouter, clock: FakeClock) -> None:
    clock.sleep = lambda seconds: clock.advance(3600)  # type: ignore[method-assign]
    router.complete("r", "hi")


def read_a_stream(router: LeeLLMRouter, clock: FakeClock) -> None:
    list(router.stream("r", "hi"))


def leave_a_stream(router: LeeLLMRouter, clock: FakeClock) -> None:
    with router.stream("r", "hi") as stream:
        next(stream)


def drop_a_stream(router: LeeLLMRouter, clock: FakeClock) -> None:
    next(router.stream("r", "hi"))
    gc.collect()


def ask_async(router: LeeLLMRouter, clock: FakeClock) -> None:
    asyncio.run(router.complete_async("r", "hi"))


def cancel_a_task(router: LeeLLMRouter, clock: FakeClock) -> None:
    async def run() -> None:
        task = asyncio.create_task(router.complete_async("r", "hi"))
        await asyncio.sleep(0)
        task.cancel()
        await task

    asyncio.run(run())


def leave_an_async_stream(router: LeeLLMRouter, clock: FakeClock) -> None:
    async def run() -> None:
        async with router.stream_async("r", "hi") as stream:
            await anext(stream)

    asyncio.run(run())


def close_the_router_during_the_call(router: LeeLLMRouter, clock: FakeClock) -> None:
    def closed(seconds: float) -> None:
        router.close()
        clock.advance(seconds)

    clock.sleep = closed  # type: ignore[method-assign]
    router.complete("r", "hi")


ENDINGS: list[tuple[Callable[[LeeLLMRouter, FakeClock], None], list[Any], str, str | None, int]] = [
    (ask, ["answer"], "ok", None, 1),
    (ask, [Took(0.5, DOWN), "answer"], "ok", None, 2),
    (ask, [NO], "error", "AUTH", 1),
    (ask, [DOWN], "error", "PROVIDER_ERROR", 3),
    (ask, [DOWN, KeyboardInterrupt()], "cancelled", "CANCELLED", 2),
    (ask_async, ["answer"], "ok", None, 1),
    (ask_with_a_wrong_option, [], "error", "INVALID_REQUEST", 0),
    (be_interrupted_in_the_policy, [], "cancelled", "CANCELLED", 0),
    (be_interrupted_in_a_wait, [DOWN], "cancelled", "CANCELLED", 1),
    (run_out_of_time_in_a_wait, [DOWN], "error", "TIMEOUT", 1),
    (close_the_router_during_the_call, [DOWN], "error", "UNAVAILABLE", 1),
    (cancel_a_task, ["answer"], "cancelled", "CANCELLED", 1),
    (read_a_stream, [Pieces("a", END)], "ok", None, 1),
    (read_a_stream, [Pieces("a", NO)], "error", "AUTH", 1),
    (leave_a_stream, [Pieces("a", END)], "cancelled", "CANCELLED", 1),
    (drop_a_stream, [Pieces("a", END)], "cancelled", "CANCELLED", 1),
    (leave_an_async_stream, [Pieces("a", END)], "cancelled", "CANCELLED", 1),
]


def pair_of(memory: Memory) -> tuple[RouterEvent, RouterEvent]:
    """The pair of the one call in `memory`, which all its other events lie between."""
    names = [event.event for event in memory.events]
    assert (names[0], names[-1]) == ("call.start", "call.end")
    assert not [name for name in names[1:-1] if name.startswith("call.")]
    assert len({event.request_id for event in memory.events}) == 1
    return memory.events[0], memory.events[-1]


@pytest.mark.parametrize(
    ("how", "plays", "outcome", "failure_type", "attempts"), ENDINGS,
    ids=[f"{how.__name__}-{number}" for number, (how, *_) in enumerate(ENDINGS)],
)  # fmt: skip
def test_every_call_has_one_pair(
    how: Callable[[LeeLLMRouter, FakeClock], None],
    plays: list[Any],
    outcome: str,
    failure_type: str | None,
    attempts: int,
) -> None:
    """The pair says what became of the call, how long it took, how many attempts it made, and who answered."""
    router, memory, clock = router_for(config_for({"a": plays}))
    began = clock.now
    try:
        how(router, clock)
    except (LLMRouterError, KeyboardInterrupt, asyncio.CancelledError):
        assert outcome != "ok"
    start, end = pair_of(memory)
    assert start.data == {"stream": "stream" in how.__name__}
    assert end.data == {
        "outcome": outcome, "failure_type": failure_type, "elapsed_ms": (clock.now - began) * 1000,
        "attempts": attempts, "cost_usd": None,
    }  # fmt: skip
    assert (end.provider, end.model, end.attempt) == (("a", "m", None) if outcome == "ok" else (None, None, None))
    assert {record.request_id for record in memory.records} <= {end.request_id}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_row_of_the_scenario_table_has_one_pair(scenario: Any) -> None:
    """The pair agrees with the call's result and its records."""
    router, memory, _ = router_for(config_for(scenario.plays, scenario.role, scenario.providers))
    answer, error = None, None
    try:
        answer = router.complete("r", scenario.messages, **scenario.call)
    except LLMRouterError as raised:
        error = raised
    _, end = pair_of(memory)
    assert end.data["outcome"] == ("error" if answer is None else "ok")
    assert end.data["failure_type"] == (None if error is None else error.failure_type.value)
    assert end.data["attempts"] == sum(record.attempt is not None for record in memory.records)
    assert end.provider == (None if answer is None else answer.provider)


def test_a_policy_that_fails_and_a_closed_router(caplog: pytest.LogCaptureFixture) -> None:
    """A call refused by its policy has a pair; one to a closed router never begins."""

    class Broken:
        def choose(self, role: str, config: Any) -> Any:
            raise ValueError("no idea")

    router, memory, _ = router_for(config_for({"a": ["ok"]}), policy=Broken())
    with pytest.raises(LLMRouterError):
        router.complete("r", "hi")
    _, end = pair_of(memory)
    assert (end.data["outcome"], end.data["attempts"]) == ("error", 0)
    memory.events.clear()
    router.close()
    with pytest.raises(RouterClosedError):
        router.complete("r", "hi")
    assert memory.events == []


def test_the_pair_is_logged_as_debug(caplog: pytest.LogCaptureFixture) -> None:
    """With no sink, the logger gets it if it takes that level."""
    router, _, _ = router_for(config_for({"a": ["ok"]}), event_sink=())
    for level, count in ((logging.DEBUG, 2), (logging.INFO, 0)):
        caplog.clear()
        with caplog.at_level(level, "lee_llm_router"):
            router.complete("r", "hi")
        assert len([r for r in caplog.records if r.__dict__["llm_event"].startswith("call.")]) == count
