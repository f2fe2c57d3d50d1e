"""Pains that users of other routers report, and that must not exist here: one test each."""

from __future__ import annotations

import asyncio
import gc
import inspect
import subprocess
import sys
import traceback
import tracemalloc
from dataclasses import fields
from typing import Any

import pytest

from helpers.servers import Server, answering, completion, http, json_answer
from helpers.support import Memory, Pieces, config_for, provider_of, router_for
from lee_llm_router import (
    AuthenticationError,
    LeeLLMRouter,
    LLMConfig,
    LLMRouterError,
    OverloadedError,
    ProviderChoice,
    ProviderError,
    RateLimitError,
    RoutingContext,
    UnavailableError,
)
from lee_llm_router.errors import FailureType


def _http_router(url: str, **role: Any) -> tuple[LeeLLMRouter, Memory]:
    memory = Memory()
    config = {
        "llm": {
            "providers": {"p": {"type": "http", "base_url": url, "api_key_env": "PAINS_KEY"}},
            "roles": {"r": {"provider": "p", "model": "m", **role}},
        }
    }
    return LeeLLMRouter(config, trace_store=memory, random=lambda: 0.0), memory


def test_no_network_at_import_nor_when_a_router_is_built() -> None:
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from lee_llm_router import LeeLLMRouter\n"
        "LeeLLMRouter({'llm': {'providers': {'o': {'type': 'openai_http'}, 'c': {'type': 'codex_cli'}},"
        " 'roles': {'r': {'provider': 'o', 'fallback_providers': ['c']}}}}).resolve('r')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("ignore:no such role")
def test_memory_does_not_grow_over_calls(caplog: pytest.LogCaptureFixture) -> None:
    """Good ones and failing ones, with ever new names of roles, ids and metadata."""
    plays: dict[str, list[Any]] = {"a": [*[ProviderError("x")] * 3, "ok"], "b": ["ok"]}
    router, _, clock = router_for(config_for(plays, {"retry": {"attempts": 1}}), trace_store=False, event_sink=())

    # What pytest keeps of the log is not ours.
    caplog.set_level("CRITICAL", "lee_llm_router")

    def calls(count: int) -> None:
        for index in range(count):
            router.complete(f"role {index % 200}", "hi", metadata={"index": index}, model=f"m{index % 20}")
            clock.advance(1)
            provider_of(router, "a").calls.clear()
            provider_of(router, "b").calls.clear()
            clock.sleeps.clear()
            for name in "ab":
                provider_of(router, name).timeouts.clear()

    calls(300)
    gc.collect()
    tracemalloc.start()
    calls(200)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    calls(1000)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 200_000


def test_callbacks_of_one_router_never_fire_for_another() -> None:
    """Two routers over one configuration, at once."""
    config = config_for({"a": ["ok"]})
    told: dict[str, int] = {"first": 0, "second": 0}

    def hook(name: str) -> Any:
        def tell(*_: Any) -> None:
            told[name] += 1

        return tell

    first, _, _ = router_for(config, on_token_usage=hook("first"))
    second, _, _ = router_for(config, on_token_usage=hook("second"))
    first.complete("r", "hi")
    first.complete("r", "hi")
    second.complete("r", "hi")
    assert told == {"first": 2, "second": 1}


