"""Compares two calls: their figures, and their answers."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.cli.trace.call_view import token_words
from lee_llm_router.cli.trace.content import ContentStyle, heading, shown_text, write_text
from lee_llm_router.cli.trace.figures import UNKNOWN, call_outcome, duration, money
from lee_llm_router.cli.trace.layout import printable_line
from lee_llm_router.cli.trace.summary import call_summary
from lee_llm_router.telemetry.calls import TracedCall

if TYPE_CHECKING:
    from rich.console import Console

SIDE_BY_SIDE = 100
"""Least columns of a terminal for answers side by side."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A call and its answer."""

    call: TracedCall
    text: str
    """Its text and its tool calls; empty if there was no answer."""
    error: str | None = None
    """Why there was no answer."""

    @property
    def said(self) -> str:
        """The result: the answer, or else the error."""
        return f"no answer: {self.error}" if self.error is not None else self.text or "(empty)"


def render_comparison(before: Answered, now: Answered, console: Console, style: ContentStyle) -> None:
    """Draw the figures of two calls, then their answers: side by side if there is room, otherwise one below the
    other."""
    names = ("target", "outcome", "time", "first token", "tokens", "cost", "call")
    rows = [("", "before", "now"), *zip(names, _figures(before), _figures(now), strict=True)]
    if style.plain:
        wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
        for name, one, two in rows:
            console.print(Text(f"{name:<{wide[0]}}  {one:<{wide[1]}}  {two}".rstrip()), soft_wrap=True)
    else:
        table = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(3):
            table.add_column(overflow="fold")
        for index, (name, one, two) in enumerate(rows):
            look = "bold" if not index else ""
            table.add_row(Text(name, "dim"), Text(one, look), Text(two, look))
        console.print(table)
    console.print()
    if style.plain or console.width < SIDE_BY_SIDE:
        for title, side in (("before", before), ("now", now)):
            heading(console, title, style)
            write_text(console, side.said, style)
    else:
        _side_by_side(before, now, console, style)
    console.print()
    console.print(Text(hint(before, now)), soft_wrap=style.plain)


def comparison_data(before: Answered, now: Answered) -> dict[str, Any]:
    """Return the same as data."""
    sides = {
        name: {**call_summary(side.call), "text": side.text, "error": side.error}
        for name, side in (("before", before), ("now", now))
    }
    return {**sides, "same": _are_same(before, now)}


def hint(before: Answered, now: Answered) -> str:
    """Return a sentence on whether the two answered the same."""
    if before.error is not None or now.error is not None:
        return "There is nothing to compare: " + (
            "neither call gave an answer." if before.error is not None and now.error is not None
            else "the call gave no answer originally." if before.error is not None else "there is no answer now."
        )  # fmt: skip
    if _are_same(before, now):
        return "Both answers are the same, word for word."
    if before.text.split() == now.text.split():
        return "Both answers are the same except for white space."
    lines = zip_longest(before.text.splitlines(), now.text.splitlines())
    number = next((index for index, (one, two) in enumerate(lines, 1) if one != two), 1)
    return f"The answers differ from line {number} on."


def _are_same(before: Answered, now: Answered) -> bool:
    return before.error is None and now.error is None and before.text == now.text


def _figures(side: Answered) -> list[str]:
    call = side.call
    answer, usages = call.answered_by, [record.usage for record in call.records if record.usage is not None]
    shown = [
        (answer or call.last).target,
        call_outcome(call)[0],
        duration(call.total_ms),
        duration(call.first_token_ms),
        token_words(usages) if usages else UNKNOWN,
        money(call.cost_usd, is_whole=call.is_cost_whole),
        call.request_id,
    ]
    return [printable_line(text) for text in shown]


def _side_by_side(before: Answered, now: Answered, console: Console, style: ContentStyle) -> None:
    table = Table.grid(padding=(0, 3, 0, 0), expand=True)
    for _ in range(2):
        table.add_column(ratio=1, overflow="fold")
    table.add_row(Text("before", "bold"), Text("now", "bold"))
    table.add_row(*(Text(style.rule * 6, "dim") for _ in range(2)))
    table.add_row(*(Text(shown_text(side.said, style), overflow="fold") for side in (before, now)))
    console.print(table)
