"""Query parameters of an address: sent with every request, and never shown where they are secrets."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from helpers.servers import Server, answering, completion, json_answer
from helpers.transports import TRANSPORTS
from lee_llm_router import ConfigError, LeeLLMRouter, load_config
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http import OpenAIChatConfig, OpenAIChatProvider
from lee_llm_router.response import LLMRequest

OK = json_answer(completion())
REQUEST = LLMRequest(messages=({"role": "user", "content": "hi"},), model="m")


def _provider(url: str, **settings: Any) -> OpenAIChatProvider:
    return OpenAIChatProvider("p", OpenAIChatConfig(**{"type": "http", "base_url": url, **settings}))


SENT: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("?api-version=2024-10-21", {}, {"api-version": "2024-10-21"}),
    ("/?api-version=2024-10-21", {}, {"api-version": "2024-10-21"}),
    ("", {"api-version": "preview"}, {"api-version": "preview"}),
    ("?api-version=1&b=two%20words", {}, {"api-version": "1", "b": "two words"}),
    ("?a=1", {"b": "2"}, {"a": "1", "b": "2"}),
    ("?a=1", {"a": "2"}, {"a": "2"}),
    ("", {"version": 3, "ratio": 0.5}, {"version": "3", "ratio": "0.5"}),
    ("", {"$filter": "a&b=c d/ü?#+%"}, {"$filter": "a&b=c d/ü?#+%"}),
    ("?flag", {}, {"flag": ""}),
    ("?", {}, {}),
]


@pytest.mark.parametrize(("text", "query", "expected"), SENT)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_query_parameters_go_with_every_request(
    text: str, query: dict[str, Any], expected: dict[str, str], transport: str
) -> None:
    """Behind the path that the dialect adds, whole and streamed, sync and async."""
    with Server(answering(OK)) as server:
        with closing(_provider(server.url + text, query=query, transport=transport)) as provider:
            provider.complete(REQUEST, 5)
            asyncio.run(provider.complete_async(REQUEST, 5))
            provider.stream(REQUEST, 5)
        targets = [urlsplit(request.line.split()[1]) for request in server.requests]
    assert [target.path for target in targets] == ["/v1/chat/completions"] * 3
    assert [dict(parse_qsl(target.query, keep_blank_values=True)) for target in targets] == [expected] * 3


def test_a_path_with_a_query_of_its_own_keeps_it() -> None:
    class Dialect(type(OpenAIChatProvider.dialect)):  # type: ignore[misc]
        def path(self, *_: Any, **__: Any) -> str:
            return "/v2:stream?alt=sse"

    with Server(answering(OK)) as server, closing(_provider(f"{server.url}?v=1")) as provider:
        provider.dialect = Dialect()  # type: ignore[misc]
        provider.complete(REQUEST, 5)
        assert server.requests[0].line.split()[1] == "/v1/v2:stream?alt=sse&v=1"


SECRET_NAMES = [
    "key",
    "api-key",
    "apiKey",
    "access_token",
    "accessToken",
    "sig",
    "code",
    "subscription-key",
    "X-Amz-Signature",
]
KEY = "q-77 secret/value"


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("place", ["query", "base_url"])
def test_a_secret_in_a_query_is_masked_wherever_it_is_shown(name: str, place: str) -> None:
    """Settings, errors (also as it stands in the URL), headers of the answer, and traces."""
    quoted = KEY.replace(" ", "%20").replace("/", "%2F")
    echo = json_answer({"error": {"message": f"no such key: {KEY}, in /v1?{name}={quoted}"}}, 401, {"X-Echo": quoted})
    with Server(answering(echo)) as server:
        url = server.url + (f"?{name}={quoted}" if place == "base_url" else "")
        config = OpenAIChatConfig(
            type="http", base_url=url, query={name: KEY, "v": "1"} if place == "query" else {"v": "1"}
        )
        with closing(OpenAIChatProvider("p", config)) as provider:
            with pytest.raises(LLMRouterError) as caught:
                provider.complete(REQUEST, 5)
            assert KEY in provider.secrets() and quoted in provider.secrets()
    shown = f"{config!r} {config} {config.model_dump_json()} {caught.value!r} {dict(caught.value.headers)}"
    assert KEY not in shown and quoted not in shown
    assert "'v': '1'" in repr(config)
    assert caught.value.headers["x-echo"] == "***"


def _file(provider: str) -> str:
    return f"llm: {{providers: {{p: {provider}}}, roles: {{r: {{provider: p, model: m}}}}}}\n"


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_is_never_written_in_the_file(name: str) -> None:
    for settings in (
        f'{{type: http, base_url: "https://model.test/v1", query: {{{name}: k-12345}}}}',
        f'{{type: http, base_url: "https://model.test/v1?{name}=k-12345"}}',
    ):
        with pytest.raises(ConfigError, match="NAME") as caught:
            load_config(_file(settings))
        assert "k-12345" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        '{type: http, base_url: "https://model.test/v1", query: {api-key: "${QUERY_KEY}", v: "1"}}',
        '{type: http, base_url: "https://model.test/v1?api-key=${QUERY_KEY}&v=1"}',
        '{type: http, base_url: "https://model.test/v1?plain=${QUERY_KEY}&v=1"}',
        '{type: http, base_url: "https://model.test/v1", query: {plain: "x-${QUERY_KEY}"}}',
    ],
)
def test_one_from_the_environment_is_sent_and_masked(settings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERY_KEY", "k-9/8")
    config = load_config(_file(settings))
    (provider_config,) = config.providers.values()
    assert isinstance(provider_config, OpenAIChatConfig)
    assert any("k-9/8" in value for value in provider_config.query.values())
    assert "k-9/8" not in f"{config!r} {config.model_dump_json()}"
    with LeeLLMRouter(config, trace_store=False) as router:
        provider = OpenAIChatProvider("p", provider_config)
        assert {"k-9/8"} <= set(provider.secrets()) or {"x-k-9/8"} <= set(provider.secrets())
        provider.close()
        assert "k-9" not in repr(router.resolve("r"))


def test_overrides_replace_it() -> None:
    config = OpenAIChatConfig(type="http", base_url="https://model.test/v1?a=1", query={"b": "2"})
    assert config.query == {"a": "1", "b": "2"}
    assert config.changed({"query": {"c": "3"}}).query == {"c": "3"}
    assert config.changed({"base_url": "https://other.test/v1?a=9"}).query == {"a": "9", "b": "2"}
    assert config.changed({"model": "x"}).query == config.query
