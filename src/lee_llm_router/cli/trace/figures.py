"""Figures of traces in readable form: durations, tokens, amounts of money, how a call or an attempt ended."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from lee_llm_router._util.numbers import MAX_COUNT
from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.telemetry.calls import TracedCall, believed
from lee_llm_router.telemetry.record_json import json_text
from lee_llm_router.telemetry.records import TraceRecord

Style: TypeAlias = Literal["green", "red", "yellow", "dim", "bold", "cyan", ""]
"""The style of a cell on a terminal with colours. It never says more than the text."""

UNKNOWN = "-"
"""Shown for an unknown value, which is not 0."""
_STYLE_OF: dict[str, Style] = {"ok": "green", "error": "red", "cancelled": "yellow", "skipped": "yellow"}
_LONG_UNITS = (("min", 60_000), ("h", 3_600_000), ("d", 86_400_000))
_MAX_CELL = 1000


def duration(milliseconds: float | None) -> str:
    """Return a duration with its unit: ``812 ms``, ``13.7 s``, ``17.2 min``, ``3.2 h``."""
    if milliseconds is None:
        return UNKNOWN
    milliseconds = believed(milliseconds)
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 999_500:
        return f"{milliseconds / 1000:.1f} s" if milliseconds < 99_950 else f"{milliseconds / 1000:.0f} s"
    unit, size = next((unit, size) for unit, size in _LONG_UNITS if milliseconds < 99.95 * size or unit == "d")
    return f"{milliseconds / size:.1f} {unit}" if milliseconds < 99.95 * size else f"{milliseconds / size:.0f} {unit}"


def count(number: int | None) -> str:
    """Return a number of tokens: unchanged up to 99,999, then ``120k``, ``3.4M``."""
    if number is None:
        return UNKNOWN
    number = int(believed(number))
    if number < 100_000:
        return str(number)
    if number < 999_500:
        return f"{number / 1000:.0f}k"
    return f"{number / 1e6:.1f}M" if number < 99_950_000 else f"{number / 1e6:.0f}M"


def money(dollars: float | None, *, is_whole: bool = True) -> str:
    """Return an amount of US dollars: ``$0.0123``; with a ``+`` if more was spent than is known."""
    if dollars is None:
        return UNKNOWN
    dollars = float(believed(dollars))
    more = "" if is_whole else "+"
    if dollars >= 99.995 or dollars == 0:
        return f"${dollars:.0f}{more}"
    if dollars >= 0.9995:
        return f"${dollars:.2f}{more}"
    if dollars < 5e-10:
        return f"<$0.000000001{more}"
    digits = next(places for places in range(4, 12) if dollars >= 0.95 * 10 ** (2 - places) or places == 11)
    return f"${dollars:.{digits}f}{more}"


def token_pair(call: TracedCall) -> str:
    """Return the tokens of a call, in and out: ``5894/802``; their sum if no more is known."""
    went_in, came_out = call.input_tokens, call.output_tokens
    if went_in is None and came_out is None:
        return count(call.tokens)
    return f"{count(went_in)}/{count(came_out)}"


def attempt_outcome(record: TraceRecord) -> tuple[str, Style]:
    """Return how an attempt ended: ``ok``, ``ok (length)``, ``RATE_LIMIT 429``."""
    if record.outcome == "ok":
        if record.finish_reason in (None, "", "stop"):
            return "ok", "green"
        # Any other reason deserves a look: a cut answer, tool calls, a vendor's own word.
        return f"ok ({record.finish_reason})", "yellow" if record.finish_reason == "length" else "green"
    status = "" if record.status_code is None or abs(record.status_code) > MAX_COUNT else f" {record.status_code}"
    return (record.failure_type or record.outcome) + status, _STYLE_OF.get(record.outcome, "")


def call_outcome(call: TracedCall) -> tuple[str, Style]:
    """Return how a call ended, in the form of its last attempt, or that it has not."""
    return ("unfinished", "yellow") if call.outcome == "unfinished" else attempt_outcome(call.last)


def what_next(record: TraceRecord) -> str:
    """Return what followed an attempt: ``retry in 512 ms``, ``next``; empty if nothing did."""
    if record.verdict in ("return", "raise") or record.is_lost:
        return ""
    return f"{record.verdict} in {duration(record.wait_ms)}" if record.wait_ms else record.verdict


def value_text(value: Any) -> str:
    """Return a value of a record on one line, printable and of limited length; a dash for None."""
    if value is None:
        return UNKNOWN
    text = value if isinstance(value, str) else json_text(value).decode(errors="replace")
    return bounded(text, _MAX_CELL) or '""'


def metadata_words(call: TracedCall) -> str:
    """Return the metadata of a call: ``tenant=acme job=3``."""
    entries = list(call.records[0].metadata.items())[:20]
    return " ".join(f"{bounded(str(name), 100)}={value_text(value)}" for name, value in entries)
