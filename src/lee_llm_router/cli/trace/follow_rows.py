"""Rows of `trace follow`, drawn one by one: a table whose rows are unknown when its heading is printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from lee_llm_router.cli.output import wants_color, write_json_text
from lee_llm_router.cli.trace.fields import picked
from lee_llm_router.cli.trace.figures import attempt_outcome, duration, what_next
from lee_llm_router.cli.trace.layout import GAP, Cell, columns, printable_line, row_text
from lee_llm_router.cli.trace.screen import draw, drawn, is_piped, terminal_width
from lee_llm_router.cli.trace.table import COLUMNS, TABLE_WIDTH, CallColumn, render_calls
from lee_llm_router.telemetry.calls import TracedCall, believed, parsed_time
from lee_llm_router.telemetry.query import CallFilter
from lee_llm_router.telemetry.record_json import json_object, json_text
from lee_llm_router.telemetry.records import TraceRecord
from lee_llm_router.telemetry.tailing import TailRead

_WIDTHS = {
    "time": 8, "role": 12, "outcome": 14, "target": 26, "tried": 5, "total": 7, "first": 7, "tokens": 11, "cost": 9,
    "id": 8, "metadata": 20, "error": 30,
}  # fmt: skip
"""Initial widths of the table's columns; a column widens when something wider comes."""
_WIDEST_PART = 36
"""Widest cell of an attempt's row, except for its error."""
_LEAST_PART = 4
"""If fewer columns are left, a cell that needs more is omitted."""
_PIPED_WIDTHS = {"time": 20, "id": 36}


class _Rows:
    """What both forms share: which calls and attempts to show."""

    def __init__(self, wanted: CallFilter, *, attempts: bool) -> None:
        self._wanted = wanted
        self._of_attempts = replace(wanted, status=None, slower_than=None)
        self._attempts = attempts

    def _records(self, found: TailRead) -> list[TraceRecord]:
        """Return the attempts to show."""
        return [r for r in found.records if self._attempts and self._of_attempts.matches(TracedCall((r,)))]

    def _calls(self, found: TailRead) -> list[TracedCall]:
        return [call for call in found.calls if self._wanted.matches(call)]


class JsonRows(_Rows):
    """Prints records, one per line.

    Args:
        wanted: Which calls.
        names: The fields of a record; None: all.
        attempts: Whether to print records as they come, instead of when their call ends.
    """

    def __init__(self, wanted: CallFilter, names: Sequence[str] | None, *, attempts: bool) -> None:
        super().__init__(wanted, attempts=attempts)
        self._names = names

    def show(self, found: TailRead) -> None:
        """Print the news."""
        ended = [record for call in self._calls(found) for record in call.records]
        for record in self._records(found) if self._attempts else ended:
            line = record.to_json()
            write_json_text(line if self._names is None else json_text(picked(json_object(line), self._names)))


class TableRows(_Rows):
    """Prints a row for each call, and optionally one for each attempt before it.

    Args:
        wanted: Which calls.
        names: Names of columns; None: those that fit.
        attempts: Whether to show attempts.
    """

    def __init__(self, wanted: CallFilter, names: Sequence[str] | None, *, attempts: bool) -> None:
        super().__init__(wanted, attempts=attempts)
        self._plain = is_piped()
        self._widths = {**_WIDTHS, **(_PIPED_WIDTHS if self._plain else {})}
        room = sys.maxsize if self._plain else terminal_width()
        self._shown = [COLUMNS[name] for name in names] if names else self._fitting(room)
        self._is_table = self._plain or self._taken() <= room
        self._date = ""
        self._attempt_widths = [0] * 7
        if self._is_table:
            self._draw([self._row([Cell(column.name, "dim") for column in self._shown])])

    def show(self, found: TailRead) -> None:
        """Print the news."""
        records, calls = self._records(found), self._calls(found)
        if records or calls:
            self._draw(
                [*map(self._attempt_line, records), *(line for call in calls for line in self._call_lines(call))]
            )

    def _fitting(self, room: int) -> list[CallColumn]:
        shown = list(COLUMNS.values())
        while sum(self._widths[c.name] + len(GAP) for c in shown) > room and any(column.rank for column in shown):
            shown.remove(max(shown, key=lambda column: column.rank))
        return shown

    def _taken(self) -> int:
        return sum(self._widths[column.name] + len(GAP) for column in self._shown) - len(GAP)

    def _row(self, cells: Sequence[Cell]) -> Text:
        for column, cell in zip(self._shown, cells, strict=True):
            wider = columns(printable_line(cell.text))
            wider = wider if self._plain else min(wider, column.most)
            others = self._taken() - self._widths[column.name]
            if self._plain or others + wider <= terminal_width():
                self._widths[column.name] = max(self._widths[column.name], wider)
        widths = [self._widths[column.name] for column in self._shown]
        return row_text(cells, widths, [column.right for column in self._shown])

    def _call_lines(self, call: TracedCall) -> list[Text]:
        if not self._is_table:
            width = min(terminal_width(), TABLE_WIDTH - 1)
            text = drawn(lambda console: render_calls([call], console, plain=False), width, color=wants_color())
            return [Text.from_ansi(text.rstrip("\n"))]
        if self._plain:
            return [self._row([Cell((column.plain(call) if column.plain else column.cell(call).text) or "-")
                               for column in self._shown])]  # fmt: skip
        lines = []
        date = f"{call.started:%Y-%m-%d}" if call.started else self._date
        if date != self._date:
            self._date = date
            lines.append(Text(f"{date} UTC", "dim"))
        return [*lines, self._row([column.cell(call) for column in self._shown])]

    def _attempt_line(self, record: TraceRecord) -> Text:
        number = "-" if record.attempt is None else str(believed(record.attempt) + 1)
        time = parsed_time(record.started_at)
        clock = "?" if time is None else f"{time:%Y-%m-%dT%H:%M:%SZ}" if self._plain else f"{time:%H:%M:%S}"
        parts = [
            Cell(clock, "dim"), Cell(f"attempt {number}", "dim"),
            Cell(record.request_id if self._plain else record.request_id[-8:], "cyan"), Cell(record.target),
            Cell(*attempt_outcome(record)), Cell(duration(record.elapsed_ms)), Cell(what_next(record), "dim"),
            Cell(record.error or "", "dim"),
        ]  # fmt: skip
        room = sys.maxsize if self._plain else terminal_width()
        for place, part in enumerate(parts[:-1]):
            size = min(columns(printable_line(part.text)), _WIDEST_PART)
            self._attempt_widths[place] = max(self._attempt_widths[place], size)
        taken, shown, widths = 0, [], []
        for place, part in enumerate(parts):
            own = columns(printable_line(part.text))
            widths.append(max(0, min(self._attempt_widths[place] if place < len(parts) - 1 else own, room - taken)))
            taken += widths[-1] + len(GAP)
            shown.append(part if widths[-1] >= min(own, _LEAST_PART) else Cell(""))
        line = row_text(shown, widths, [False] * len(parts))
        line.truncate(room)
        return line

    def _draw(self, lines: Sequence[Text]) -> None:
        def render(console: Console) -> None:
            for line in lines:
                console.print(line, soft_wrap=True)

        draw(render)
