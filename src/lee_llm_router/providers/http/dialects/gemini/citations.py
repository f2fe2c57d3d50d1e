"""Reads the sources of an answer: what it is grounded on, and what it quotes. Pure.

Google gives positions in the answer in bytes of UTF-8, within one part of the content. Ours are in characters of the
whole text. If a position comes with its words, the words must be there; otherwise they are searched for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lee_llm_router.providers.http.dialects.json_body import mapping, string
from lee_llm_router.response.details import Citation

_MAX_CITATIONS = 10_000


def citations_of(
    parts: Sequence[Mapping[str, Any] | str], grounding: Mapping[str, Any], quoted: Sequence[Any]
) -> tuple[Citation, ...]:
    """Return the sources of an answer.

    Args:
        parts: The parts of its content; a string for a part that is only text.
        grounding: Its `groundingMetadata`.
        quoted: The citations of its `citationMetadata`.
    """
    text = _Text(parts)
    found: list[Citation] = []
    for citation in (*_grounded(text, grounding), *_quoted(text, quoted)):
        found.append(citation)
        if len(found) >= _MAX_CITATIONS:
            break
    return tuple(found)


class _Text:
    """The text of an answer, and the positions of its parts."""

    def __init__(self, parts: Sequence[Mapping[str, Any] | str]) -> None:
        self._starts: list[int] = []
        """Where each part begins, in bytes."""
        pieces: list[bytes] = []
        size = 0
        for part in parts:
            self._starts.append(size)
            text = part if isinstance(part, str) else None if part.get("thought") is True else part.get("text")
            if isinstance(text, str):
                pieces.append(text.encode("utf-8", "replace"))
                size += len(pieces[-1])
        self._bytes = b"".join(pieces)
        self._is_ascii = self._bytes.isascii()

    def place(self, start: Any, end: Any, part: Any = None, words: str | None = None) -> tuple[int | None, int | None]:
        """Return the start and the end of a range in characters; None for what is not known."""
        if type(end) is not int or (start is not None and type(start) is not int):
            start, end = -1, -1
        start = start or 0  # Google omits a 0
        offset = self._starts[part] if type(part) is int and 0 <= part < len(self._starts) else 0
        for shift in dict.fromkeys((offset, 0)):
            if self._holds(start + shift, end + shift, words):
                return self._character(start + shift), self._character(end + shift)
        if words:
            at = self._bytes.find(words.encode("utf-8", "replace"))
            if at >= 0:
                return self._character(at), self._character(at + len(words.encode("utf-8", "replace")))
        return None, None

    def _holds(self, start: int, end: int, words: str | None) -> bool:
        if not 0 <= start <= end <= len(self._bytes):
            return False
        return not words or self._bytes[start:end] == words.encode("utf-8", "replace")

    def _character(self, position: int) -> int:
        return position if self._is_ascii else len(self._bytes[:position].decode("utf-8", "ignore"))


def _grounded(text: _Text, grounding: Mapping[str, Any]) -> Iterator[Citation]:
    """Yield the sources that parts of the answer rest on, then those that no part names."""
    listed, supports = grounding.get("groundingChunks"), grounding.get("groundingSupports")
    chunks = [_source(chunk) for chunk in listed] if isinstance(listed, list) else []
    named: set[int] = set()
    for support in supports if isinstance(supports, list) else ():
        indices, segment = mapping(support).get("groundingChunkIndices"), mapping(mapping(support).get("segment"))
        start, end = text.place(
            segment.get("startIndex"), segment.get("endIndex"), segment.get("partIndex"), string(segment.get("text"))
        )
        for index in indices if isinstance(indices, list) else ():
            if type(index) is int and 0 <= index < len(chunks):
                named.add(index)
                yield replace(chunks[index], start=start, end=end)
    for index, chunk in enumerate(chunks):
        if index not in named:
            yield chunk


def _source(chunk: Any) -> Citation:
    """Return address, title and words of a source of any kind."""
    kind = next((value for value in mapping(chunk).values() if isinstance(value, dict)), {})
    names = ("uri", "sourceUri", "imageUri")
    url = next((found for found in (string(kind.get(name)) for name in names) if found), None)
    return Citation(url=url, title=string(kind.get("title")), quote=string(kind.get("text")))


def _quoted(text: _Text, quoted: Sequence[Any]) -> Iterator[Citation]:
    for one in quoted:
        if isinstance(one, dict):
            start, end = text.place(one.get("startIndex"), one.get("endIndex"))
            yield Citation(url=string(one.get("uri")), title=string(one.get("title")), start=start, end=end)
