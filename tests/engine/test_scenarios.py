"""Each scenario ends as the table says, and sync and async are one behaviour: same attempts, waits, events, outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from helpers.scenario_parts import Scenario
from helpers.scenarios import SCENARIOS
from helpers.support import FakeClock, Memory, config_for, router_for
from lee_llm_router import LeeLLMRouter, LLMResponse, LLMRouterError, StreamChunk


def _trail(memory: Memory) -> list[str]:
    return [
        f"{record.provider or '-'} {'ok' if record.outcome == 'ok' else record.failure_type} {record.verdict}"
        for record in memory.records
    ]


def _text_of(chunks: Sequence[StreamChunk]) -> str:
    """The text that is left to a caller who discards what came before a restart."""
    start = max((number for number, chunk in enumerate(chunks) if chunk.restart), default=0)
    return "".join(chunk.text for chunk in chunks[start:])


async def _answer_async(router: LeeLLMRouter, scenario: Scenario) -> LLMResponse:
    return await router.complete_async("r", scenario.messages, **scenario.call)


def _answer_streamed(router: LeeLLMRouter, scenario: Scenario) -> LLMResponse:
    with router.stream("r", scenario.messages, **scenario.call) as stream:
        chunks = list(stream)
    assert stream.response.text == _text_of(chunks)
    return stream.response


async def _answer_streamed_async(router: LeeLLMRouter, scenario: Scenario) -> LLMResponse:
    async with router.stream_async("r", scenario.messages, **scenario.call) as stream:
        chunks = [chunk async for chunk in stream]
    assert stream.response.text == _text_of(chunks)
    return stream.response


WAYS: dict[str, Callable[[LeeLLMRouter, Scenario], LLMResponse]] = {
    "sync": lambda router, scenario: router.complete("r", scenario.messages, **scenario.call),
    "async": lambda router, scenario: asyncio.run(_answer_async(router, scenario)),
    "stream": _answer_streamed,
    "stream_async": lambda router, scenario: asyncio.run(_answer_streamed_async(router, scenario)),
}


def _play(scenario: Scenario, way: str) -> tuple[str, Memory, FakeClock]:
    router, memory, clock = router_for(config_for(scenario.plays, scenario.role, scenario.providers))
    try:
        answer = WAYS[way](router, scenario)
    except LLMRouterError as error:
        assert list(error.attempts) == memory.records, "the error carries every record"
        assert error.request_id == memory.records[0].request_id
        return error.failure_type.value, memory, clock
    return answer.text, memory, clock


def _comparable(memory: Memory) -> Any:
    events = [(e.event, e.provider, e.model, e.attempt, dict(e.data)) for e in memory.events]
    fields = [
        {name: getattr(record, name) for name in record.__slots__ if name not in ("request_id", "messages")}
        for record in memory.records
    ]
    return events, fields


def test_the_table_is_as_large_as_promised() -> None:
    """At least 40 rows, each with a name of its own."""
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS) >= 40


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name.replace(" ", "-")[:70])
def test_scenario(scenario: Scenario) -> None:
    """Trail of records, waits and outcome are as written; both drivers agree to the last field, streamed or not."""
    ends, memory, clock = _play(scenario, "sync")
    assert _trail(memory) == list(scenario.trail)
    assert ends == scenario.ends
    assert clock.sleeps == pytest.approx(list(scenario.waits))
    recorded = [record.wait_ms / 1000 for record in memory.records if record.wait_ms]
    assert recorded == pytest.approx([wait for wait in scenario.waits if wait])

    streamed = _play(scenario, "stream")
    assert (_trail(streamed[1]), streamed[0], streamed[2].sleeps) == (_trail(memory), ends, clock.sleeps)
    for way, (like_ends, like_memory, like_clock) in {
        "async": (ends, memory, clock),
        "stream_async": streamed,
    }.items():
        ends_async, memory_async, clock_async = _play(scenario, way)
        assert ends_async == like_ends
        assert clock_async.sleeps == like_clock.sleeps
        assert _comparable(memory_async) == _comparable(like_memory)
