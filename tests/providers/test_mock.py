"""The mock provider: every path of the router, offline and repeatable."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from helpers.support import FakeClock, Memory, router_for
from lee_llm_router.config import load_config
from lee_llm_router.errors import ConfigError, FailureType, LLMRouterError, LLMTimeoutError
from lee_llm_router.providers import registry
from lee_llm_router.providers.mock import MockConfig, MockProvider
from lee_llm_router.response import LLMRequest, LLMResponse, LLMUsage, StreamChunk, ToolCall
from lee_llm_router.router import LeeLLMRouter

Ask = Callable[..., LLMResponse]


def build(**settings: Any) -> tuple[MockProvider, FakeClock]:
    clock = FakeClock()
    return MockProvider("offline", MockConfig.model_validate(settings), clock), clock


def request(*texts: str, **fields: Any) -> LLMRequest:
    return LLMRequest(messages=tuple({"role": "user", "content": text} for text in texts or ("hi",)), **fields)


def ask_sync(provider: MockProvider, asked: LLMRequest | None = None, timeout: float = 60.0) -> LLMResponse:
    return provider.complete(asked or request(), timeout)


def ask_async(provider: MockProvider, asked: LLMRequest | None = None, timeout: float = 60.0) -> LLMResponse:
    return asyncio.run(provider.complete_async(asked or request(), timeout))


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param  # type: ignore[no-any-return]


def outcomes(ask: Ask, provider: MockProvider, times: int) -> list[str]:
    """Return the result of each of `times` attempts: the text of an answer or the type of a failure."""
    said = []
    for _ in range(times):
        try:
            said.append(ask(provider).text)
        except LLMRouterError as error:
            said.append(error.failure_type.value)
    return said


def test_it_is_the_built_in_type_mock() -> None:
    """The registry knows it. It keeps the timeout itself, and takes tools and content parts."""
    assert registry.get("mock") is MockProvider
    assert MockProvider.capabilities.bounded
    assert MockProvider.capabilities.tools
    assert MockProvider.capabilities.content_parts
    assert build()[0].effects == "none"


def test_a_fixed_text_with_usage_counted_in_words(ask: Ask) -> None:
    """The answer is the same each time, tokens are words, and the model is the requested one."""
    provider, clock = build(response_text="four words of text")
    answer = ask(provider, request("two words", "and three more", model="m"))
    assert answer.text == "four words of text"
    assert answer.usage == LLMUsage(prompt_tokens=5, completion_tokens=4, total_tokens=9)
    assert answer.finish_reason == "stop"
    assert answer.model == "m"
    assert ask(provider).model == "mock"
    assert clock.sleeps == []
    assert ask(build()[0]).text == ask(build()[0]).text != ""


def test_echo_repeats_the_last_user_message(ask: Ask) -> None:
    """Parts are joined, other roles are not repeated, and without a user message the answer is empty."""
    provider, _ = build(echo=True)
    parts = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    messages = ({"role": "user", "content": "first"}, parts, {"role": "assistant", "content": "no"})
    assert ask(provider, LLMRequest(messages=messages)).text == "a\nb"
    assert ask(provider, LLMRequest(messages=messages[2:])).text == ""


def test_a_script_is_played_in_order_and_its_last_outcome_for_ever(ask: Ask) -> None:
    """`times` repeats a step; a step without a text gives the usual answer."""
    script = [{"error": "RATE_LIMIT", "times": 2}, {"text": ""}, {"echo": True}, {"times": 1}]
    provider, _ = build(response_text="usual", script=script)
    assert outcomes(ask, provider, 7) == ["RATE_LIMIT", "RATE_LIMIT", "", "hi", "usual", "usual", "usual"]


def test_a_script_may_loop(ask: Ask) -> None:
    """With `loop` it starts again after its last outcome."""
    provider, _ = build(script=[{"text": "a", "times": 2}, {"error": "TIMEOUT"}], loop=True)
    assert outcomes(ask, provider, 7) == ["a", "a", "TIMEOUT", "a", "a", "TIMEOUT", "a"]


@pytest.mark.parametrize("kind", FailureType)
def test_every_failure_can_be_played_with_its_details(ask: Ask, kind: FailureType) -> None:
    """The error has the class of its type and carries the details of the script."""
    details = {"message": "slow down", "status_code": 429, "retry_after": 1.5, "final": True}
    provider, _ = build(script=[{"error": kind.value, **details}, {"error": kind.value}])
    with pytest.raises(LLMRouterError, match="slow down") as caught:
        ask(provider, request(model="m"))
    error = caught.value
    assert error.failure_type is kind
    assert (error.status_code, error.retry_after, error.final) == (429, 1.5, True)
    assert (error.provider, error.model) == ("offline", "m")
    with pytest.raises(LLMRouterError, match=f"scripted {kind.value}"):
        ask(provider)


def test_tool_calls(ask: Ask) -> None:
    """Arguments are JSON text, or exactly the script's text. Ids are numbered. Words of arguments count as usage."""
    calls = [
        {"name": "weather", "arguments": {"city": "Oslo"}},
        {"name": "x", "id": "me", "arguments": "{broken"},
        {"name": "y"},
    ]
    provider, _ = build(script=[{"tool_calls": calls}, {"tool_calls": calls[2:], "text": "so", "finish_reason": "odd"}])
    answer = ask(provider)
    assert answer.tool_calls == (
        ToolCall(id="call_1", name="weather", arguments='{"city": "Oslo"}'),
        ToolCall(id="me", name="x", arguments="{broken"),
        ToolCall(id="call_3", name="y", arguments="{}"),
    )
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4
    assert (ask(provider).text, ask(provider).finish_reason) == ("so", "odd")


