"""Calls as rows: one for each, optionally with its attempts below it.

On a terminal it shows the columns that are informative and fit; below `TABLE_WIDTH` a row becomes a name with its
values below. In a pipe every column is there, nothing is cut, and two spaces separate the cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.text import Text

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.cli.trace.fields import entry_at
from lee_llm_router.cli.trace.figures import (
    UNKNOWN,
    attempt_outcome,
    call_outcome,
    duration,
    metadata_words,
    money,
    token_pair,
    value_text,
    what_next,
)
from lee_llm_router.cli.trace.layout import GAP, Cell, columns, fitted, plain_rows, printable_line, row_text
from lee_llm_router.cli.trace.summary import RECORD_FIELDS
from lee_llm_router.telemetry.calls import TracedCall, believed
from lee_llm_router.telemetry.records import TraceRecord

if TYPE_CHECKING:
    from rich.console import Console

TABLE_WIDTH = 70
"""Least columns of a table."""
_ID = 8
"""Characters to show of an id, from its end: its beginning is the time, which is similar for all calls of a day."""
_WIDEST_OUTCOME = 28
_WIDEST_WORDS = 80
_WIDEST_ATTEMPT = 22
"""``CONTRACT_VIOLATION 200``"""
_INDENT = 2
_NARROW_INDENT = 3
_MAIN = 2
"""The highest rank of columns for which gaps are narrowed."""
_BESIDES = 5
"""The lowest rank of columns that are shown only if nothing else is cut for them."""


@dataclass(frozen=True, slots=True)
class CallColumn:
    """A column of the listing."""

    name: str
    cell: Callable[[TracedCall], Cell]
    right: bool = False
    rank: int = 0
    """If there is not enough room, columns of the highest rank go first; those of rank 0 stay."""
    least: int | None = None
    """Width that it may shrink to; None: it does not shrink."""
    most: int = _WIDEST_WORDS
    folded: str = ""
    """Its prefix if there is no table."""
    plain: Callable[[TracedCall], str] | None = None
    """Its text in a pipe, if different."""


class _Widths(NamedTuple):
    """The columns that fit, and their separator."""

    sizes: dict[str, int]
    gap: str


def _target(call: TracedCall) -> Cell:
    answer = call.answered_by
    asked = [record for record in call.records if record.provider is not None]
    shown = answer or (asked[-1] if asked else call.last)
    return Cell(shown.target, "" if answer is not None else "dim")


def _error(call: TracedCall) -> Cell:
    return Cell(next((record.error for record in reversed(call.records) if record.error), ""), "dim")


def _clock(call: TracedCall) -> Cell:
    return Cell(f"{call.started:%H:%M:%S}" if call.started else "?")


def _moment(call: TracedCall) -> str:
    return f"{call.started:%Y-%m-%dT%H:%M:%SZ}" if call.started else "?"


COLUMNS = {
    column.name: column
    for column in (
        CallColumn("time", _clock, plain=_moment),
        CallColumn("role", lambda call: Cell(call.role, "bold"), least=8),
        CallColumn("outcome", lambda call: Cell(*call_outcome(call)), least=12, most=_WIDEST_OUTCOME),
        CallColumn("target", _target, least=14),
        CallColumn("tried", lambda call: Cell(str(call.tried)), right=True, rank=4, folded="tried"),
        CallColumn("total", lambda call: Cell(duration(call.total_ms)), right=True),
        CallColumn("first", lambda call: Cell(duration(call.first_token_ms)), right=True, rank=3, folded="first"),
        CallColumn("tokens", lambda call: Cell(token_pair(call)), right=True, rank=2),
        CallColumn(
            "cost", lambda call: Cell(money(call.cost_usd, is_whole=call.is_cost_whole)), right=True, rank=1
        ),
        CallColumn("id", lambda call: Cell(call.request_id[-_ID:], "cyan"), plain=lambda call: call.request_id),
        CallColumn("metadata", lambda call: Cell(metadata_words(call), "dim"), rank=5, least=12),
        CallColumn("error", _error, rank=6, least=20),
    )
}  # fmt: skip
"""The columns of a row, by name."""
KNOWN_FIELDS = (*COLUMNS, *(name for name in RECORD_FIELDS if name not in COLUMNS))
"""What `--fields` accepts: columns, and fields of a call's last record."""
_ALWAYS = ("time", "role", "outcome", "target", "total", "id")


