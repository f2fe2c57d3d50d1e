"""The likely mistake if a YAML parser only says what it did not find."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import category

from lee_llm_router._util.late_pattern import late_pattern
from lee_llm_router.config.tree import Position

_MAX_LINE = 2000
"""Characters of a line that are searched for a cause."""

# Quoted text; in double quotes it may contain escaped characters.
_QUOTED = late_pattern(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"")
_SECOND_COLON = late_pattern(r":\s.*:(?:\s|$)")


def likely_cause(lines: Sequence[str], position: Position | None, said: str) -> str:
    """Return the likely mistake in `lines` near `position`; empty if none is known.

    Args:
        lines: The lines of the file.
        position: Where the parser stopped.
        said: The parser's message.
    """
    if position is None or position.line > len(lines):
        return ""
    line = lines[position.line - 1][:_MAX_LINE]
    here = line[position.column - 1 : position.column]
    plain = _QUOTED.sub("", line)
    # The parser notices some mistakes only on the next line.
    before = lines[position.line - 2][:_MAX_LINE] if position.line > 1 else ""
    if odd := invisible_character(before + line):
        return f" (there is an invisible character, U+{ord(odd):04X}: write a plain space)"
    if "${" in plain and ("flow" in said or any(bracket in plain.replace("${", "") for bracket in "{[")):
        return ' (a reference inside braces or brackets needs quotes: "${NAME}")'
    if here and here in "@`%":
        return f" (text that begins with {here} needs quotes)"
    if "mapping values" in said and _SECOND_COLON.search(plain):
        return " (text with a colon and a space in it needs quotes)"
    return ""


def invisible_character(text: str) -> str | None:
    """Return the first character of `text` that looks like a space or is invisible, but is not a plain space."""
    return next((char for char in text if char != " " and category(char) in ("Zs", "Cf")), None)
