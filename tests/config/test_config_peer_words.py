"""Words of other libraries: a finding says what each is called here, in files and in calls."""

from __future__ import annotations

import re

import pytest

from helpers.config_support import findings, role
from lee_llm_router._util.peer_words import _BY_WORD, peer_hint
from lee_llm_router.config import json_schema, load_config
from lee_llm_router.config.models import LLMConfig, RoleConfig
from lee_llm_router.errors import ConfigError, InvalidRequestError
from lee_llm_router.routing.options import CallOptions, validate_options

IN_PROVIDER = {
    "api_base": "base_url", "apiBase": "base_url", "openai_api_base": "base_url", "endpoint": "base_url",
    "baseURL": "base_url", "base-url": "base_url", "openai_api_key": "api_key_env", "org_id": "organization",
    "default_model": "model", "deploymentId": "model", "azure_deployment": "model", "defaultHeaders": "headers",
    "model_kwargs": "extra_body", "verify_ssl": "ca_file", "max_parallel_requests": "max_concurrency",
    "requests_per_minute": "rpm", "request_timeout": "timeout", "num_retries": "attempts", "fallbacks": "fallback",
    "max_completion_tokens": "max_tokens", "custom_llm_provider": "type",
}  # fmt: skip
IN_ROLE = {
    "fallbacks": "fallback_providers", "fallback-models": "fallback_providers", "max_retries": "attempts",
    "numRetries": "attempts", "response_format": "schema", "responseModel": "schema", "output_type": "schema",
    "result_type": "schema", "api_base": "base_url", "api_key": "api_key_env", "request_timeout": "timeout",
    "timeout_seconds": "timeout", "max_completion_tokens": "max_tokens", "maxOutputTokens": "max_tokens",
    "num_predict": "max_tokens", "deployment_name": "model", "model_name": "model", "system_prompt": "role: system",
    "min_p": "extra_body: {min_p", "logit_bias": "extra_body: {logit_bias", "stop_sequences": "stop",
    "stopSequences": "stop", "thinking": "reasoning_effort", "cooldown_time": "cooldown", "tags": "metadata",
    "stream_timeout": "first_token_timeout", "organization": "organization", "callbacks": "sinks",
    "model_list": "providers and roles", "priority": "order of fallback_providers",
}  # fmt: skip
IN_CALL = {
    "fallbacks": "fallback_providers", "max_retries": "retry: {attempts", "num_retries": "retry: {attempts",
    "response_format": "schema", "response_model": "schema", "api_base": "base_url", "api_key": "api_key_env",
    "model_list": "providers and roles", "request_timeout": "timeout", "stream": "router.stream",
    "max_completion_tokens": "max_tokens", "functions": "tools", "function_call": "tool_choice",
    "system_prompt": "role: system", "n": "extra_body: {n", "user": "extra_body: {user",
    "api_version": "query", "organization": "organization", "default_headers": "headers", "tags": "metadata",
    "maxTokens": "max_tokens", "topP": "top_p", "deployment_id": "model", "callbacks": "sinks",
}  # fmt: skip


@pytest.mark.parametrize(("word", "here"), IN_PROVIDER.items())
def test_in_a_provider(word: str, here: str) -> None:
    (found,) = findings(role(provider=f"type: http, base_url: 'https://a.test/v1', {word}: x"))
    assert re.search(rf"\((here|did you mean).*{here}", found), found


@pytest.mark.parametrize(("word", "here"), IN_ROLE.items())
def test_in_a_role(word: str, here: str) -> None:
    (found,) = findings(role(f"{word}: x"))
    assert re.search(rf"\((here|did you mean).*{re.escape(here)}", found), found


@pytest.mark.parametrize(("word", "here"), IN_CALL.items())
def test_in_a_call(word: str, here: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"{word}: no such option \((here|did you mean).*{re.escape(here)}"):
        validate_options({word: 1})


def test_at_the_top_and_in_sections_of_a_section() -> None:
    """Where the key `llm` is missing, words of others at the top say why; inside `retry` the inner name is shown."""
    found = findings("model_list:\n  - model_name: x\nrouter_settings: {}\n")
    assert "1:1: model_list: not a key of this router (here: providers and roles" in found[0]
    (found_inner,) = findings(role("retry: {max_retries: 2}"))
    assert found_inner.endswith("(here: attempts, the first one counted)")


def test_a_provider_that_takes_no_address_is_not_told_of_one() -> None:
    """What could stand there in another type does not exist for this one."""
    (found,) = findings(role(provider="type: mock, api_base: x"))
    assert found.endswith("unknown key")