def render_calls(
    calls: Sequence[TracedCall],
    console: Console,
    *,
    plain: bool,
    attempts: bool = False,
    names: Sequence[str] | None = None,
) -> None:
    """Draw a row for each of `calls`, in order.

    Args:
        calls: The calls.
        console: The console to draw on.
        plain: Whether the output is a pipe: uncut and aligned, however wide.
        attempts: Whether to show each attempt below its call, with its error.
        names: The columns, from `KNOWN_FIELDS`; None: all that fit.
    """
    if plain:
        for text in _plain_lines(calls, [_column(name) for name in names or COLUMNS], attempts=attempts):
            console.print(text, soft_wrap=True)
        return
    shown = [_column(name) for name in names or COLUMNS]
    cells = [[column.cell(call) for column in shown] for call in calls]
    if names is None:
        kept = [i for i, column in enumerate(shown) if column.name in _ALWAYS or _tells(row[i].text for row in cells)]
        shown, cells = [shown[i] for i in kept], [[row[i] for i in kept] for row in cells]
    widths = _widths(shown, cells, console.width, may_drop=names is None)
    if widths is None:
        named = [[_named(column, cell) for column, cell in zip(shown, row, strict=True)] for row in cells]
        lines = _narrow_lines(calls, named, console.width, attempts=attempts)
    else:
        lines = _wide_lines(calls, shown, cells, widths, console.width, attempts=attempts)
    for line in lines:
        console.print(line, no_wrap=True, overflow="ignore", crop=False)


def _column(name: str) -> CallColumn:
    return COLUMNS.get(name) or CallColumn(name, lambda call: Cell(value_text(entry_at(_entries(call), name))), least=8)


def _entries(call: TracedCall) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415 - for columns of one's own alone

    last = call.last
    shown = {name: getattr(last, name) for name in RECORD_FIELDS}
    return {**shown, "usage": None if last.usage is None else asdict(last.usage)}


def _tells(texts: Iterable[str]) -> bool:
    return any(text not in ("", UNKNOWN, "1") for text in texts)


def _widths(shown: list[CallColumn], cells: list[list[Cell]], room: int, *, may_drop: bool) -> _Widths | None:
    """Return the width of each column that fits; None if there is no room for a table."""
    if room < TABLE_WIDTH:
        return None
    wanted = {}
    for i, column in enumerate(shown):
        texts = [column.name, *(printable_line(row[i].text) for row in cells)]
        wanted[column.name] = min(column.most, max(map(columns, texts)))
    needed = [column.name for column in shown if not may_drop or column.rank < _BESIDES]
    # Separate columns by one space if two would leave no room for a column that identifies a call.
    least = {column.name: min(wanted[column.name], column.least or wanted[column.name]) for column in shown}
    gap = 2 if _taken([least[name] for name in needed if may_drop is False or _is_main(name)], 2) <= room else 1
    for column in sorted(shown, key=lambda column: -column.rank) if may_drop else ():
        # A secondary column is dropped if it would take room from a name.
        is_besides = column.rank >= _BESIDES
        sizes = [wanted[name] if is_besides and name in needed else size for name, size in least.items()]
        if column.rank and _taken(sizes, gap) > room:
            del least[column.name]
    spare = room - _taken(list(least.values()), gap)
    if spare < 0:
        return None
    # How a call ended matters more than its name.
    for name, size in sorted(least.items(), key=lambda entry: entry[0] != "outcome"):
        more = min(spare, wanted[name] - size)
        least[name], spare = size + more, spare - more
    return _Widths(least, " " * gap)


def _is_main(name: str) -> bool:
    return COLUMNS[name].rank <= _MAIN


