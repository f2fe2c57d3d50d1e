"""The `http` provider: its settings, what it puts on the wire, and whole calls against servers on loopback."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import threading
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import respx

from helpers.child_support import descriptors
from helpers.servers import Conversation, Script, Server, answering, completion, http, json_answer, once
from helpers.support import EPOCH, FakeClock
from lee_llm_router.config import load_config
from lee_llm_router.errors import (
    AuthenticationError,
    FailureType,
    InvalidRequestError,
    LLMRouterError,
    ProviderError,
)
from lee_llm_router.providers.http import OpenAIChatConfig, OpenAIChatProvider
from lee_llm_router.response import LLMRequest, LLMResponse
from lee_llm_router.router import LeeLLMRouter

Ask = Callable[..., LLMResponse]
KEY = "k-0123-secret-4567"
MESSAGES = ({"role": "user", "content": "hi"},)
OK = json_answer(completion())


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)


def _provider(base_url: str = "http://127.0.0.1:1/v1", **settings: Any) -> OpenAIChatProvider:
    return OpenAIChatProvider("p", OpenAIChatConfig(type="http", base_url=base_url, **settings), FakeClock())


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Asks a provider with these settings once."""

    def call(base_url: str, timeout: float = 5.0, fields: dict[str, Any] | None = None, **settings: Any) -> LLMResponse:
        provider = _provider(base_url, **{"api_key_env": "TEST_KEY", **settings})
        wanted = LLMRequest(**{"messages": MESSAGES, "model": "m", **(fields or {})})
        if request.param == "sync":
            try:
                return provider.complete(wanted, timeout)
            finally:
                provider.close()

        async def main() -> LLMResponse:
            try:
                return await provider.complete_async(wanted, timeout)
            finally:
                await provider.aclose()

        return asyncio.run(main())

    return call


def _sent(ask: Ask, **options: Any) -> Any:
    with Server(answering(OK)) as server:
        ask(server.url, **options)
    return server.requests[0]


# What goes out


def test_a_request_carries_the_key_and_the_json(ask: Ask) -> None:
    sent = _sent(ask, fields={"temperature": 0.5})
    assert sent.line == "POST /v1/chat/completions HTTP/1.1"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["content-length"] == str(len(sent.body))
    assert sent.json == {"model": "m", "messages": list(MESSAGES), "temperature": 0.5}


def test_an_answer_comes_back_with_what_was_sent_counted(ask: Ask) -> None:
    with Server(answering(OK)) as server:
        response = ask(server.url)
    assert (response.text, response.model, response.finish_reason) == ("hello", "served-1", "stop")
    assert response.request_bytes == len(server.requests[0].body)


def test_local_servers_need_no_key(ask: Ask) -> None:
    assert "authorization" not in _sent(ask, api_key_env=None).headers


@pytest.mark.feature("openai_chat", "extra_body")
@pytest.mark.feature("openai_chat", "headers")
def test_settings_fill_headers_and_body(ask: Ask) -> None:
    sent = _sent(
        ask, headers={"X-Title": "demo"}, organization="org-1", project="proj-1", model="own",
        extra_body={"top_k": 4, "a": 1, "seed": 3},
        fields={"model": None, "seed": 1, "extra_body": {"a": 2}, "headers": {"X-Trace": "t"}},
    )  # fmt: skip
    assert {name: sent.headers[name] for name in ("x-title", "x-trace", "openai-organization", "openai-project")} == {
        "x-title": "demo", "x-trace": "t", "openai-organization": "org-1", "openai-project": "proj-1",
    }  # fmt: skip
    assert sent.json == {"model": "own", "messages": list(MESSAGES), "top_k": 4, "a": 2, "seed": 3}


