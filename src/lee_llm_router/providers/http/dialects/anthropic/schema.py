"""JSON Schemas in the form that Anthropic's structured output and strict tools accept. Pure.

The API accepts a subset of JSON Schema: objects without additional properties, no recursion, no limits on numbers and
lengths. `output_schema` rewrites a schema to that subset: limits that it cannot express go into the description, and
objects are closed. Any value that matches the result matches the original too, except for those limits; the router
checks every answer against the original. If the subset cannot express the schema (a mapping with free keys, a value of
any kind, a schema that refers to itself), there is no result, and the prompt asks for JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lee_llm_router.providers.json_schema import schema_problem

_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
})  # fmt: skip
_NOTES = frozenset({"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment",
                    "$schema", "$id", "discriminator"})  # fmt: skip
"""Keywords that do not restrict values; the first two are kept."""
_FREE_KEYS = ("patternProperties", "propertyNames", "unevaluatedProperties", "dependentSchemas", "dependentRequired",
              "if", "then", "else", "not", "contains", "prefixItems")  # fmt: skip
_PREFIXES = ("#/$defs/", "#/definitions/")
_MOST_DEFINITIONS = 500


class _InexpressibleError(Exception):
    """The API cannot express the schema."""


def output_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `schema` in the subset of JSON Schema that the API accepts; None if the subset cannot express it."""
    if schema_problem(schema) is not None:
        return None
    definitions: dict[str, Any] = {}
    for place in ("definitions", "$defs"):
        found = schema.get(place)
        definitions |= found if isinstance(found, Mapping) else {}
    try:
        _check_no_recursion(definitions)
        root = _fitted({name: value for name, value in schema.items() if name not in ("definitions", "$defs")})
        if definitions:
            root["$defs"] = {name: _fitted(one) for name, one in definitions.items()}
    except _InexpressibleError:
        return None
    return root


def _fitted(node: Any) -> dict[str, Any]:
    if not isinstance(node, Mapping) or any(name in node for name in _FREE_KEYS):
        raise _InexpressibleError
    if "$ref" in node:
        return {"$ref": _reference(node)}
    variants = _variants(node)
    if variants is not None:
        return {**_notes(node, {}), "anyOf": [_fitted(one) for one in variants]}
    found: dict[str, Any] = {}
    left = {name: value for name, value in node.items() if name not in _NOTES}
    for name in ("enum", "const"):
        if name in left and _is_plain(left[name]):
            found[name] = left.pop(name)
    kind = left.pop("type", None) or ("object" if "properties" in left else None)
    if kind == "object":
        _fit_object(left, found)
    elif kind == "array":
        _fit_array(left, found)
    elif kind == "string" and isinstance(left.get("format"), str) and left["format"] in _FORMATS:
        found["format"] = left.pop("format")
    elif kind is None and not found:
        raise _InexpressibleError
    if kind is not None:
        if kind not in _TYPES:
            raise _InexpressibleError
        found["type"] = kind
    return {**_notes(node, left), **found}


def _reference(node: Mapping[str, Any]) -> str:
    target = node["$ref"]
    if not isinstance(target, str) or not target.startswith(_PREFIXES) or node.keys() - {"$ref"} - _NOTES:
        raise _InexpressibleError
    return "#/$defs/" + target.removeprefix(_PREFIXES[0]).removeprefix(_PREFIXES[1])


def _variants(node: Mapping[str, Any]) -> list[Any] | None:
    """Return the schemas of which one must match; None if `node` is a single one."""
    kinds = node.get("type")
    if isinstance(kinds, list):
        without = {name: value for name, value in node.items() if name not in ("type", *_NOTES)}
        fitting = [kind for kind in kinds if kind != "null" or _allows_null(without)]
        if not fitting:
            raise _InexpressibleError
        return [{**_only_for(without, kind), "type": kind} for kind in fitting]
    names = [name for name in ("anyOf", "oneOf", "allOf") if name in node]
    if not names:
        return None
    variants = node[names[0]]
    beside = node.keys() - _NOTES - {names[0], "type"}
    if len(names) > 1 or beside or not isinstance(variants, list) or not variants:
        raise _InexpressibleError
    if names[0] == "allOf" and len(variants) > 1:
        raise _InexpressibleError
    return variants


