"""An estimate of the tokens that an attempt will use, made beforehand: `tpm` reserves this many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

BYTES_PER_TOKEN = 3
"""Fewer than in English text (four), since code, numbers and other languages have fewer: an estimate errs upward."""
USUAL_ANSWER = 1000
"""Tokens reserved for an answer without `max_tokens`. Most answers are shorter. If an answer is longer, that is
corrected when its usage is known; reserving too much would make other calls wait."""
PART_TOKENS = 1600
"""Tokens of a picture or a file: Anthropic's upper bound for a picture; its size in bytes says nothing about it."""


def request_tokens(request: Any, messages: Sequence[Mapping[str, Any]], *, has_output: bool) -> int:
    """Return the estimate for `request`: the bytes of its texts / 3, rounded up, and `max_tokens` for the answer.

    Args:
        request: The request; may have `tools`, `schema` and `max_tokens`.
        messages: Its messages.
        has_output: Whether its answer consists of tokens.
    """
    size = parts = 0
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, (list, tuple)) else (content,):
            if isinstance(part, Mapping) and "text" not in part and part.get("type") != "text":
                parts += 1
            else:
                size += _size(part.get("text") if isinstance(part, Mapping) else part)
        if calls := message.get("tool_calls"):
            size += _size(calls)
    for more in (getattr(request, "tools", None), getattr(request, "schema", None)):
        if more:
            size += _size(more)
    answer = (getattr(request, "max_tokens", None) or USUAL_ANSWER) if has_output else 0
    return -(-size // BYTES_PER_TOKEN) + parts * PART_TOKENS + int(answer)


def _size(value: Any) -> int:
    """Return the size of a text, or of another value as JSON, in bytes."""
    if value is None:
        return 0
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    try:
        return len(to_json(value, fallback=repr))
    except Exception:  # noqa: BLE001 - tools and schemas may hold anything; other code checks whether they can be sent
        return 0
