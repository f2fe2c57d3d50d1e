"""What servers that stream chat completions send, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from helpers.servers import Conversation, Script

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def event(value: Any) -> bytes:
    """One server-sent event; bytes go out as they are."""
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def delta(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    """A chunk as OpenAI sends it."""
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "model": "served-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def usage(**more: Any) -> dict[str, Any]:
    """The chunk that comes last where usage is asked for."""
    return {"id": "c1", "object": "chat.completion.chunk", "model": "served-1", "choices": [], "usage": USAGE | more}


def named(name: str, text: Any = "", **call: Any) -> dict[str, Any]:
    """A call of a tool in a delta, or its first piece."""
    return {"function": {"name": name, "arguments": text}, **call}


DONE = event(b"[DONE]")
ROLE_ONLY = delta(role="assistant", content=None)
ROLE = event(delta(role="assistant", content=""))
HEL, LO, STOP = event(delta(content="hel")), event(delta(content="lo")), event(delta("stop"))
EVENTS = [ROLE, HEL, LO, STOP, event(usage()), DONE]
"""A whole answer: "hello"."""


def framed(data: bytes) -> bytes:
    """`data` as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def streaming(*events: bytes, then: Callable[[Conversation], None] | None = None, end: bytes = LAST) -> Script:
    """Answers each request with `events`, each in a chunk of its own, and the body's `end`.

    With `then`, does that in place of the end, and hangs up.
    """

    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            conversation.send(HEAD if then is None else HEAD[:-2] + b"Connection: close\r\n\r\n")
            for data in events:
                conversation.send(framed(data))
            if then is not None:
                then(conversation)
                return
            conversation.send(end)

    return script


def in_turn(*scripts: Script) -> Script:
    """Plays the first script to the first connection, and so on; the last one to all that follow."""
    left = list(scripts)

    def script(conversation: Conversation) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(conversation)

    return script
