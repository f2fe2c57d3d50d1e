"""A server of Anthropic's Messages API that checks what the vendor checks, and is as strict where it is.

`check` says why a request is refused; `answers` gives three turns of a loop of tool calls, and remembers in `state`
what it has signed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from helpers.anthropic_messages import REDACTED, message, streamed

PATH = "/messages"
_FIELDS = {
    "model", "messages", "max_tokens", "cache_control", "container", "diagnostics", "inference_geo", "metadata",
    "output_config", "service_tier", "speed", "stop_sequences", "stream", "system", "temperature", "thinking",
    "tool_choice", "tools", "top_k", "top_p",
}  # fmt: skip
_BLOCKS = {
    "text": {"text", "cache_control", "citations"},
    "image": {"source", "cache_control"},
    "document": {"source", "cache_control", "citations", "context", "title"},
    "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"},
    "tool_use": {"id", "name", "input", "cache_control", "caller"},
    "tool_result": {"tool_use_id", "content", "is_error", "cache_control"},
    "server_tool_use": {"id", "name", "input", "cache_control", "caller"},
    "web_search_tool_result": {"tool_use_id", "content", "cache_control", "caller"},
}
_OF_USERS = {"text", "image", "document", "tool_result"}
_OF_ANSWERS = set(_BLOCKS) - {"image", "document", "tool_result"}
_OF_RESULTS = {"text", "image", "document"}
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_CHOICES = {"auto", "any", "tool", "none"}
_SCHEMA_WORDS = {
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "$ref", "$defs",
    "title", "description", "format", "minItems",
}  # fmt: skip


def check(body: dict[str, Any], path: str, state: dict[str, Any]) -> str | None:
    """Why the vendor refuses the request, in its words; None if it does not."""
    return next(_problems(body, path, state), None)


def answers(turn: int, stream: bool, state: dict[str, Any]) -> bytes:
    """The body of the answer to the request of the turn (from 1): two turns with tool calls, then a text."""
    signed: dict[str, str] = state.setdefault("signed", {})
    thought = {"type": "thinking", "thinking": f"Thought {turn}.", "signature": f"c2lnbmVk{turn}" + "A" * 40}
    signed[thought["signature"]] = thought["thinking"]
    state.setdefault("redacted", set()).add(REDACTED["data"])
    calls = [_call(turn, number) for number in range(3 - turn)]
    if turn == 3:
        whole = message(thought, {"type": "text", "text": "It rains in both."})
    elif turn == 2:
        whole = message(thought, *calls, stop_reason="tool_use")
    else:
        whole = message(thought, REDACTED, {"type": "text", "text": "I look."}, *calls, stop_reason="tool_use")
    for call in calls:
        state.setdefault("turns", {})[call["id"]] = whole["content"]
    return streamed(whole) if stream else json.dumps(whole).encode()


def _call(turn: int, number: int) -> dict[str, Any]:
    city = ["Rome", "Oslo"][number]
    return {"type": "tool_use", "id": f"toolu_{turn}{number}", "name": "get_weather", "input": {"city": city}}


def _problems(body: dict[str, Any], path: str, state: dict[str, Any]) -> Iterator[str]:
    if not path.endswith(PATH):
        yield f"no such path: {path}"
    yield from (f"{name}: Extra inputs are not permitted" for name in body.keys() - _FIELDS)
    yield from (f"{name}: Field required" for name in ("model", "messages", "max_tokens") if name not in body)
    if type(body["max_tokens"]) is not int or not 1 <= body["max_tokens"] <= 128_000:
        yield "max_tokens: Input should be from 1 to 128000"
    is_newer = not re.search(r"claude-(?:[a-z]+-)?(?:3|4-(?:[0-5](?![0-9])|2025|opus))", body["model"])
    yield from _in_system(body.get("system"))
    yield from _in_messages(body["messages"], state, is_newer=is_newer)
    yield from _in_tools(body)
    yield from _in_thinking(body, is_newer=is_newer)
    yield from _in_options(body, is_newer=is_newer)
    if sum(1 for _ in _marks(body)) > 4:
        yield "A maximum of 4 blocks with cache_control may be provided"


def _in_system(system: Any) -> Iterator[str]:
    if isinstance(system, list):
        yield from _in_blocks(system, {"text"}, "system")
    elif system is not None and not (isinstance(system, str) and system.strip()):
        yield "system: text content blocks must be non-empty"


def _in_messages(messages: Any, state: Mapping[str, Any], *, is_newer: bool) -> Iterator[str]:
    if not isinstance(messages, list) or not messages:
        yield "messages: at least one message is required"
        return
    if messages[0].get("role") != "user":
        yield "messages: first message must use the user role"
    used: set[str] = set()
    open_calls: list[str] = []
    for number, one in enumerate(messages):
        where, role, content = f"messages.{number}", one.get("role"), one.get("content")
        if one.keys() != {"role", "content"} or role not in ("user", "assistant"):
            yield f"{where}: role and content are wanted"
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if number and messages[number - 1]["role"] == role:
            yield f"{where}: roles must alternate"
        yield from _in_blocks(content, _OF_USERS if role == "user" else _OF_ANSWERS, where)
        if role == "user":
            yield from _in_results(content, open_calls, where)
            open_calls = []
        else:
            calls = [block["id"] for block in content if block["type"] == "tool_use"]
            yield from (f"{where}: tool_use ids must be unique: {one}" for one in calls if one in used)
            used.update(calls)
            open_calls = calls
            yield from _in_thoughts(content, state, where)
    if open_calls:
        yield "messages: tool_use ids were found without tool_result blocks immediately after"
    yield from _in_last(messages[-1], is_newer=is_newer)


def _in_last(last: Mapping[str, Any], *, is_newer: bool) -> Iterator[str]:
    content = last["content"]
    if last["role"] != "assistant" or (isinstance(content, list) and content[-1]["type"] not in ("text",)):
        return
    if is_newer:
        yield "This model does not support assistant message prefill. The conversation must end with a user message."
    text = content if isinstance(content, str) else content[-1]["text"]
    if text != text.rstrip():
        yield "messages: final assistant content cannot end with trailing whitespace"


def _in_blocks(blocks: Any, allowed: set[str], where: str) -> Iterator[str]:
    if not isinstance(blocks, list) or not blocks:
        yield f"{where}: content must be non-empty"
        return
    for number, block in enumerate(blocks):
        place, kind = f"{where}.content.{number}", block.get("type")
        if kind not in allowed:
            yield f"{place}: Input tag '{kind}' does not match any of the expected tags"
            continue
        yield from (
            f"{place}.{name}: Extra inputs are not permitted" for name in block.keys() - _BLOCKS[kind] - {"type"}
        )
        yield from _in_block(block, kind, place)


def _in_block(block: Mapping[str, Any], kind: str, place: str) -> Iterator[str]:
    if kind == "text" and not block["text"].strip():
        yield f"{place}: text content blocks must contain non-whitespace text"
    elif kind in ("tool_use", "server_tool_use"):
        if not _ID.fullmatch(block["id"]):
            yield f"{place}.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
        if not _NAME.fullmatch(block["name"]) or not isinstance(block["input"], dict):
            yield f"{place}: name or input is not valid"
    elif kind == "tool_result":
        content = block.get("content")
        if isinstance(content, list):
            yield from _in_blocks(content, _OF_RESULTS, place)
        if block.get("is_error") and not content:
            yield f"{place}: content cannot be empty if `is_error` is true"
    elif kind in ("image", "document"):
        yield from _in_source(block["source"], kind, place)


def _in_source(source: Mapping[str, Any], kind: str, place: str) -> Iterator[str]:
    by_kind = {
        "image": {"image/jpeg", "image/png", "image/gif", "image/webp"},
        "document": {"application/pdf"},
    }
    if source["type"] == "base64" and source["media_type"] not in by_kind[kind]:
        yield f"{place}.source.media_type: Input should be one of {by_kind[kind]}"
    if source["type"] == "url" and not source["url"].startswith(("https://", "http://")):
        yield f"{place}.source.url: not an address"
    if source["type"] == "text" and (kind != "document" or source["media_type"] != "text/plain"):
        yield f"{place}.source: plain text is wanted"


def _in_results(content: Sequence[Mapping[str, Any]], open_calls: list[str], where: str) -> Iterator[str]:
    results = [block["tool_use_id"] for block in content if block["type"] == "tool_result"]
    for one in results:
        if one not in open_calls:
            yield f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {one}"
    for one in open_calls:
        if results.count(one) != 1:
            yield f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after: {one}"
    kinds = [block["type"] == "tool_result" for block in content]
    if kinds != sorted(kinds, reverse=True):
        yield f"{where}: tool_result blocks must come first"


def _in_thoughts(content: Sequence[Mapping[str, Any]], state: Mapping[str, Any], where: str) -> Iterator[str]:
    signed = state.get("signed", {})
    for block in content:
        if block["type"] == "thinking" and signed.get(block["signature"]) != block["thinking"]:
            yield f"{where}: Invalid `signature` in `thinking` block"
        if block["type"] == "redacted_thinking" and block["data"] not in state.get("redacted", ()):
            yield f"{where}: Invalid `data` in `redacted_thinking` block"
        if block["type"] == "tool_use" and any(one["type"] == "thinking" for one in content):
            given = state.get("turns", {}).get(block["id"])
            if given is not None and [_unmarked(one) for one in content] != [_unmarked(one) for one in given]:
                yield f"{where}: `thinking` blocks in the latest assistant message cannot be modified"
    if content[-1]["type"] in ("thinking", "redacted_thinking"):
        yield f"{where}: The final block in an assistant message cannot be `thinking`"


def _unmarked(block: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in block.items() if name != "cache_control"}


def _in_tools(body: Mapping[str, Any]) -> Iterator[str]:
    tools, choice = body.get("tools"), body.get("tool_choice")
    blocks = [block for one in body["messages"] if isinstance(one["content"], list) for block in one["content"]]
    if not tools and any(block["type"] in ("tool_use", "tool_result") for block in blocks):
        yield "Requests which include `tool_use` or `tool_result` blocks must define tools"
    names = [tool.get("name") for tool in tools or ()]
    if len(set(names)) != len(names) or not all(isinstance(one, str) and _NAME.fullmatch(one) for one in names):
        yield "tools: names must be unique and match '^[a-zA-Z0-9_-]{1,128}$'"
    for tool in tools or ():
        schema, choices = tool.get("input_schema"), {"anyOf", "oneOf", "allOf"}
        if tool.keys() - {"name", "description", "input_schema", "strict", "cache_control", "type"}:
            yield "tools: Extra inputs are not permitted"
        if not isinstance(schema, dict) or schema.get("type") != "object" or choices & schema.keys():
            yield "tools.input_schema: an object is wanted, without oneOf, allOf or anyOf at the top level"
        elif tool.get("strict"):
            yield from _in_schema(schema)
    if choice is None:
        return
    if not tools:
        yield "tool_choice: may only be specified while providing tools"
    if choice.get("type") not in _CHOICES or choice.keys() - {"type", "name", "disable_parallel_tool_use"}:
        yield "tool_choice: Input tag does not match any of the expected tags"
    if choice["type"] == "tool" and choice.get("name") not in names:
        yield "tool_choice.name: no such tool"
    if choice["type"] == "none" and len(choice) > 1:
        yield "tool_choice.none: Extra inputs are not permitted"


def _in_thinking(body: Mapping[str, Any], *, is_newer: bool) -> Iterator[str]:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type")
    if thinking.keys() - {"type", "budget_tokens", "display"} or kind not in ("adaptive", "enabled", "disabled"):
        yield "thinking: Input tag does not match any of the expected tags"
    if kind == "enabled" and is_newer:
        yield '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive".'
    if kind == "adaptive" and not is_newer:
        yield "thinking.type: Input tag 'adaptive' does not match any of the expected tags: 'disabled', 'enabled'"
    if kind == "enabled" and not 1024 <= thinking["budget_tokens"] < body["max_tokens"]:
        yield "`max_tokens` must be greater than `thinking.budget_tokens`"
    if kind != "disabled" and body.get("tool_choice", {}).get("type") in ("any", "tool"):
        yield "Thinking may not be enabled when tool_choice forces tool use."
    if kind == "enabled" and (body.get("temperature", 1) != 1 or "top_k" in body):
        yield "`temperature` may only be set to 1 when thinking is enabled."
    answers_so_far = [one["content"] for one in body["messages"] if one["role"] == "assistant"]
    if kind == "enabled" and answers_so_far and isinstance(answers_so_far[-1], list):
        last = answers_so_far[-1]
        if any(block["type"] == "tool_use" for block in last) and "thinking" not in last[0]["type"]:
            yield "Expected `thinking` or `redacted_thinking`, but found `tool_use`."


def _in_options(body: Mapping[str, Any], *, is_newer: bool) -> Iterator[str]:
    for name in ("temperature", "top_p", "top_k"):
        if is_newer and name in body:
            yield f"`{name}` is deprecated for this model."
    if not 0 <= body.get("temperature", 1) <= 1:
        yield "temperature: range: 0..1"
    if not all(word.strip() for word in body.get("stop_sequences", ())):
        yield "stop_sequences: each stop sequence must contain non-whitespace"
    if body.get("service_tier", "auto") not in ("auto", "standard_only"):
        yield "service_tier: Input should be 'auto' or 'standard_only'"
    config = body.get("output_config", {})
    if config.keys() - {"effort", "format"}:
        yield "output_config: Extra inputs are not permitted"
    if config.get("effort", "low") not in ("low", "medium", "high", "xhigh", "max"):
        yield "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"
    if "format" in config:
        if config["format"].keys() != {"type", "schema"} or config["format"]["type"] != "json_schema":
            yield "output_config.format: type and schema are wanted"
        yield from _in_schema(config["format"]["schema"])
        if any(block.get("citations") for block in _all_blocks(body["messages"])):
            yield "output_config.format: citations cannot be enabled beside it"


def _in_schema(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for one in node:
            yield from _in_schema(one)
    if not isinstance(node, dict):
        return
    yield from (f"output_config.format.schema: {word!r} is not supported" for word in node.keys() - _SCHEMA_WORDS)
    if node.get("type") == "object" and node.get("additionalProperties") is not False:
        yield "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
    for name, one in node.items():
        if name in ("properties", "$defs"):
            for inner in one.values():
                yield from _in_schema(inner)
        elif name in ("items", "anyOf"):
            yield from _in_schema(one)


def _all_blocks(messages: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for one in messages:
        for block in one["content"] if isinstance(one["content"], list) else ():
            yield block
            if isinstance(block.get("content"), list):
                yield from block["content"]


def _marks(body: Mapping[str, Any]) -> Iterator[Any]:
    places = [body.get("system"), body.get("tools")]
    blocks = [block for place in places if isinstance(place, list) for block in place]
    blocks += list(_all_blocks(body["messages"]))
    yield from (block["cache_control"] for block in blocks if "cache_control" in block)
    if "cache_control" in body:
        yield body["cache_control"]
