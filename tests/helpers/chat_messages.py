"""Messages of a conversation with tools, in the shape that callers give them."""

from __future__ import annotations

from typing import Any

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def text(words: str) -> dict[str, str]:
    """A part that is text."""
    return {"type": "text", "text": words}


def user(content: Any = "hi", **more: Any) -> dict[str, Any]:
    """A message of the user."""
    return {"role": "user", "content": content, **more}


def calls(*pairs: tuple[Any, str], content: Any = None, arguments: Any = "{}", **more: Any) -> dict[str, Any]:
    """A turn of the assistant that calls tools: an id and a name for each."""
    made = [{"id": i, "type": "function", "function": {"name": n, "arguments": arguments}} for i, n in pairs]
    return {"role": "assistant", "content": content, "tool_calls": made, **more}


def result(call_id: Any, content: Any = "done", **more: Any) -> dict[str, Any]:
    """What the tool said to a call."""
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}
