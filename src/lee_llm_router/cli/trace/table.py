"""Trace records as rows of text, for a terminal or a pipe."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from lee_llm_router._util.numbers import MAX_COUNT
from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.telemetry.calls import TracedCall, believed, calls_from
from lee_llm_router.telemetry.records import TraceRecord

DEFAULT_WIDTH = 80
TABLE_WIDTH = 70
"""Columns of the narrowest table. Below that a row becomes a name with what there is to tell of it underneath."""
MIN_WIDTH = 24
"""Columns of the narrowest lines; a narrower terminal gets these."""

_TIME = 8
_OUTCOME = 22
"""Width of the longest outcome: ``CONTRACT_VIOLATION 200``."""
_DURATION = 7
_TAIL = 16
"""Width of the last column: tokens and id of a call, or what followed an attempt."""
_ID = 8
"""Characters shown of an id, from its end: it begins with the time, which is much the same for all calls of a day."""
_GAP = "  "
_NARROW_INDENT = 3
_MAX_CHARACTERS = 1000

_Colour: TypeAlias = Literal["green", "red", "yellow", "dim", "bold", ""]
_SGR = {"green": "32", "red": "31", "yellow": "33", "dim": "2", "bold": "1"}
_COLOUR_OF: dict[str, _Colour] = {"ok": "green", "error": "red", "cancelled": "yellow", "skipped": "yellow"}


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of five columns; the first and fourth are right-aligned."""

    cells: tuple[str, str, str, str, str]
    colours: tuple[_Colour, _Colour, _Colour, _Colour, _Colour]


@dataclass(frozen=True, slots=True)
class _Note:
    """A line of text over the whole width."""

    text: str
    indent: int = 0


def render_calls(records: Iterable[TraceRecord], width: int = DEFAULT_WIDTH, color: bool = False) -> str:
    """Return a row for each call and, below it, a row for each attempt with its error. No newline at the end.

    Args:
        records: The records, in the order to show them in.
        width: Columns of the longest line, at least 24; below 70 there is no table. A text that does not fit ends in
            an ellipsis.
        color: Whether to colour with ANSI sequences. Control characters in a vendor's text are escaped either way.
    """
    lines = _lines_of(records)
    if not lines:
        return "no calls traced"
    if width < TABLE_WIDTH:
        return "\n".join(text for line in lines for text in _narrow(line, max(width, MIN_WIDTH), color))
    lines.insert(0, _Row(("time", "role", "outcome", "total", "tokens  id"), ("dim",) * 5))
    widths = _widths([line.cells for line in lines if isinstance(line, _Row)], width)
    return "\n".join(_line(line, widths, width, color).rstrip() for line in lines)


def _lines_of(records: Iterable[TraceRecord]) -> list[_Row | _Note]:
    lines: list[_Row | _Note] = []
    date = ""
    for call in calls_from(records):
        start = call.started
        if start and f"{start:%Y-%m-%d}" != date:
            date = f"{start:%Y-%m-%d}"
            lines.append(_Note(f"{date} UTC"))
        lines.append(_call_row(call, start))
        for record in call.records:
            lines.append(_attempt_row(record))
            if record.error:
                lines.append(_Note(record.error, indent=_TIME + len(_GAP)))
    return lines


def _call_row(call: TracedCall, start: datetime | None) -> _Row:
    last = call.last
    outcome, colour = _outcome(last)
    if call.outcome == "unfinished":
        outcome, colour = "unfinished", "yellow"
    tail = f"{'-' if call.tokens is None else _count(call.tokens):>6}{_GAP}{last.request_id[-_ID:]}"
    time = f"{start:%H:%M:%S}" if start else "?"
    return _Row((time, last.role, outcome, _duration(call.total_ms), tail), ("", "bold", colour, "", ""))


def _attempt_row(record: TraceRecord) -> _Row:
    number = "-" if record.attempt is None else str(believed(record.attempt) + 1)
    outcome, colour = _outcome(record)
    cells = (number, record.target, outcome, _duration(record.elapsed_ms), _what_next(record))
    return _Row(cells, ("dim", "", colour, "", "dim"))


