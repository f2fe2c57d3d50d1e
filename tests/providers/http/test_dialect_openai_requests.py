"""How a request becomes one for chat completions. No network."""

from __future__ import annotations

import json
import threading
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from lee_llm_router.errors import (
    InvalidRequestError,
)
from lee_llm_router.providers.http import OpenAIChatConfig
from lee_llm_router.providers.http.dialects.json_body import encode_json
from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
from lee_llm_router.response import LLMRequest

CHAT = ChatDialect()
SETTINGS = OpenAIChatConfig(type="http", base_url="https://model.test/v1", model="m")


def _encoded(**fields: Any) -> dict[str, Any]:
    request = LLMRequest(**{"messages": ({"role": "user", "content": "hi"},), **fields})
    body = CHAT.encode(request, SETTINGS, stream=False)
    decoded: dict[str, Any] = json.loads(encode_json(body))
    return decoded


def test_what_is_not_asked_for_is_not_sent() -> None:
    assert _encoded() == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_every_option_has_its_field() -> None:
    tools = ({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},)
    body = _encoded(
        temperature=0.0, top_p=0.5, max_tokens=9, stop=("a", "b"), seed=7, reasoning_effort="low", tools=tools,
        tool_choice={"type": "function", "function": {"name": "f"}}, json_mode=True,
    )  # fmt: skip
    del body["model"], body["messages"]
    assert body == {
        "temperature": 0.0, "top_p": 0.5, "max_tokens": 9, "stop": ["a", "b"], "seed": 7, "reasoning_effort": "low",
        "tools": list(tools), "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_object"},
    }  # fmt: skip


def test_messages_go_out_as_they_are() -> None:
    """Parts, tool calls and their results, names: the request's messages have the wire's own shape."""
    messages = (
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    )
    assert _encoded(messages=messages)["messages"] == list(messages)


def test_no_model_is_named_where_none_is_set() -> None:
    request = LLMRequest(messages=({"role": "user", "content": "hi"},), max_tokens=5)
    settings = SETTINGS.changed({"model": None, "max_tokens_field": "max_completion_tokens"})
    body = CHAT.encode(request, settings, stream=False)
    assert "model" not in body
    assert body["max_completion_tokens"] == 5


def test_extra_body_cannot_ask_for_a_stream() -> None:
    with pytest.raises(InvalidRequestError, match="stream"):
        _encoded(extra_body={"stream": True})


class Loose(BaseModel):
    name: str
    note: str = ""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    tags: list[str]


@pytest.mark.parametrize(
    ("schema", "name", "strict"),
    [
        (Strict, "Strict", True),
        (Loose, "Loose", False),
        ({"type": "object", "title": "My answer!", "properties": {"a": {"type": "string"}}}, "My_answer", False),
        ({"type": "array", "items": {"type": "string"}}, "answer", False),
        ({"type": "object", "title": "é", "properties": {}}, "answer", False),
    ],
)
@pytest.mark.feature("openai_chat", "schema")
def test_a_schema_becomes_a_response_format(schema: Any, name: str, strict: bool) -> None:
    """Named as the API allows, and strict only where it fits the rules of strict mode as it stands."""
    sent = _encoded(schema=schema, json_mode=True)["response_format"]
    assert sent["type"] == "json_schema"
    wanted = schema if isinstance(schema, dict) else schema.model_json_schema()
    assert sent["json_schema"] == {"name": name, "schema": wanted, "strict": strict}


class NoType:
    """Pydantic knows no way to validate it."""


class Unspeakable(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    thing: threading.Event


@pytest.mark.parametrize("schema", [Unspeakable, NoType])
def test_a_class_without_a_schema_is_a_wrong_request(schema: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        _encoded(schema=schema)
    assert not caught.value.sent


def _circle() -> dict[str, Any]:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    return circle


def _depth() -> Any:
    deep: Any = []
    for _ in range(50_000):
        deep = [deep]
    return deep


UNSPEAKABLE: dict[str, Any] = {
    "not a number": {"a": float("nan")},
    "infinity": {"a": [-float("inf")]},
    "lone surrogate": {"a": "\ud800"},
    "lone surrogate as a key": {"\udfff": 1},
    "object": {"a": object()},
    "bytes that are no text": {"a": b"\xff"},
    "circle": {"a": _circle()},
    "depth": {"a": _depth()},
}


@pytest.mark.parametrize("kind", UNSPEAKABLE)
def test_what_json_cannot_say_is_a_wrong_request(kind: str) -> None:
    """Found out before anything is sent, whatever it is that cannot be written."""
    with pytest.raises(InvalidRequestError) as caught:
        encode_json(UNSPEAKABLE[kind])
    assert not caught.value.sent
    assert caught.value.message.startswith("the request cannot be written as JSON: ")


def test_json_may_speak_of_nan_and_hold_any_mapping() -> None:
    """The word is fine in a string; mappings, tuples and sets of any class are written."""
    body = {"text": 'NaN "Infinity"', "view": MappingProxyType({"a": (1, 2)}), "set": frozenset({1})}
    assert json.loads(encode_json(body)) == {"text": 'NaN "Infinity"', "view": {"a": [1, 2]}, "set": [1]}
