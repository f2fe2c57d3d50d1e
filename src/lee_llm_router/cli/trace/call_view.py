"""A complete view of one call: its figures, its timeline, each attempt, and its content."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from lee_llm_router.cli.trace.content import ContentStyle, heading, render_content
from lee_llm_router.cli.trace.figures import (
    attempt_outcome,
    call_outcome,
    count,
    duration,
    metadata_words,
    money,
    what_next,
)
from lee_llm_router.cli.trace.layout import printable_line
from lee_llm_router.cli.trace.waterfall import ASCII_MARKS, render_waterfall
from lee_llm_router.telemetry.calls import TracedCall, believed
from lee_llm_router.telemetry.records import TraceRecord

if TYPE_CHECKING:
    from rich.console import Console

    from lee_llm_router.response.types import LLMUsage

NOT_CAPTURED = "prompts and answers were not kept: set `trace: {capture: full}` in the configuration to keep them"


def render_call(
    call: TracedCall, console: Console, *, plain: bool, full: bool = False, ascii_only: bool = False
) -> None:
    """Draw one call.

    Args:
        call: The call.
        console: The console to draw on.
        plain: Whether the output is a pipe: lines stay unwrapped, however long.
        full: Whether to show long texts in full.
        ascii_only: Whether the console can show only ASCII characters.
    """
    style = ContentStyle(plain, full, "-" if ascii_only else "─")
    _pairs(console, _head(call), plain=plain)
    console.print()
    render_waterfall(call, console, ASCII_MARKS if ascii_only else None)
    for record in call.records:
        console.print()
        _attempt(record, console, plain=plain, is_only=len(call.records) == 1)
    console.print()
    said = next((record for record in reversed(call.records) if _has_texts(record)), None)
    if said is None:
        heading(console, "texts", style)
        _pairs(console, [("", NOT_CAPTURED)], plain=plain)
    else:
        render_content(said, console, style)


def _head(call: TracedCall) -> Iterator[tuple[str, str]]:
    """Yield the facts about the whole call, each with its name."""
    first, last, answer = call.records[0], call.last, call.answered_by
    outcome = call_outcome(call)[0]
    if answer is not None:
        outcome += f" from {answer.target}" + (f", of {call.tried} tried" if call.tried > 1 else "")
        outcome += ", saved by a fallback" if call.is_saved else ""
        outcome += ", by a hedge" if call.is_hedge_won else ""
    asked = f" (asked for as {first.asked_role})" if first.asked_role else ""
    token = call.first_token_ms
    yield "call", call.request_id
    yield "role", f"{call.role}{asked}"
    yield "when", f"{call.started:%Y-%m-%d %H:%M:%S} UTC" if call.started else "?"
    yield "outcome", outcome
    if answer is None and last.error:
        yield "error", last.error
    yield "time", duration(call.total_ms) + (f", first token after {duration(token)}" if token is not None else "")
    yield from _figures(call)
    for name, text in (("kind", first.operation), ("policy", first.policy)):
        if text:
            yield name, text
    if first.metadata:
        yield "metadata", metadata_words(call)
    if first.workspace:
        yield "workspace", first.workspace


def _figures(call: TracedCall) -> Iterator[tuple[str, str]]:
    """Yield the tokens and the cost of all attempts together."""
    usages = [record.usage for record in call.records if record.usage is not None]
    if usages:
        yield "tokens", token_words(usages)
    if call.cost_usd is not None or usages:
        sources = dict.fromkeys(r.cost_source for r in call.records if r.cost_usd is not None and r.cost_source)
        told = f" ({', '.join(sources)})" if sources else ""
        part = "" if call.is_cost_whole or call.cost_usd is None else ", plus attempts of unknown cost"
        known = "not known" if call.cost_usd is None else money(call.cost_usd, is_whole=call.is_cost_whole)
        yield "cost", f"{known}{told}{part}"


def token_words(usages: list[LLMUsage]) -> str:
    """Return tokens in words: ``1234 in (512 cached), 340 out (100 reasoning)``."""

    def total(name: str) -> int | None:
        known = [believed(value) for usage in usages if (value := getattr(usage, name)) is not None]
        return sum(known) if known else None

    def part(names: dict[str, str]) -> str:
        told = [f"{count(number)} {word}" for name, word in names.items() if (number := total(name))]
        return f" ({', '.join(told)})" if told else ""

    went_in, came_out = total("prompt_tokens"), total("completion_tokens")
    if went_in is None and came_out is None:
        return f"{count(total('total_tokens'))} in all"
    cached = part({"cached_tokens": "cached", "cache_write_tokens": "written to the cache"})
    return f"{count(went_in)} in{cached}, {count(came_out)} out{part({'reasoning_tokens': 'reasoning'})}"


def _attempt(record: TraceRecord, console: Console, *, plain: bool, is_only: bool) -> None:
    """Draw one attempt: one line, and its facts below."""
    number = "-" if record.attempt is None else str(believed(record.attempt) + 1)
    outcome, look = attempt_outcome(record)
    took = "" if record.attempt is None else f" in {duration(record.elapsed_ms)}"
    line = Text.assemble((number, "dim"), "  ", (printable_line(record.target), "bold"), "  ",
                         (printable_line(outcome), look), took)  # fmt: skip
    console.print(line, soft_wrap=plain, overflow="fold")
    _pairs(console, _attempt_facts(record, is_only=is_only), plain=plain, indent=3)


def _attempt_facts(record: TraceRecord, *, is_only: bool) -> Iterator[tuple[str, str]]:
    """Yield the facts about one attempt; for the only one, without the figures in the call's head."""
    is_ok, wait, first = record.outcome == "ok", record.retry_after, record.first_token_ms
    source = f" ({record.cost_source})" if record.cost_source else ""
    facts = {
        "why": record.reason,
        "key": record.key_variable,
        "waited for": record.waited_for,
        "error": record.error,
        "sent": "nothing" if record.attempt is not None and not record.sent else None,
        "then": None if is_ok else what_next(record),
        "vendor says": None if wait is None else f"not before {duration(wait * 1000)} have passed",
        "request id": record.provider_request_id,
        "left out": ", ".join(map(str, record.dropped)),
        "served by": record.served_model if record.served_model != record.model else None,
        "tier": record.service_tier,
        "first token": None if first is None or is_only else f"after {duration(first)} of the attempt",
        "tokens": None if record.usage is None or is_only else token_words([record.usage]),
        "cost": None if record.cost_usd is None or is_only else money(record.cost_usd) + source,
        "said": None if is_ok else record.text,
    }
    yield from ((name, text) for name, text in facts.items() if text)


def _pairs(console: Console, pairs: Iterator[tuple[str, str]] | list[tuple[str, str]], *, plain: bool, indent: int = 0
           ) -> None:  # fmt: skip
    """Draw names with their values next to them; long values wrap under themselves."""
    shown = [(name, printable_line(text)) for name, text in pairs]
    if not shown:
        return
    wide = max(len(name) for name, _ in shown) if shown[0][0] else 0
    if plain:
        for name, text in shown:
            console.print(Text(" " * indent + f"{name:<{wide}}" + ("  " if wide else "") + text), soft_wrap=True)
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, width=wide + indent)
    table.add_column(overflow="fold")
    for name, text in shown:
        table.add_row(Text(" " * indent + name, "dim"), Text(text, overflow="fold"))
    console.print(table)


def _has_texts(record: TraceRecord) -> bool:
    return record.messages is not None or record.text is not None or record.tool_calls is not None
