"""Lines of cells, fitted to a number of columns. Escapes texts; measures wide characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from lee_llm_router._util.scrubbing import bounded

if TYPE_CHECKING:
    from lee_llm_router.cli.trace.figures import Style

GAP = "  "
_MAX_CHARACTERS = 1000


class Cell(NamedTuple):
    """A text with its style on a terminal with colours."""

    text: str
    style: Style = ""


def columns(text: str) -> int:
    """Return the columns that a terminal needs for `text`; wide and fullwidth characters take two (Unicode Annex
    11)."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def printable_line(text: str) -> str:
    """Return `text` on one line of limited length, without control characters. Leading spaces stay."""
    start = text[: len(text) - len(text.lstrip(" "))]
    return start + bounded(text, _MAX_CHARACTERS)


def fitted(text: str, width: int) -> str:
    """Return `text` in the form of `printable_line`, at most `width` columns wide: if cut, it ends in an ellipsis."""
    text = printable_line(text)
    if columns(text) <= width:
        return text
    taken, kept = 0, []
    for character in text:
        taken += _columns_of(character)
        if taken > width - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"


def row_text(cells: Sequence[Cell], widths: Sequence[int], right: Sequence[bool], gap: str = GAP) -> Text:
    """Return a line with each cell padded to its width, right-aligned if `right` says so; no padding after the last."""
    line = Text(no_wrap=True, overflow="ignore")
    for number, (cell, width, to_right) in enumerate(zip(cells, widths, right, strict=True)):
        text = fitted(cell.text, width)
        space = " " * (width - columns(text))
        line.append(gap if number else "")
        line.append(space if to_right else "")
        line.append(text, cell.style)
        if not to_right and number < len(cells) - 1:
            line.append(space)
    line.rstrip()
    return line


def plain_rows(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Return lines for a pipe: no cell is cut, and at least two spaces separate cells."""
    shown = [[printable_line(cell).strip() or "-" for cell in row] for row in rows]
    widths = [max(map(columns, column)) for column in zip(*shown, strict=True)]
    return [_plain_row(row, widths, right) for row in shown]


def _plain_row(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells = []
    for cell, width, to_right in zip(row, widths, right, strict=True):
        space = " " * (width - columns(cell))
        cells.append(space + cell if to_right else cell + space)
    return GAP.join(cells).rstrip()


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
