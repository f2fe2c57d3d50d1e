"""The router for tests of applications: real routing, scripted providers, no network, no real time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lee_llm_router import (
    AuthenticationError,
    ConfigError,
    LLMRequest,
    LLMResponse,
    LLMRouterError,
    ProviderChoice,
    ProviderError,
    RateLimitError,
    StreamChunk,
    UnavailableError,
    load_config,
)
from lee_llm_router.testing import After, FakeClock, Outcome, Pieces, ScriptedRouter, UnscriptedCallError

CONFIG = {
    "llm": {
        "providers": {"one": {"type": "http", "base_url": "http://127.0.0.1:1"}, "two": {"type": "codex_cli"}},
        "roles": {"r": {"provider": "one", "model": "m", "timeout": 10, "fallback_providers": ["two"]}},
    }
}


def test_a_run_is_repeatable_to_the_last_field() -> None:
    """Times, waits and records are the same each time, except for request ids."""

    def run() -> tuple[list[str], list[float], list[Any]]:
        router = ScriptedRouter(CONFIG, answers={"one": [ProviderError("x"), "yes"], "two": []})
        router.complete("r", "hi")
        fields = [(r.started_at, r.elapsed_ms, r.wait_ms, r.error) for r in router.recorder.records]
        return router.recorder.trail(), router.clock.sleeps, fields

    assert run() == run()
    assert run()[:2] == (["one/m PROVIDER_ERROR retry", "one/m ok return"], [0.25])


def test_the_applications_own_configuration_is_what_is_tested(tmp_path: Path) -> None:
    """Chain, models, settings and capabilities are those of the file; only the providers' answers are scripted."""
    router = ScriptedRouter(load_config(CONFIG), answers={"one": AuthenticationError("no"), "two": ["b", "never"]})
    assert router.complete("r", "hi").provider == "two"
    assert [request.model for request in router.requests("one")] == ["m"]
    assert router.unused() == {"two": ["never"]}
    with pytest.raises(LLMRouterError, match=r"expired|no"):
        router.complete("r", "hi", tools=[{"type": "function", "function": {"name": "f"}}])
    assert "skipped" in [record.outcome for record in router.recorder.records], "codex_cli takes no tools"
    with pytest.raises(ValueError, match="answers for thre, but the providers are one, two"):
        ScriptedRouter(CONFIG, answers={"thre": "x"})


def test_asking_for_more_than_is_scripted_fails_the_test_and_no_fallback_hides_it() -> None:
    router = ScriptedRouter(CONFIG, answers={"one": ["only one"], "two": "always"})
    router.complete("r", "hi")
    with pytest.raises(UnscriptedCallError, match="'one' was asked"):
        router.complete("r", "hi")

    async def more() -> None:
        await router.complete_async("r", "hi")

    with pytest.raises(UnscriptedCallError):
        asyncio.run(more())


def test_every_kind_of_outcome() -> None:
    """Texts, whole answers, exceptions, functions of the request and slow outcomes; sync, async and streamed."""

    def echo(request: LLMRequest) -> str:
        return str(request.messages[-1]["content"])[::-1]

    whole = LLMResponse(text="whole", finish_reason="length")
    answers: list[Outcome] = [echo, whole, After(3, "slow"), Pieces("a", StreamChunk(text="b", finish_reason="length"))]
    router = ScriptedRouter(CONFIG, answers={"one": answers, "two": []})
    assert router.complete("r", "abc").text == "cba"
    assert router.complete("r", "x").finish_reason == "length"
    assert router.complete("r", "x").text == "slow" and router.clock.monotonic() == 3
    joined = router.complete("r", "x")
    assert (joined.text, joined.finish_reason) == ("ab", "length")

    router = ScriptedRouter(CONFIG, answers={"one": After(60, "late"), "two": ["in time"]})
    assert router.complete("r", "x").text == "in time"
    assert router.clock.monotonic() == 10, "the role's timeout, on the clock"

    router = ScriptedRouter(answers={"r": ["one two  three", RateLimitError("no"), whole, Pieces("half", whole=False)]})
    assert [chunk.text for chunk in router.stream("r", "x")] == ["one ", "two  ", "three", ""]

    async def stream() -> list[str]:
        return [chunk.text async for chunk in router.stream_async("r", "x")]

    assert asyncio.run(stream()) == ["whole"]
    with pytest.raises(LLMRouterError, match="finish reason"):
        router.complete("r", "x", deadline=0.01)


