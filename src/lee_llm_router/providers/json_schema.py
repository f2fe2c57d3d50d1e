"""JSON Schemas of answers: a request's schema, and its form for OpenAI's strict mode. Pure.

A request names a JSON Schema, or a type that pydantic can validate: a model, a dataclass, a TypedDict, ``list[Trip]``,
a union, a `TypeAdapter`. `json_schema_of` returns the schema of any of them. The router checks every answer against it,
whatever the vendor promises.

In OpenAI's strict mode (API guide, "Structured outputs", "Supported schemas") the service guarantees a matching answer,
but every object must list all its properties as required and allow no others. `strict_schema` tightens a schema
accordingly. A value that matches the tightened schema matches the original too. Strict mode cannot express some
schemas; for those a provider sends the original, or describes it to the model in words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import isfinite
from types import UnionType
from typing import Any, TypeVar, get_origin

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.errors import InvalidRequestError, LLMRouterError
from lee_llm_router.response.types import LLMRequest

ResultT = TypeVar("ResultT")

MAX_DEPTH = 180
"""Levels of mappings and lists in a JSON Schema. The libraries that read it handle at most 200."""
_MAX_PARTS = 200_000
_GREATEST_NUMBER = 10**400
"""Numbers must be below this, so that everything can write and read them."""


def json_schema_of(schema: Any) -> dict[str, Any]:
    """Return the JSON Schema of a request's `schema`. Do not change it: a type's schema is cached.

    Raises:
        InvalidRequestError: pydantic cannot validate the type, or JSON Schema cannot express it.
    """
    if isinstance(schema, Mapping):
        return dict(schema)
    _check_is_type(schema)
    return _remembered(_schema_of_type, schema)


def adapter_of(schema: Any) -> TypeAdapter[Any]:
    """Return the validator of the type `schema`, which is cached.

    Raises:
        InvalidRequestError: pydantic cannot validate it.
    """
    _check_is_type(schema)
    return schema if isinstance(schema, TypeAdapter) else _remembered(_adapter_of_type, schema)


def is_type(value: object) -> bool:
    """Return whether `value` may be a type to validate against: a class, ``list[Trip]``, a union, a `TypeAdapter`."""
    return (
        isinstance(value, (type, TypeAdapter, UnionType))
        or get_origin(value) is not None
        # Made by NewType, and by a `type` statement of Python 3.12.
        or hasattr(value, "__supertype__")
        or hasattr(value, "__value__")
    )


def type_name(schema: Any) -> str:
    """Return the name of the type `schema`, for an error."""
    return schema.__name__ if isinstance(schema, type) and get_origin(schema) is None else bounded(repr(schema), 100)


def _check_is_type(schema: Any) -> None:
    if not is_type(schema):
        raise InvalidRequestError(
            "schema must be a mapping (JSON Schema) or a type: a pydantic model, a dataclass, a TypedDict, list[...]",
            sent=False,
        )


def _remembered(function: Callable[[Any], ResultT], schema: Any) -> ResultT:
    """Return the result of the cached `function` for `schema`, which may be an unhashable type."""
    try:
        hash(schema)
    except TypeError:  # for example an `Annotated` with a list
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
    """Return a prompt that asks a model for the JSON that `request` wants."""
    if request.schema is None:
        return "Answer with one JSON value and nothing else."
    shape = json.dumps(json_schema_of(request.schema), ensure_ascii=False)
    return f"Answer with one JSON value that fits this JSON Schema, and nothing else:\n{shape}"


def schema_problem(schema: Mapping[Any, Any]) -> str | None:
    """Return why `schema` cannot be sent and checked as a JSON Schema, judged by its shape; None if it can."""
    level: list[Any] = [schema]
    parts = 0
    for _ in range(MAX_DEPTH):
        parts += len(level)
        if not level:
            return None
        if parts > _MAX_PARTS:
            return f"has more than {_MAX_PARTS} parts"
        below: list[Any] = []
        for node in level:
            if isinstance(node, Mapping):
                if any(not isinstance(name, str) for name in node):
                    return "has a key that is not text"
                if "$schema" in node and not isinstance(node["$schema"], (str, Mapping)):
                    return "has a $schema that is not text"
                below += node.values()
            elif isinstance(node, (list, tuple)):
                below += node
            elif not _is_json_value(node):
                return "holds something that JSON cannot, or a number with too many digits"
        level = below
    return f"is nested more than {MAX_DEPTH} deep" if level else None


def _is_json_value(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, int):
        return abs(value) < _GREATEST_NUMBER
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)
    return value is None


def schema_name(schema: Mapping[str, Any]) -> str:
    """Return a name for `schema` made of the characters that OpenAI allows (a-z, A-Z, 0-9, _ and -, 64 at most)."""
    title = schema.get("title")
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", title)[:64].strip("_") or "answer" if isinstance(title, str) else "answer"


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Return whether `schema` already keeps the rules of strict mode."""
    return strict_schema(schema) == schema


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `schema` tightened for strict mode; None if strict mode cannot express it."""
    if schema_problem(schema) is not None:
        return None
    try:
        tight = _tightened(schema, 0)
        _check_references(tight, tight)
    except _NotStrictError:
        return None
    return tight if tight.get("type") == "object" else None


class _NotStrictError(Exception):
    """The schema uses what strict mode refuses."""


_SCHEMAS_BY_NAME = ("properties", "$defs", "definitions")
_TAKEN = frozenset({
    "type", "enum", "const", "anyOf", "items", "required", "additionalProperties", "title", "description",
    "pattern", "format", "minLength", "maxLength", "multipleOf", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "minItems", "maxItems", *_SCHEMAS_BY_NAME,
})  # fmt: skip
"""Keywords that strict mode accepts (API guide, "Supported schemas"). `$ref` and an allOf of one are handled
separately."""
_NOTES = frozenset({
    "default", "title", "description", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema",
})  # fmt: skip
"""Keywords that do not restrict values."""
_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_MAX_STRICT_DEPTH = 10
"""Levels of objects that strict mode accepts."""


def _tightened(node: Any, depth: int) -> dict[str, Any]:
    """Return the tightened schema `node`, which is `depth` objects below the root."""
    if not isinstance(node, Mapping) or depth > _MAX_STRICT_DEPTH:
        raise _NotStrictError
    for alone in ("$ref", "allOf"):
        if alone in node:
            return _tightened_alone(node, alone, depth)
    if not node.keys() <= _TAKEN | _NOTES or not _says_type(node):
        raise _NotStrictError
    kinds = node.get("type")
    is_object = "properties" in node or kinds == "object" or (isinstance(kinds, list) and "object" in kinds)
    if is_object:
        _check_object(node)
    result = {
        name: _tightened_keyword(name, value, depth + is_object) for name, value in node.items() if name in _TAKEN
    }
    if is_object:
        result.setdefault("type", "object")
        if set(result.get("required", ())) != set(result["properties"]):
            result["required"] = list(result["properties"])
        result["additionalProperties"] = False
    return result


def _tightened_alone(node: Mapping[str, Any], keyword: str, depth: int) -> dict[str, Any]:
    """Resolve a reference, or an allOf of one schema: pydantic writes both, with notes beside them."""
    definitions = {name: node[name] for name in ("$defs", "definitions") if name in node}
    if node.keys() - {keyword} - _NOTES - definitions.keys():
        raise _NotStrictError
    if keyword == "$ref":
        # Strict mode allows nothing next to a reference.
        return {"$ref": node["$ref"]}
    schemas = node["allOf"]
    if not isinstance(schemas, list) or len(schemas) != 1 or not isinstance(schemas[0], Mapping):
        raise _NotStrictError
    notes = {name: node[name] for name in ("title", "description") if name in node}
    if definitions.keys() & schemas[0].keys():
        raise _NotStrictError
    return _tightened({**notes, **definitions, **schemas[0]}, depth)


def _says_type(node: Mapping[str, Any]) -> bool:
    """Whether `node` restricts its value in a way that strict mode accepts."""
    if "anyOf" in node:
        # Tightened objects in anyOf and next to it would exclude each other.
        beside = node.keys() - _NOTES - {"anyOf", "$defs", "definitions"}
        return isinstance(node["anyOf"], list) and bool(node["anyOf"]) and not beside
    if "type" not in node:
        return "enum" in node or "const" in node or "properties" in node
    kinds = node["type"]
    known = [kinds] if isinstance(kinds, str) else kinds
    if not isinstance(known, list) or not known or not all(kind in _TYPES for kind in map(str, known)):
        return False
    form = node.get("format", "uuid")
    return ("array" not in known or "items" in node) and isinstance(form, str) and form in _FORMATS


def _check_object(node: Mapping[str, Any]) -> None:
    properties, required = node.get("properties"), node.get("required", [])
    if not isinstance(properties, Mapping) or not properties or "object" not in str(node.get("type", "object")):
        raise _NotStrictError
    # A required name without a property, or a rule for all other names, would be lost.
    if not isinstance(required, list) or not set(map(str, required)) <= properties.keys():
        raise _NotStrictError
    if not isinstance(node.get("additionalProperties", False), bool):
        raise _NotStrictError


def _tightened_keyword(name: str, value: Any, depth: int) -> Any:
    if name in _SCHEMAS_BY_NAME:
        if not isinstance(value, Mapping):
            raise _NotStrictError
        return {key: _tightened(one, 0 if name != "properties" else depth) for key, one in value.items()}
    if name == "anyOf":
        return [_tightened(one, depth) for one in value]
    return _tightened(value, depth) if name == "items" else value


def _check_references(node: Any, root: Mapping[str, Any]) -> None:
    """Raise if a reference leads nowhere, or outside the root and its definitions."""
    if isinstance(node, list):
        for one in node:
            _check_references(one, root)
    elif isinstance(node, Mapping):
        if isinstance(target := node.get("$ref"), str) and target != "#":
            place, _, name = target.removeprefix("#/").partition("/")
            name = name.replace("~1", "/").replace("~0", "~")
            if place not in ("$defs", "definitions") or name not in root.get(place, {}):
                raise _NotStrictError
        for name, one in node.items():
            if name not in ("const", "enum"):
                _check_references(one, root)
