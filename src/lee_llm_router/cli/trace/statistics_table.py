"""Statistics over traces as rows: a table with as many columns as fit, or aligned text for a pipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.cli.trace.figures import UNKNOWN, count, duration, money
from lee_llm_router.cli.trace.layout import GAP, Cell, columns, plain_rows, printable_line, row_text
from lee_llm_router.cli.trace.screen import takes_marks
from lee_llm_router.telemetry.statistics import GroupStatistics, StatisticsUnit, TraceStatistics

if TYPE_CHECKING:
    from rich.console import Console

STATISTICS_FIELDS = tuple(field.name for field in fields(GroupStatistics))
TOTAL = "all"
_WIDEST_NAME = 40
_LEAST_NAME = 12
_BESIDES = 3
"""The lowest rank of columns that are shown only if no name is cut for them."""
_TABLE_WIDTH = 60
"""Least columns of a table; on narrower lines a row becomes a name with its numbers below."""
_UNITS: dict[StatisticsUnit, str] = {
    "calls": "Times are of whole calls, waits included.",
    "attempts": "Errors, times and costs are of single attempts; a call may stand in several rows.",
    "failures": "Times are of the attempts that failed; errors are calls that got no answer in the end.",
}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of numbers."""

    field: str
    name: str
    text: Callable[[GroupStatistics], str]
    rank: int = 0
    """If there is not enough room, columns of the highest rank go first."""


def _rate(part: float) -> str:
    """Return a share in percent: small ones with another digit, and never 0 or 100 for a value in between."""
    percent = part * 100
    if 0 < percent < 0.05:
        return "<0.1%"
    if 99.95 <= percent < 100:
        return ">99.9%"
    return f"{percent:.1f}%" if percent < 10 or 99 < percent < 100 else f"{percent:.0f}%"


def _cost(row: GroupStatistics) -> str:
    return (
        "unknown" if row.cost_usd is None and row.unknown_costs else money(row.cost_usd, is_whole=not row.unknown_costs)
    )


_COLUMNS = (
    _Column("calls", "calls", lambda row: str(row.calls)),
    _Column("attempts", "attempts", lambda row: str(row.attempts), 5),
    _Column("error_rate", "errors", lambda row: _rate(row.error_rate)),
    _Column("saved", "saved", lambda row: str(row.saved), 3),
    _Column("p50_ms", "p50", lambda row: duration(row.p50_ms)),
    _Column("p95_ms", "p95", lambda row: duration(row.p95_ms)),
    _Column("p99_ms", "p99", lambda row: duration(row.p99_ms), 4),
    _Column("first_token_p50_ms", "first p50", lambda row: duration(row.first_token_p50_ms), 6),
    _Column("first_token_p95_ms", "first p95", lambda row: duration(row.first_token_p95_ms), 7),
    _Column("input_tokens", "in", lambda row: count(row.input_tokens), 2),
    _Column("output_tokens", "out", lambda row: count(row.output_tokens), 2),
    _Column("cost_usd", "cost", _cost, 1),
    _Column("unknown_costs", "unknown", lambda row: str(row.unknown_costs), 8),
)
_FURTHER = (
    _Column("errors", "errors", lambda row: str(row.errors)),
    _Column("unfinished", "unfinished", lambda row: str(row.unfinished)),
    _Column("kept", "kept", lambda row: str(row.kept)),
)
_BY_FIELD = {column.field: column for column in (*_COLUMNS, *_FURTHER)}


def render_statistics(
    found: TraceStatistics, console: Console, *, plain: bool, names: Sequence[str] | None = None
) -> None:
    """Draw a row for each group, then one for all, and below them what the numbers count.

    Args:
        found: The statistics.
        console: The console to draw on.
        plain: Whether the output is a pipe: every column, uncut and aligned, each cell one word except for names.
        names: The columns, as fields of `GroupStatistics`; None: all that are informative and fit.
    """
    rows = [*found.groups, found.total]
    heads = list(found.groups[0].group) if found.groups else [""]
    titles = [[_name(value) for value in row.group.values()] for row in found.groups]
    titles.append([TOTAL, *("" for _ in heads[1:])])
    wanted = None if names is None else [replace(_BY_FIELD[name], rank=0) for name in names if name in _BY_FIELD]
    if plain:
        _print_plain(rows, titles, heads, wanted or _COLUMNS, console)
        return
    if console.width < _TABLE_WIDTH:
        _print_folded(rows, titles, wanted, console)
    else:
        _print_table(rows, titles, heads, wanted or _told(rows), console)
    for note in _notes(found):
        console.print(note, style="dim")


def _print_plain(
    rows: Sequence[GroupStatistics],
    titles: Sequence[Sequence[str]],
    heads: Sequence[str],
    shown: Sequence[_Column],
    console: Console,
) -> None:
    first = [*(head or "group" for head in heads), *(column.name.replace(" ", "_") for column in shown)]
    cells = [[*title, *(column.text(row).replace(" ", "") for column in shown)]
             for row, title in zip(rows, titles, strict=True)]  # fmt: skip
    for line in plain_rows([first, *cells], [*(False for _ in heads), *(True for _ in shown)]):
        console.print(line, soft_wrap=True)


