"""Tools, their names and schemas of answers, as they are sent to Gemini."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, Field

from helpers.gemini_wire import TOOL, answer, body, read, text, whole
from lee_llm_router import InvalidRequestError

feature = pytest.mark.feature


# Tools


@feature("gemini", "tools")
def test_functions_are_declared_with_their_json_schema_and_googles_own_tools_stand_beside() -> None:
    flat = {"type": "function", "name": "flat", "strict": True, "parameters": {"type": "object", "properties": {}}}
    bare = {"type": "function", "function": {"name": "bare", "parameters": None, "strict": True}}
    assert body(tools=(TOOL, {"googleSearch": {}}, flat, bare))["tools"] == [
        {"functionDeclarations": [
            {"name": "get_weather", "description": "Weather.",
             "parametersJsonSchema": TOOL["function"]["parameters"]},
            {"name": "flat", "parametersJsonSchema": {"type": "object", "properties": {}}},
            {"name": "bare"},
        ]},
        {"googleSearch": {}},
    ]  # fmt: skip


CHOICES: dict[str, tuple[Any, Any]] = {
    "auto": ("auto", {"mode": "AUTO"}),
    "none": ("none", {"mode": "NONE"}),
    "required": ("required", {"mode": "ANY"}),
    "named": (
        {"type": "function", "function": {"name": "get_weather"}},
        {"mode": "ANY", "allowedFunctionNames": ["get_weather"]},
    ),
    "named, flat": ({"type": "function", "name": "x y"}, {"mode": "ANY", "allowedFunctionNames": ["_x_y_6b3dbc5c"]}),
    "some of them": (
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}},
        {"mode": "ANY", "allowedFunctionNames": ["get_weather"]},
    ),
    "an unknown word": ("sometimes", None),
}


@feature("gemini", "tool_choice")
@pytest.mark.parametrize("kind", CHOICES)
def test_the_choice_among_tools(kind: str) -> None:
    choice, sent = CHOICES[kind]
    found: Any = body(tools=(TOOL,), tool_choice=choice).get("toolConfig")
    if kind == "named, flat":
        assert found["functionCallingConfig"]["mode"] == "ANY"
    else:
        assert found == (None if sent is None else {"functionCallingConfig": sent})


def test_where_some_tools_are_allowed_and_none_is_forced_the_others_are_not_declared() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [other]}}
    sent = body(tools=(TOOL, other), tool_choice=choice)
    assert sent["tools"] == [{"functionDeclarations": [{"name": "other"}]}]
    assert sent["toolConfig"] == {"functionCallingConfig": {"mode": "AUTO"}}


def test_a_choice_without_functions_is_not_sent() -> None:
    """The API refuses it."""
    assert "toolConfig" not in body(tool_choice="required")
    assert "toolConfig" not in body(tool_choice="auto", tools=({"googleSearch": {}},))
    assert "tools" not in body(tools=())


NAMES = ["a b", "1st", "", "größe", "x" * 129, "a/b", "-a", ".a", "a" * 128 + "!"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_google_refuses_is_sent_as_a_legal_one_and_comes_back_as_it_was(name: str) -> None:
    import re

    tool = {"type": "function", "function": {"name": name}}
    sent = body(tools=(tool,))["tools"][0]["functionDeclarations"][0]["name"]
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}", sent)
    got = read(whole(answer({"functionCall": {"name": sent, "args": {}}})), tools=(tool,))
    assert [call.name for call in got.tool_calls] == [name]


def test_legal_names_stay_and_no_two_names_become_one() -> None:
    from lee_llm_router.providers.http.dialects.gemini.names import legal_name

    legal = ["a", "_", "a.b:c-d", "A" * 128, "__x"]
    assert [*map(legal_name, legal)] == legal
    odd = ["a b", "a-b", "a  b", "a_b", "a/b", "a\tb"]
    assert len({*map(legal_name, odd)}) == len(odd)


# Schemas


class Place(BaseModel):
    city: str


class Trip(BaseModel):
    place: Place = Field(description="Where to.")
    days: int


@feature("gemini", "schema")
def test_a_schema_holds_the_answer_to_json() -> None:
    sent = body(schema=Trip)["generationConfig"]
    assert sent["responseMimeType"] == "application/json"
    schema = sent["responseJsonSchema"]
    assert schema["properties"]["days"]["type"] == "integer"
    # Beside a $ref nothing may stand that does not begin with $.
    assert schema["properties"]["place"] == {"anyOf": [{"$ref": "#/$defs/Place"}], "description": "Where to."}
    assert schema["$defs"]["Place"]["required"] == ["city"]
    got = read(whole(answer(text('{"place": {"city": "Rome"}, "days": 3}'))))
    assert json.loads(got.text)["days"] == 3


def test_references_are_found_wherever_they_stand() -> None:
    from lee_llm_router.providers.http.dialects.gemini.tools import json_schema

    ref = {"$ref": "#/$defs/A", "default": 1}
    tidy = {"anyOf": [{"$ref": "#/$defs/A"}], "default": 1}
    schema = {"properties": {"$ref": ref, "b": {"items": ref, "prefixItems": [ref]}}, "additionalProperties": ref,
              "anyOf": [ref, {"not": ref}], "enum": [{"$ref": 1, "x": 2}], "$defs": {"A": {"$ref": "#/x"}}}  # fmt: skip
    assert json_schema(schema) == {
        "properties": {"$ref": tidy, "b": {"items": tidy, "prefixItems": [tidy]}}, "additionalProperties": tidy,
        "anyOf": [tidy, {"not": tidy}], "enum": [{"$ref": 1, "x": 2}], "$defs": {"A": {"$ref": "#/x"}},
    }  # fmt: skip


@pytest.mark.parametrize(("model", "in_words"), [
    ("gemini-2.5-flash", True), ("gemini-2.0-flash", True), ("gemini-3-pro-preview", False), ("gemini-4-neon", False),
    ("gemini-flash-latest", False),
])  # fmt: skip
def test_tools_and_a_schema_together_are_sent_to_models_that_take_both_and_told_in_words_to_others(
    model: str, in_words: bool
) -> None:
    sent = body(model=model, tools=(TOOL,), schema=Trip)
    told = json.dumps(sent.get("systemInstruction", ""))
    assert ("JSON Schema" in told) == in_words
    assert ("generationConfig" in sent) != in_words
    assert "responseJsonSchema" in body(model=model, schema=Trip)["generationConfig"]


def test_models_that_know_neither_json_nor_instructions_are_told_in_the_users_turn() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    sent = body(messages, model="gemma-3-27b-it", schema=Trip)
    assert [*sent] == ["contents"]
    parts = sent["contents"][0]["parts"]
    assert (parts[0], parts[2]) == ({"text": "Be brief."}, {"text": "hi"})
    assert "JSON Schema" in parts[1]["text"]
    assert "systemInstruction" in body(messages, model="gemma-4-31b-it")


def test_a_request_that_is_nested_too_deep_is_wrong_and_nothing_else() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"items": deep}
    tool = {"type": "function", "function": {"name": "f", "parameters": deep}}
    with pytest.raises(InvalidRequestError, match="too deep"):
        body(tools=(tool,))


def test_names_that_are_no_text_do_no_harm() -> None:
    odd = {1: {"$ref": "#"}, "properties": {2: {"$ref": "#", 3: 4}}, "$ref": "#"}
    tool = {"type": "function", "function": {"name": 5, "parameters": odd, "description": 6}}
    assert body(tools=(tool,))["tools"][0]["functionDeclarations"][0]["name"] == "_5_" + legal("5")


def legal(name: str) -> str:
    from lee_llm_router.providers.http.dialects.gemini.names import legal_name

    return legal_name(name).rpartition("_")[2]
