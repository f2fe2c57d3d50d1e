"""Streams: one whole answer or one typed error, failures before the first output unseen, nothing spliced."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from helpers.support import END, FakeClock, Memory, Pieces, Took, config_for, provider_of, router_for
from lee_llm_router import LeeLLMRouter, LLMRouterError, LLMUsage, StreamChunk, ToolCallDelta
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.response import ToolCall

GONE = error_for(FailureType.PROVIDER_ERROR, "connection lost")
USAGE = LLMUsage(prompt_tokens=3, completion_tokens=2, total_tokens=5)


@dataclass(frozen=True)
class Flow:
    """One row: what providers stream, what the caller sees (``|`` stands for a restart), and the trail of records."""

    name: str
    plays: Mapping[str, Sequence[Any]]
    sees: str
    trail: Sequence[str]
    ends: str = "whole"
    waits: Sequence[float] = ()
    stream: Mapping[str, Any] = field(default_factory=dict)
    role: Mapping[str, Any] = field(default_factory=dict)


FLOWS = [
    Flow("pieces come as they are", {"a": [Pieces("Hel", "lo", END)]}, "Hello", ["a ok return"]),
    Flow(
        "a failure before the first output is retried unseen",
        {"a": [Pieces(StreamChunk(), GONE), Pieces("yes", END)]},
        "yes", ["a PROVIDER_ERROR retry", "a ok return"], waits=[0.25],
    ),
    Flow(
        "a failure before the first output falls back unseen",
        {"a": [error_for(FailureType.RATE_LIMIT, "slow", retry_after=60)], "b": [Pieces("yes", END)]},
        "yes", ["a RATE_LIMIT next", "b ok return"],
    ),
    Flow(
        "a failure after the first output ends the call, and nothing is spliced",
        {"a": [Pieces("half", GONE)], "b": [Pieces("no", END)]},
        "half", ["a PROVIDER_ERROR raise"], "PROVIDER_ERROR with 'half'",
    ),
    Flow(
        "with on_break: restart the answer starts anew, after a sign to discard",
        {"a": [Pieces("half", GONE), Pieces("whole", END)]},
        "half|whole", ["a PROVIDER_ERROR retry", "a ok return"], waits=[0.25], stream={"on_break": "restart"},
    ),
    Flow(
        "a restart is told once the new answer begins, whatever failed in between",
        {"a": [Pieces("half", error_for(FailureType.TIMEOUT, "late"))], "b": [GONE, Pieces("whole", END)]},
        "half|whole", ["a TIMEOUT next", "b PROVIDER_ERROR retry", "b ok return"], waits=[0.25],
        stream={"on_break": "restart"},
    ),
    Flow(
        "a stream that ends without a finish reason is no answer",
        {"a": [Pieces("all of it?")]}, "all of it?", ["a INVALID_RESPONSE raise"],
        "INVALID_RESPONSE with 'all of it?'",
    ),
    Flow(
        "an empty stream is no answer, and is asked for again",
        {"a": [Pieces(), Pieces("yes", END)]}, "yes", ["a INVALID_RESPONSE retry", "a ok return"], waits=[0.25],
    ),
    Flow(
        "an answer without a word, but with an end, is whole", {"a": [Pieces(END)]}, "", ["a ok return"],
    ),
    Flow(
        "no first output within first_token_timeout falls back",
        {"a": [Pieces(Took(6, "late"), END)], "b": [Pieces("yes", END)]},
        "yes", ["a TIMEOUT next", "b ok return"], stream={"first_token_timeout": 5},
    ),
    Flow(
        "pieces that say nothing do not count as output",
        {"a": [Pieces(*[Took(2, StreamChunk())] * 3, "late", END)], "b": [Pieces("yes", END)]},
        "yes", ["a TIMEOUT next", "b ok return"], stream={"first_token_timeout": 5},
    ),
    Flow(
        "timeout bounds the time to the first output, not a long answer that flows",
        {"a": [Pieces(*[Took(4, "x")] * 5, END)]}, "xxxxx", ["a ok return"], role={"timeout": 5},
    ),
    Flow(
        "a stall after the first output ends the call after idle_timeout",
        {"a": [Pieces("half", Took(8, "late"), END)], "b": [Pieces("no", END)]},
        "half", ["a TIMEOUT raise"], "TIMEOUT with 'half'", stream={"idle_timeout": 7},
    ),
    Flow(
        "the deadline ends an answer that flows for ever",
        {"a": [Pieces(*[Took(4, "x")] * 100, END)]}, "xx", ["a TIMEOUT raise"], "TIMEOUT with 'xx'",
        role={"deadline": 10},
    ),
    Flow(
        "an attempt with effects is not repeated, even before its first output",
        {"a": [Pieces(GONE)], "b": [Pieces("no", END)]}, "", ["a PROVIDER_ERROR raise"], "PROVIDER_ERROR with ''",
        role={"provider": "a", "retry": {"attempts": 3}},
    ),
]  # fmt: skip


async def _read_async(router: LeeLLMRouter, seen: list[StreamChunk]) -> str:
    stream = router.stream_async("r", "hi")
    async for chunk in stream:  # not a comprehension: what came before an error counts
        seen += [chunk]
    return stream.response.text


def _read(router: LeeLLMRouter, seen: list[StreamChunk]) -> str:
    stream = router.stream("r", "hi")
    seen.extend(stream)
    return stream.response.text


READERS: dict[str, Callable[[LeeLLMRouter, list[StreamChunk]], str]] = {
    "sync": _read,
    "async": lambda router, seen: asyncio.run(_read_async(router, seen)),
}


def _run(flow: Flow, reader: str) -> tuple[list[StreamChunk], str, Memory, FakeClock, LeeLLMRouter]:
    effects = {"a": {"does": "workspace"}} if "effects" in flow.name else {}
    router, memory, clock = router_for(config_for(flow.plays, {**flow.role, "stream": flow.stream}, effects))
    seen: list[StreamChunk] = []
    try:
        text = READERS[reader](router, seen)
    except LLMRouterError as error:
        partial = error.response.text if error.response else ""
        return seen, f"{error.failure_type} with {partial!r}", memory, clock, router
    assert flow.sees.rpartition("|")[2] == text
    return seen, "whole", memory, clock, router


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name.replace(" ", "-")[:70])
def test_flow(flow: Flow, reader: str) -> None:
    """The caller sees, and the trace tells, what the table says, sync and async; every stream opened is closed."""
    seen, ends, memory, clock, router = _run(flow, reader)
    assert "".join("|" if chunk.restart else chunk.text for chunk in seen) == flow.sees
    assert ends == flow.ends
    assert [
        f"{r.provider} {'ok' if r.outcome == 'ok' else r.failure_type} {r.verdict}" for r in memory.records
    ] == list(flow.trail)
    assert clock.sleeps == list(flow.waits)
    assert [chunk.index for chunk in seen] == list(range(len(seen)))
    assert all(record.stream for record in memory.records)
    providers = [provider_of(router, name) for name in flow.plays]
    opened = sum(isinstance(outcome, Pieces) for p in providers for outcome in p.config.outcomes[: len(p.calls)])
    assert sum(p.streams_closed for p in providers) == opened


def test_a_streamed_answer_is_equal_to_the_unstreamed_one() -> None:
    """Text, reasoning, tool calls, finish reason, usage, model: put together from their pieces."""
    router, memory, _ = router_for(
        config_for(
            {
                "a": [
                    Pieces(
                        StreamChunk(reasoning="hm", model="served"),
                        "so ",
                        StreamChunk(text="so"),
                        StreamChunk(tool_calls=(ToolCallDelta(index=1, id="2", name="g", arguments="{"),)),
                        StreamChunk(tool_calls=(ToolCallDelta(index=0, id="1", name="f", arguments="{}"),)),
                        StreamChunk(tool_calls=(ToolCallDelta(index=1, arguments="}"),)),
                        StreamChunk(finish_reason="tool_calls"),
                        StreamChunk(usage=USAGE, cost_usd=0.25),
                    )
                ]
            }
        )
    )
    stream = router.stream("r", "hi")
    with pytest.raises(RuntimeError, match="read to its end"):
        _ = stream.response
    list(stream)
    response = stream.response
    assert (response.text, response.reasoning, response.finish_reason) == ("so so", "hm", "tool_calls")
    assert response.tool_calls == (
        ToolCall(id="1", name="f", arguments="{}"),
        ToolCall(id="2", name="g", arguments="{}"),
    )
    assert (response.usage, response.cost_usd, response.model) == (USAGE, 0.25, "served")
    assert (response.provider, response.request_id) == ("a", memory.records[0].request_id)


def test_time_in_the_caller_is_not_idle_time_but_the_deadline_holds() -> None:
    """A caller may take longer over a piece than idle_timeout; past the deadline the next pull ends the call."""
    router, memory, clock = router_for(
        config_for({"a": [Pieces("a", "b", "c", END)]}, {"stream": {"idle_timeout": 2}, "deadline": 30})
    )
    stream = router.stream("r", "hi")
    assert next(stream).text == "a"
    clock.advance(20)
    assert next(stream).text == "b"
    clock.advance(20)
    with pytest.raises(LLMRouterError, match="deadline") as caught:
        next(stream)
    assert caught.value.failure_type is FailureType.TIMEOUT
    assert caught.value.response is not None and caught.value.response.text == "ab"
    with pytest.raises(StopIteration):
        next(stream)
    assert [record.outcome for record in memory.records] == ["error"]


def test_leaving_a_stream_early_closes_it_and_is_traced_as_cancelled() -> None:
    """By `with`, by `close`, by dropping it; sync and async."""
    plays = {"a": [Pieces("a", "b", END)]}

    def leave_with(router: LeeLLMRouter) -> None:
        with router.stream("r", "hi") as stream:
            next(stream)

    def leave_close(router: LeeLLMRouter) -> None:
        stream = router.stream("r", "hi")
        next(stream)
        stream.close()
        stream.close()

    def leave_drop(router: LeeLLMRouter) -> None:
        next(router.stream("r", "hi"))
        gc.collect()

    def leave_async(router: LeeLLMRouter) -> None:
        async def main() -> None:
            async with router.stream_async("r", "hi") as stream:
                await anext(stream)

        asyncio.run(main())

    def leave_async_drop(router: LeeLLMRouter) -> None:
        async def main() -> None:
            await anext(router.stream_async("r", "hi"))
            gc.collect()
            await asyncio.sleep(0.01)

        asyncio.run(main())

    for leave in (leave_with, leave_close, leave_drop, leave_async, leave_async_drop):
        router, memory, _ = router_for(config_for(plays))
        leave(router)
        assert [(r.outcome, r.failure_type, r.response_chars) for r in memory.records] == [
            ("cancelled", "CANCELLED", 1)
        ], leave.__name__
        assert provider_of(router, "a").streams_closed == 1


def test_a_stream_never_read_sends_nothing() -> None:
    router, memory, _ = router_for(config_for({"a": [Pieces("a", END)]}))
    router.stream("r", "hi").close()
    assert provider_of(router, "a").calls == [] and memory.records == []


def test_first_output_is_timed_and_told() -> None:
    router, memory, _ = router_for(config_for({"a": [Pieces(StreamChunk(), Took(1.5, "x"), Took(2, END))]}))
    list(router.stream("r", "hi"))
    assert (memory.records[0].first_token_ms, memory.records[0].elapsed_ms) == (1500.0, 3500.0)
    (event,) = [event for event in memory.events if event.event == "llm.stream.first_token"]
    assert event.data["elapsed_ms"] == 1500.0


def test_a_broken_contract_is_raised_at_the_end_of_the_stream() -> None:
    router, _, _ = router_for(config_for({"a": [Pieces('{"a"', ": 1}", END), Pieces("nope", END)]}))
    stream = router.stream("r", "hi", json_mode=True)
    list(stream)
    assert stream.response.parsed == {"a": 1}
    with pytest.raises(LLMRouterError, match="contract"):
        list(router.stream("r", "hi", json_mode=True))


def test_cancelling_the_reading_task_closes_the_stream() -> None:
    """At the first wait and in the middle; traced, and re-raised unchanged."""

    async def main(pieces: int) -> Memory:
        router, memory, _ = router_for(config_for({"a": [Pieces(*"abc", END)]}))
        stream = router.stream_async("r", "hi")

        async def read() -> None:
            async for _ in stream:
                await asyncio.sleep(0)

        task = asyncio.create_task(read())
        for _ in range(pieces):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await stream.aclose()
        return memory

    for steps in range(2, 9):
        records = asyncio.run(main(steps)).records
        assert [record.outcome for record in records] == ["cancelled"], steps
