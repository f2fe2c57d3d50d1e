"""The Responses API: options, tools and settings in the body. Each passes a server that refuses what OpenAI refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from helpers.responses_requests import HI, OPENAI, WEATHER, asked_of, body_of, unchecked_body
from helpers.responses_support import answer, message, response
from helpers.servers import Server, answering
from helpers.stream_support import router_to
from lee_llm_router import ConfigError, InvalidRequestError, LLMRouterError
from lee_llm_router.config import load_config
from lee_llm_router.providers.http.dialects.openai_responses.provider import OpenAIResponsesProvider
from lee_llm_router.providers.http.dialects.openai_responses.settings import ResponsesConfig
from lee_llm_router.response import LLMRequest

feature = pytest.mark.feature


def test_the_least_that_is_sent() -> None:
    """Nothing is stored, and reasoning comes back in a form that can be sent again."""
    assert body_of() == {
        "model": "gpt-6", "input": [{"role": "user", "content": "hi"}], "store": False,
        "include": ["reasoning.encrypted_content"],
    }  # fmt: skip
    assert body_of(stream=True)["stream"] is True
    assert "model" not in unchecked_body(model=None)  # type: ignore[arg-type]


@feature("openai_responses", "tools")
def test_tools_are_flat_and_strict_only_where_they_say_so() -> None:
    """Unsaid, this API takes a tool for strict."""
    strict = {
        **WEATHER["function"],
        "strict": True,
        "parameters": {**WEATHER["function"]["parameters"], "additionalProperties": False},
    }
    tools = body_of(tools=(
        WEATHER, {"type": "function", "function": strict}, {"type": "function", "function": {"name": "now"}},
        {"type": "function", "name": "flat", "parameters": {"type": "object"}}, {"type": "web_search"},
    ))["tools"]  # fmt: skip
    assert [(one.get("name"), one.get("strict")) for one in tools] == [
        ("weather", False), ("weather", True), ("now", False), ("flat", False), (None, None),
    ]  # fmt: skip
    assert tools[0]["description"] == "Tells it." and tools[2]["parameters"] == {"type": "object", "properties": {}}
    assert tools[4] == {"type": "web_search"}


def test_custom_tools_are_flat() -> None:
    form = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a/"}}
    tool = {"type": "custom", "custom": {"name": "sql", "description": "Asks.", "format": form}}
    assert body_of(tools=(tool,))["tools"] == [
        {"type": "custom", "name": "sql", "description": "Asks.",
         "format": {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}},
    ]  # fmt: skip


@feature("openai_responses", "tool_choice")
@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"), ("none", "none"), ("required", "required"),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "function", "name": "weather"}),
        ({"type": "function", "name": "weather"}, {"type": "function", "name": "weather"}),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
            {"type": "function", "function": {"name": "weather"}}]}},
         {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]}),
        ({"type": "web_search_preview"}, {"type": "web_search_preview"}),
    ],
)  # fmt: skip
def test_a_tool_that_is_to_be_called_is_named_flat(choice: Any, sent: Any) -> None:
    assert body_of(tools=(WEATHER,), tool_choice=choice)["tool_choice"] == sent


@feature("openai_responses", "parallel_tool_calls")
def test_calls_at_once_can_be_forbidden() -> None:
    assert body_of(tools=(WEATHER,), parallel_tool_calls=False)["parallel_tool_calls"] is False
    bare = body_of(parallel_tool_calls=False, tool_choice="auto")
    assert not bare.keys() & {"parallel_tool_calls", "tool_choice"}, "they say nothing without tools"


@feature("openai_responses", "top_p")
@feature("openai_responses", "max_tokens")
@feature("openai_responses", "service_tier")
def test_options_have_their_fields() -> None:
    body = body_of(temperature=0.5, top_p=0.9, max_tokens=100, service_tier="flex")
    assert (body["temperature"], body["top_p"], body["max_output_tokens"], body["service_tier"]) == (
        0.5,
        0.9,
        100,
        "flex",
    )


@feature("openai_responses", "logprobs")
def test_probabilities_are_asked_for() -> None:
    assert "message.output_text.logprobs" in body_of(logprobs=True)["include"]
    body = body_of(top_logprobs=3)
    assert body["top_logprobs"] == 3 and "message.output_text.logprobs" in body["include"]


@feature("openai_responses", "reasoning_effort")
@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("gpt-6", "max", "max"), ("some-model", "minimal", "minimal"), ("gpt-6", "turbo", None),
        ("gpt-5", "none", "minimal"), ("gpt-5", "xhigh", "high"), ("gpt-5-mini", "minimal", "minimal"),
        ("openai/gpt-5", "max", "high"), ("gpt-5-pro", "low", "high"), ("gpt-5-codex", "minimal", "low"),
        ("gpt-5.1", "minimal", "none"), ("gpt-5.1-codex-max", "max", "xhigh"), ("gpt-5.2", "max", "xhigh"),
        ("gpt-5.2-pro", "low", "medium"), ("gpt-5.6-sol", "max", "max"), ("o3", "none", "low"),
        ("o4-mini", "max", "high"),
        ("openai/gpt-oss-20b", "none", "low"), ("gpt-50", "max", "max"),
    ],
)  # fmt: skip
def test_how_much_to_think_is_the_nearest_that_the_model_has(model: str, asked: str, sent: str | None) -> None:
    """Never more than was asked, where there is less. A word that is not on the scale is the vendor's own."""
    body = unchecked_body(model=model, reasoning_effort=asked)
    assert body["reasoning"] == {"effort": sent or asked}