def _outcome(record: TraceRecord) -> tuple[str, _Colour]:
    if record.outcome == "ok":
        if record.finish_reason in (None, "", "stop"):
            return "ok", "green"
        # Whatever else ended it is worth a look: a cut answer, a call of tools, a vendor's own word.
        return f"ok ({record.finish_reason})", "yellow" if record.finish_reason == "length" else "green"
    status = "" if record.status_code is None or abs(record.status_code) > MAX_COUNT else f" {record.status_code}"
    return (record.failure_type or record.outcome) + status, _COLOUR_OF.get(record.outcome, "")


def _what_next(record: TraceRecord) -> str:
    if record.verdict in ("return", "raise"):
        return ""
    return f"{record.verdict} in {_duration(record.wait_ms)}" if record.wait_ms else record.verdict


def _duration(milliseconds: float) -> str:
    milliseconds = believed(milliseconds)
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.1f} s" if milliseconds < 99_950 else f"{milliseconds / 1000:.0f} s"


def _count(number: int) -> str:
    return str(number) if number < 100_000 else f"{number / 1000:.0f}k"


def _widths(rows: Sequence[tuple[str, str, str, str, str]], width: int) -> tuple[int, int, int, int, int]:
    """Return the widths the content needs; if they exceed `width`, the column of names shrinks."""
    name, outcome = (max(_columns(bounded(row[column], _MAX_CHARACTERS)) for row in rows) for column in (1, 2))
    outcome = min(outcome, _OUTCOME)
    room = width - _TIME - outcome - _DURATION - _TAIL - 4 * len(_GAP)
    return _TIME, min(name, room), outcome, _DURATION, _TAIL


def _line(line: _Row | _Note, widths: Sequence[int], width: int, color: bool) -> str:
    if isinstance(line, _Note):
        return " " * line.indent + _paint(_fit(line.text, width - line.indent), "dim" if color else "")
    cells = []
    for column, (cell, colour, cell_width) in enumerate(zip(line.cells, line.colours, widths, strict=True)):
        text = _fit(cell, cell_width)
        space = " " * (cell_width - _columns(text))
        painted = _paint(text, colour if color else "")
        cells.append(space + painted if column in (0, 3) else painted + space)
    return _GAP.join(cells)


def _narrow(line: _Row | _Note, width: int, color: bool) -> Iterator[str]:
    """Yield the lines of a row or note where there is no room for a table."""
    if isinstance(line, _Note):
        indent = min(line.indent, _NARROW_INDENT)
        yield " " * indent + _paint(_fit(line.text, width - indent), "dim" if color else "")
        return
    head, name, *told = zip(line.cells, line.colours, strict=True)
    start = _fit(head[0].strip(), _TIME).rjust(2)
    name_text = _fit(name[0], width - _columns(start) - 1)
    yield f"{_paint(start, head[1] if color else '')} {_paint(name_text, name[1] if color else '')}"
    told = [(" ".join(text.split()), colour) for text, colour in told if text.strip(" -")]
    row, room = "", 0
    for text, colour in told:
        shown = _fit(text, width - _NARROW_INDENT)
        painted = _paint(shown, colour if color else "")
        if row and _columns(shown) + len(_GAP) <= room:
            row, room = row + _GAP + painted, room - _columns(shown) - len(_GAP)
        else:
            if row:
                yield row
            row, room = " " * _NARROW_INDENT + painted, width - _NARROW_INDENT - _columns(shown)
    if row:
        yield row


def _paint(text: str, colour: _Colour) -> str:
    return f"\x1b[{_SGR[colour]}m{text}\x1b[0m" if colour and text else text


def _fit(text: str, width: int) -> str:
    """Return `text` without control characters and at most `width` columns wide. Leading spaces are kept."""
    start = text[: len(text) - len(text.lstrip(" "))]
    text = start + bounded(text, _MAX_CHARACTERS)
    if _columns(text) <= width:
        return text
    while _columns(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _columns(text: str) -> int:
    """Return the columns a terminal needs for `text`; wide and fullwidth characters take two (Unicode Annex 11)."""
    return len(text) if text.isascii() else sum(_columns_of(character) for character in text)


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
