"""The engine keeps its promises under any script of outcomes, streamed or not, sync and async (hypothesis)."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.drawn_examples import examples
from helpers.support import END, FakeClock, Memory, Pieces, Took, config_for, router_for
from lee_llm_router import LeeLLMRouter, LLMResponse, LLMRouterError, StreamChunk
from lee_llm_router.errors import FailureType, error_for

TYPES = [kind for kind in FailureType if kind is not FailureType.CANCELLED]


@st.composite
def failures(draw: st.DrawFn) -> Exception:
    """Any failure a provider may raise, typed or foreign."""
    if draw(st.booleans()):
        return draw(st.sampled_from([ValueError("odd"), TimeoutError(), ConnectionResetError("gone")]))
    wait = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 3.0, 60.0, 1e9]))
    return error_for(
        draw(st.sampled_from(TYPES)),
        "drawn",
        retry_after=draw(wait),
        final=draw(st.booleans()),
        sent=draw(st.booleans()),
    )


def _slowly(outcomes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(outcomes, st.builds(Took, st.sampled_from([0.1, 2.0, 50.0]), outcomes))


pieces = _slowly(st.one_of(st.sampled_from(["x", "yz", StreamChunk(), END]), failures()))
streams = st.lists(pieces, max_size=4).map(lambda items: Pieces(*items))
outcomes = _slowly(st.one_of(st.sampled_from(["ok", '{"n": 1}', 42, None]), failures()))


@st.composite
def calls(draw: st.DrawFn, outcomes: st.SearchStrategy[Any]) -> dict[str, Any]:
    """A chain of one to four targets that do anything, and a role with any bounds."""
    names = "abcd"[: draw(st.integers(1, 4))]
    number = st.sampled_from([0.3, 1.0, 7.0, 40.0])
    return {
        "plays": {name: draw(st.lists(outcomes, min_size=1, max_size=4)) for name in names},
        "providers": {
            name: {"does": draw(st.sampled_from(["none", "none", "workspace"])), "tools": draw(st.booleans())}
            for name in names
        },
        "role": {
            "deadline": draw(number),
            "timeout": draw(number),
            "retry": {
                "attempts": draw(st.integers(1, 4)),
                "max_attempts": draw(st.integers(1, 7)),
                "patience": draw(st.sampled_from([0, 0, 3.0])),
            },
            "fallback_on": draw(st.sets(st.sampled_from(["INVALID_REQUEST", "CONTENT_FILTER"]))),
            "retry_effects": draw(st.booleans()),
            "contract": {"repair": draw(st.integers(0, 2)), "on_failure": draw(st.sampled_from(["next", "raise"]))},
            "stream": {"idle_timeout": draw(number), "on_break": draw(st.sampled_from(["raise", "restart"]))},
        },
        "call": draw(st.sampled_from([{}, {"json_mode": True}, {"tools": [{"type": "function"}]}])),
    }


def _make(call: dict[str, Any], repeat: int, run: Any) -> tuple[list[Any], Memory, FakeClock, LeeLLMRouter]:
    """`repeat` calls on one router, so that later ones meet what earlier ones left behind."""
    router, memory, clock = router_for(config_for(call["plays"], call["role"], call["providers"]))
    ends: list[Any] = []
    for _ in range(repeat):
        began, before = clock.now, len(memory.records)
        try:
            end = run(router, call["call"])
        except LLMRouterError as error:
            end = error
        ends.append(end)
        _check_call(call, end, memory.records[before:], clock.now - began)
        _check_left_nothing(router)
    assert len(clock.sleeps) < 1000
    return ends, memory, clock, router


def _check_call(call: dict[str, Any], end: Any, records: list[Any], took: float) -> None:
    role = call["role"]
    made = [record for record in records if record.attempt is not None]
    # With patience, probes and tries that sent nothing cost no attempts; the pauses between them bound their number.
    free = 8 * (took + 1) if role["retry"]["patience"] else 0
    assert len(made) <= role["retry"]["max_attempts"] + free
    for name in call["plays"]:
        at_target = [record for record in made if record.provider == name]
        repairs = sum(r.failure_type == "CONTRACT_VIOLATION" and r.verdict == "retry" for r in at_target)
        assert repairs <= role["contract"]["repair"]
        assert len(at_target) - repairs <= role["retry"]["attempts"] + free
    assert [record.attempt for record in made] == list(range(len(made)))
    assert took <= role["deadline"] + 1e-6
    if isinstance(end, LLMRouterError):
        assert list(end.attempts) == records
        assert records[-1].verdict == "raise"
        if made and records[-1] is made[-1]:
            assert made[-1].wait_ms == 0, "no wait after the last attempt"
    else:
        assert isinstance(end, LLMResponse) and end.provider in call["plays"]
        assert records[-1].outcome == "ok" and records[-1].verdict == "return"
    assert sum(record.outcome == "ok" for record in records) == (not isinstance(end, LLMRouterError))


def _check_left_nothing(router: LeeLLMRouter) -> None:
    """No permit kept, nobody queued."""
    for health in router.health().values():
        assert (health.in_flight, health.waiting) == (0, 0)


def _trail(memory: Memory) -> list[Any]:
    return [(r.provider, r.attempt, r.failure_type, r.verdict, r.wait_ms, r.elapsed_ms) for r in memory.records]


def _complete(router: LeeLLMRouter, options: Any) -> LLMResponse:
    return router.complete("r", "hi", **options)


def _complete_async(router: LeeLLMRouter, options: Any) -> LLMResponse:
    return asyncio.run(router.complete_async("r", "hi", **options))


def _stream(router: LeeLLMRouter, options: Any) -> LLMResponse:
    stream = router.stream("r", "hi", **options)
    text = ""
    for chunk in stream:
        text = "" if chunk.restart else text + chunk.text
    assert stream.response.text == text, "nothing spliced, nothing lost"
    return stream.response


def _stream_async(router: LeeLLMRouter, options: Any) -> LLMResponse:
    async def read() -> LLMResponse:
        stream = router.stream_async("r", "hi", **options)
        text = ""
        async for chunk in stream:
            text = "" if chunk.restart else text + chunk.text
        assert stream.response.text == text
        return stream.response

    return asyncio.run(read())


@settings(max_examples=examples(150), deadline=None)
@given(calls(outcomes), st.integers(1, 4))
def test_a_call_is_bounded_traced_and_ends_in_one_way(call: dict[str, Any], repeat: int) -> None:
    """Bounded attempts, bounded time, a record an attempt, an answer or a typed error, nothing kept; in both ways."""
    ends, memory, clock, _ = _make(call, repeat, _complete)
    ends_async, memory_async, clock_async, _ = _make(call, repeat, _complete_async)
    assert [type(end) for end in ends] == [type(end) for end in ends_async]
    assert _trail(memory) == _trail(memory_async)
    assert clock.sleeps == clock_async.sleeps


@settings(max_examples=examples(150), deadline=None)
@given(calls(st.one_of(streams, outcomes)), st.integers(1, 3))
def test_a_stream_is_bounded_traced_and_ends_in_one_way(call: dict[str, Any], repeat: int) -> None:
    """The same for streams, whatever breaks at whichever piece; every stream that was opened is closed."""
    ends, memory, _, router = _make(call, repeat, _stream)
    ends_async, memory_async, _, _ = _make(call, repeat, _stream_async)
    assert [type(end) for end in ends] == [type(end) for end in ends_async]
    assert _trail(memory) == _trail(memory_async)
    for name in call["plays"]:
        provider: Any = router._parts.pool.open(name, {})
        opened = sum(isinstance(_outcome(provider, i), Pieces) for i in range(len(provider.calls)))
        assert provider.streams_closed == opened


def _outcome(provider: Any, index: int) -> Any:
    outcomes = provider.config.outcomes
    outcome = outcomes[min(index, len(outcomes) - 1)]
    late = isinstance(outcome, Took) and outcome.seconds > provider.timeouts[index]
    return None if late else outcome.outcome if isinstance(outcome, Took) else outcome