def test_the_words_for_thinking_can_be_named() -> None:
    config = {"reasoning_efforts": ["low", "high"]}
    assert body_of(reasoning_effort="medium", config=config)["reasoning"] == {"effort": "low"}
    assert body_of(reasoning_effort="minimal", config=config)["reasoning"] == {"effort": "low"}


def test_a_summary_of_reasoning_is_asked_for_by_a_setting() -> None:
    config = {"reasoning_summary": "auto"}
    assert body_of(config=config)["reasoning"] == {"summary": "auto"}
    assert body_of(config=config, reasoning_effort="low")["reasoning"] == {"effort": "low", "summary": "auto"}


def test_a_model_that_does_not_reason_is_not_asked_for_reasoning() -> None:
    """It would refuse the request."""
    for model in ("gpt-4.1", "gpt-4o-mini", "openai/gpt-4o", "gpt-3.5-turbo", "chatgpt-4o-latest", "gpt-5-chat-latest"):
        body = body_of(model=model, reasoning_effort="none")
        assert not body.keys() & {"include", "reasoning"}
    assert "include" not in body_of(config={"encrypted_reasoning": False})


class Trip(BaseModel):
    city: str


@feature("openai_responses", "schema")
def test_a_schema_is_the_format_of_the_text() -> None:
    body = body_of(schema=Trip)
    assert body["text"]["format"]["type"] == "json_schema" and body["text"]["format"]["name"] == "Trip"
    assert body["text"]["format"]["strict"] is False
    strict = {**Trip.model_json_schema(), "additionalProperties": False, "title": "Träume und Reisen!"}
    form = body_of(schema=strict)["text"]["format"]
    assert (form["strict"], form["name"], form["schema"]) == (True, "Tr_ume_und_Reisen", strict)


@feature("openai_responses", "json_mode")
def test_json_is_asked_for_in_a_word_too() -> None:
    """A request without the word would be refused."""
    body = body_of(json_mode=True)
    assert body["text"] == {"format": {"type": "json_object"}}
    assert "JSON" in body["input"][0]["content"]
    told = body_of({"role": "user", "content": "Answer in json"}, json_mode=True)
    assert len(told["input"]) == 1
    words = body_of(schema=Trip, config={"structured_output": "prompt"})
    assert "text" not in words and "city" in str(words["input"])
    weaker = body_of(schema=Trip, config={"structured_output": "json_object"})
    assert weaker["text"] == {"format": {"type": "json_object"}} and "city" in str(weaker["input"])


@feature("openai_responses", "extra_body")
def test_further_fields_are_filled_in() -> None:
    """`text` and `reasoning` keep what the call asks for, `include` grows, all else is replaced."""
    body = body_of(
        config={"extra_body": {"text": {"verbosity": "low"}, "user": "u"}}, schema=Trip, reasoning_effort="low",
        extra_body={"reasoning": {"summary": "auto"}, "include": ["file_search_call.results"], "user": "v"},
    )  # fmt: skip
    assert body["text"]["verbosity"] == "low" and body["text"]["format"]["type"] == "json_schema"
    assert body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert body["include"] == ["reasoning.encrypted_content", "file_search_call.results"]
    assert body["user"] == "v"


@pytest.mark.parametrize(
    "extra", [{"stream": True}, {"stream": False}, {"background": True}, {"conversation": "conv_1"},
              {"conversation": {"id": "conv_1"}}, {"previous_response_id": "resp_1"}],
)  # fmt: skip
def test_what_is_out_of_scope_is_refused_with_a_reason(extra: dict[str, Any]) -> None:
    """In a call before anything is sent, in a file when it is loaded."""
    name = next(iter(extra))
    with pytest.raises(InvalidRequestError, match=name) as caught:
        unchecked_body(extra_body=extra)
    assert not caught.value.sent
    with pytest.raises(ConfigError, match=name):
        load_config({"llm": {
            "providers": {"p": {"type": "openai_responses", "extra_body": extra}}, "roles": {"r": {"provider": "p"}},
        }})  # fmt: skip


