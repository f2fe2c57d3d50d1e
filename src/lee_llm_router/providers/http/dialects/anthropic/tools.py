"""Writes tools, and the choice among them, for Anthropic's Messages API. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lee_llm_router.providers.http.dialects.anthropic.blocks import Block
from lee_llm_router.providers.http.dialects.anthropic.schema import input_schema, output_schema
from lee_llm_router.response.types import LLMRequest

_MODES = {"auto": "auto", "required": "any", "any": "any", "none": "none"}


def tools_of(tools: Sequence[Mapping[str, Any]], tool_choice: Any, *, strict: bool) -> tuple[list[Block], list[Block]]:
    """Return `tools` in the API's form, and those that are marked for caching.

    A tool in the vendor's own form (its server tools) stays unchanged.

    Args:
        tools: In the OpenAI shape.
        tool_choice: The request's choice, which may allow only some of them.
        strict: Whether the model supports tools with guaranteed arguments.
    """
    allowed = _allowed(tool_choice)
    found: list[Block] = []
    marked: list[Block] = []
    for tool in tools:
        block = _tool(tool, strict=strict)
        if allowed is None or block.get("name") in allowed:
            found.append(block)
            if tool.get("cache"):
                marked.append(block)
    return found, marked


def foreign_tool(tools: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the type of the first tool without a form here, which is another vendor's; None if there is none."""
    for tool in tools:
        kind = tool.get("type")
        if kind == "custom" and isinstance(tool.get("custom"), Mapping):
            return "custom"
        if kind != "function" and "name" not in tool and "function" not in tool:
            return str(kind)[:60]
    return None


def choice_of(tool_choice: Any, parallel: bool | None) -> dict[str, Any] | None:
    """Return the choice among the tools in the API's form; None leaves it to the vendor."""
    choice: dict[str, Any] | None = None
    if isinstance(tool_choice, str):
        choice = {"type": _MODES.get(tool_choice, tool_choice)}
    elif isinstance(tool_choice, Mapping):
        choice = _choice_in(tool_choice)
    if parallel is False and (choice is None or choice.get("type") != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return choice


def forces_tool(request: LLMRequest) -> bool:
    """Return whether the answer has to call a tool."""
    if not request.tools or request.tool_choice is None:
        return False
    choice = choice_of(request.tool_choice, None)
    return choice is not None and choice.get("type") in ("any", "tool")


def _choice_in(choice: Mapping[str, Any]) -> dict[str, Any]:
    kind = choice.get("type")
    function = choice.get("function")
    if isinstance(function, Mapping):
        return {"type": "tool", "name": function.get("name")}
    if kind == "function" and "name" in choice:
        return {"type": "tool", "name": choice["name"]}
    if kind == "allowed_tools":
        mode = _in(choice, "allowed_tools").get("mode")
        return {"type": _MODES.get(mode, "auto") if isinstance(mode, str) else "auto"}
    return dict(choice)


def _allowed(tool_choice: Any) -> set[Any] | None:
    """Return the names of the tools that may be called; None for all."""
    if not isinstance(tool_choice, Mapping) or tool_choice.get("type") != "allowed_tools":
        return None
    tools = _in(tool_choice, "allowed_tools").get("tools")
    if not isinstance(tools, Sequence):
        return None
    names = [_in(tool, "function").get("name") for tool in tools if isinstance(tool, Mapping)]
    return {name for name in names if isinstance(name, str)}


def _in(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the mapping under `name`, or else `value`: both forms occur."""
    inner = value.get(name)
    return inner if isinstance(inner, Mapping) else value


def _tool(tool: Mapping[str, Any], *, strict: bool) -> Block:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        if tool.get("type", "function") != "function" or "input_schema" in tool:
            return {name: value for name, value in tool.items() if name != "cache"}
        function = tool  # flat form
    block: Block = {"name": function.get("name")}
    if function.get("description"):
        block["description"] = function["description"]
    schema = input_schema(function.get("parameters"))
    if strict and function.get("strict"):
        tight = output_schema(schema)
        if tight is not None:
            schema = tight
            block["strict"] = True
    block["input_schema"] = schema
    return block