def test_the_steps_of_the_mock_provider_are_the_one_script_language() -> None:
    """A mapping means the same as in a file: tools, failures, chunks, repetitions. Usage counts words."""
    steps: list[Outcome] = [
        {"error": "OVERLOADED", "status_code": 503, "times": 2},
        {"tool_calls": [{"name": "look", "arguments": {"at": "moon"}}]},
        {"chunks": ["Hel", "lo"], "delay": 2},
        "three words here",
    ]
    router = ScriptedRouter(answers={"r": steps})
    assert router.complete("r", "x").tool_calls[0].name == "look"
    assert [record.status_code for record in router.recorder.records] == [503, 503, None]
    assert [chunk.text for chunk in router.stream("r", "x")] == ["Hel", "lo", ""]
    usage = router.complete("r", "two words").usage
    assert usage and (usage.prompt_tokens, usage.completion_tokens) == (2, 3)


@pytest.mark.parametrize("wrong", [7, None, RateLimitError, After(1, 7), {"txt": "x"}, {"error": "NO_SUCH"}])  # type: ignore[arg-type]
def test_what_cannot_be_played_is_reported_before_the_test(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"cannot play|MockStep"):
        ScriptedRouter(answers={"r": [wrong]})


def test_a_function_that_gives_nothing_to_play_fails_the_test() -> None:
    router = ScriptedRouter(CONFIG, answers={"one": lambda request: 7, "two": "fallback"})  # type: ignore[dict-item, return-value]
    with pytest.raises(UnscriptedCallError, match="'one' cannot play 7"):
        router.complete("r", "x")


def test_async_functions_are_awaited_and_can_be_cancelled() -> None:
    """Like a real call, it can be cancelled while it runs; a sync call says why it cannot play one."""

    async def hang(request: LLMRequest) -> str:
        await asyncio.Event().wait()
        return "never"

    async def quick(request: LLMRequest) -> Pieces:
        await asyncio.sleep(0)
        return Pieces("a", "b")

    answers: list[Callable[[LLMRequest], Awaitable[Any]]] = [hang, quick, quick, quick]
    router = ScriptedRouter(answers={"r": answers})

    async def main() -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await router.complete_async("r", "x")
        async with router.stream_async("r", "x") as stream:
            text = "".join([chunk.text async for chunk in stream])
        return text + (await router.complete_async("r", "x")).text

    assert asyncio.run(main()) == "abab"
    assert [record.outcome for record in router.recorder.records] == ["cancelled", "ok", "ok"]
    with pytest.raises(UnscriptedCallError, match="async function"):
        router.complete("r", "x")


def test_an_agent_of_the_configuration_is_not_repeated_by_a_test_either() -> None:
    """Effects and settings are those of the configured provider; wrong overrides are found."""
    config = {
        "llm": {
            "providers": {"agent": {"type": "codex_cli", "agent": True}, "other": {"type": "mock"}},
            "roles": {"r": {"provider": "agent", "model": "m", "fallback_providers": ["other"]}},
        }
    }
    router = ScriptedRouter(config, answers={"agent": ProviderError("crashed"), "other": []})
    with pytest.raises(ProviderError):
        router.complete("r", "x")
    assert router.recorder.trail() == ["agent/m PROVIDER_ERROR raise"]

    class Wrong:
        def choose(self, role: str, config: Any) -> Any:
            return ProviderChoice("agent", provider_overrides={"agnt": True}, fallbacks=[])

    with pytest.raises(UnavailableError, match="agnt"):
        ScriptedRouter(config, policy=Wrong(), answers={}).complete("r", "x")


