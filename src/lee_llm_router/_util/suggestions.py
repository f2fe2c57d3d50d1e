"""Suggestions for words that are close to a known one."""

from __future__ import annotations

from collections.abc import Iterable

MAX_WORD = 64
"""Characters of the longest word that is compared."""


class Suggester:
    """Finds the known word closest to a wrong one, within a budget of comparisons.

    A comparison takes some 30 microseconds: without a budget, a thousand wrong names among a thousand known ones would
    take half a minute.
    """

    def __init__(self, comparisons: int = 20_000) -> None:
        self._left = comparisons

    def closest(self, word: object, known: Iterable[str]) -> str | None:
        """Return the word of `known` closest to `word`, whatever its case; None if none is close."""
        from difflib import get_close_matches  # noqa: PLC0415 - only mistakes need it

        if not isinstance(word, str) or not 0 < len(word) <= MAX_WORD:
            return None
        by_lower = {name.lower(): name for name in known if len(name) <= MAX_WORD}
        self._left -= len(by_lower)
        near = get_close_matches(word.lower(), by_lower, 1) if self._left >= 0 else []
        return by_lower[near[0]] if near else None

    def did_you_mean(self, word: object, known: Iterable[str]) -> str:
        """Return `` (did you mean 'x'?)`` with the word of `known` closest to `word`; empty if none is close."""
        near = self.closest(word, known)
        return "" if near is None else f" (did you mean {near!r}?)"