def _print_table(
    rows: Sequence[GroupStatistics],
    titles: Sequence[Sequence[str]],
    heads: Sequence[str],
    shown: Sequence[_Column],
    console: Console,
) -> None:
    widths = {column.field: max(len(column.name), *(columns(column.text(row)) for row in rows)) for column in shown}
    names = [min(max(map(columns, map(printable_line, texts))), _WIDEST_NAME)
             for texts in zip(heads, *titles, strict=True)]  # fmt: skip
    least = [min(name, _LEAST_NAME) for name in names]
    # A row's name comes before secondary columns, and the main numbers before the rest of a name.
    shown = _fitting(list(shown), widths, console.width - _taken(names), least_rank=_BESIDES)
    shown = _fitting(shown, widths, console.width - _taken(least))
    spare = console.width - sum(widths[column.field] + len(GAP) for column in shown) - _taken(least)
    sizes = _shared(least, names, spare) + [widths[column.field] for column in shown]
    right = [*(False for _ in heads), *(True for _ in shown)]
    first = [*(Cell(head, "dim") for head in heads), *(Cell(column.name, "dim") for column in shown)]
    console.print(row_text(first, sizes, right), soft_wrap=True)
    for row, title in zip(rows, titles, strict=True):
        is_total = row is rows[-1]
        if is_total and len(rows) > 1:
            line = "─" if takes_marks() else "-"
            console.print(line * min(console.width, _taken(sizes)), style="dim", soft_wrap=True)
        cells = [*(Cell(name, "bold") for name in title), *(_cell(column, row, is_total=is_total) for column in shown)]
        console.print(row_text(cells, sizes, right), soft_wrap=True)


def _fitting(shown: list[_Column], widths: Mapping[str, int], room: int, least_rank: int = 1) -> list[_Column]:
    """Return the columns that fit; those below `least_rank` always stay."""
    while sum(widths[column.field] + len(GAP) for column in shown) > room and any(c.rank >= least_rank for c in shown):
        shown.remove(max(shown, key=lambda column: column.rank))
    return shown


def _taken(sizes: Sequence[int]) -> int:
    return sum(sizes) + len(GAP) * (len(sizes) - 1)


def _shared(least: Sequence[int], wanted: Sequence[int], spare: int) -> list[int]:
    """Return the sizes of the names: `least`, plus spare columns up to `wanted`, the first name first.

    If there is less room than `least`, the last names shrink.
    """
    sizes = list(least)
    for number, (size, most) in enumerate(zip(least, wanted, strict=True)):
        more = min(max(0, spare), most - size)
        sizes[number], spare = size + more, spare - more
    for number in reversed(range(len(sizes))):
        less = min(max(0, -spare), sizes[number] - 1)
        sizes[number], spare = sizes[number] - less, spare + less
    return sizes


def _print_folded(
    rows: Sequence[GroupStatistics],
    titles: Sequence[Sequence[str]],
    shown: Sequence[_Column] | None,
    console: Console,
) -> None:
    """Draw each row as its name with the numbers below it, as many per line as fit."""
    for row, title in zip(rows, titles, strict=True):
        console.print(row_text([Cell(" ".join(title).rstrip(), "bold")], [console.width], [False]), soft_wrap=True)
        line = ""
        for column in shown or _told([row]):
            word = f"{column.name} {column.text(row)}"
            if line and columns(line) + columns(word) + 2 * len(GAP) > console.width:
                console.print(GAP + line, soft_wrap=True)
                line = ""
            line += (GAP if line else "") + word
        console.print(GAP + line, soft_wrap=True)


def _told(rows: Sequence[GroupStatistics]) -> list[_Column]:
    """Return the columns that are informative for `rows`."""
    silent = {UNKNOWN, "0"}
    return [c for c in _COLUMNS if c.name == "calls" or any(c.text(row) not in silent for row in rows)]


def _cell(column: _Column, row: GroupStatistics, *, is_total: bool) -> Cell:
    if column.name == "errors" and row.errors:
        return Cell(column.text(row), "red" if row.error_rate >= 0.05 else "yellow")
    if column.name == "saved" and row.saved:
        return Cell(column.text(row), "green")
    return Cell(column.text(row), "bold" if is_total else "")


def _name(value: str | None) -> str:
    return UNKNOWN if value is None else value


def estimate_note(found: TraceStatistics) -> str:
    """Return the note about estimated numbers."""
    kept = found.total.kept
    return f"All numbers are estimates: `sample` dropped successful calls, and those of the {kept} kept represent them."


def _notes(found: TraceStatistics) -> list[str]:
    total, notes = found.total, [_UNITS[found.unit]]
    if found.estimated:
        notes.append(estimate_note(found))
    if total.unfinished:
        notes.append(f"Unfinished, and not in the times: {total.unfinished}.")
    if total.unknown_costs:
        what = "attempts" if found.unit != "calls" else "calls"
        notes.append(f"The cost of {total.unknown_costs} {what} is not known; it is not 0.")
    return notes