@pytest.mark.parametrize(
    ("text", "home"),
    [
        (role("health: {cooldown: 1}"), "directly under llm"),
        (role("base_url: 'http://a.test'"), "in a provider of type http"),
        (role("attempts: 2"), "in retry of a role"),
        (role("idle_timeout: 2"), "in stream of a role"),
        (role("keep_days: 2"), "in trace"),
        (role("retry: {deadline: 9}"), "in a role"),
        (role("rpm: 5"), "in a provider"),
        (role(provider="type: mock, temperature: 0"), "in a role"),
        (role(provider="type: mock, retry: {attempts: 1}"), "in a role"),
        (role(provider="type: mock, sandbox: read-only"), "in a provider of type codex_cli"),
        (role(provider="type: mock, permission_mode: plan"), "in a provider of type claude_cli"),
    ],
)
def test_a_key_of_ours_in_the_wrong_place_is_told_where_it_belongs(text: str, home: str) -> None:
    """And not what it happens to look like there."""
    (found,) = findings(text)
    assert found.endswith(f"unknown key (belongs {home})"), found


@pytest.mark.parametrize(
    ("word", "home"), {"retry": "in a role", "base_url": "in a provider of type http", "keep_days": "in trace"}.items()
)
def test_a_key_of_the_file_in_a_call_is_told_where_it_belongs(word: str, home: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"^{word}: no such option \(belongs {home}\)$"):
        validate_options({word: 1})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"accept": {"min_char": 3}}, "accept.min_char: no such option (did you mean min_chars?)"),
        ({"accept": {"minimum_length": 3}}, "accept.minimum_length: no such option (here: min_chars)"),
        ({"accept": {"min_chars": -2}}, "accept.min_chars: must be at least 0"),
        ({"accept": {"finish_reasons": ["stop", 4]}}, "accept.finish_reasons[1]: text is wanted"),
        ({"accept": {"must_match": ")"}}, "accept.must_match[0]: not a regular expression: unbalanced parenthesis"),
        ({"accept": True}, "accept: a mapping is wanted"),
        ({"contract": {"repairs": 1}}, "contract.repairs: no such option (did you mean repair?)"),
        ({"contract": {"repair": 6, "on_failure": "stop"}},
         "contract.repair: must be at most 5; contract.on_failure: one of 'next' or 'raise' is wanted"),
        ({"tools": 7}, "tools: a list is wanted"),
        ({"schema": 7}, "schema: a mapping or a type is wanted"),
        ({"timeout": -3.0}, "timeout: must be greater than 0"),
        ({"deadline": 1e9}, "deadline: must be at most 2000000"),
        ({"model": ""}, "model: must not be empty"),
    ],
)  # fmt: skip
def test_a_wrong_value_in_a_call_is_told_in_the_words_of_the_file(options: dict[str, object], told: str) -> None:
    """Which field of `accept` or `contract` it is, what is wanted, and no word of the library that checks it."""
    with pytest.raises(InvalidRequestError) as caught:
        validate_options(options)
    assert caught.value.message == told


def test_a_misspelt_word_of_ours_is_still_suggested() -> None:
    (found,) = findings(role("fallback_provider: [p]"))
    assert found.endswith("(did you mean 'fallback_providers'?)")


def test_no_word_of_the_table_is_one_of_ours() -> None:
    """A known name that stood in it would be shadowed: where it may stand, it is no mistake."""
    ours = {*RoleConfig.model_fields, *LLMConfig.model_fields, *CallOptions.__annotations__, "base_url", "api_key_env"}
    assert not (ours & _BY_WORD.keys()) - {"stream", "response_schema"}
    assert peer_hint("x" * 100_000) == peer_hint(5) == peer_hint("nothing of the kind") == ""


def test_every_name_that_is_suggested_exists() -> None:
    """Each first word of a hint is a key of the file, an option of a call, or words about one."""
    text = str(json_schema()) + " ".join(CallOptions.__annotations__) + " query router"
    for here in set(_BY_WORD.values()):
        name = here.partition("|")[0].partition(":")[0]
        if name.isidentifier():
            assert name in text, here


def test_a_key_without_its_s_is_taken_for_the_key_with_it() -> None:
    text = "\nllm: {policy: {type: weighted, weight: {p: 1}}, providers: {p: {type: mock}}, roles: {r: {provider: p}}}"
    with pytest.raises(ConfigError, match=r"llm\.policy\.weight: unknown key \(did you mean 'weights'\?\)"):
        load_config(text)