def _taken(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * (len(widths) - 1)


def _wide_lines(
    calls: Sequence[TracedCall],
    shown: list[CallColumn],
    cells: list[list[Cell]],
    widths: _Widths,
    room: int,
    *,
    attempts: bool,
) -> Iterator[Text]:
    kept = [i for i, column in enumerate(shown) if column.name in widths.sizes]
    sizes, right = [widths.sizes[shown[i].name] for i in kept], [shown[i].right for i in kept]
    yield row_text([Cell(shown[i].name, "dim") for i in kept], sizes, right, widths.gap)
    date, has_clock = "", "time" in widths.sizes
    for call, row in zip(calls, cells, strict=True):
        if has_clock and call.started and f"{call.started:%Y-%m-%d}" != date:
            date = f"{call.started:%Y-%m-%d}"
            yield _line(f"{date} UTC", "dim", room)
        yield row_text([row[i] for i in kept], sizes, right, widths.gap)
        if attempts:
            yield from _attempt_lines(call, room)


def _attempt_lines(call: TracedCall, room: int) -> Iterator[Text]:
    """Yield a row for each attempt of a call, and its error below it."""
    rows = [_attempt_cells(record) for record in call.records]
    number, name, outcome, took, then = (max(columns(printable_line(row[i].text)) for row in rows) for i in range(5))
    number, outcome, then = min(number, 5), min(outcome, _WIDEST_ATTEMPT), min(then, 17)
    fixed = _INDENT + number + outcome + took + then + 4 * len(GAP)
    sizes = [number, max(4, min(name, room - fixed)), outcome, took, then]
    for record, row in zip(call.records, rows, strict=True):
        line = row_text(row, sizes, (True, False, False, True, False))
        line.pad_left(_INDENT)
        yield line
        if record.error:
            yield _line(record.error, "dim", room, _INDENT + sizes[0] + len(GAP))


def _attempt_cells(record: TraceRecord) -> list[Cell]:
    number = UNKNOWN if record.attempt is None else str(believed(record.attempt) + 1)
    return [
        Cell(number, "dim"), Cell(record.target), Cell(*attempt_outcome(record)), Cell(duration(record.elapsed_ms)),
        Cell(what_next(record), "dim"),
    ]  # fmt: skip


def _plain_lines(calls: Sequence[TracedCall], shown: list[CallColumn], *, attempts: bool) -> Iterator[str]:
    right = [column.right for column in shown]
    rows = [[column.plain(call) if column.plain else column.cell(call).text for column in shown] for call in calls]
    head, *lines = plain_rows([[column.name for column in shown], *rows], right)
    yield head
    for call, line in zip(calls, lines, strict=True):
        yield line
        if not attempts:
            continue
        below = [[*(cell.text for cell in _attempt_cells(record)), record.error or ""] for record in call.records]
        for text in plain_rows(below, (True, False, False, True, False, False)):
            yield " " * _INDENT + text


def _narrow_lines(calls: Sequence[TracedCall], cells: list[list[Cell]], room: int, *, attempts: bool) -> Iterator[Text]:
    """Yield the lines of the calls if there is no room for a table: a name, with its values below."""
    date = ""
    for call, row in zip(calls, cells, strict=True):
        if call.started and f"{call.started:%Y-%m-%d}" != date:
            date = f"{call.started:%Y-%m-%d}"
            yield _line(f"{date} UTC", "dim", room)
        yield from _folded(row, room)
        if attempts:
            for record in call.records:
                yield from _folded([*_attempt_cells(record), Cell(record.error or "", "dim")], room)


def _named(column: CallColumn, cell: Cell) -> Cell:
    """Return a cell that includes its name, for use without a heading; an empty one if it has no value."""
    if not column.folded:
        return cell
    return Cell(f"{column.folded} {cell.text}" if _tells([cell.text]) else "", cell.style)


def _folded(cells: Sequence[Cell], room: int) -> Iterator[Text]:
    """Yield the first two cells on one line, and the others below, as many per line as fit."""
    first, name, *told = [*cells, Cell("")][: max(2, len(cells))]
    start = fitted(first.text.strip(), room // 2).rjust(2)
    yield Text.assemble((start, first.style), " ", (fitted(name.text, room - columns(start) - 1), name.style))
    line, left = Text(), 0
    for cell in told:
        text = fitted(cell.text.strip(), room - _NARROW_INDENT)
        if text in ("", UNKNOWN):
            continue
        if columns(text) + len(GAP) <= left:
            line.append(GAP)
            left -= len(GAP)
        else:
            if line.plain:
                yield line
            line, left = Text(" " * _NARROW_INDENT), room - _NARROW_INDENT
        line.append(text, cell.style)
        left -= columns(text)
    if line.plain:
        yield line


def _line(text: str, style: str, room: int, indent: int = 0) -> Text:
    return Text.assemble(" " * indent, (fitted(text, room - indent), style))
