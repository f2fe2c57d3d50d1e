"""Views of traces as text: what a terminal of some width shows, or a pipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lee_llm_router import TraceRecord
from lee_llm_router.cli.trace.call_view import render_call
from lee_llm_router.cli.trace.comparison import Answered, render_comparison
from lee_llm_router.cli.trace.content import ContentStyle
from lee_llm_router.cli.trace.screen import drawn
from lee_llm_router.cli.trace.table import render_calls
from lee_llm_router.telemetry.calls import calls_from


def listing(
    records: Iterable[TraceRecord], width: int = 100, *, color: bool = False, plain: bool = False, **options: Any
) -> str:
    """What `trace` shows of `records`, without the newline at its end."""
    calls = calls_from(records)
    return drawn(lambda console: render_calls(calls, console, plain=plain, **options), width, color=color).rstrip("\n")


def call_screen(
    records: Iterable[TraceRecord], width: int = 100, *, color: bool = False, plain: bool = False, **options: Any
) -> str:
    """What `trace show` shows of one call, without the newline at its end and blanks at ends of lines."""
    (call,) = calls_from(records)
    text = drawn(lambda console: render_call(call, console, plain=plain, **options), width, color=color)
    return "\n".join(line.rstrip() for line in text.rstrip("\n").split("\n"))


def comparison_screen(before: Answered, now: Answered, width: int) -> str:
    """What `trace replay` shows of two calls at a terminal."""
    return drawn(lambda console: render_comparison(before, now, console, ContentStyle(plain=False)), width)