def test_each_request_says_what_it_was_given_and_extra_fields_win() -> None:
    """However often a provider is asked; `extra_body` may put even other messages in place of the request's."""
    asked = [({"role": "user", "content": text},) for text in ("one", "zwei ü", "three")]
    always = [{"role": "user", "content": "always"}]
    with Server(answering(OK)) as server:
        for settings in ({}, {"extra_body": {"messages": always}}):
            provider = _provider(server.url, **settings)
            for messages in asked:
                provider.complete(LLMRequest(messages=messages), 5.0)
                provider.stream(LLMRequest(messages=messages), 5.0).close()
            provider.close()
    sent = [request.json["messages"] for request in server.requests]
    assert sent == [list(messages) for messages in asked for _ in range(2)] + [always] * 6
    assert [request.json.get("stream") for request in server.requests] == [None, True] * 6


def test_headers_replace_our_own_whatever_their_case(ask: Ask) -> None:
    """Settings go before defaults, the request before settings; none is sent twice."""
    sent = _sent(
        ask, headers={"USER-AGENT": "mine", "authorization": "Token t"}, fields={"headers": {"User-agent": "yours"}}
    )
    assert sent.headers["user-agent"] == "yours"
    assert sent.headers["authorization"] == "Token t"


@pytest.mark.parametrize(
    ("base_url", "setting", "field"),
    [
        ("https://api.openai.com/v1", None, "max_completion_tokens"),
        ("https://openrouter.ai/api/v1", None, "max_tokens"),
        ("https://api.openai.com/v1", "max_tokens", "max_tokens"),
        ("http://127.0.0.1/v1", "max_completion_tokens", "max_completion_tokens"),
    ],
)
def test_the_bound_on_tokens_goes_by_the_name_the_server_knows(
    base_url: str, setting: Any, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with respx.mock as mock:
        route = mock.post(f"{base_url}/chat/completions").respond(json=completion())
        provider = _provider(base_url, max_tokens_field=setting, transport="httpx")
        provider.complete(LLMRequest(messages=MESSAGES, max_tokens=5), 5)
        provider.close()
    assert json.loads(route.calls.last.request.content)[field] == 5


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"X-A": "a\r\nX-B: b"}},
        {"headers": {"X-A\r\n": "a"}},
        {"headers": {"": "a"}},
        {"headers": {"X-A": "é"}},
        {"headers": {"X-A": 5}},
        {"headers": {"Content-Length": "3"}},
        {"headers": {"host": "elsewhere.test"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"temperature": float("nan")},
        {"extra_body": {"a": object()}},
        {"extra_body": {"stream": True}},
        {"messages": ({"role": "user", "content": "\ud800"},)},
    ],
)
def test_a_request_that_cannot_be_sent_is_refused_before_anything_is(ask: Ask, fields: dict[str, Any]) -> None:
    with Server(answering(OK)) as server, pytest.raises(InvalidRequestError) as caught:
        ask(server.url, fields=fields)
    assert not caught.value.sent
    assert server.connections == 0


