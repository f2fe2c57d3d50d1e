"""Half a surrogate pair in the arguments of a tool call that come as an object: the answer counts, none is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.servers import Server, answering, http
from helpers.stream_support import router_to

ARGUMENTS = {"a": "x\ud83d", "\udc00": [1]}
CALL = {"id": "t", "type": "function", "function": {"name": "f", "arguments": ARGUMENTS}}
ITEM = {"id": "fc", "type": "function_call", "call_id": "t", "name": "f", "arguments": ARGUMENTS}
RESPONSE = {"id": "r", "object": "response", "status": "completed", "model": "m", "output": [ITEM]}
BLOCK = {"type": "tool_use", "id": "t", "name": "f", "input": ARGUMENTS}
MESSAGE = {"type": "message", "role": "assistant", "content": [BLOCK], "stop_reason": "tool_use"}
PARTS = {"parts": [{"functionCall": {"name": "f", "args": ARGUMENTS}}]}
WHOLE: dict[str, Any] = {
    "http": {
        "choices": [{"message": {"role": "assistant", "tool_calls": [CALL]}, "finish_reason": "tool_calls"}],
    },
    "openai_responses": RESPONSE,
    "anthropic": MESSAGE,
    "gemini": {"candidates": [{"content": PARTS, "finishReason": "STOP"}]},
}
STREAMED: dict[str, list[Any]] = {
    "http": [{"choices": [{"delta": {"tool_calls": [CALL]}, "finish_reason": "tool_calls"}]}],
    "openai_responses": [{"type": "response.completed", "response": RESPONSE}],
    "anthropic": [
        {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": BLOCK},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    ],
    "gemini": [WHOLE["gemini"]],
}


def _answer(kind: str, *, stream: bool) -> bytes:
    if not stream:
        return http(200, json.dumps(WHOLE[kind]).encode(), {"Content-Type": "application/json"})
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in STREAMED[kind]) + "data: [DONE]\n\n" * (kind == "http")
    return http(200, body.encode(), {"Content-Type": "text/event-stream"})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", WHOLE)
def test_half_a_character_in_an_object_of_arguments_costs_no_answer(kind: str, stream: bool) -> None:
    """It is U+FFFD, as it is in texts; it was an unknown failure, and tried again."""
    with Server(answering(_answer(kind, stream=stream))) as server, router_to(server.url, type=kind) as router:
        found: Any
        if stream:
            with router.stream("r", "hi") as chunks:
                list(chunks)
            found = chunks.response
        else:
            found = router.complete("r", "hi")
    (call,) = found.tool_calls
    assert json.loads(call.arguments) == {"a": "x\ufffd", "\ufffd": [1]}
