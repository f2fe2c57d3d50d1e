"""The strict form of a JSON Schema: only what strict mode takes, and nothing that the original does not."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from helpers.drawn_examples import examples
from lee_llm_router.providers.json_schema import is_strict, strict_schema


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


REFUSED: dict[str, dict[str, Any]] = {
    "a tuple": _object(at={"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}]}),
    "a list of anything": _object(tags={"type": "array"}),
    "unique items": _object(tags={"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
    "contains": _object(tags={"type": "array", "items": {"type": "string"}, "contains": {"const": "x"}}),
    "anything": _object(extra={}),
    "anything with a title": _object(extra={"title": "Extra", "description": "whatever"}),
    "true": _object(extra=True),
    "false": _object(extra=False),
    "a number of properties": {**_object(a={"type": "string"}), "minProperties": 1},
    "at most so many": {**_object(a={"type": "string"}), "maxProperties": 5},
    "names of properties": {**_object(a={"type": "string"}), "propertyNames": {"maxLength": 3}},
    "a pattern of names": {**_object(a={"type": "string"}), "patternProperties": {"^x": {"type": "string"}}},
    "a rule for other names": {**_object(a={"type": "string"}), "additionalProperties": {"type": "integer"}},
    "an empty rule for other names": {**_object(a={"type": "string"}), "additionalProperties": {}},
    "a required name that is none": {**_object(a={"type": "string"}), "required": ["a", "b"]},
    "a reference with a rule": {**_object(a={"$ref": "#/$defs/A", "minLength": 2}), "$defs": {"A": {"type": "string"}}},
    "a reference to nowhere": _object(a={"$ref": "#/$defs/A"}),
    "a reference elsewhere": _object(a={"$ref": "https://example.test/a.json"}),
    "a reference into a property": _object(a={"type": "string"}, b={"$ref": "#/properties/a"}),
    "allOf beside properties": {**_object(a={"type": "string"}), "allOf": [_object(b={"type": "integer"})]},
    "allOf beside a bound": _object(a={"type": "string", "maxLength": 9, "allOf": [{"minLength": 2}]}),
    "allOf of none": _object(a={"allOf": []}),
    "anyOf beside properties": {**_object(a={"type": "string"}), "anyOf": [{"required": ["a"]}]},
    "anyOf of none": _object(a={"anyOf": []}),
    "anyOf with anything": _object(a={"anyOf": [{}, {"type": "string"}]}),
    "oneOf": _object(a={"oneOf": [{"type": "string"}]}),
    "not": _object(a={"type": "string", "not": {"const": "x"}}),
    "if": _object(a={"type": "string", "if": {"const": "x"}, "then": {"minLength": 2}}),
    "another format": _object(a={"type": "string", "format": "uri"}),
    "no such type": _object(a={"type": "text"}),
    "dependentRequired": {**_object(a={"type": "string"}), "dependentRequired": {"a": ["b"]}},
    "unevaluatedItems": _object(a={"type": "array", "items": {"type": "string"}, "unevaluatedItems": False}),
    "contentMediaType": _object(a={"type": "string", "contentMediaType": "text/html"}),
    "a list at the root": {"type": "array", "items": {"type": "string"}},
    "a union at the root": {"anyOf": [_object(a={"type": "string"}), _object(b={"type": "string"})]},
    "no object": {"type": "string"},
    "objects too deep": _object(a=_object(b=_object(c=_object(d=_object(e=_object(f=_object(g=_object(h=_object(
        i=_object(j=_object(k=_object(l={"type": "string"})))))))))))),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_strict_mode_does_not_take_has_no_strict_form(name: str) -> None:
    schema = REFUSED[name]
    assert strict_schema(schema) is None and not is_strict(schema)
    inner = {"type": "object", "properties": {"in": schema}, "required": ["in"], "additionalProperties": False}
    if "$defs" not in schema and "root" not in name and name != "no object":
        assert strict_schema(inner) is None


class Leg(BaseModel):
    place: str
    days: int = Field(1, ge=1, le=30)


class Trip(BaseModel):
    legs: list[Leg]
    mood: Literal["calm", "wild"] | None = None
    first: Leg = Field(description="where it starts")


@pytest.mark.parametrize("schema", [Leg.model_json_schema(), Trip.model_json_schema()], ids=["a model", "nested"])
def test_models_have_a_strict_form(schema: dict[str, Any]) -> None:
    tight = strict_schema(schema)
    assert tight is not None and is_strict(tight) and not is_strict(schema)


@pytest.mark.parametrize("required", [["a", "b"], ["b", "a"]])
def test_a_schema_that_is_strict_as_it_stands_is_sent_as_it_is(required: list[str]) -> None:
    schema = {**_object(a={"type": "string"}, b={"type": ["integer", "null"]}), "required": required}
    assert is_strict({**schema, "additionalProperties": False}) and not is_strict(schema)


_TEXTS = st.sampled_from(["", "a", "ab", "abcdef", "x1"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 40) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "z"]), inner, max_size=3),
    max_leaves=8,
)
_LEAVES = st.sampled_from([
    {"type": "string"}, {"type": "string", "maxLength": 3}, {"type": "integer", "minimum": 1}, {"type": "null"}, {},
    {"enum": ["a", 1]}, {"const": "x1"}, {"type": ["string", "null"]}, {"type": "array"}, {"$ref": "#/$defs/s"},
    {"$ref": "#/$defs/s", "maxLength": 3}, {"minLength": 2}, True, {"type": "array", "uniqueItems": True},
])  # fmt: skip


def _combined(inner: Any) -> Any:
    names = st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    rest = {
        "required": st.lists(st.sampled_from(["a", "b", "z"]), max_size=2, unique=True),
        "additionalProperties": st.booleans() | inner,
        "allOf": st.lists(inner, min_size=1, max_size=2),
        "anyOf": st.lists(inner, min_size=1, max_size=2),
        "description": st.just("d"),
        "minProperties": st.just(1),
    }
    objects = st.fixed_dictionaries({"type": st.just("object"), "properties": names}, optional=rest)
    lists = st.fixed_dictionaries({"type": st.just("array"), "items": inner})
    return objects | lists | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)})


_SCHEMAS = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(
        st.sampled_from(["a", "b"]), st.recursive(_LEAVES, _combined, max_leaves=5), min_size=1, max_size=2)},
    optional={"required": st.lists(st.sampled_from(["a", "b", "z"]), max_size=2, unique=True),
              "allOf": st.lists(st.recursive(_LEAVES, _combined, max_leaves=3), min_size=1, max_size=1)},
)  # fmt: skip


@settings(max_examples=examples(600), deadline=None)
@given(_SCHEMAS, st.lists(_VALUES, min_size=3, max_size=8))
def test_what_fits_the_strict_form_fits_the_original(schema: dict[str, Any], values: list[Any]) -> None:
    schema = {**schema, "$defs": {"s": {"type": "string", "minLength": 1}}}
    tight = strict_schema(schema)
    if tight is None:
        return
    original, strict = Draft202012Validator(schema), Draft202012Validator(tight)
    candidates = [*values, {"a": values[0], "b": values[1]}, {"a": values[2]}, {"b": values[0]}]
    assert not [value for value in candidates if strict.is_valid(value) and not original.is_valid(value)]
