"""Suggestions for words that are close to a known one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

MAX_WORD = 64
"""Longest word to compare, in characters."""


class Suggester:
    """Finds the known word closest to a wrong one, within a budget of comparisons.

    A comparison takes about 30 microseconds: without a budget, a thousand wrong names among a thousand known ones would
    take half a minute.
    """

    def __init__(self, comparisons: int = 20_000) -> None:
        self._left = comparisons

    def closest(self, word: object, known: Collection[str]) -> str | None:
        """Return the word of `known` closest to `word`, ignoring case; None if none is close."""
        from difflib import get_close_matches  # noqa: PLC0415 - only mistakes need it

        if not isinstance(word, str) or not 0 < len(word) <= MAX_WORD or self._left < len(known):
            return None
        self._left -= len(known)
        by_lower = {name.lower(): name for name in known if len(name) <= MAX_WORD}
        near = get_close_matches(word.lower(), by_lower, 1)
        return by_lower[near[0]] if near else None

    def did_you_mean(self, word: object, known: Collection[str]) -> str:
        """Return `` (did you mean 'x'?)`` with the word of `known` closest to `word`; empty if none is close."""
        near = self.closest(word, known)
        return "" if near is None else f" (did you mean {near!r}?)"


_shared: ContextVar[Suggester | None] = ContextVar("shared_suggester", default=None)


@contextmanager
def sharing_suggester(suggester: Suggester) -> Iterator[None]:
    """Let `current_suggester` return `suggester` inside, so that everything checked there shares its budget."""
    token = _shared.set(suggester)
    try:
        yield
    finally:
        _shared.reset(token)


def current_suggester() -> Suggester:
    """Return the shared suggester; a new one if none is shared."""
    return _shared.get() or Suggester()
