"""Half a surrogate pair in the arguments of a tool call that come as an object: the answer counts, none is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.servers import Server, answering, http, json_answer
from helpers.stream_support import router_to
from lee_llm_router import InvalidRequestError

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


@pytest.mark.parametrize("written", ['{"a": "x\\ud83d"}', '{"a": "x\ud83d"}'], ids=["escaped", "plain"])
@pytest.mark.parametrize("kind", WHOLE)
def test_half_a_character_in_arguments_that_go_back_spoils_nothing_else(kind: str, written: str) -> None:
    """It is U+FFFD. All of the arguments stood as a text in another object, or the request could not be written."""
    call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": written}}
    messages: list[Any] = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t", "content": "seen"},
    ]
    refused = json_answer({"error": {"message": "enough"}}, 400)
    with Server(answering(refused)) as server, router_to(server.url, type=kind) as router:
        with pytest.raises(InvalidRequestError, match="enough"):
            router.complete("r", messages)
        (asked,) = server.requests
    assert {"a": "x\ufffd"} in list(_objects(asked.json))


def _objects(value: Any) -> Iterator[Any]:
    """The objects in a JSON value, and in the JSON texts in it."""
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _objects(inner)