def test_what_is_out_of_scope_may_be_switched_off() -> None:
    assert body_of(extra_body={"background": False})["background"] is False


@feature("openai_responses", "extra_query")
@feature("openai_responses", "headers")
def test_queries_headers_and_the_key_travel_as_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONSES_KEY", "sk-abc")
    with Server(answering(answer(response(message("x"))))) as server:
        router = router_to(
            server.url, type="openai_responses", api_key_env="RESPONSES_KEY", organization="org", project="proj"
        )
        with router:
            router.complete("r", "hi", headers={"X-A": "b"}, extra_query={"api-version": "v1"})
        seen = server.requests[0]
    assert seen.line.startswith("POST /v1/responses?api-version=v1 ")
    assert seen.headers["authorization"] == "Bearer sk-abc" and seen.headers["x-a"] == "b"
    assert (seen.headers["openai-organization"], seen.headers["openai-project"]) == ("org", "proj")


def test_openais_key_goes_to_openai_only() -> None:
    """The address and the key have defaults that belong together."""

    def config(**settings: Any) -> Any:
        loaded = load_config({"llm": {
            "providers": {"p": {"type": "openai_responses", **settings}},
            "roles": {"r": {"provider": "p", "model": "m"}},
        }})  # fmt: skip
        return loaded.providers["p"]

    assert (config().base_url, config().api_key_env) == (OPENAI, "OPENAI_API_KEY")
    assert config(base_url="http://127.0.0.1:8080/v1").api_key_env is None
    assert config(api_key_env="OTHER").api_key_env == "OTHER"
    assert config(api_key_file="key").api_key_env is None
    assert ResponsesConfig(type="openai_responses").api_key_env == "OPENAI_API_KEY"
    with pytest.raises(ConfigError, match="/responses"):
        config(base_url=f"{OPENAI}/responses")


@feature("openai_responses", "stop", supported=False)
@feature("openai_responses", "seed", supported=False)
@feature("openai_responses", "top_k", supported=False)
@feature("openai_responses", "penalties", supported=False)
@pytest.mark.parametrize(
    "options",
    [{"stop": ["a"]}, {"seed": 3}, {"top_k": 4}, {"frequency_penalty": 0.5}, {"presence_penalty": 0.5}],
)
def test_a_target_is_skipped_where_the_api_has_no_field(options: dict[str, Any]) -> None:
    """Or asked without it, where the call says so."""
    with pytest.raises(LLMRouterError, match="no such field"):
        asked_of(**options)
    (sent,) = asked_of(**options, drop_unsupported=True)
    assert not sent.keys() & options.keys()


REFUSED_BY_MODELS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("gpt-4.1", {"reasoning_effort": "low"}, {"reasoning_effort"}), ("gpt-4.1", {"reasoning_effort": "none"}, set()),
    ("gpt-4.1", {"temperature": 0.5}, set()), ("o3", {"temperature": 0.5, "top_p": 0.5}, {"temperature", "top_p"}),
    ("gpt-5", {"temperature": 0.5}, {"temperature"}), ("gpt-5-chat-latest", {"temperature": 0.5}, set()),
    ("gpt-5.2", {"temperature": 0.5}, set()), ("gpt-5.2", {"temperature": 0.5, "reasoning_effort": "none"}, set()),
    ("gpt-5.2", {"temperature": 0.5, "reasoning_effort": "low"}, {"temperature"}), ("x", {"temperature": 0.5}, set()),
    ("gpt-6", {"max_tokens": 5}, {"max_tokens"}), ("gpt-6", {"max_tokens": 16}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("model", "options", "refused"), REFUSED_BY_MODELS)
def test_what_openais_models_are_known_to_refuse_is_known_before(
    model: str, options: dict[str, Any], refused: set[str]
) -> None:
    settings = ResponsesConfig(type="openai_responses")
    request = LLMRequest(messages=HI, model=model, **options)
    assert OpenAIResponsesProvider.unsupported(request, settings).keys() == refused


def test_tools_that_another_vendor_runs_are_known_before() -> None:
    settings = ResponsesConfig(type="openai_responses")
    for tool, taken in (
        ({"type": "web_search_20250305", "name": "web_search"}, False), ({"google_search": {}}, False),
        ({"type": "web_search"}, True), ({"type": "web_search_preview_2025_03_11"}, True), (WEATHER, True),
        ({"name": "f", "parameters": {}}, True),
    ):  # fmt: skip
        request = LLMRequest(messages=HI, model="gpt-6", tools=(tool,))
        assert ("tools" not in OpenAIResponsesProvider.unsupported(request, settings)) is taken


def test_words_of_other_vendors_for_a_tier_are_understood() -> None:
    sent = [body_of(service_tier=tier)["service_tier"] for tier in ("standard", "standard_only", "flex", "of-tomorrow")]
    assert sent == ["default", "default", "flex", "of-tomorrow"]
