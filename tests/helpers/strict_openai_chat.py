"""A server of chat completions that refuses what the vendors refuse: OpenAI's rules, and those of thinking models.

`check` reads a request, `answers` gives the reply of a turn: two turns that think and call tools, then a text. What it
has given (thinking, signatures) it wants back unchanged, with the call that it belongs to, and from no one else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

FIELDS = {
    "model", "messages", "temperature", "top_p", "stop", "seed", "frequency_penalty", "presence_penalty", "logprobs",
    "top_logprobs", "reasoning_effort", "service_tier", "tools", "tool_choice", "parallel_tool_calls",
    "response_format",
    "max_tokens", "max_completion_tokens", "stream", "stream_options", "user", "metadata", "n", "modalities", "audio",
    "logit_bias", "store", "verbosity", "prediction", "web_search_options", "prompt_cache_key", "safety_identifier",
}  # fmt: skip
MESSAGE_FIELDS = {
    "system": {"name"}, "developer": {"name"}, "user": {"name"}, "tool": {"tool_call_id", "name"},
    "assistant": {"name", "tool_calls", "refusal", "audio", "function_call", "reasoning_content"},
}  # fmt: skip
PARTS = {
    "text": {"text"}, "refusal": {"refusal"}, "image_url": {"image_url"}, "input_audio": {"input_audio"},
    "file": {"file"},
}  # fmt: skip
PARTS_OF = {
    "system": {"text"}, "developer": {"text"}, "tool": {"text"}, "assistant": {"text", "refusal"},
    "user": {"text", "image_url", "input_audio", "file"},
}  # fmt: skip
INNER = {
    "image_url": ({"url"}, {"detail"}), "input_audio": ({"data", "format"}, set()),
    "file": (set(), {"file_data", "file_id", "filename"}),
}  # fmt: skip
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
NAME = re.compile(r"[^\s<|\\/>]{1,64}")
CHUNK: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "strict-1"}
THOUGHTS = {1: "First I look.", 2: "Then both."}
CALLS: dict[int, list[tuple[str, str]]] = {1: [("look", '{"at": "a"}')], 2: [("look", '{"at": "b"}'), ("take", "{}")]}
TEXT = "All done."


def check(body: dict[str, Any], path: str, state: dict[str, Any]) -> str | None:
    """Return what is wrong with a request, as a vendor's 400 would say it; None if nothing is."""
    return next(_problems(body, path, state), None)


def _problems(body: dict[str, Any], path: str, state: dict[str, Any]) -> Iterator[str]:
    if not path.partition("?")[0].endswith("/chat/completions"):
        yield f"no such path: {path}"
    for name in body.keys() - FIELDS:
        yield f"Unrecognized request argument supplied: {name}"
    if not isinstance(body.get("model"), str) or not body["model"]:
        yield "you must provide a model parameter"
    yield from _wrong_options(body)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        yield "[] is too short - 'messages'"
        return
    yield from _wrong_history(messages, state)


def _wrong_options(body: dict[str, Any]) -> Iterator[str]:
    tools = body.get("tools")
    if tools is not None:
        if not isinstance(tools, list) or not tools:
            yield "[] is too short - 'tools'"
            return
        for tool in tools:
            function = tool.get("function") or {}
            if tool.get("type") != "function" or not TOOL_NAME.fullmatch(function.get("name") or ""):
                yield f"Invalid 'tools': {tool}"
            if function.keys() - {"name", "description", "parameters", "strict"} or tool.keys() - {"type", "function"}:
                yield f"Unknown parameter in 'tools': {tool}"
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in body and tools is None:
            yield f"'{name}' is only allowed when 'tools' are specified."
    stop = body.get("stop")
    if stop is not None and not (isinstance(stop, str) or (isinstance(stop, list) and 1 <= len(stop) <= 4)):
        yield "Invalid 'stop': at most 4 items"
    if "top_logprobs" in body and body.get("logprobs") is not True:
        yield "'top_logprobs' is only allowed when 'logprobs' is set"
    if "stream_options" in body and body.get("stream") is not True:
        yield "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    efforts = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
    if body.get("reasoning_effort", "low") not in efforts:
        yield "Invalid value for 'reasoning_effort'"


def _wrong_history(messages: list[Any], state: dict[str, Any]) -> Iterator[str]:
    open_calls: list[str] = []
    seen: set[str] = set()
    for index, message in enumerate(messages):
        where, role = f"messages[{index}]", message.get("role")
        if role not in MESSAGE_FIELDS:
            yield f"Invalid value: {role!r} for '{where}.role'"
            return
        for name in message.keys() - MESSAGE_FIELDS[role] - {"role", "content"}:
            yield f"Unknown parameter: '{where}.{name}'"
        if "name" in message and role != "tool" and not NAME.fullmatch(message["name"]):
            yield f"Invalid '{where}.name': string does not match pattern"
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                yield f"{where}: messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                return
            open_calls.remove(message["tool_call_id"])
        elif open_calls:
            yield f"An assistant message with 'tool_calls' must be followed by tool messages: {open_calls} ({where})"
            return
        yield from _wrong_content(message, role, where)
        if role == "assistant":
            yield from _wrong_calls(message, where, seen, state)
            open_calls = [call["id"] for call in message.get("tool_calls") or ()]
    if open_calls:
        yield f"tool_call_ids did not have response messages: {open_calls}"


