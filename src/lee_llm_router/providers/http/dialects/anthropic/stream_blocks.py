"""One content block of a streamed message in progress. Pure."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from lee_llm_router._util.lenient_json import whole_text
from lee_llm_router.providers.http.dialects.anthropic.blocks import block_kind
from lee_llm_router.providers.http.dialects.arguments_so_far import ArgumentsSoFar

IMPLIED = {"text_delta": "text", "citations_delta": "text", "thinking_delta": "thinking", "signature_delta": "thinking"}
"""The type of block that a delta belongs to."""


class BlockSoFar:
    """A block: its initial fields, and the pieces since then.

    Args:
        fields: Those of its `content_block_start`.
    """

    __slots__ = (
        "arguments",
        "citations",
        "fields",
        "fragments",
        "has_text",
        "is_closed",
        "kind",
        "pieces",
        "position",
        "signature",
    )

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.kind = block_kind(fields)
        self.pieces: list[str] = []
        """Pieces of its text, or of its thinking."""
        self.has_text = False
        """Whether a piece of its thinking held any text."""
        self.fragments: list[str] = []
        """Pieces of the JSON text of its input."""
        self.arguments = ArgumentsSoFar()
        self.citations: list[Any] = []
        self.signature: str | None = None
        self.position: int | None = None
        """The number of its tool call; None if it is not a call."""
        self.is_closed = False

    def whole(self) -> dict[str, Any]:
        """Return the block in its unstreamed form."""
        fields = dict(self.fields)
        if self.kind in ("text", "thinking") and (self.pieces or self.kind not in fields):
            fields[self.kind] = whole_text("".join(self.pieces))
        if self.citations:
            given = fields.get("citations")
            fields["citations"] = [*(given if isinstance(given, list) else ()), *self.citations]
        if self.signature is not None:
            fields["signature"] = self.signature
        if any(map(str.strip, self.fragments)) or (self.fragments and not fields.get("input")):
            fields["input"] = _input_in("".join(self.fragments))
        return fields


def _input_in(text: str) -> Any:
    """Return the value of JSON text; none for blank text, and the text itself if it is not JSON."""
    if not text.strip():
        return {}
    try:
        return from_json(whole_text(text))
    except ValueError:
        return whole_text(text)
