"""A server of the Responses API that refuses what OpenAI refuses, and keeps nothing (`store: false`).

`check` says why a request is refused; `answers` gives three turns of a loop of tool calls, and remembers in `state`
what reasoning it has encrypted, and which items belong to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from helpers.responses_support import call, message, response, stream_of, thought
from helpers.strict_openai_chat import is_object

PATH = "/responses"
_FIELDS = {
    "background", "context_management", "conversation", "include", "input", "instructions", "max_output_tokens",
    "max_tool_calls", "metadata", "model", "moderation", "parallel_tool_calls", "previous_response_id", "prompt",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning", "safety_identifier",
    "service_tier", "store", "stream", "stream_options", "temperature", "text", "tool_choice", "tools", "top_logprobs",
    "top_p", "truncation", "user",
}  # fmt: skip
_ITEMS: dict[str, tuple[set[str], set[str]]] = {
    "message": ({"role", "content"}, {"phase", "status", "id"}),
    "function_call": ({"call_id", "name", "arguments"}, {"id", "status", "namespace", "caller"}),
    "function_call_output": ({"call_id", "output"}, {"id", "status", "name"}),
    "custom_tool_call": ({"call_id", "name", "input"}, {"id", "namespace", "caller"}),
    "custom_tool_call_output": ({"call_id", "output"}, {"id"}),
    "reasoning": ({"id", "summary"}, {"content", "encrypted_content"}),
    "image_generation_call": ({"id", "result", "status"}, {"output_format", "revised_prompt", "size", "quality"}),
    "web_search_call": ({"id", "status", "action"}, set()),
    "item_reference": ({"id"}, set()),
}
"""What each item must have, and what it may."""
_PARTS: dict[str, tuple[set[str], set[str]]] = {
    "input_text": ({"text"}, {"prompt_cache_breakpoint"}),
    "input_image": (set(), {"detail", "file_id", "image_url", "prompt_cache_breakpoint"}),
    "input_file": (set(), {"detail", "file_data", "file_id", "file_url", "filename", "prompt_cache_breakpoint"}),
    "output_text": ({"text"}, {"annotations", "logprobs"}),
    "refusal": ({"refusal"}, set()),
}
_EFFORTS = {"none", "minimal", "low", "medium", "high", "xhigh", "max"}
_INCLUDABLE = {
    "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
    "message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs",
    "reasoning.encrypted_content", "message.output_text.logprobs",
}  # fmt: skip
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MAX_CALL_ID = 64
_CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
_BREAKPOINTS = 4


def check(body: dict[str, Any], path: str, state: dict[str, Any]) -> str | None:
    """Why the vendor refuses the request, in its words; None if it does not."""
    return next(_problems(body, path, state), None)


def answers(turn: int, stream: bool, state: dict[str, Any]) -> bytes:
    """The body of the answer to the request of the turn (from 1): two turns with tool calls, then a text."""
    reasoning = thought(f"Thought {turn}.", id=f"rs_{turn}", encrypted_content=f"gAAAA{turn}==")
    if turn == 1:
        items = [call("weather", '{"city": "Paris"}', "call_1a"), call("weather", '{"city": "Rome"}', "call_1b")]
    elif turn == 2:
        items = [message("One more look.", id="msg_2", phase="commentary"), call("time", "{}", "call_2a")]
    else:
        items = [message("It rains in both.", id=f"msg_{turn}", phase="final_answer")]
    state.setdefault("encrypted", {})[reasoning["id"]] = reasoning["encrypted_content"]
    state.setdefault("needs", {}).update({one["id"]: reasoning["id"] for one in items[:1]})
    whole = response(reasoning, *items)
    return stream_of(whole) if stream else json.dumps(whole).encode()


def _problems(body: dict[str, Any], path: str, state: Mapping[str, Any]) -> Iterator[str]:
    if not path.partition("?")[0].endswith(PATH):
        yield f"Invalid URL (POST {path})"
    yield from (f"Unknown parameter: '{name}'." for name in body.keys() - _FIELDS)
    yield from (f"Invalid type for '{name}': null." for name, value in body.items() if value is None)
    if not isinstance(body.get("model"), str):
        yield "Missing required parameter: 'model'."
    if body.get("store") is not False:
        yield "It would be stored."
    yield from _in_options(body)
    yield from _in_tools(body)
    given = body.get("input")
    if not isinstance(given, list) or not given:
        yield "Missing required parameter: 'input'."
        return
    for number, item in enumerate(given):
        yield from _in_item(item, f"input[{number}]")
    yield from _in_order(given, state)
    marks = sum("prompt_cache_breakpoint" in part for item in given for part in _parts_of(item))
    if marks > _BREAKPOINTS:
        yield "Too many breakpoints."


def _in_options(body: Mapping[str, Any]) -> Iterator[str]:
    bounds = {"temperature": (0, 2), "top_p": (0, 1), "top_logprobs": (0, 20), "max_output_tokens": (16, 10**6)}
    for name, (least, most) in bounds.items():
        if name in body and not least <= body[name] <= most:
            yield f"Invalid '{name}': out of range."
    if not set(body.get("include", ())) <= _INCLUDABLE:
        yield "Invalid value in 'include'."
    reasoning = body.get("reasoning", {})
    if reasoning.keys() - {"effort", "summary", "context", "mode"} or reasoning.get("effort", "low") not in _EFFORTS:
        yield "Invalid 'reasoning'."
    form = body.get("text", {}).get("format", {"type": "text"})
    if form["type"] == "json_object" and "json" not in json.dumps(body["input"]).lower():
        yield "Response input messages must contain the word 'json' in some form."
    if form["type"] == "json_schema" and not (
        _NAME.fullmatch(form.get("name", "")) and isinstance(form.get("schema"), dict)
        and form.keys() <= {"type", "name", "schema", "strict", "description"}
    ):  # fmt: skip
        yield "Invalid 'text.format'."


def _in_tools(body: Mapping[str, Any]) -> Iterator[str]:
    tools = body.get("tools", [])
    if "tools" in body and not tools:
        yield "Invalid 'tools': empty array."
    for tool in tools:
        if tool.get("type") == "function":
            if tool.keys() - {"type", "name", "parameters", "strict", "description", "defer_loading", "output_schema"}:
                yield "Unknown parameter in 'tools'."
            if not _NAME.fullmatch(tool.get("name", "")) or not isinstance(tool.get("parameters"), dict):
                yield "Invalid 'tools[].name'."
            # What is not said is strict.
            if tool.get("strict", True) and tool["parameters"].get("additionalProperties") is not False:
                yield f"Invalid schema for function '{tool.get('name')}': 'additionalProperties' must be false."
    choice = body.get("tool_choice")
    if isinstance(choice, str) and choice not in ("auto", "none", "required"):
        yield "Invalid 'tool_choice'."
    if choice == "required" and not tools:
        yield "Tool choice 'required' must be specified with 'tools'."
    if isinstance(choice, dict) and choice.get("type") in ("function", "custom"):
        if choice.keys() != {"type", "name"}:
            yield "Unknown parameter: 'tool_choice.function'."
        if choice.get("name") not in {tool.get("name") for tool in tools}:
            yield "Tool choice names no tool."


def _in_item(item: Any, where: str) -> Iterator[str]:
    if not isinstance(item, dict):
        yield f"Invalid type for '{where}'."
        return
    kind = item.get("type", "message")
    if kind not in _ITEMS:
        yield f"Invalid value: '{kind}' at '{where}.type'."
        return
    needed, allowed = _ITEMS[kind]
    yield from (f"Missing required parameter: '{where}.{name}'." for name in needed - item.keys())
    yield from (f"Unknown parameter: '{where}.{name}'." for name in item.keys() - needed - allowed - {"type"})
    yield from (f"Unknown parameter: '{where}.{name}'." for name, value in item.items() if value is None)
    if kind == "message":
        yield from _in_message(item, where)
    elif kind in _CALLS:
        if not _NAME.fullmatch(str(item.get("name"))):
            yield f"Invalid '{where}.name'."
        if kind == "function_call" and not is_object(item.get("arguments", "")):
            yield f"Invalid '{where}.arguments'."
    elif kind in _CALLS.values() and not isinstance(item.get("output"), str):
        yield from _in_parts(item.get("output"), {"input_text", "input_image", "input_file"}, f"{where}.output")
    if "id" in item and not isinstance(item["id"], str):
        yield f"Invalid '{where}.id'."


def _in_message(item: Mapping[str, Any], where: str) -> Iterator[str]:
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", "system", "developer"):
        yield f"Invalid value: '{role}' at '{where}.role'."
    if role != "assistant" and item.keys() & {"phase", "id"}:
        yield f"Unknown parameter: '{where}.phase'."
    if isinstance(content, str):
        if not content:
            yield f"Invalid '{where}.content': empty."
        return
    allowed = {"output_text", "refusal"} if role == "assistant" else {"input_text", "input_image", "input_file"}
    yield from _in_parts(content, allowed, f"{where}.content")


def _in_parts(parts: Any, allowed: set[str], where: str) -> Iterator[str]:
    if not isinstance(parts, list) or not parts:
        yield f"Invalid '{where}'."
        return
    for number, part in enumerate(parts):
        kind = part.get("type")
        if kind not in allowed:
            yield f"Invalid value: '{kind}'. Supported values are: {sorted(allowed)} at '{where}[{number}]'."
            continue
        needed, may = _PARTS[kind]
        yield from (f"Missing '{where}[{number}].{name}'." for name in needed - part.keys())
        yield from (f"Unknown parameter: '{where}[{number}].{name}'." for name in part.keys() - needed - may - {"type"})
        if kind == "input_text" and not part.get("text"):
            yield f"Invalid '{where}[{number}].text': empty."
        if kind == "input_file" and "file_data" in part and "filename" not in part:
            yield f"Missing '{where}[{number}].filename'."


def _parts_of(item: Any) -> Sequence[Mapping[str, Any]]:
    content = item.get("content", item.get("output"))
    return content if isinstance(content, list) else ()


def _in_order(items: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong between items: calls and results, reasoning and what belongs to it."""
    calls: dict[str, str] = {}
    answered: set[str] = set()
    thoughts: set[str] = set()
    for number, item in enumerate(items):
        kind, name = item.get("type"), item.get("call_id", "")
        if kind in _CALLS:
            if not 0 < len(name) <= _MAX_CALL_ID:
                yield f"Invalid 'input[{number}].call_id': too long or empty."
            if name in calls:
                yield f"Duplicate item with call_id {name}."
            calls[name] = _CALLS[kind]
        elif kind in _CALLS.values():
            if calls.get(name) != kind or name in answered:
                yield f"No tool call found for function call output with call_id {name}."
            answered.add(name)
        elif kind == "reasoning":
            yield from _in_reasoning(item, items[number + 1 :], state)
            thoughts.add(item["id"])
        needs = state.get("needs", {}).get(item.get("id"))
        if needs is not None and needs not in thoughts:
            yield f"Item '{item['id']}' was provided without its required 'reasoning' item: '{needs}'."
    yield from (f"No tool output found for function call {name}." for name in calls.keys() - answered)


def _in_reasoning(
    item: Mapping[str, Any], behind: Sequence[Mapping[str, Any]], state: Mapping[str, Any]
) -> Iterator[str]:
    if "encrypted_content" not in item:
        yield f"Item with id '{item['id']}' not found. Items are not persisted when `store` is set to false."
    elif state.get("encrypted", {}).get(item["id"]) != item["encrypted_content"]:
        yield f"The encrypted content for item {item['id']} could not be verified."
    if not behind or behind[0].get("role") == "user" or behind[0].get("type") in _CALLS.values():
        yield f"Item '{item['id']}' of type 'reasoning' was provided without its required following item."
