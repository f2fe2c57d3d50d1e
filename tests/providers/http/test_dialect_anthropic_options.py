"""The dialect of Anthropic's messages: options, thinking, JSON and the cache. No network."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, Field

from helpers.anthropic_requests import (
    DIALECT,
    OLDER,
    USER,
    call,
    calling,
    encoded,
    result,
    settings,
    told,
    tool,
    unsupported,
)  # fmt: skip
from lee_llm_router.response import REASONING_EFFORTS, LLMRequest

# Options


@pytest.mark.feature("anthropic", "stop")
def test_stop_sequences_have_another_name_and_must_not_be_blank() -> None:
    assert encoded(stop=("END",))["stop_sequences"] == ["END"]
    assert unsupported(stop=("END", "\n")) == {"stop"}
    assert not unsupported(settings(base_url="http://localhost:1/v1", model="smollm2"), stop=("\n",))


@pytest.mark.feature("anthropic", "top_p")
@pytest.mark.feature("anthropic", "top_k")
def test_sampling_is_told_as_it_is() -> None:
    body = encoded(settings(model=OLDER), temperature=0.0, top_p=0.5, top_k=3)
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.0, 0.5, 3)


def test_a_temperature_above_one_is_no_claudes() -> None:
    assert unsupported(temperature=1.5) == {"temperature"}
    assert not unsupported(settings(base_url="http://localhost:1/v1", model="smollm2"), temperature=1.5)


@pytest.mark.feature("anthropic", "seed", supported=False)
@pytest.mark.feature("anthropic", "penalties", supported=False)
@pytest.mark.feature("anthropic", "logprobs", supported=False)
@pytest.mark.parametrize("option", [
    {"seed": 1}, {"frequency_penalty": 0.5}, {"presence_penalty": -0.5}, {"logprobs": True}, {"top_logprobs": 2},
])  # fmt: skip
def test_what_the_vendor_has_not_is_known_before_the_call(option: dict[str, Any]) -> None:
    assert unsupported(**option) == option.keys()


def test_a_penalty_of_nothing_is_none() -> None:
    assert not unsupported(frequency_penalty=0.0, presence_penalty=0)


@pytest.mark.feature("anthropic", "service_tier")
@pytest.mark.parametrize(("tier", "sent"), [
    ("auto", {"service_tier": "auto"}), ("standard_only", {"service_tier": "standard_only"}),
    ("default", {"service_tier": "standard_only"}), ("priority", {"service_tier": "auto"}), ("fast", {"speed": "fast"}),
])  # fmt: skip
def test_service_tiers_have_the_vendors_words(tier: str, sent: dict[str, str]) -> None:
    assert encoded(service_tier=tier).items() >= sent.items()
    assert unsupported(service_tier="flex") == {"service_tier"}


# Thinking


@pytest.mark.feature("anthropic", "reasoning_effort")
@pytest.mark.parametrize("effort", REASONING_EFFORTS)
def test_a_newer_model_is_told_an_effort_that_is_not_above_what_is_asked(effort: str) -> None:
    body = encoded(reasoning_effort=effort)
    if effort == "none":
        assert (body["thinking"], body.get("output_config")) == ({"type": "disabled"}, None)
    elif effort == "minimal":
        assert (body["thinking"], body["output_config"]) == ({"type": "disabled"}, {"effort": "low"})
    else:
        assert (body["thinking"], body["output_config"]) == ({"type": "adaptive"}, {"effort": effort})


@pytest.mark.parametrize("max_tokens", [None, 500, 1024, 1366, 4096, 64_000])
def test_an_older_model_is_told_a_budget_that_leaves_room_for_the_answer(max_tokens: int | None) -> None:
    budgets = []
    for effort in REASONING_EFFORTS[1:]:
        body = encoded(settings(model=OLDER), reasoning_effort=effort, max_tokens=max_tokens)
        assert "output_config" not in body
        budgets.append(body.get("thinking", {}).get("budget_tokens", 0))
    assert budgets == sorted(budgets)
    assert (budgets[0] == 0) == ((max_tokens or 9999) * 3 // 4 < 1024)
    assert encoded(settings(model=OLDER), reasoning_effort="none")["thinking"] == {"type": "disabled"}


def test_the_settings_say_how_thinking_is_told_and_shown() -> None:
    config = settings(model=OLDER, thinking_display="omitted")
    assert encoded(config, reasoning_effort="low")["thinking"]["display"] == "omitted"
    other = settings(model="kimi-k2", base_url="https://moonshot.test/anthropic/v1", thinking="adaptive")
    request = LLMRequest(messages=(USER,), reasoning_effort="high")
    assert DIALECT.encode(request, other, stream=False)["thinking"] == {"type": "adaptive"}


def test_a_forced_call_leaves_the_effort_and_no_thinking() -> None:
    body = encoded(tools=(tool(),), tool_choice="required", reasoning_effort="high")
    assert ("thinking" in body, body["output_config"]) == (False, {"effort": "high"})
    older = settings(model=OLDER)
    assert unsupported(older, tools=(tool(),), tool_choice="required", reasoning_effort="high") == {"reasoning_effort"}


def test_sampling_goes_with_no_thinking() -> None:
    options: dict[str, Any] = {"temperature": 0.5, "top_k": 3, "top_p": 0.5}
    assert unsupported(reasoning_effort="high", **options) == options.keys()
    assert not unsupported(reasoning_effort="high", temperature=1, top_p=0.99)
    assert not unsupported(reasoning_effort="none", **options)


def test_within_a_loop_that_another_vendor_began_an_older_model_does_not_think() -> None:
    """It refuses to think where the calls before were made without thinking of its own."""
    config, loop = settings(model=OLDER), (USER, calling(call()), result())
    assert "thinking" not in encoded(config, messages=loop, tools=(tool(),), reasoning_effort="high")
    body = encoded(config, messages=(*loop, calling(text="ok"), USER), tools=(tool(),), reasoning_effort="high")
    assert "thinking" in body
    assert "thinking" in encoded(messages=loop, tools=(tool(),), reasoning_effort="high")


# JSON


class Answer(BaseModel):
    city: str = Field(min_length=2)
    days: int | None = Field(ge=0)
    tags: list[str] = []


@pytest.mark.feature("anthropic", "schema")
def test_a_schema_goes_in_the_part_of_json_schema_that_the_vendor_takes() -> None:
    schema = encoded(schema=Answer)["output_config"]["format"]["schema"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["city"] == {"title": "City", "type": "string", "description": "minLength: 2"}
    assert schema["properties"]["days"]["anyOf"] == [{"type": "integer", "description": "minimum: 0"}, {"type": "null"}]
    assert schema["properties"]["tags"] == {"title": "Tags", "type": "array", "items": {"type": "string"}}


class Node(BaseModel):
    children: list[Node]


@pytest.mark.parametrize("schema", [
    dict[str, int], Node, Any, {"type": "object"}, {"type": "string", "not": {"const": "x"}},
    {"type": "array", "prefixItems": [{"type": "string"}]}, {"$ref": "https://h.test/schema"},
])  # fmt: skip
def test_a_schema_that_the_vendor_has_no_words_for_is_told_in_words(schema: Any) -> None:
    body = encoded(schema=schema) if schema is not Any else encoded(schema={})
    assert "output_config" not in body
    assert "JSON Schema" in body["system"]


@pytest.mark.feature("anthropic", "json_mode")
def test_json_without_a_schema_is_asked_for_in_words() -> None:
    assert encoded(json_mode=True)["system"] == "Answer with one JSON value and nothing else."
    body = told({"role": "system", "content": "s"}, USER, json_mode=True)
    assert body["system"] == "s\n\nAnswer with one JSON value and nothing else."
    assert "output_config" not in encoded(settings(structured_output="prompt"), schema=Answer)


def test_other_vendors_models_are_told_the_schema_in_words_too() -> None:
    """Their servers may leave out a form that they do not know without a word."""
    config = settings(base_url="http://localhost:8080/v1", model="smollm2")
    body = DIALECT.encode(LLMRequest(messages=(USER,), schema=Answer), config, stream=False)
    assert "JSON Schema" in body["system"] and "format" in body["output_config"]


def test_effort_and_schema_stand_side_by_side() -> None:
    assert encoded(schema=Answer, reasoning_effort="low")["output_config"].keys() == {"effort", "format"}


# The cache


@pytest.mark.feature("anthropic", "cache")
def test_what_is_marked_is_kept_in_the_cache() -> None:
    body = told(
        {"role": "system", "content": "s", "cache": True},
        {"role": "user", "content": [{"type": "text", "text": "a", "cache": True}, {"type": "text", "text": "b"}]},
    )
    assert body["system"] == [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]
    first, second = body["messages"][0]["content"]
    assert (first["cache_control"], "cache_control" in second) == ({"type": "ephemeral"}, False)
    body = encoded(settings(cache_ttl="1h"), messages=({**USER, "cache": True},))
    assert body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


def marks(body: dict[str, Any]) -> int:
    return json.dumps(body).count("cache_control")


def test_of_many_marks_the_last_ones_are_kept() -> None:
    many = [{"role": role, "content": str(number), "cache": True}
            for number, role in enumerate(["user", "assistant"] * 4 + ["user"])]  # fmt: skip
    body = told({"role": "system", "content": "s", "cache": True}, *many, tools=({**tool(), "cache": True},))
    assert marks(body) == 4 and marks({"x": body["messages"][-4:]}) == 4
    automatic = encoded(settings(auto_cache=True), messages=tuple(many))
    assert automatic["cache_control"] == {"type": "ephemeral"} and marks(automatic) == 4
    by_caller = encoded(messages=tuple(many), extra_body={"cache_control": {"type": "ephemeral"}})
    assert marks(by_caller) == 3


def test_tools_results_and_answers_can_be_marked() -> None:
    body = told(
        USER, {**calling(call(), text="x"), "cache": True}, result(cache=True), tools=({**tool(), "cache": True},)
    )
    assert "cache_control" in body["tools"][0] and "cache" not in body["tools"][0]
    assert "cache_control" in body["messages"][2]["content"][0]
    assert marks(body) == 3
