"""JSON Schemas of answers: the schema of a request, and its form for OpenAI's strict mode. Pure.

A request names a JSON Schema, or a type that pydantic can validate: a model, a dataclass, a TypedDict, ``list[Trip]``,
a union, a `TypeAdapter`. `json_schema_of` gives the schema of any. The router checks every answer against it, whatever
the vendor promises.

Strict mode is OpenAI's (API guide, "Structured outputs", "Supported schemas"): the service then guarantees an answer
that fits, but every object must list all its properties as required and allow no others. `strict_schema` tightens a
schema to that. A value that fits the tightened schema fits the original too. Some schemas strict mode cannot express;
for those a provider sends the original, or tells the model in words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import UnionType
from typing import Any, TypeVar, get_origin

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.errors import InvalidRequestError, LLMRouterError
from lee_llm_router.response import LLMRequest

ResultT = TypeVar("ResultT")


def json_schema_of(schema: Any) -> dict[str, Any]:
    """Return the JSON Schema of a request's `schema`, to be read and not changed: that of a type is remembered.

    Raises:
        InvalidRequestError: a type that pydantic cannot validate, or that JSON Schema cannot express.
    """
    if isinstance(schema, Mapping):
        return dict(schema)
    _check_is_type(schema)
    return _remembered(_schema_of_type, schema)


def adapter_of(schema: Any) -> TypeAdapter[Any]:
    """Return what validates values of the type `schema`; it is remembered.

    Raises:
        InvalidRequestError: pydantic cannot validate it.
    """
    _check_is_type(schema)
    return schema if isinstance(schema, TypeAdapter) else _remembered(_adapter_of_type, schema)


def is_type(value: object) -> bool:
    """Return whether `value` may be a type to validate: a class, ``list[Trip]``, a union, a `TypeAdapter`."""
    return (
        isinstance(value, (type, TypeAdapter, UnionType))
        or get_origin(value) is not None
        # Made by NewType, and by a `type` statement of Python 3.12.
        or hasattr(value, "__supertype__")
        or hasattr(value, "__value__")
    )


def type_name(schema: Any) -> str:
    """Return what to call the type `schema` in an error."""
    return schema.__name__ if isinstance(schema, type) and get_origin(schema) is None else bounded(repr(schema), 100)


def _check_is_type(schema: Any) -> None:
    if not is_type(schema):
        raise InvalidRequestError(
            "schema must be a mapping (JSON Schema) or a type: a pydantic model, a dataclass, a TypedDict, list[...]",
            sent=False,
        )


def _remembered(function: Callable[[Any], ResultT], schema: Any) -> ResultT:
    """Return what `function`, which remembers, makes of `schema`; also of a type that has no hash."""
    try:
        hash(schema)
    except TypeError:  # an `Annotated` with a list, say
        return function.__wrapped__(schema)  # type: ignore[attr-defined, no-any-return]
    return function(schema)


@lru_cache(maxsize=128)
def _adapter_of_type(schema: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(schema)
    except Exception as error:
        raise _wrong_type("pydantic cannot validate", schema, error) from error


@lru_cache(maxsize=128)
def _schema_of_type(schema: Any) -> dict[str, Any]:
    try:
        return adapter_of(schema).json_schema()
    except LLMRouterError:
        raise
    except Exception as error:
        raise _wrong_type("no JSON Schema for", schema, error) from error


def _wrong_type(what: str, schema: Any, error: Exception) -> InvalidRequestError:
    reason = error.message if isinstance(error, PydanticUserError) else f"{type(error).__name__}: {error}"
    return InvalidRequestError(f"{what} {type_name(schema)}: {bounded(reason, 300)}", sent=False)


def json_instructions(request: LLMRequest) -> str:
    """Return words that ask a model for the JSON that `request` wants."""
    if request.schema is None:
        return "Answer with one JSON value and nothing else."
    shape = json.dumps(json_schema_of(request.schema), ensure_ascii=False)
    return f"Answer with one JSON value that fits this JSON Schema, and nothing else:\n{shape}"


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
