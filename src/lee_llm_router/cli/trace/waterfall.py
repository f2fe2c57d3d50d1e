"""A call on a time axis: a line for each attempt, wait and skipped target."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from lee_llm_router.cli.trace.figures import attempt_outcome, duration
from lee_llm_router.cli.trace.layout import GAP, Cell, columns, fitted, printable_line
from lee_llm_router.telemetry.calls import believed
from lee_llm_router.telemetry.timeline import Span, timeline_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from lee_llm_router.telemetry.calls import TracedCall

_LEAST_BAR = 12
"""Least columns of the axis; with fewer, there is none."""
_TOOK = 8
_WIDEST_NAME = 40
_WIDEST_OUTCOME = 22


class Marks(NamedTuple):
    """The characters of a drawing."""

    output: str = "━"
    silence: str = "─"
    first: str = "▸"
    wait: str = "·"
    moment: str = "×"


ASCII_MARKS = Marks("=", "-", ">", ".", "x")
"""For terminals without others."""


def render_waterfall(call: TracedCall, console: Console, marks: Marks | None = None) -> None:
    """Draw the attempts, waits and skipped targets of `call` one below the other, on one time axis.

    Args:
        call: The call.
        console: The console to draw on.
        marks: The characters to draw with.
    """
    spans = timeline_of(call)
    names = [_name(span) for span in spans]
    ends = [_outcome(span) for span in spans]
    room = console.width
    name = min(max(map(columns, names)), _WIDEST_NAME, max(10, room * 3 // 10))
    outcome = min(max(columns(printable_line(cell.text)) for cell in ends), _WIDEST_OUTCOME) if room >= 60 else 0
    bar = room - name - _TOOK - outcome - len(GAP) * (3 if outcome else 2)
    total = max((span.end_ms for span in spans), default=0.0)
    if bar >= _LEAST_BAR:
        _print(console, [Cell(" " * (name + len(GAP))), Cell(_axis(total, bar), "dim")])
    for span, text, end in zip(spans, names, ends, strict=True):
        cells = [Cell(_padded(text, name), "dim" if span.kind in ("wait", "end") else ""), Cell(GAP)]
        if bar >= _LEAST_BAR:
            cells += [*_bar(span, total, bar, marks or Marks()), Cell(GAP)]
        cells.append(Cell(f"{'' if span.kind in ('skipped', 'end') else duration(span.took_ms):>{_TOOK}}"))
        if outcome:
            cells += [Cell(GAP), Cell(fitted(end.text, outcome), end.style)]
        _print(console, cells)


def _name(span: Span) -> str:
    record = span.record
    if span.kind == "wait":
        return "  router" if span.waited_for is None else "  waited"
    if span.kind == "end":
        return "-  ended here"
    number = "-" if record.attempt is None else str(believed(record.attempt) + 1)
    return printable_line(f"{number}  {record.target}")


def _outcome(span: Span) -> Cell:
    if span.kind != "wait":
        return Cell(*attempt_outcome(span.record))
    return Cell(span.waited_for or "its own work", "dim")


def _bar(span: Span, total: float, room: int, marks: Marks) -> list[Cell]:
    """Return the line of a part of a call: empty columns, its marks, and empty columns, `room` in all."""
    start = min(_column(span.start_ms, total, room), room - 1)
    end = min(max(start + 1, _column(span.end_ms, total, room)), room)
    length = end - start
    if span.kind in ("skipped", "end"):
        shown = [Cell(marks.moment, "yellow")]
        end = start + 1
    elif span.kind == "wait":
        shown = [Cell(marks.wait * length, "dim")]
    else:
        style = attempt_outcome(span.record)[1]
        if span.first_token_ms is None:
            shown = [Cell(marks.output * length, style)]
        else:
            silent = min(max(0, _column(span.first_token_ms, total, room) - start), length - 1)
            shown = [Cell(marks.silence * silent, style), Cell(marks.first, "cyan"),
                     Cell(marks.output * (length - silent - 1), style)]  # fmt: skip
    return [Cell(" " * start), *shown, Cell(" " * (room - end))]


def _column(moment: float, total: float, room: int) -> int:
    return int(moment / total * room) if total > 0 else 0


def _axis(total: float, room: int) -> str:
    """Return the times above the lines: the start, as many round ones as fit, and the end."""
    end = duration(total)
    line = list("0".ljust(room))
    line[room - len(end) :] = end
    step = _step(total, max(1, room // 14))
    at = step
    while 0 < at < total:
        text, start = duration(at), _column(at, total, room)
        if start + len(text) + 1 < room - len(end) and "".join(line[start - 1 : start + len(text) + 1]).isspace():
            line[start : start + len(text)] = text
        at += step
    return "".join(line)


def _step(total: float, most: int) -> float:
    """Return the shortest round time that fits into `total` at most `most` times."""
    step = 1.0
    while total / step > most:
        step *= 2.5 if str(step).startswith("2") else 2
    return step


def _padded(text: str, width: int) -> str:
    text = fitted(text, width)
    return text + " " * (width - columns(text))


def _print(console: Console, cells: Sequence[Cell]) -> None:
    line = Text.assemble(*((cell.text, cell.style) for cell in cells))
    line.rstrip()
    console.print(line, no_wrap=True, overflow="ignore", crop=False)
