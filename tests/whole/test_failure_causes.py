"""What follows from the cause that a vendor names in words: through the router, over both transports, in every way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from helpers.servers import Server, answering, completion, json_answer
from helpers.stream_servers import DONE, event, streaming
from helpers.support import FakeClock, Memory
from helpers.transports import TRANSPORTS
from lee_llm_router import LeeLLMRouter, LLMRouterError, load_config


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _sync(router: LeeLLMRouter) -> str:
    return router.complete("r", "hi").text


def _async(router: LeeLLMRouter) -> str:
    async def main() -> str:
        async with router:
            return (await router.complete_async("r", "hi")).text

    return asyncio.run(main())


def _stream(router: LeeLLMRouter) -> str:
    with router.stream("r", "hi") as stream:
        return "".join(chunk.text for chunk in stream)


WAYS: Mapping[str, Callable[[LeeLLMRouter], str]] = {"sync": _sync, "async": _async, "stream": _stream}


def _router(
    transport: str, chain: list[tuple[str, str, str]], memory: Memory, clock: FakeClock | None = None, **role: Any
) -> LeeLLMRouter:
    """Return a router over a chain of (provider, model, address)."""
    providers = {name: {"type": "http", "base_url": url, "transport": transport} for name, _, url in chain}
    targets = [{"provider": name, "model": model} for name, model, _ in chain]
    settings = {**targets[0], "fallback_providers": targets[1:], "timeout": 5, "deadline": 20, **role}
    config = load_config({"llm": {"providers": providers, "roles": {"r": settings}, "trace": {"enabled": False}}})
    options: dict[str, Any] = {} if clock is None else {"clock": clock}
    return LeeLLMRouter(config, trace_store=memory, random=lambda: 0.0, **options)


def _good(way: str) -> Any:
    if way != "stream":
        return answering(json_answer(completion("yes")))
    said = {"choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": "stop"}]}
    return streaming(event(said), DONE)


def _refusing(status: int, message: str, **fields: Any) -> Any:
    headers = fields.pop("headers", None)
    return answering(json_answer({"error": {"message": message, **fields}}, status, headers))


CAUSES: list[tuple[int, str, str]] = [
    (400, "Your remaining balance is too low", "QUOTA"),
    (429, "Your credits are exhausted", "QUOTA"),
    (400, "The model `x` has been retired", "MODEL_NOT_FOUND"),
    (400, "The access token has expired", "AUTH"),
    (400, "The messages exceed the maximum of 4000 tokens", "CONTEXT_LENGTH"),
    (422, "The conversation is too long", "CONTEXT_LENGTH"),
    (400, "This service is not available in your region", "AUTH"),
    (500, "Insufficient funds in the account", "QUOTA"),
    (400, "nobody knows what is wrong", "INVALID_REQUEST"),
    (422, "temperature must be below 1", "INVALID_REQUEST"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("status", "message", "kind"), CAUSES)
def test_what_one_vendor_cannot_serve_another_does(
    transport: str, way: str, status: int, message: str, kind: str
) -> None:
    """After one request, whatever the status; a cause that stays unknown too goes to another vendor."""
    memory = Memory()
    with Server(_refusing(status, message)) as bad, Server(_good(way)) as good:
        with _router(transport, [("a", "m", bad.url), ("b", "m", good.url)], memory) as router:
            assert WAYS[way](router) == "yes"
        assert (len(bad.requests), len(good.requests)) == (1, 1)
    assert [(r.provider, r.failure_type) for r in memory.records] == [("a", kind), ("b", None)]


@pytest.mark.parametrize(("status", "code"), [(400, "content_blocked"), (403, "permission-denied"), (500, None)])
def test_a_refused_prompt_goes_to_another_vendor_only_if_the_role_says_so(
    transport: str, status: int, code: str | None
) -> None:
    refusing = _refusing(status, "The prompt violates our usage guidelines", code=code)
    with Server(refusing) as bad, Server(_good("sync")) as good:
        chain = [("a", "m", bad.url), ("b", "m", good.url)]
        with _router(transport, chain, Memory()) as router, pytest.raises(LLMRouterError) as caught:
            router.complete("r", "hi")
        assert (caught.value.failure_type, len(good.requests)) == ("CONTENT_FILTER", 0)
        with _router(transport, chain, Memory(), fallback_on=["CONTENT_FILTER"]) as router:
            assert router.complete("r", "hi").text == "yes"


@pytest.mark.parametrize("way", WAYS)
def test_what_the_model_wrote_wrongly_is_asked_for_again(transport: str, way: str) -> None:
    """At the same target, and the error that ends a call carries what was written."""
    slip = _refusing(400, "Failed to call a function.", code="tool_use_failed", failed_generation="<f>{")
    memory = Memory()
    with Server(slip) as server:
        router = _router(transport, [("a", "m", server.url)], memory, retry={"attempts": 3, "backoff": 0.01})
        with router, pytest.raises(LLMRouterError) as caught:
            WAYS[way](router)
        assert len(server.requests) == 3
    assert (caught.value.failure_type, caught.value.status_code) == ("INVALID_RESPONSE", 400)
    assert caught.value.response is not None and caught.value.response.text == "<f>{"


DEAD: list[tuple[int, str, bool]] = [
    (401, "who are you", True),
    (403, "no permission", True),
    (402, "pay first", True),
    (400, "API key is invalid", True),
    (429, "insufficient balance", True),
    (404, "not here", False),
    (400, "Unknown model", False),
]


@pytest.mark.parametrize(("status", "message", "is_provider"), DEAD)
def test_a_target_that_cannot_serve_is_left_alone(transport: str, status: int, message: str, is_provider: bool) -> None:
    """Twelve calls with two models of a dead provider ahead of a good one: one request in all if its key or account is
    at fault, one for each model otherwise."""
    with Server(_refusing(status, message)) as dead, Server(_good("sync")) as good:
        chain = [("a", "m1", dead.url), ("a", "m2", dead.url), ("b", "m", good.url)]
        with _router(transport, chain, Memory()) as router:
            assert [router.complete("r", "hi").text for _ in range(12)] == ["yes"] * 12
            health = router.health()
        assert (len(dead.requests), len(good.requests)) == (1 if is_provider else 2, 12)
        assert not health["a", "m1"].available and "is resting after" in str(health["a", "m1"].reason)


WAITS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("in a detail", {"details": [{"@type": "type.example.com/google.rpc.RetryInfo", "retryDelay": "40s"}]}, {}),
    ("in words", {"note": 1}, {}),
    ("in headers within", {"metadata": {"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "40"}}}, {}),
    ("of a spent limit", {}, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "40s"}),
    ("twice", {}, {"Retry-After": "40, 40"}),
]


@pytest.mark.parametrize(("name", "fields", "headers"), WAITS)
def test_a_wait_named_anywhere_keeps_every_call_away(
    transport: str, name: str, fields: dict[str, Any], headers: dict[str, str]
) -> None:
    message = "Too many requests. Retry in 40s." if name == "in words" else "Too many requests."
    memory = Memory()
    with Server(_refusing(429, message, headers=headers, **fields)) as busy, Server(_good("sync")) as good:
        with _router(transport, [("a", "m", busy.url), ("b", "m", good.url)], memory) as router:
            assert [router.complete("r", "hi").text for _ in range(5)] == ["yes"] * 5
            assert 30 < router.health()["a", "m"].retry_after <= 40
        assert len(busy.requests) == 1
    assert memory.records[0].retry_after == pytest.approx(40)


def test_an_answer_that_asks_to_wait_for_nothing_each_time_is_not_hammered(transport: str) -> None:
    """The second wait and those after it are the router's own, and are paid from its retry budget."""
    clock = FakeClock()
    with Server(_refusing(429, "later", headers={"Retry-After": "0"})) as busy:
        retry = {"attempts": 30, "max_attempts": 30}
        with _router(transport, [("a", "m", busy.url)], Memory(), clock, retry=retry, deadline=600) as router:
            with pytest.raises(LLMRouterError):
                router.complete("r", "hi")
            budget = router.health()["a", "m"].retry_budget
        assert len(busy.requests) == 30
    assert clock.sleeps[:4] == [0.25, 0.5, 1.0, 2.0] and min(clock.sleeps[4:]) == 4.0
    assert budget == 100 - 28
