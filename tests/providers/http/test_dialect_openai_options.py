"""Options of a chat completion: how each is sent, and what servers that take less are spared."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from helpers.servers import Server, answering, completion, json_answer
from helpers.stream_support import router_to
from lee_llm_router import LLMRequest
from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
from lee_llm_router.providers.http.dialects.openai.provider import OpenAIChatProvider
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig

HI = ({"role": "user", "content": "hi"},)
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
OPENAI, AZURE = "https://api.openai.com/v1", "https://res.openai.azure.com/openai/v1"
feature = pytest.mark.feature


def settings(base_url: str = "https://llm.example.com/v1", **given: Any) -> OpenAIChatConfig:
    return OpenAIChatConfig(type="http", base_url=base_url, **given)


def body(config: OpenAIChatConfig | None = None, **options: Any) -> dict[str, Any]:
    """The fields that go out beside the messages."""
    request = LLMRequest(messages=HI, **options)
    return {
        name: value
        for name, value in ChatDialect().encode(request, config or settings(), stream=False).items()
        if name != "messages"
    }


AS_GIVEN: dict[str, Any] = {
    "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop": ("END",), "seed": 7, "frequency_penalty": 0.5,
    "presence_penalty": -0.5, "reasoning_effort": "xhigh", "service_tier": "flex",
}  # fmt: skip


@pytest.mark.parametrize(
    "option",
    [
        pytest.param(name, marks=feature("openai_chat", "penalties" if name.endswith("penalty") else name))
        for name in AS_GIVEN
        if name != "temperature"
    ]
    + ["temperature"],
)
def test_an_option_is_sent_under_its_own_name(option: str) -> None:
    assert body(**{option: AS_GIVEN[option]}) == {option: AS_GIVEN[option]}


def test_options_that_are_not_set_are_not_sent() -> None:
    assert body() == {}


@feature("openai_chat", "max_tokens")
def test_the_bound_on_tokens_has_the_name_that_the_server_knows() -> None:
    for config, name in (
        (settings(), "max_tokens"),
        (settings(OPENAI), "max_completion_tokens"),
        (settings(AZURE), "max_completion_tokens"),
        (settings("https://res.openai.azure.com/openai/deployments/d"), "max_tokens"),
        (settings(max_tokens_field="max_completion_tokens"), "max_completion_tokens"),
    ):
        assert body(config, max_tokens=9) == {name: 9}


@feature("openai_chat", "logprobs")
def test_the_likeliest_tokens_mean_probabilities_too() -> None:
    assert body(logprobs=True) == {"logprobs": True}
    assert body(top_logprobs=3) == {"logprobs": True, "top_logprobs": 3}
    assert body(top_logprobs=3, logprobs=False) == {"logprobs": True, "top_logprobs": 3}
    assert body(logprobs=False) == {}


@feature("openai_chat", "tools")
@feature("openai_chat", "tool_choice")
@feature("openai_chat", "parallel_tool_calls")
def test_what_is_said_of_tools_is_sent_only_beside_tools() -> None:
    """`tool_choice` and `parallel_tool_calls` are refused without them, and so is an empty list."""
    for choice in ("auto", "none", "required", {"type": "function", "function": {"name": "look"}}):
        sent = body(tools=(TOOL,), tool_choice=choice, parallel_tool_calls=False)
        assert sent == {"tools": (TOOL,), "tool_choice": choice, "parallel_tool_calls": False}
    assert body(tools=(), tool_choice="auto", parallel_tool_calls=True, stop=()) == {}
    assert body(tool_choice="none", parallel_tool_calls=False) == {}
    assert body(settings(extra_body={"tools": [TOOL]}), tool_choice="auto") == {"tool_choice": "auto"}
    assert body(extra_body={"tools": [TOOL]}, parallel_tool_calls=False) == {"parallel_tool_calls": False}


def test_a_tool_that_must_be_called_is_not_forgotten_where_there_are_none() -> None:
    assert body(tool_choice="required") == {"tool_choice": "required"}


def test_an_option_goes_out_under_the_name_that_the_server_has() -> None:
    config = settings(rename={"seed": "random_seed", "top_k": "top-k"})
    assert body(config, seed=1, top_k=2, top_p=0.5) == {"random_seed": 1, "top-k": 2, "top_p": 0.5}


EFFORTS = [
    (["low", "medium", "high"], {"none": "low", "minimal": "low", "low": "low", "medium": "medium", "max": "high"}),
    (["none", "high"], {"none": "none", "minimal": "none", "medium": "none", "high": "high", "xhigh": "high"}),
    (["high"], {"low": "high", "high": "high", "max": "high"}),
    (["default"], {"low": "low", "default": "default"}),
    (["low"], {"turbo": "turbo"}),
    ([], {"minimal": "minimal", "max": "max"}),
]


@pytest.mark.parametrize(("known", "wanted"), EFFORTS)
def test_the_nearest_effort_that_the_server_knows_is_sent_and_none_above_a_lower_one(
    known: list[str], wanted: dict[str, str]
) -> None:
    config = settings(reasoning_efforts=known)
    assert {word: body(config, reasoning_effort=word)["reasoning_effort"] for word in wanted} == wanted


def unsupported(config: OpenAIChatConfig, **options: Any) -> set[str]:
    return set(OpenAIChatProvider.unsupported(LLMRequest(messages=HI, **options), config))


def test_what_a_server_does_not_take_is_known_before_it_is_asked() -> None:
    assert unsupported(settings(OPENAI), top_k=3, top_p=0.5) == {"top_k"}
    assert unsupported(settings(AZURE), top_k=3) == {"top_k"}
    assert unsupported(settings(), top_k=3) == set()
    config = settings(unsupported=["seed", "logprobs", "tools"])
    assert unsupported(config, seed=0, logprobs=True, tools=(TOOL,), stop=("a",)) == {"seed", "logprobs", "tools"}
    assert unsupported(config, logprobs=False) == set()


def test_a_server_has_a_bound_on_stop_sequences() -> None:
    five = tuple("abcde")
    assert unsupported(settings(OPENAI), stop=five) == {"stop"}
    assert unsupported(settings(OPENAI), stop=five[:4]) == set()
    assert unsupported(settings(OPENAI, max_stop=16), stop=five) == set()
    assert unsupported(settings(), stop=five) == set()
    assert unsupported(settings(max_stop=1), stop=five) == {"stop"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"unsupported": ["sede"]},
        {"rename": {"sede": "random_seed"}},
        {"tool_id": {"length": 0}},
        {"tool_id": {"pattern": "("}},
        {"cache_marks": "anthropic"},
        {"max_stop": "4"},
    ],
)
def test_a_quirk_that_is_misspelt_is_found_when_the_file_is_read(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**wrong)


@feature("openai_chat", "extra_query")
@feature("openai_chat", "headers")
def test_query_and_headers_of_a_call_go_out_with_it() -> None:
    with Server(answering(json_answer(completion("ok")))) as server:
        router = router_to(server.url)
        router.complete("r", "hi", extra_query={"beta": "true"}, headers={"X-Team": "a"})
        [received] = server.requests
    assert received.line.startswith("POST /v1/chat/completions?beta=true ") and received.headers["x-team"] == "a"