def _only_for(keywords: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    """Return the keywords that apply only to values of one type."""
    of_objects, of_arrays = {"properties", "required", "additionalProperties"}, {"items", "minItems", "maxItems"}
    foreign = (of_objects if kind != "object" else set()) | (of_arrays if kind != "array" else set())
    if kind == "null":
        return {}
    return {name: value for name, value in keywords.items() if name not in foreign}


def _allows_null(keywords: Mapping[str, Any]) -> bool:
    """Whether the listed values, if there are any, include null."""
    named = keywords.get("enum")
    return (not isinstance(named, list) or None in named) and keywords.get("const") is None


def _fit_object(left: dict[str, Any], found: dict[str, Any]) -> None:
    properties, required = left.pop("properties", {}), left.pop("required", [])
    more = left.pop("additionalProperties", False)
    if not isinstance(properties, Mapping) or not isinstance(required, list):
        raise _InexpressibleError
    if not all(isinstance(name, str) and name in properties for name in required):
        raise _InexpressibleError
    if isinstance(more, Mapping) or (more is True and not properties) or not properties:
        raise _InexpressibleError
    found["properties"] = {name: _fitted(one) for name, one in properties.items()}
    found["required"] = list(required)
    found["additionalProperties"] = False


def _fit_array(left: dict[str, Any], found: dict[str, Any]) -> None:
    if "items" not in left:
        raise _InexpressibleError
    found["items"] = _fitted(left.pop("items"))
    if left.get("minItems") in (0, 1):
        found["minItems"] = left.pop("minItems")


def _notes(node: Mapping[str, Any], left: Mapping[str, Any]) -> dict[str, Any]:
    """Return title and description of `node`; the description includes `left`, which has no other place."""
    found = {name: node[name] for name in ("title", "description") if isinstance(node.get(name), str)}
    if left:
        bounds = ", ".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in left.items())
        found["description"] = f"{found['description']} ({bounds})" if "description" in found else bounds
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_plain, value)) and not any(isinstance(one, list) for one in value)
    return value is None or isinstance(value, (str, int, float, bool))


def _check_no_recursion(definitions: Mapping[str, Any]) -> None:
    """Raise if a definition refers to itself, directly or not."""
    if len(definitions) > _MOST_DEFINITIONS:
        raise _InexpressibleError
    leads_to = {name: _references(one) for name, one in definitions.items()}
    left = dict(leads_to)
    while left:
        ends = [name for name, targets in left.items() if not targets & left.keys()]
        if not ends:
            raise _InexpressibleError
        for name in ends:
            del left[name]


def _references(node: Any) -> set[str]:
    """Return the names of the definitions that `node` refers to."""
    found: set[str] = set()
    level = [node]
    while level:
        below: list[Any] = []
        for one in level:
            if isinstance(one, Mapping):
                target = one.get("$ref")
                if isinstance(target, str):
                    found.add(target.removeprefix(_PREFIXES[0]).removeprefix(_PREFIXES[1]))
                below += one.values()
            elif isinstance(one, list):
                below += one
        level = below
    return found


_ROOTS = frozenset({"$ref", "anyOf", "oneOf", "allOf"})


def input_schema(parameters: Any) -> dict[str, Any]:
    """Return the schema of a tool's arguments: the API requires an object at its root, without alternatives."""
    if type(parameters) is dict and parameters.get("type") == "object" and parameters.keys().isdisjoint(_ROOTS):
        return parameters  # nearly all
    schema = dict(parameters) if isinstance(parameters, Mapping) else {}
    target = schema.get("$ref")
    if isinstance(target, str) and target.startswith(_PREFIXES):
        place, _, name = target[2:].partition("/")
        found = schema.get(place)
        inner = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(inner, Mapping):
            schema = {**{key: value for key, value in schema.items() if key != "$ref"}, **inner}
    for choice in ("anyOf", "oneOf", "allOf"):
        variants = schema.pop(choice, None)
        if isinstance(variants, list):
            _merge(schema, [one for one in variants if isinstance(one, Mapping)], every=choice == "allOf")
    return {**schema, "type": "object"} if schema.get("type") != "object" else schema


def _merge(schema: dict[str, Any], variants: list[Mapping[str, Any]], *, every: bool) -> None:
    """Merge the properties of `variants` into `schema`. Required are those that all variants require, or with `every`
    that any does."""
    properties = schema.get("properties")
    merged: dict[str, Any] = dict(properties) if isinstance(properties, Mapping) else {}
    required: list[set[str]] = []
    for variant in variants:
        inner, needed = variant.get("properties"), variant.get("required")
        for name, value in (inner if isinstance(inner, Mapping) else {}).items():
            merged.setdefault(name, value)
        required.append(set(map(str, needed)) if isinstance(needed, list) else set())
    own = schema.get("required")
    needed_by = set.union(*required) if every and required else set.intersection(*required) if required else set()
    schema["properties"] = merged
    names = [*(own if isinstance(own, list) else ()), *sorted(needed_by)]
    if names:
        schema["required"] = list(dict.fromkeys(names))