def test_a_delay_is_slept_on_the_clock(ask: Ask) -> None:
    """No real time passes in a test with a fake clock."""
    provider, clock = build(script=[{"text": "late", "delay": 2.5}])
    assert ask(provider, timeout=2.5).text == "late"
    assert clock.sleeps == [2.5]


def test_a_delay_past_the_timeout_is_a_timeout_at_the_timeout(ask: Ask) -> None:
    """An attempt never takes longer than its timeout, not even one that fails."""
    provider, clock = build(script=[{"error": "AUTH", "delay": 3600}])
    with pytest.raises(LLMTimeoutError, match=r"no answer within 0\.5 s"):
        ask(provider, timeout=0.5)
    assert clock.sleeps == [0.5]


# Streams


def pull_sync(provider: MockProvider, asked: LLMRequest | None = None, timeout: float = 60.0) -> list[StreamChunk]:
    """Return all chunks of a stream."""
    stream = provider.stream(asked or request(), timeout)
    return list(iter(lambda: stream.pull(timeout), None))


def pull_async(provider: MockProvider, asked: LLMRequest | None = None, timeout: float = 60.0) -> list[StreamChunk]:
    async def main() -> list[StreamChunk]:
        stream = await provider.stream_async(asked or request(), timeout)
        pieces = []
        while (piece := await stream.pull_async(timeout)) is not None:
            pieces.append(piece)
        return pieces

    return asyncio.run(main())


@pytest.fixture(params=[pull_sync, pull_async], ids=["sync", "async"])
def pull(request: pytest.FixtureRequest) -> Callable[..., list[StreamChunk]]:
    return request.param  # type: ignore[no-any-return]


def router_of(**settings: Any) -> tuple[LeeLLMRouter, Memory, FakeClock]:
    roles = {"r": {"provider": "m", "retry": {"attempts": 1}}}
    config = {"providers": {"m": {"type": "mock", **settings}}, "roles": roles, "trace": {"enabled": False}}
    return router_for(load_config({"llm": config}))


def test_an_answer_is_streamed_word_by_word_or_in_the_pieces_of_the_script(
    pull: Callable[..., list[StreamChunk]],
) -> None:
    """The last chunk holds the finish reason and the usage."""
    provider, _ = build(
        response_text="the  usual\nanswer ",
        script=[{}, {"text": " a"}, {"echo": True}, {"chunks": ["Hel", "", "lo"]}, {"text": ""}],
    )
    said = [[piece.text for piece in pull(provider)] for _ in range(5)]
    assert said == [["the  ", "usual\n", "answer ", ""], [" ", "a", ""], ["hi", ""], ["Hel", "", "lo", ""], [""]]
    (last,) = pull(provider)
    assert (last.finish_reason, last.usage) == ("stop", LLMUsage(prompt_tokens=1, completion_tokens=0, total_tokens=1))


def test_a_streamed_answer_equals_the_unstreamed_one() -> None:
    """Text, tool calls, usage and model are equal, through the router."""
    step = {"chunks": ["so ", "it is"], "tool_calls": [{"name": "f", "arguments": {"a": 1}}, {"name": "g"}]}
    router, _, _ = router_of(script=[step])
    stream = router.stream("r", "hi")
    list(stream)
    assert replace(stream.response, request_id="") == replace(router.complete("r", "hi"), request_id="")
    assert stream.response.text == "so it is"


@pytest.mark.parametrize(("after", "text"), [(0, ""), (1, "one "), (2, "one two"), (9, "one two")])
def test_a_stream_may_fail_in_the_middle(after: int, text: str) -> None:
    """The error holds what was received. When not streamed, it is an ordinary failure."""
    step = {"text": "one two", "error": "PROVIDER_ERROR", "status_code": 502, "fail_after": after}
    router, memory, _ = router_of(script=[step])
    with pytest.raises(LLMRouterError) as caught:
        list(router.stream("r", "hi"))
    assert (caught.value.response.text if caught.value.response else "") == text
    assert (caught.value.failure_type, caught.value.status_code) == (FailureType.PROVIDER_ERROR, 502)
    assert memory.records[0].response_chars == (len(text) or None)
    with pytest.raises(LLMRouterError, match="PROVIDER_ERROR"):
        router.complete("r", "hi")