@pytest.mark.parametrize("value", ["", "  ", "k\u00e9y", "a\nb"])
def test_a_missing_or_broken_key_is_found_before_anything_is_sent(
    ask: Ask, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", value)
    with Server(answering(OK)) as server, pytest.raises(AuthenticationError, match="TEST_KEY") as caught:
        ask(server.url)
    assert not caught.value.sent
    assert server.connections == 0


def test_the_key_is_read_at_each_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is renewed while the program runs is used from the next attempt on."""
    with Server(answering(OK)) as server:
        provider = _provider(server.url, api_key_env="TEST_KEY")
        for key in ("first-key", " second-key\n"):
            monkeypatch.setenv("TEST_KEY", key)
            provider.complete(LLMRequest(messages=MESSAGES), 5)
            assert list(provider.secrets()) == [key.strip()]
        provider.close()
    assert [sent.headers["authorization"] for sent in server.requests] == ["Bearer first-key", "Bearer second-key"]


# What comes back


def _late(conversation: Conversation) -> None:
    conversation.trickle(OK, 0.05)


BAD_SERVERS: dict[str, tuple[Script, FailureType]] = {
    "HTML with 200": (once(http(200, b"<html><title>Login</title>")), FailureType.INVALID_RESPONSE),
    "choices []": (once(json_answer({"choices": []})), FailureType.INVALID_RESPONSE),
    "content null": (once(json_answer(completion(None))), FailureType.INVALID_RESPONSE),
    "1 GB": (once(http(200, b"{", {"Content-Length": str(10**9)})), FailureType.INVALID_RESPONSE),
    "no content": (once(http(204)), FailureType.INVALID_RESPONSE),
    "a redirect": (once(http(307, b"", {"Location": "http://127.0.0.1:1/"})), FailureType.INVALID_RESPONSE),
    "length too short": (once(http(200, OK[-200:], {"Content-Length": "50"})), FailureType.INVALID_RESPONSE),
    "closes at once": (lambda _: None, FailureType.PROVIDER_ERROR),
    "never answers": (once(Conversation.stall), FailureType.TIMEOUT),
    "one byte at a time": (once(_late), FailureType.TIMEOUT),
    "a rate limit": (once(json_answer({}, 429, {"Retry-After": "1.5"})), FailureType.RATE_LIMIT),
    "overload": (once(json_answer({}, 529)), FailureType.OVERLOADED),
    "a breakdown": (once(http(500, b"<html>oops")), FailureType.PROVIDER_ERROR),
}


@pytest.mark.parametrize("kind", BAD_SERVERS)
def test_a_bad_server_is_one_typed_error(ask: Ask, kind: str) -> None:
    script, expected = BAD_SERVERS[kind]
    with Server(script) as server, pytest.raises(LLMRouterError) as caught:
        ask(server.url, timeout=0.25 if expected is FailureType.TIMEOUT else 5)
    assert caught.value.failure_type is expected, repr(caught.value)
    assert caught.value.retry_after == (1.5 if kind == "a rate limit" else None)
    assert caught.value.final is (kind in {"no content", "a redirect", "1 GB"})


def test_a_long_answer_is_bounded_by_a_setting(ask: Ask) -> None:
    with Server(answering(json_answer(completion("x" * 5000)))) as server:
        assert len(ask(server.url, max_response_bytes=10_000).text) == 5000
        with pytest.raises(LLMRouterError, match="longer than 2000 bytes") as caught:
            ask(server.url, max_response_bytes=2000)
    assert caught.value.final


def test_a_redirect_does_not_take_the_key_along(ask: Ask) -> None:
    with Server(answering(OK)) as elsewhere:
        location = {"Location": f"{elsewhere.url}/chat/completions"}
        with Server(once(http(302, b"", location))) as server, pytest.raises(LLMRouterError, match="redirects"):
            ask(server.url)
        assert elsewhere.connections == 0


def test_dates_are_held_against_the_routers_clock(ask: Ask) -> None:
    """Where the server sends no Date of its own."""
    later = formatdate(EPOCH + 1000 + 40, usegmt=True)
    with Server(once(json_answer({}, 503, {"Retry-After": later}))) as server, pytest.raises(LLMRouterError) as caught:
        ask(server.url)
    assert caught.value.retry_after == 40


def test_a_server_that_echoes_secrets_does_not_get_them_into_an_error(ask: Ask) -> None:
    """The key, and what sensitive headers hold, from the settings and from the request."""
    secrets = {"X-Api-Key": "settings-secret", "Cookie": "request-secret"}

    def echo(conversation: Conversation) -> None:
        received = conversation.receive()
        assert received is not None
        conversation.send(json_answer({"error": {"message": json.dumps(dict(received.headers))}}, 400))

    with Server(echo) as server, pytest.raises(LLMRouterError) as caught:
        ask(
            server.url,
            headers={"X-Api-Key": secrets["X-Api-Key"]},
            fields={"headers": {"Cookie": secrets["Cookie"]}},
        )
    assert "***" in caught.value.message
    for secret in (KEY, *secrets.values()):
        assert secret not in f"{caught.value} {caught.value!r}"


def test_no_secret_shows_in_settings_provider_or_logs(caplog: pytest.LogCaptureFixture, ask: Ask) -> None:
    """Not in a repr, and not in what the HTTP libraries log at their most talkative."""
    caplog.set_level(logging.DEBUG)
    headers = {"X-Api-Key": "settings-secret"}
    with Server(answering(OK)) as server:
        ask(server.url, headers=headers)
    provider = _provider(server.url, api_key_env="TEST_KEY", headers=headers)
    shown = f"{provider!r} {provider.config!r} {provider.config} {provider.config.model_dump_json()} {caplog.text}"
    assert KEY not in shown
    assert "settings-secret" not in shown
    assert set(provider.secrets()) == {KEY, "settings-secret"}


def test_one_provider_serves_threads_and_loops_at_once() -> None:
    """16 threads with sync calls, 8 with an event loop each, on one provider and few connections."""
    wanted = LLMRequest(messages=MESSAGES)
    texts: list[str] = []

    with Server(answering(OK)) as server:
        provider = _provider(server.url)

        def sync_calls() -> None:
            texts.extend(provider.complete(wanted, 10).text for _ in range(4))

        def async_calls() -> None:
            async def main() -> None:
                answers = await asyncio.gather(*(provider.complete_async(wanted, 10) for _ in range(4)))
                texts.extend(answer.text for answer in answers)

            asyncio.run(main())

        threads = [threading.Thread(target=target) for target in [sync_calls] * 16 + [async_calls] * 8]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        provider.close()
    assert texts == ["hello"] * 96


def test_a_transport_that_cannot_be_made_fails_the_call_and_not_the_building(ask: Ask, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(ProviderError, match="ca_file") as caught:
        ask("https://127.0.0.1:1/v1", ca_file=missing)
    assert caught.value.final


def test_closing_a_provider_that_was_never_asked_is_nothing() -> None:
    """No descriptor is opened for it, and it can be closed again."""
    before = descriptors()
    closing = _provider()
    closing.close()
    closing.close()
    assert descriptors() == before


def test_a_slash_at_the_end_of_the_address_makes_no_difference(ask: Ask) -> None:
    with Server(answering(OK)) as server:
        ask(server.url + "/")
    assert server.requests[0].line == "POST /v1/chat/completions HTTP/1.1"


# Through the router


@pytest.mark.parametrize("alias", ["http", "openai_http", "openrouter_http"])
def test_a_file_with_an_http_provider_answers(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The type and its aliases, end to end: a chain whose first target is a dead port."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    with Server(answering(OK)) as server:
        config = load_config(
            {
                "llm": {
                    "providers": {
                        "dead": {"type": "http", "base_url": "http://127.0.0.1:1/v1"},
                        "live": {"type": alias, "base_url": server.url},
                    },
                    "roles": {
                        "r": {
                            "provider": "dead",
                            "model": "m",
                            "retry": {"attempts": 1},
                            "fallback_providers": ["live"],
                        }
                    },
                    "trace": {"enabled": False},
                }
            }
        )
        with LeeLLMRouter(config) as router:
            response = router.complete("r", "hi")
            assert (response.text, response.provider) == ("hello", "live")
    assert server.requests[0].headers.get("authorization") == (None if alias == "http" else f"Bearer {KEY}")


def test_a_request_changed_on_its_way_goes_out_changed() -> None:
    """A provider may wrap this one and change what is asked, for each call anew."""

    class Warmer(OpenAIChatProvider):
        temperature = 0.0

        def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
            self.temperature += 0.5
            return super().complete(dataclasses.replace(request, temperature=self.temperature), timeout)

    with Server(answering(OK)) as server:
        provider = Warmer("p", OpenAIChatConfig(type="http", base_url=server.url), FakeClock())
        for _ in range(2):
            provider.complete(LLMRequest(messages=MESSAGES), 5.0)
        provider.close()
    assert [json.loads(request.body)["temperature"] for request in server.requests] == [0.5, 1.0]