QUEUED = {
    "llm": {
        "providers": {"a": {"type": "mock", "max_concurrency": 1}},
        "roles": {"a": {"provider": "a", "model": "m", "deadline": 60}},
    }
}


def test_threads_queue_and_wait_as_on_a_real_clock() -> None:
    """Time does not advance past a call that only waits for another one to end."""
    router = ScriptedRouter(QUEUED, answers={"a": [After(1, str(n)) for n in range(40)]})
    with ThreadPoolExecutor(8) as pool:
        texts = {call.result().text for call in [pool.submit(router.complete, "a", "x") for _ in range(40)]}
    assert len(texts) == 40
    assert router.clock.monotonic() == 40, "one at a time, a second each"


def test_waits_at_once_pass_at_once() -> None:
    """Concurrent backoffs take as long as one; the shortest wait ends first."""
    answers: dict[str, Any] = {"a": [*[RateLimitError("x", retry_after=20)] * 10, *["yes"] * 10]}
    config = {"llm": {"providers": {"a": {"type": "mock"}}, "roles": {"a": {"provider": "a", "deadline": 60}}}}

    async def main(router: ScriptedRouter) -> list[LLMResponse]:
        return await asyncio.gather(*[router.complete_async("a", "x") for _ in range(10)])

    router = ScriptedRouter(config, answers={"a": [*[ProviderError("x")] * 4, *["yes"] * 10]})
    assert len(asyncio.run(main(router))) == 10
    assert router.clock.monotonic() == 0.25

    router = ScriptedRouter(config, answers=answers)
    assert len(asyncio.run(main(router))) == 10
    assert 20 <= router.clock.monotonic() < 60, "behind the gate one first, then faster and faster"

    ended: list[int] = []
    clock = FakeClock()

    async def sleeper(seconds: int) -> None:
        await clock.sleep_async(seconds)
        ended.append(seconds)

    async def sleepers() -> None:
        await asyncio.gather(*map(sleeper, (30, 10, 20)))

    asyncio.run(sleepers())
    assert (ended, clock.now) == ([10, 20, 30], 30)


def test_a_half_read_stream_blocks_no_other_call() -> None:
    router = ScriptedRouter(answers={"r": ["one two", ProviderError("x"), "three"]})
    with router.stream("r", "x") as stream:
        assert next(stream).text == "one "
        assert router.complete("r", "x").text == "three"
        assert [chunk.text for chunk in stream] == ["two", ""]
    assert router.clock.sleeps == [0.25]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_wait_ends_although_a_running_call_never_does(kind: str) -> None:
    """As with a function that calls the router again: the clock moves on in the end, so no test hangs."""

    def nested(request: LLMRequest) -> str:
        return router.complete("inner", "x").text

    router = ScriptedRouter(answers={"outer": nested, "inner": [ProviderError("x"), "yes"]})

    async def main() -> LLMResponse:
        return await router.complete_async("outer", "x")

    assert (router.complete("outer", "x") if kind == "sync" else asyncio.run(main())).text == "yes"
    assert router.clock.sleeps == [0.25]


def test_nothing_is_sent_and_no_key_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With roles of real providers, their keys unset and the network failing."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = {"llm": {"providers": {"p": {"type": "openai_http"}}, "roles": {"r": {"provider": "p", "model": "m"}}}}
    router = ScriptedRouter(config, answers={"p": "yes"})
    assert router.complete("r", "x").text == "yes"
    assert "".join(chunk.text for chunk in router.stream("r", "x")) == "yes"
    with pytest.raises(ConfigError):
        ScriptedRouter({"llm": {"providers": {}}}, answers={})
