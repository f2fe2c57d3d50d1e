"""Regular expressions that are compiled on first use: most programs need few of those that are loaded."""

from __future__ import annotations

import re
from typing import Any, cast


class _LatePattern:
    """Gets the attributes of a compiled pattern on first access."""

    def __init__(self, text: str, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, value)  # stored, so that later accesses cost nothing more
        return value


def late_pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """Return a pattern equivalent to that of `re.compile`."""
    return cast("re.Pattern[str]", _LatePattern(text, flags))
