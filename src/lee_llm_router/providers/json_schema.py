"""JSON Schemas of answers: the schema of a request, and its form for OpenAI's strict mode. Pure.

A request names a pydantic model or a JSON Schema; `json_schema_of` gives the schema of either. The router checks every
answer against it, whatever the vendor promises.

Strict mode is OpenAI's (API guide, "Structured outputs", "Supported schemas"): the service then guarantees an answer
that fits, but every object must list all its properties as required and allow no others. `strict_schema` tightens a
schema to that. A value that fits the tightened schema fits the original too. Some schemas strict mode cannot express;
for those a provider sends the original, or tells the model in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from lee_llm_router.errors import InvalidRequestError


def json_schema_of(schema: Mapping[str, Any] | type) -> dict[str, Any]:
    """Return the JSON Schema of a request's `schema`, to be read and not changed: that of a class is remembered.

    Raises:
        InvalidRequestError: a class that is no pydantic model, or a model that JSON Schema cannot express.
    """
    return _schema_of_class(schema) if isinstance(schema, type) else dict(schema)


@lru_cache(maxsize=128)
def _schema_of_class(cls: type) -> dict[str, Any]:
    if not issubclass(cls, BaseModel):
        raise InvalidRequestError(f"{cls.__name__} is no pydantic model", sent=False)
    try:
        return cls.model_json_schema()
    except PydanticUserError as error:
        raise InvalidRequestError(f"no JSON Schema for {cls.__name__}: {error.message}", sent=False) from error


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Return whether `schema` keeps the rules of strict mode as it stands."""
    return strict_schema(schema) == schema


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `schema` tightened for strict mode; None where strict mode cannot express it."""
    try:
        tight = _tightened(schema)
    except _NotStrictError:
        return None
    return tight if isinstance(tight, dict) and tight.get("type") == "object" else None


class _NotStrictError(Exception):
    """The schema uses what strict mode refuses."""


_REFUSED = frozenset({
    "not", "if", "then", "else", "oneOf", "patternProperties", "dependentRequired", "dependentSchemas",
    "unevaluatedProperties",
})  # fmt: skip
"""Keywords that strict mode does not know."""


def _tightened(node: Any) -> Any:
    if isinstance(node, list):
        return [_tightened(one) for one in node]
    if not isinstance(node, Mapping):
        return node
    if "$ref" in node:
        # Strict mode allows nothing beside a reference.
        return {"$ref": node["$ref"]}
    combined = node.get("allOf")
    if isinstance(combined, list):
        # Pydantic writes a reference with a description or a default as an allOf of one schema.
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
        return _tightened_values(value)
    # The values of these are data, not schemas.
    return value if key in ("const", "enum", "examples", "required") else _tightened(value)


def _tightened_values(schemas: Any) -> Any:
    return {name: _tightened(one) for name, one in schemas.items()} if isinstance(schemas, Mapping) else schemas
