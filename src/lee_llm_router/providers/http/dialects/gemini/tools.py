"""Writes tools, the choice among them, and JSON Schemas in the form that Gemini accepts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lee_llm_router.providers.http.dialects.gemini.models import ModelTraits
from lee_llm_router.providers.http.dialects.gemini.names import function_of, functions_in, legal_name
from lee_llm_router.response.types import LLMRequest

_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "any": "ANY", "validated": "VALIDATED"}
_SCHEMAS_WITHIN = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties", "not", "contains", "if", "then", "else", "propertyNames")


def tools_of(request: LLMRequest, traits: ModelTraits) -> tuple[list[Any] | None, dict[str, Any] | None]:
    """Return the `tools` and the `toolConfig` of `request`; None for one that it does not need.

    Mappings without a type are Gemini's own tools (``{"googleSearch": {}}``) and are sent unchanged.
    """
    if not request.tools:
        return None, None
    config, wanted = _choice(request.tool_choice)
    # Gateways from 2024 know parameters only by their older name.
    field = "parameters" if "parameters" in traits.refused else "parametersJsonSchema"
    functions = [_declaration(one, field) for one in functions_in(request.tools) if _is_wanted(one, wanted)]
    own = [dict(tool) for tool in request.tools if function_of(tool) is None]
    tools = [{"functionDeclarations": functions}, *own] if functions else own
    # A choice among functions is refused if there are none.
    return tools or None, {"functionCallingConfig": config} if config and functions else None


def foreign_tool(tools: Sequence[Mapping[str, Any]] | None) -> str | None:
    """Return the type of a tool that is another vendor's; None if there is none."""
    for tool in tools or ():
        if function_of(tool) is None and "type" in tool:
            return str(tool["type"])[:60]
    return None


def json_schema(schema: Any) -> Any:
    """Return a JSON Schema in Gemini's form: next to a `$ref` only keys that begin with `$` are allowed."""
    if not isinstance(schema, Mapping):
        return schema
    found: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _SCHEMAS_WITHIN and isinstance(value, Mapping):
            found[name] = {key: json_schema(inner) for key, inner in value.items()}
        elif name in _SCHEMA_LISTS and isinstance(value, (list, tuple)):
            found[name] = [json_schema(inner) for inner in value]
        else:
            found[name] = json_schema(value) if name in _SCHEMAS else value
    if "$ref" in found and any(not str(name).startswith("$") for name in found):
        found.setdefault("anyOf", [{"$ref": found.pop("$ref")}])
        found.pop("$ref", None)
    return found


def _declaration(function: Mapping[str, Any], field: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": legal_name(str(function.get("name") or ""))}
    description, parameters = function.get("description"), function.get("parameters")
    if isinstance(description, str) and description:
        found["description"] = description
    if isinstance(parameters, Mapping) and parameters:
        found[field] = json_schema(parameters)
    return found


def _is_wanted(function: Mapping[str, Any], wanted: frozenset[str] | None) -> bool:
    return wanted is None or function.get("name") in wanted


def _choice(choice: Any) -> tuple[dict[str, Any] | None, frozenset[str] | None]:
    """Return the `functionCallingConfig` of a `tool_choice`, and the names to declare; None: all."""
    if isinstance(choice, str):
        mode = _MODES.get(choice.lower())
        return ({"mode": mode} if mode else None), None
    if not isinstance(choice, Mapping):
        return None, None
    allowed = choice.get("allowed_tools")
    if isinstance(allowed, Mapping) or choice.get("type") == "allowed_tools":
        allowed = allowed if isinstance(allowed, Mapping) else choice
        listed = allowed.get("tools")
        tools = listed if isinstance(listed, Sequence) and not isinstance(listed, str) else ()
        names = [_name_in(tool) for tool in tools if isinstance(tool, Mapping)]
        if allowed.get("mode") == "required":
            return {"mode": "ANY", "allowedFunctionNames": [*map(legal_name, names)]}, None
        # The names may come only with the mode that forces a call; otherwise declare only these functions.
        return {"mode": "AUTO"}, frozenset(names)
    name = _name_in(choice)
    if not name:
        mode = _MODES.get(str(choice.get("type")).lower())
        return ({"mode": mode} if mode else None), None
    return {"mode": "ANY", "allowedFunctionNames": [legal_name(name)]}, None


def _name_in(choice: Mapping[str, Any]) -> str:
    function = choice.get("function")
    return str((function if isinstance(function, Mapping) else choice).get("name") or "")
