"""What all providers share, where it is rare: wrappers of several keys, late calls to a pool, odd settings."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from helpers.support import FakeClock, ScriptedConfig, ScriptedProvider
from lee_llm_router import LLMRequest, RouterClosedError, UnavailableError, WrapperProvider
from lee_llm_router.config import load_config
from lee_llm_router.errors import AuthenticationError, InvalidRequestError, LLMTimeoutError
from lee_llm_router.providers.base import read_key
from lee_llm_router.providers.embeddings import EmbeddingRequest, EmbeddingResponse
from lee_llm_router.providers.http.dialects.anthropic.provider import AnthropicProvider
from lee_llm_router.providers.http.dialects.anthropic.settings import AnthropicConfig
from lee_llm_router.providers.http.dialects.openai.provider import OpenAIChatProvider
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig
from lee_llm_router.providers.http.query import query_of
from lee_llm_router.providers.http.refused_turns import RefusedTurns
from lee_llm_router.providers.json_schema import adapter_of, is_strict, schema_problem, strict_schema
from lee_llm_router.providers.mock import MockConfig, MockProvider
from lee_llm_router.providers.pool import ProviderPool
from lee_llm_router.providers.vendors import hint_for_address, vendors
from lee_llm_router.response.details import NATIVE_FIELD

ASKED = LLMRequest(messages=({"role": "user", "content": "hi"},))
TEXTS = EmbeddingRequest(inputs=("a", "b"))


def _provider(**settings: Any) -> ScriptedProvider:
    return ScriptedProvider("p", ScriptedConfig(type="scripted", **settings), FakeClock())


class Threaded(ScriptedProvider):
    """Gives embeddings, and knows asyncio only by threads."""

    def embed(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        return EmbeddingResponse(vectors=tuple((float(len(text)),) for text in request.inputs))

    def refused_before(self, request: LLMRequest) -> dict[str, str]:
        return {"seed": "refused"}


def test_a_wrapper_of_one_key_wraps_what_uses_that_key() -> None:
    """The original goes on with its own."""
    wrapper = WrapperProvider(_provider(secret="one"))
    other = wrapper.with_settings(ScriptedConfig(type="scripted", secret="two"))
    assert [list(one.secrets()) for one in (wrapper, other)] == [["one"], ["two"]]
    assert type(other) is WrapperProvider and other.config is other.inner.config


def test_a_wrapper_passes_on_embeddings_of_threads_and_what_was_refused_before() -> None:
    wrapper = WrapperProvider(Threaded("p", ScriptedConfig(type="scripted"), FakeClock()))
    assert asyncio.run(wrapper.embed_async(TEXTS, 1.0)).vectors == wrapper.embed(TEXTS, 1.0).vectors == ((1.0,), (1.0,))
    assert wrapper.refused_before(ASKED) == {"seed": "refused"}


def test_a_provider_without_embeddings_says_so() -> None:
    with pytest.raises(UnavailableError, match="has no embeddings"):
        _provider().embed(TEXTS, 1.0)


def test_a_key_is_read_from_the_environment_or_missed_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "value")
    monkeypatch.delenv("NO_KEY", raising=False)
    assert read_key("SOME_KEY", "p") == "value"
    with pytest.raises(AuthenticationError, match="NO_KEY"):
        read_key("NO_KEY", "p")


def _pool(**settings: Any) -> ProviderPool:
    section = {"type": "http", "base_url": "http://127.0.0.1:1/v1", "api_key_env": ["KEY_A", "KEY_B"], **settings}
    config = load_config({"llm": {"providers": {"p": section}, "roles": {"r": {"provider": "p", "model": "m"}}}})
    return ProviderPool(config.providers, FakeClock())


@pytest.fixture
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEY_A", "KEY_B"):
        monkeypatch.setenv(name, f"sk-{name}-0123456789")


@pytest.mark.usefixtures("_keys")
def test_a_policys_settings_and_a_key_of_several_are_used_together_and_given_back() -> None:
    pool = _pool()
    overrides = {"max_response_bytes": 5000}
    made = [pool.open("p", overrides, key) for key in ("KEY_A", "KEY_B")]
    assert made[0] is not made[1] and pool.open("p", overrides, "KEY_A") is made[0]
    for key in ("KEY_A", "KEY_A", "KEY_B", "KEY_B"):
        pool.release("p", overrides, key)
    pool.release("p", {}, "KEY_A")
    pool.release("p", {"max_response_bytes": 6000})
    assert pool.open("p", {}, "KEY_A") is pool.open("p", {}, "KEY_A")
    pool.close()


@pytest.mark.usefixtures("_keys")
@pytest.mark.parametrize("how", [({}, None), ({}, "KEY_A"), ({"max_response_bytes": 5000}, None)])
def test_a_pool_that_is_closed_builds_nothing_that_nobody_would_close(how: Any) -> None:
    pool = _pool()
    pool.close()
    with pytest.raises(RouterClosedError):
        pool.open("p", *how)


def test_a_mock_lets_time_pass_before_embeddings_too() -> None:
    config = MockConfig.model_validate({"type": "mock", "script": [{"text": "a", "delay": 2}], "loop": True})
    clock = FakeClock()
    mock = MockProvider("p", config, clock)
    assert len(mock.embed(TEXTS, 9.0).vectors) == 2 and clock.now == 1002.0
    assert len(asyncio.run(mock.embed_async(TEXTS, 9.0)).vectors) == 2 and clock.now == 1004.0


# Settings


def test_the_address_of_a_vendor_says_what_of_it_is_the_users_own() -> None:
    assert hint_for_address("openai") == hint_for_address("nobody") == hint_for_address(7) == ""
    unfinished = {name: vendor for name, vendor in vendors().items() if vendor.fill_in}
    assert unfinished
    assert all(vendor.own_words() in hint_for_address(name) for name, vendor in unfinished.items())


def test_two_lists_of_keys_are_a_mistake() -> None:
    with pytest.raises(ValidationError, match="are for a single api_key_env"):
        OpenAIChatConfig.model_validate({"type": "http", "base_url": "http://127.0.0.1:1/v1",
                                         "api_key_env": ["A", "B"], "other_api_key_envs": ["C"]})  # fmt: skip


def test_a_query_in_an_address_is_no_reason_to_lose_a_mistake_beside_it() -> None:
    with pytest.raises(ValidationError, match="query"):
        OpenAIChatConfig.model_validate({"type": "http", "base_url": "http://127.0.0.1:1/v1?a=1", "query": 7})


@pytest.mark.parametrize("query", [{"": "a"}, {"a": "\ud800"}, {"a": "b\n"}])
def test_a_query_that_no_address_can_hold_is_refused_before_anything_is_sent(query: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match="query parameter") as caught:
        query_of(query)
    assert not caught.value.sent


def test_authorities_in_a_home_that_is_not_there_are_named_as_written() -> None:
    path = "~nobody-of-this-name/ca.pem"
    settings = OpenAIChatConfig(type="http", base_url="http://127.0.0.1:1/v1", ca_file=path)
    assert settings.ca_path == path


def test_embeddings_that_come_too_late_for_the_rest_are_a_timeout() -> None:
    clock = FakeClock()
    config = OpenAIChatConfig(type="http", base_url="http://127.0.0.1:1/v1", api_key_env=None)
    provider = OpenAIChatProvider("p", config, clock)
    with pytest.raises(LLMTimeoutError, match="not all texts are embedded"):
        provider.embed(TEXTS, 0.0)
    provider.close()
    without = AnthropicProvider("p", AnthropicConfig(type="anthropic", model="claude-sonnet-5"), clock)
    with pytest.raises(UnavailableError, match="has no embeddings"):
        without.embed(TEXTS, 1.0)
    without.close()


def test_only_so_many_refused_turns_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lee_llm_router.providers.http.refused_turns._MOST", 1)
    turns = RefusedTurns()
    messages = [
        {"role": "assistant", "content": text, NATIVE_FIELD: {"dialect": "d", "origin": "o", "content": [text]}}
        for text in "ab"
    ]
    turns.remember(LLMRequest(messages=tuple(messages)))
    asked = LLMRequest(messages=tuple(messages))
    assert [NATIVE_FIELD in message for message in turns.left_out(asked).messages] == [True, False]


# Schemas


def test_a_schema_is_bounded_in_its_parts_and_is_one_of_two_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lee_llm_router.providers.json_schema._MAX_PARTS", 10)
    assert schema_problem({"enum": list(range(20))}) == "has more than 10 parts"
    with pytest.raises(InvalidRequestError, match="schema must be a mapping"):
        adapter_of("no type")


@pytest.mark.parametrize("wanted", [
    {"type": "string", "format": {}}, {"type": "string", "format": "iban"}, {"$ref": "#/$defs/A", "minLength": 1},
    {"allOf": [{"type": "string"}, {"minLength": 1}]}, {"type": "object", "properties": {}},
    {"allOf": [{"$defs": {}, "type": "string"}], "$defs": {}},
    {"type": "object", "properties": {"b": {"type": "string"}}, "$defs": [1]},
])  # fmt: skip
def test_what_strict_mode_has_no_words_for_has_no_strict_schema(wanted: Any) -> None:
    schema = {"type": "object", "properties": {"a": wanted}, "$defs": {"A": {"type": "string"}}}
    assert strict_schema(schema) is None
    assert not is_strict(schema)


def test_what_is_no_schema_is_no_strict_one() -> None:
    assert strict_schema({1: "a"}) is None  # type: ignore[dict-item]
