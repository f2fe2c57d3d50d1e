"""Regular expressions that are compiled when they are first used: most programs need few of those that are loaded."""

from __future__ import annotations

import re
from typing import Any, cast


class _LatePattern:
    """Has what a compiled pattern has, from the moment that it is asked for."""

    def __init__(self, text: str, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, value)  # found at once from now on, so that a later use costs nothing more
        return value


def late_pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """Return a pattern that does what that of `re.compile` does."""
    return cast("re.Pattern[str]", _LatePattern(text, flags))