def test_retries_are_not_multiplied_by_anything_below(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three attempts are three requests on the wire."""
    monkeypatch.setenv("PAINS_KEY", "k" * 20)
    with Server(answering(*[http(500, b"{}")] * 20)) as server:
        router, memory = _http_router(server.url, retry={"attempts": 3})
        with router, pytest.raises(ProviderError):
            router.complete("r", "hi")
    assert len(server.requests) == len(memory.records) == 3


def test_a_fallback_does_not_start_the_retry_cycle_anew_without_bound() -> None:
    """Ten targets, all failing: six attempts in all by default."""
    router, memory, _ = router_for(config_for({name: [ProviderError("x")] for name in "abcdefghij"}))
    with pytest.raises(ProviderError):
        router.complete("r", "hi")
    assert len(memory.records) == 6


def test_a_single_target_rests_during_an_outage() -> None:
    """A hundred impatient calls in a second of outage cost a handful of attempts."""
    role = {"retry": {"attempts": 1, "patience": 0}}
    router, _, clock = router_for(config_for({"a": [ProviderError("down")]}, role))
    for _ in range(100):
        with pytest.raises(LLMRouterError):
            router.complete("r", "hi")
        clock.advance(0.005)
    assert len(provider_of(router, "a").calls) == 5


def test_retry_after_is_neither_ignored_nor_rounded_nor_capped() -> None:
    for seconds in (0.037, 61.5, 500.25):
        router, _, clock = router_for(config_for({"a": [RateLimitError("x", retry_after=seconds), "ok"]}))
        assert router.complete("r", "hi").text == "ok"
        assert clock.sleeps == [seconds]


def test_a_retry_after_of_an_earlier_attempt_is_not_used_for_a_later_one() -> None:
    """The second failure says nothing: a backoff of our own follows, not the first one's 30 seconds again."""
    first, second = OverloadedError("x", retry_after=30.0), OverloadedError("x")
    router, memory, clock = router_for(config_for({"a": [first, second, "ok"]}))
    router.complete("r", "hi")
    assert clock.sleeps == [30.0, 0.5]
    assert [record.retry_after for record in memory.records] == [30.0, None, None]


def test_no_sleep_after_the_last_attempt() -> None:
    router, memory, clock = router_for(config_for({"a": [ProviderError("x")]}))
    with pytest.raises(ProviderError):
        router.complete("r", "hi")
    assert len(memory.records) == 3 and len(clock.sleeps) == 2


def test_no_client_is_tied_to_a_closed_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same router, used in one loop, in none, and in another."""
    monkeypatch.setenv("PAINS_KEY", "k" * 20)
    with Server(answering(*[json_answer(completion("hello"))] * 20)) as server:
        router, _ = _http_router(server.url)

        async def call() -> str:
            return (await router.complete_async("r", "hi")).text

        with router:
            assert [asyncio.run(call()), router.complete("r", "hi").text, asyncio.run(call())] == ["hello"] * 3


def test_streams_fall_back_like_calls() -> None:
    plays: dict[str, list[Any]] = {"a": [AuthenticationError("no")], "b": [Pieces(ProviderError("x"))], "c": ["from c"]}
    router, memory, _ = router_for(config_for(plays, {"retry": {"attempts": 1}}))
    assert "".join(chunk.text for chunk in router.stream("r", "hi")) == "from c"
    assert [record.provider for record in memory.records] == ["a", "b", "c"]


def test_every_field_of_a_choice_is_read() -> None:
    """Each field of `ProviderChoice` changes what happens."""
    choices = {
        "provider_name": ProviderChoice("b"),
        "request_overrides": ProviderChoice("a", {"temperature": 0.9}),
        "provider_overrides": ProviderChoice("a", provider_overrides={"outcomes": ["varied"]}),
        "fallbacks": ProviderChoice("a", fallbacks=["c"]),
        "reason": ProviderChoice("a", reason="it is the nearest"),
        "order": ProviderChoice("a", order=(0, 2)),
    }
    assert set(choices) == {field.name for field in fields(ProviderChoice)}

    def what_happens(choice: ProviderChoice) -> Any:
        class Fixed:
            def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
                return choice

        no = AuthenticationError("no")
        router, memory, _ = router_for(config_for({"a": [no], "b": ["b"], "c": ["c"]}), policy=Fixed())
        text = router.complete("r", "hi").text
        asked = provider_of(router, "a").calls
        records = [(record.provider, record.reason) for record in memory.records]
        return text, records, [request.temperature for request in asked]

    plain = what_happens(ProviderChoice("a"))
    assert all(what_happens(choice) != plain for choice in choices.values())
    assert set(inspect.signature(RoutingContext).parameters) == {
        "request", "metadata", "health", "targets", "price_of",
    }  # fmt: skip


def test_the_cause_is_not_lost_behind_no_provider_available() -> None:
    """When all targets are shut, the error still says why each of them is."""
    limited = RateLimitError("slow down", retry_after=900.0)
    config = config_for(
        {"a": [ProviderError("cable cut")], "b": [limited]}, {"retry": {"attempts": 1, "patience": 0}, "deadline": 60}
    )
    router, _, _ = router_for(config)
    for _ in range(5):
        with pytest.raises(LLMRouterError):
            router.complete("r", "hi")
    with pytest.raises(UnavailableError) as caught:
        router.complete("r", "hi")
    assert "circuit breaker" in str(caught.value) and "the vendor asked to wait" in str(caught.value)
    health = router.health()
    assert (health["a", "m"].last_failure, health["b", "m"].last_failure) == ("PROVIDER_ERROR", "RATE_LIMIT")


def test_no_attempt_is_blamed_on_the_wrong_target() -> None:
    """Concurrent calls over targets that share one error object."""
    shared = AuthenticationError("no")
    router, memory, _ = router_for(config_for({"a": [shared], "b": [shared], "c": ["ok"]}))

    async def main() -> None:
        await asyncio.gather(*(router.complete_async("r", "hi") for _ in range(50)))

    asyncio.run(main())
    blamed = {(record.attempt, record.provider, record.failure_type) for record in memory.records}
    assert blamed == {(0, "a", "AUTH"), (1, "b", "AUTH"), (2, "c", None)}
    assert shared.failure_type is FailureType.AUTH and shared.provider is None and shared.attempts == ()


def test_a_callers_lists_and_mappings_are_left_alone() -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    options: dict[str, Any] = {
        "extra_body": {"a": {"b": 1}}, "headers": {"X-A": "b"}, "metadata": {"n": [1]}, "stop": ["x"],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }  # fmt: skip
    before = repr((messages, options))
    router, _, _ = router_for(
        config_for({"a": [ProviderError("x"), "ok"]}),
        compression=lambda given: given.clear() or [{"role": "user", "content": "x"}],
    )
    router.complete("r", messages, **options)
    assert repr((messages, options)) == before


def test_no_key_in_errors_reprs_tracebacks_and_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key travels in a header, and nowhere else."""
    key = "plain-and-unlike-a-key-0123"
    monkeypatch.setenv("PAINS_KEY", key)
    with Server(answering(http(401, f'{{"error": {{"message": "bad key {key}"}}}}'.encode()))) as server:
        router, memory = _http_router(server.url)
        with router, pytest.raises(AuthenticationError) as caught:
            router.complete("r", "hi")
    (request,) = server.requests
    assert key in request.headers["authorization"] and key not in request.line and key.encode() not in request.body
    shown = [repr(router), repr(router.config), repr(memory.records), "".join(traceback.format_exception(caught.value))]
    assert not [text for text in shown if key in text]
