"""What a model in this process can do, by feature: what is asked of llama.cpp, and what is read of its answer."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.all_forms import WAYS
from helpers.fake_llama import TEMPLATE_WITH_TOOLS, FakeLlama, answer
from helpers.stream_support import Read
from lee_llm_router import LeeLLMRouter, LLMResponse

feature = pytest.mark.feature

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
RESULT: list[dict[str, Any]] = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": None,
     "tool_calls": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "x", "content": "Error: no such town"},
]  # fmt: skip


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def ask(request: pytest.FixtureRequest) -> Read:
    """One call, in each form."""
    found: Read = request.param
    return found


def answered(llama: FakeLlama, config: dict[str, Any], ask: Read, events: Any = None, **options: Any) -> LLMResponse:
    if events is not None:
        llama.replies = [events]
    config["llm"]["providers"]["inside"]["chat_template"] = TEMPLATE_WITH_TOOLS
    with LeeLLMRouter(config) as router:
        ended = ask(router, **options)
    assert ended.response is not None, ended.error
    return ended.response


@feature("llama_cpp", "stop")
@feature("llama_cpp", "seed")
@feature("llama_cpp", "top_p")
@feature("llama_cpp", "top_k")
@feature("llama_cpp", "max_tokens")
@feature("llama_cpp", "penalties")
@feature("llama_cpp", "tools")
@feature("llama_cpp", "tool_choice")
@feature("llama_cpp", "parallel_tool_calls")
@feature("llama_cpp", "extra_body")
def test_options_are_passed_on(llama: FakeLlama, config: dict[str, Any], ask: Read) -> None:
    options: dict[str, Any] = {
        "stop": ["a"], "seed": 1, "top_p": 0.5, "top_k": 4, "max_tokens": 9, "frequency_penalty": 0.5,
        "presence_penalty": 0.25, "temperature": 0.5, "tools": [TOOL], "tool_choice": "auto",
        "parallel_tool_calls": False,
    }  # fmt: skip
    answered(llama, config, ask, **options, extra_body={"min_p": 0.1})
    assert options.items() <= llama.bodies[0].items() and llama.bodies[0]["min_p"] == 0.1


@feature("llama_cpp", "reasoning_effort")
@pytest.mark.parametrize(("effort", "switch"), [("none", {"enable_thinking": False}), ("high", None)])
def test_thinking_is_switched_off_where_none_is_wanted(
    llama: FakeLlama, config: dict[str, Any], ask: Read, effort: str, switch: Any
) -> None:
    answered(llama, config, ask, reasoning_effort=effort)
    assert llama.bodies[0].get("chat_template_kwargs") == switch


@feature("llama_cpp", "json_mode")
def test_json_mode_is_held_to_by_grammar(llama: FakeLlama, config: dict[str, Any]) -> None:
    llama.words = ['{"a":', " 1}"]
    with LeeLLMRouter(config) as router:
        assert router.complete("r", "hi", json_mode=True).parsed == {"a": 1}
    assert llama.bodies[0]["response_format"] == {"type": "json_object"}


@feature("llama_cpp", "text")
@feature("llama_cpp", "streaming")
@feature("llama_cpp", "usage")
@feature("llama_cpp", "cached_usage")
def test_text_and_usage_are_read(llama: FakeLlama, config: dict[str, Any], ask: Read) -> None:
    events = answer(["a", "b"])
    events[-1]["usage"]["prompt_tokens_details"] = {"cached_tokens": 2}
    found = answered(llama, config, ask, events)
    assert found.text == "ab" and found.usage.cached_tokens == 2 and found.usage.prompt_tokens == 4


@feature("llama_cpp", "reasoning")
def test_reasoning_is_read(llama: FakeLlama, config: dict[str, Any], ask: Read) -> None:
    events = answer(["b"])
    events[2]["choices"][0]["delta"] = {"reasoning_content": "hm"}
    found = answered(llama, config, ask, events)
    assert (found.reasoning, found.text) == ("hm", "b")


@feature("llama_cpp", "logprobs")
def test_probabilities_are_asked_for_and_read(llama: FakeLlama, config: dict[str, Any], ask: Read) -> None:
    events = answer(["b"])
    top = [{"token": "b", "logprob": -0.5}, {"token": "c", "logprob": -1.5}]
    events[3]["choices"][0]["logprobs"] = {"content": [{"token": "b", "logprob": -0.5, "top_logprobs": top}]}
    found = answered(llama, config, ask, events, top_logprobs=2)
    assert llama.bodies[0]["logprobs"] is True and llama.bodies[0]["top_logprobs"] == 2
    assert [(one.token, one.logprob, one.top) for one in found.details.logprobs] == [
        ("b", -0.5, (("b", -0.5), ("c", -1.5)))
    ]


@feature("llama_cpp", "tool_results")
@feature("llama_cpp", "tool_errors")
@feature("llama_cpp", "system")
def test_conversations_are_passed_on(llama: FakeLlama, config: dict[str, Any]) -> None:
    with LeeLLMRouter(config) as router:
        router.complete("r", [{"role": "system", "content": "be brief"}, *RESULT])
    sent = llama.bodies[0]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool"]
    assert sent[2]["tool_calls"][0]["id"] == sent[3]["tool_call_id"]
    assert sent[3]["content"] == "Error: no such town"


PARTS: dict[str, dict[str, Any]] = {
    "image_url": {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    "image_data": {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    "audio": {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    "file": {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}},
}


@feature("llama_cpp", "image_url", supported=False)
@feature("llama_cpp", "image_data", supported=False)
@feature("llama_cpp", "audio", supported=False)
@feature("llama_cpp", "file", supported=False)
@feature("llama_cpp", "tool_result_images", supported=False)
@pytest.mark.parametrize("name", [*PARTS, "tool_result_images"])
def test_parts_other_than_text_skip_the_target(llama: FakeLlama, config: dict[str, Any], name: str) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}, PARTS[name]]}] if name in PARTS else [
        *RESULT[:2], {**RESULT[2], "content": [PARTS["image_data"]]}
    ]  # fmt: skip
    with LeeLLMRouter(config) as router:
        assert router.complete("safe", messages).provider == "mock"
    assert llama.bodies == []


@feature("llama_cpp", "service_tier", supported=False)
@feature("llama_cpp", "extra_query", supported=False)
@feature("llama_cpp", "headers", supported=False)
def test_what_belongs_to_http_is_no_part_of_it(llama: FakeLlama, config: dict[str, Any]) -> None:
    """Tiers and queries skip the target; headers, which concern the way and not the question, are left out."""
    with LeeLLMRouter(config) as router:
        assert router.complete("safe", "hi", service_tier="flex").provider == "mock"
        assert router.complete("safe", "hi", extra_query={"a": "b"}).provider == "mock"
        assert router.complete("safe", "hi", headers={"X-A": "b"}).provider == "inside"
    assert "b" not in str(llama.bodies)