def _wrong_content(message: dict[str, Any], role: str, where: str) -> Iterator[str]:
    content = message.get("content")
    if content is None:
        if role != "assistant" or not any(message.get(name) for name in ("tool_calls", "audio", "function_call")):
            yield f"Invalid value for '{where}.content': expected a string, got null."
    elif isinstance(content, str):
        if not content and role != "tool" and not message.get("tool_calls"):
            yield f"{where}.content must not be empty"
    elif not content:
        yield f"[] is too short - '{where}.content'"
    else:
        for part in content:
            yield from _wrong_part(part, role, where)


def _wrong_part(part: dict[str, Any], role: str, where: str) -> Iterator[str]:
    kind = part.get("type")
    if kind not in PARTS_OF[role]:
        yield f"Invalid value: {kind!r} in '{where}.content'"
        return
    for name in part.keys() - PARTS[kind] - {"type"}:
        yield f"Unknown parameter: '{where}.content.{name}'"
    if kind in ("text", "refusal") and not part.get(kind):
        yield f"{where}: text content blocks must be non-empty"
    if kind in INNER:
        needed, allowed = INNER[kind]
        inner = part.get(kind)
        if not isinstance(inner, dict) or needed - inner.keys() or inner.keys() - needed - allowed:
            yield f"Invalid '{where}.content.{kind}': {inner}"
        elif kind == "file" and not inner.get("file_id") and not str(inner.get("file_data")).startswith("data:"):
            yield f"Invalid '{where}.content.file': no file"


def _wrong_calls(message: dict[str, Any], where: str, seen: set[str], state: dict[str, Any]) -> Iterator[str]:
    calls = message.get("tool_calls")
    if calls is not None and not calls:
        yield f"[] is too short - '{where}.tool_calls'"
    given = state.get("given", {})
    for call in calls or ():
        call_id, function = call.get("id"), call.get("function")
        if not isinstance(call_id, str) or not 0 < len(call_id) <= 40:
            yield f"Invalid '{where}.tool_calls.id': {call_id!r}"
        if call_id in seen:
            yield f"Duplicate value for 'tool_call_id' of {call_id}"
        seen.add(call_id)
        if call.get("type") != "function" or call.keys() - {"id", "type", "function", "extra_content"}:
            yield f"Invalid '{where}.tool_calls': {call}"
        is_function = isinstance(function, dict) and function.keys() == {"name", "arguments"}
        if not is_function or not TOOL_NAME.fullmatch(str(function["name"])) or type(function["arguments"]) is not str:
            yield f"Invalid '{where}.tool_calls.function': {function}"
        elif not is_object(function["arguments"]):
            yield f"{where}.tool_calls.function.arguments: Expecting property name enclosed in double quotes"
        wanted = given.get(call_id, {})
        if call.get("extra_content") != wanted.get("extra_content"):
            yield f"Function call {call_id} is missing a thought_signature, or has a foreign one."
        if message.get("reasoning_content") != wanted.get("reasoning_content"):
            yield f"The reasoning_content in the thinking mode must be passed back to the API ({where}), and no other."
    if "reasoning_content" in message and not calls:
        yield f"reasoning_content is not allowed in '{where}'"


def is_object(arguments: Any) -> bool:
    """Whether the arguments of a call are JSON of an object. OpenAI does not look; vLLM and its like read them."""
    try:
        return isinstance(json.loads(arguments), dict)
    except (TypeError, ValueError):
        return False


def answers(turn: int, stream: bool, state: dict[str, Any]) -> bytes:
    """Return the reply of a turn: 1 and 2 think and call tools, all others say a text."""
    calls: list[dict[str, Any]] = []
    for number, (name, arguments) in enumerate(CALLS.get(turn, [])):
        call_id = f"call_{turn}{number}_{state.setdefault('count', 0)}"
        state["count"] += 1
        extra = {"google": {"thought_signature": f"sig/{call_id}=="}}
        state.setdefault("given", {})[call_id] = {"extra_content": extra, "reasoning_content": THOUGHTS[turn]}
        calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments},
                      "extra_content": extra})  # fmt: skip
    reason = "tool_calls" if calls else "stop"
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    if not stream:
        message: dict[str, Any] = {"role": "assistant", "content": None if calls else TEXT, "refusal": None}
        message |= {"tool_calls": calls, "reasoning_content": THOUGHTS[turn]} if calls else {}
        choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
        whole = CHUNK | {"object": "chat.completion", "choices": [choice], "usage": usage}
        return json.dumps(whole).encode()
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None if calls else ""}]
    if calls:
        half = len(THOUGHTS[turn]) // 2
        deltas += [{"reasoning_content": THOUGHTS[turn][:half]}, {"reasoning_content": THOUGHTS[turn][half:]}]
        for index, call in enumerate(calls):
            first = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
            deltas += [{"tool_calls": [first]}]
            deltas += [{"tool_calls": [{"index": index, "function": {"arguments": call["function"]["arguments"]}}]}]
    else:
        deltas += [{"content": TEXT[:4]}, {"content": TEXT[4:]}]
    chunks = [CHUNK | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks += [CHUNK | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}]
    chunks += [CHUNK | {"choices": [], "usage": usage}]
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"