def test_a_failure_without_fail_after_comes_before_any_piece(pull: Callable[..., list[StreamChunk]]) -> None:
    provider, clock = build(script=[{"error": "AUTH", "delay": 2}, {"text": "late", "delay": 3600}])
    with pytest.raises(LLMRouterError, match="scripted AUTH"):
        pull(provider)
    with pytest.raises(LLMTimeoutError, match="no answer within 5 s"):
        pull(provider, timeout=5)
    assert clock.sleeps == [2, 5]


def test_a_pause_comes_between_pieces(pull: Callable[..., list[StreamChunk]]) -> None:
    """It passes on the clock. A pause longer than the time allowed is a timeout after that time."""
    provider, clock = build(script=[{"text": "a b", "pause": 1.5}, {"text": "a b", "pause": 7}])
    assert [piece.text for piece in pull(provider)] == ["a ", "b", ""]
    assert clock.sleeps == [1.5] * 3
    with pytest.raises(LLMTimeoutError, match="did not continue within 5 s"):
        pull(provider, timeout=5)
    assert clock.sleeps == [1.5] * 3 + [5]


def test_threads_share_one_script() -> None:
    """Each step is played once, whichever thread asks."""
    provider, _ = build(script=[{"text": str(n)} for n in range(400)])
    said: list[str] = []

    def work() -> None:
        said.extend(provider.complete(request(), 60).text for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said, key=int) == [str(n) for n in range(400)]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("script: []", r"script.*must not be empty"),
        ("script: [{error: TIMEOT}]", r"script\[0\]\.error: one of .*TIMEOUT.*did you mean 'TIMEOUT'"),
        ("script: [{text: a, error: AUTH}]", r"script\[0\].*text makes no sense with error"),
        ("script: [{message: a}]", r"script\[0\].*message makes no sense without error"),
        ("script: [{text: a, echo: true}]", r"script\[0\].*echo and text exclude each other"),
        ("script: [{text: a, chunks: [a]}]", r"script\[0\].*text and chunks exclude each other"),
        ("script: [{chunks: [a], error: AUTH}]", r"script\[0\].*chunks makes no sense with error"),
        ("script: [{fail_after: 1}]", r"script\[0\].*fail_after makes no sense without error"),
        ("script: [{error: AUTH, fail_after: -1}]", r"script\[0\]\.fail_after"),
        ("script: [{delay: -1}]", r"script\[0\]\.delay"),
        ("script: [{times: 0}]", r"script\[0\]\.times"),
        ("script: [{txt: a}]", r"script\[0\]\.txt.*did you mean 'text'"),
        ("script: [{tool_calls: [{arguments: {}}]}]", r"script\[0\]\.tool_calls\[0\].*name"),
        ("echo: true, response_text: a", r"echo and response_text exclude each other"),
        ("loop: true", r"loop needs a script"),
    ],
)
def test_a_wrong_script_is_a_finding(settings: str, problem: str) -> None:
    """The mistake is reported with its position when the file is loaded."""
    with pytest.raises(ConfigError, match=problem) as caught:
        load_config(f"llm:\n  providers:\n    m: {{type: mock, {settings}}}\n  roles: {{r: {{provider: m}}}}\n")
    assert len(caught.value.findings) == 1
    assert caught.value.findings[0].split(":")[1] == "3"


def test_a_whole_call_offline_with_retry_fallback_and_json() -> None:
    """A rate limit, two server errors, then a JSON answer that is parsed; every attempt is traced."""
    config = load_config(
        """
llm:
  providers:
    busy: {type: mock, script: [{error: RATE_LIMIT, status_code: 429}]}
    shaky: {type: mock, script: [{error: PROVIDER_ERROR, times: 2}, {text: '{"ok": true}'}]}
  roles:
    r: {provider: busy, fallback_providers: [shaky], json_mode: true}
  trace: {enabled: false}
"""
    )
    memory = Memory()
    with LeeLLMRouter(config, trace_store=memory, clock=FakeClock(), random=lambda: 0.5) as router:
        answer = router.complete("r", "anything")
    assert answer.parsed == {"ok": True}
    assert [(r.provider, r.failure_type or r.outcome) for r in memory.records] == [
        ("busy", "RATE_LIMIT"), ("shaky", "PROVIDER_ERROR"), ("shaky", "PROVIDER_ERROR"), ("shaky", "ok"),
    ]  # fmt: skip


def test_the_settings_are_in_the_json_schema() -> None:
    """So editors can complete a script."""
    schema = json.dumps(MockConfig.model_json_schema())
    assert all(f'"{word}"' in schema for word in ("script", "retry_after", "tool_calls", "RATE_LIMIT"))


def test_it_imports_nothing_heavy() -> None:
    """It loads no HTTP library and no YAML parser, so a dry run starts quickly."""
    code = "import lee_llm_router.providers.mock, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"httpx", "httpcore", "anyio", "yaml", "typer"} & set(loaded)
