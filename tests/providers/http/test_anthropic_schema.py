"""JSON Schemas in the part that Anthropic's structured output takes: what is said there, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from lee_llm_router.providers.http.dialects.anthropic.schema import input_schema, output_schema

TEXT = {"type": "string"}


def _closed(**properties: Any) -> dict[str, Any]:
    """An object as the API wants it."""
    return {"type": "object", "properties": properties, "required": [], "additionalProperties": False}


def _fitted(wanted: Any, **beside: Any) -> Any:
    """What the API is sent for a property `wanted`."""
    found = output_schema({"type": "object", "properties": {"a": wanted}, **beside})
    return None if found is None else found["properties"]["a"]


def test_an_object_is_closed_and_what_is_required_stays_so() -> None:
    schema = {"properties": {"a": TEXT, "b": {"type": "integer"}}, "required": ["b"], "title": "T", "$id": "x"}
    fitted = {**_closed(a=TEXT, b={"type": "integer"}), "required": ["b"], "title": "T"}
    assert output_schema(schema) == fitted


@pytest.mark.parametrize(("wanted", "fitted"), [
    ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
    ({"type": "string", "format": "iban"}, {"type": "string", "description": 'format: "iban"'}),
    ({"type": "string", "description": "d", "minLength": 2}, {"type": "string", "description": "d (minLength: 2)"}),
    ({"type": "array", "items": TEXT, "minItems": 1}, {"type": "array", "items": TEXT, "minItems": 1}),
    ({"type": "array", "items": TEXT, "minItems": 2},
     {"type": "array", "items": TEXT, "description": "minItems: 2"}),
    ({"enum": ["x", 1, None]}, {"enum": ["x", 1, None]}),
    ({"const": True}, {"const": True}),
    ({"type": "array", "items": TEXT, "const": [["x"]]},
     {"type": "array", "items": TEXT, "description": 'const: [["x"]]'}),
    ({"allOf": [TEXT], "title": "T"}, {"anyOf": [TEXT], "title": "T"}),
])  # fmt: skip
def test_a_bound_that_the_api_has_no_word_for_stands_in_the_description(wanted: Any, fitted: Any) -> None:
    assert _fitted(wanted) == fitted


@pytest.mark.parametrize(("wanted", "variants"), [
    ({"type": ["string", "null"], "minLength": 1},
     [{"type": "string", "description": "minLength: 1"}, {"type": "null"}]),
    ({"type": ["object", "array"], "properties": {"b": TEXT}, "items": TEXT}, [_closed(b=TEXT),
                                                                              {"type": "array", "items": TEXT}]),
    ({"type": ["string", "null"], "enum": ["x", None]}, [{"type": "string", "enum": ["x", None]}, {"type": "null"}]),
    ({"type": ["string", "null"], "enum": ["x"]}, [{"type": "string", "enum": ["x"]}]),
    ({"type": ["string", "null"], "const": "x"}, [{"type": "string", "const": "x"}]),
])  # fmt: skip
def test_each_of_several_types_keeps_what_is_said_of_it_and_none_fits_that_did_not(wanted: Any, variants: Any) -> None:
    assert _fitted(wanted) == {"anyOf": variants}


@pytest.mark.parametrize("place", ["$defs", "definitions"])
def test_definitions_are_fitted_and_found_under_one_name(place: str) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": f"#/{place}/A", "title": "T"}},
              place: {"A": {"properties": {"b": {"$ref": f"#/{place}/B"}}}, "B": TEXT}}  # fmt: skip
    assert output_schema(schema) == {
        **_closed(a={"$ref": "#/$defs/A"}),
        "$defs": {"A": _closed(b={"$ref": "#/$defs/B"}), "B": TEXT},
    }


LOOP = {"A": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/B"}]}}, "B": {"$ref": "#/$defs/A"}}


@pytest.mark.parametrize("wanted", [
    {}, True, {"type": "object"}, {"type": "object", "properties": [TEXT]},
    {"type": "object", "properties": {}, "additionalProperties": True},
    {"type": "object", "properties": {"b": TEXT}, "additionalProperties": TEXT},
    {"type": "object", "properties": {"b": TEXT}, "required": ["c"]},
    {"type": "object", "properties": {"b": TEXT}, "required": [["b"]]},
    {"type": "object", "properties": {"b": TEXT}, "patternProperties": {"^x": TEXT}},
    {"type": "array"}, {"type": "datum"}, {"enum": [["x"]]}, {"anyOf": []},
    {"anyOf": [TEXT], "oneOf": [TEXT]}, {"anyOf": [TEXT], "minLength": 1}, {"allOf": [TEXT, {"minLength": 1}]},
    {"type": ["null"], "enum": ["x"]},
    {"$ref": "https://example.com/schema"}, {"$ref": "#/$defs/B", "minLength": 1},
])  # fmt: skip
def test_what_the_api_has_no_words_for_has_no_schema(wanted: Any) -> None:
    assert _fitted(wanted, **{"$defs": {"B": TEXT}}) is None


@pytest.mark.parametrize(
    "definitions", [LOOP, {str(number): TEXT for number in range(501)}, {"A": {"type": "array", "items": True}}]
)
def test_definitions_that_go_in_circles_or_cannot_be_said_make_the_whole_inexpressible(definitions: Any) -> None:
    assert _fitted(TEXT, **{"$defs": definitions}) is None


@pytest.mark.parametrize("odd", [{}, [], 7, None])
def test_a_format_that_is_no_text_is_told_and_not_stumbled_over(odd: Any) -> None:
    assert _fitted({"type": "string", "format": odd})["type"] == "string"


def test_what_is_no_schema_at_all_has_none() -> None:
    odd: Any = {1: TEXT}
    assert output_schema(odd) is None


@pytest.mark.parametrize(
    "parameters", [None, [TEXT], {"$ref": "#/$defs/gone"}, {"anyOf": [{"title": "T"}]}, {"anyOf": TEXT}]
)
def test_the_arguments_of_a_tool_are_an_object_whatever_its_schema_says(parameters: Any) -> None:
    found = input_schema(parameters)
    assert found["type"] == "object" and "anyOf" not in found and "required" not in found
