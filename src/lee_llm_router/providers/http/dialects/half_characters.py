"""Joins characters that a server has split, half a surrogate pair in each piece. Pure."""

from __future__ import annotations

from dataclasses import replace

from lee_llm_router._util.lenient_json import ends_in_half, whole_text
from lee_llm_router.response.types import ToolCallDelta

_Tools = tuple[ToolCallDelta, ...]


class HalfCharacters:
    """Half characters at the end of pieces, waiting for the next piece of their field."""

    def __init__(self) -> None:
        self._halves: dict[str | int, str] = {}
        """By field; for the arguments of a tool call by position."""

    def join(self, text: str, reasoning: str, tools: _Tools) -> tuple[str, str, _Tools]:
        """Return the pieces with whole characters, each with the half that waited for it."""
        calls = tuple(replace(call, arguments=self._whole(call.index, call.arguments)) for call in tools)
        return self._whole("text", text), self._whole("reasoning", reasoning), calls

    def left(self) -> tuple[str, str, _Tools]:
        """Return what is still waiting at the end: U+FFFD for each half."""
        halves = {field: whole_text(half) for field, half in self._halves.items()}
        text, reasoning = halves.pop("text", ""), halves.pop("reasoning", "")
        calls = tuple(
            ToolCallDelta(index=index, arguments=half) for index, half in halves.items() if type(index) is int
        )
        return text, reasoning, calls

    def _whole(self, field: str | int, piece: str) -> str:
        if not piece:
            return piece
        piece = self._halves.pop(field, "") + piece
        if ends_in_half(piece):
            self._halves[field], piece = piece[-1], piece[:-1]
        return whole_text(piece)
