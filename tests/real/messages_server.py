"""What a server of the Messages API answers, good and bad, for `responses_server.serve`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from real.responses_server import Behaviour, Exchange

USAGE = {
    "input_tokens": 61, "cache_creation_input_tokens": 7, "cache_read_input_tokens": 40, "output_tokens": 23,
}  # fmt: skip


def opened(exchange: Exchange, model: str | None = None, usage: dict[str, Any] | None = None) -> None:
    """Begin a stream with `message_start`."""
    exchange.open()
    begin: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "content": [], "stop_reason": None,
        "stop_sequence": None, "model": model or exchange.seen.body.get("model", ""),
        "usage": {**(USAGE if usage is None else usage), "output_tokens": 1},
    }  # fmt: skip
    exchange.event("message_start", message=begin)


def block(exchange: Exchange, index: int, kind: str, *pieces: str) -> None:
    """Send one block of a stream: `text` or `thinking`."""
    start = {"type": "text", "text": ""} if kind == "text" else {"type": "thinking", "thinking": "", "signature": ""}
    exchange.event("content_block_start", index=index, content_block=start)
    for piece in pieces:
        exchange.event("content_block_delta", index=index, delta={"type": f"{kind}_delta", kind: piece})
    if kind == "thinking":
        exchange.event("content_block_delta", index=index, delta={"type": "signature_delta", "signature": "c2ln"})
    exchange.event("content_block_stop", index=index)


def closed(exchange: Exchange, stop_reason: str = "end_turn", usage: dict[str, Any] | None = None) -> None:
    """End a stream."""
    usage = USAGE if usage is None else usage
    exchange.event(
        "message_delta", delta={"stop_reason": stop_reason, "stop_sequence": None},
        usage={"output_tokens": usage["output_tokens"]},
    )  # fmt: skip
    exchange.event("message_stop")


def answer(
    *pieces: str, thinking: str = "", stop_reason: str = "end_turn", model: str | None = None,
    usage: dict[str, Any] | None = None,
) -> Behaviour:  # fmt: skip
    """Return a good answer, streamed if that was asked for."""

    def behave(exchange: Exchange) -> None:
        if not exchange.seen.body.get("stream"):
            content = [{"type": "text", "text": "".join(pieces)}]
            exchange.reply(200, {
                "id": "msg_1", "type": "message", "role": "assistant", "content": content,
                "model": model or exchange.seen.body.get("model", ""), "stop_reason": stop_reason,
                "stop_sequence": None, "usage": USAGE if usage is None else usage,
            })  # fmt: skip
            return
        opened(exchange, model, usage)
        if thinking:
            block(exchange, 0, "thinking", thinking)
        block(exchange, 1 if thinking else 0, "text", *pieces)
        closed(exchange, stop_reason, usage)

    return behave


def tool_call(name: str, arguments: dict[str, Any], *then: str) -> Behaviour:
    """Return an answer that calls a tool of the agent, and after its result the text `then`."""

    def behave(exchange: Exchange) -> None:
        if "tool_result" in json.dumps(exchange.seen.body.get("messages")):
            answer(*then)(exchange)
            return
        opened(exchange)
        start = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
        exchange.event("content_block_start", index=0, content_block=start)
        delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
        exchange.event("content_block_delta", index=0, delta=delta)
        exchange.event("content_block_stop", index=0)
        closed(exchange, "tool_use")

    return behave


def error(status: int, kind: str, text: str, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Return an error in the form of the Messages API."""
    body = {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"}
    return lambda exchange: exchange.reply(status, body, headers)


def broken(*pieces: str, kind: str = "overloaded_error", text: str = "Overloaded") -> Behaviour:
    """Return a stream that holds a part of an answer and then an error."""

    def behave(exchange: Exchange) -> None:
        opened(exchange)
        exchange.event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for piece in pieces:
            exchange.event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        exchange.event("error", error={"type": kind, "message": text})

    return behave


def cut(*pieces: str) -> Behaviour:
    """Return a stream that breaks off in the middle of a block."""

    def behave(exchange: Exchange) -> None:
        opened(exchange)
        exchange.event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for piece in pieces:
            exchange.event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})

    return behave
