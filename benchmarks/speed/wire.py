"""What every subject sends and what the server answers: one chat completion, and the same as a stream."""

from __future__ import annotations

import json
from typing import Any

MODEL = "gpt-4.1-mini"
KEY_NAME = "BENCHMARK_API_KEY"
KEY = "benchmark-key-of-a-usual-length-0123456789abcdef"
TEXT = (
    "Vienna has about two million inhabitants and is the largest city of Austria; it stands on the Danube, at the"
    " eastern edge of the Alps."
)
MESSAGES: list[dict[str, str]] = [
    {"role": "system", "content": "You answer questions about cities, in one sentence and without adornment."},
    {"role": "user", "content": "How many people live in Vienna, and where does it stand?"},
]
PAYLOAD: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "temperature": 0.2}
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

_HEAD = {"id": "chatcmpl-C5fW0v1y2ZkQ3xS4tR5uV6wX7yZ8", "created": 1_760_000_000, "model": MODEL}
_USAGE = {"prompt_tokens": 39, "completion_tokens": 27, "total_tokens": 66}
_PACKET = 16_384


def answer() -> bytes:
    """One whole HTTP answer of the kind a vendor gives."""
    message = {"role": "assistant", "content": TEXT, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return whole_answer({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE})


def whole_answer(value: dict[str, Any]) -> bytes:
    """One whole HTTP answer with `value` as its body."""
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def streamed_answer(pieces: int) -> bytes:
    """One whole streamed HTTP answer of `pieces` events with text, in packets of 16 kB."""
    # Not the same word again and again: that is taken for a model gone astray by some.
    texts: list[dict[str, Any]] = [{"content": f" word{place % 100}"} for place in range(pieces)]
    deltas = [{"role": "assistant", "content": ""}, *texts]
    events = [_event([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    events += [_event([{"index": 0, "delta": {}, "finish_reason": "stop"}]), _event([], _USAGE), b"data: [DONE]\n\n"]
    return packets(b"".join(events))


def packets(body: bytes) -> bytes:
    """One whole streamed HTTP answer with the events in `body`, in packets of 16 kB."""
    parts = [body[at : at + _PACKET] for at in range(0, len(body), _PACKET)]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(packet), packet) for packet in parts) + b"0\r\n\r\n"


def _event(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
    event = {**_HEAD, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
    return b"data: " + json.dumps(event).encode() + b"\n\n"
