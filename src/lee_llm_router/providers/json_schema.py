"""JSON Schemas as the Responses API wants them in strict mode. Pure.

Strict mode asks that every object lists all its properties as required and allows no others (OpenAI API guide,
"Structured outputs", "Supported schemas"). The schema sent is tightened to that: each value that fits the tightened
one fits the original too, against which the router checks the answer. A schema strict mode cannot express is not sent
so, but told to the model in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def json_schema_of(schema: Mapping[str, Any] | type) -> dict[str, Any]:
    """The JSON Schema to send for `schema`, whichever way it was given."""
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_json_schema()
    assert isinstance(schema, Mapping)  # noqa: S101 - `prepare` let nothing else through
    return dict(schema)


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """`schema` tightened for strict mode; None where strict mode has no way to say it."""
    try:
        tight = _tightened(schema)
    except _NotStrictError:
        return None
    return tight if isinstance(tight, dict) and tight.get("type") == "object" else None


class _NotStrictError(Exception):
    """Something strict mode refuses."""


_REFUSED = frozenset({
    "not", "if", "then", "else", "oneOf", "patternProperties", "dependentRequired", "dependentSchemas",
    "unevaluatedProperties",
})  # fmt: skip


def _tightened(node: Any) -> Any:
    if isinstance(node, list):
        return [_tightened(one) for one in node]
    if not isinstance(node, Mapping):
        return node
    if "$ref" in node:
        # Nothing may stand beside a reference.
        return {"$ref": node["$ref"]}
    combined = node.get("allOf")
    if isinstance(combined, list):
        # pydantic writes a reference with a description or a default as an allOf of one.
        if len(combined) != 1 or not isinstance(combined[0], Mapping):
            raise _NotStrictError
        return _tightened({**{k: v for k, v in node.items() if k != "allOf"}, **combined[0]})
    properties = node.get("properties")
    is_object = node.get("type") == "object" or properties is not None
    if _REFUSED & node.keys() or (is_object and (not properties or isinstance(node.get("additionalProperties"), dict))):
        raise _NotStrictError
    result = {key: _tightened_field(key, value) for key, value in node.items() if key != "default"}
    if is_object:
        result["required"] = list(result["properties"])
        result["additionalProperties"] = False
    return result


def _tightened_field(key: str, value: Any) -> Any:
    if key in ("properties", "$defs", "definitions"):
        return _named(value)
    # What stands in these is data, not schema.
    return value if key in ("const", "enum", "examples", "required") else _tightened(value)


def _named(schemas: Any) -> Any:
    return {name: _tightened(one) for name, one in schemas.items()} if isinstance(schemas, Mapping) else schemas
