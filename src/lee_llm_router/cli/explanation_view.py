"""An explanation of a call as text: its first step, its chain, and what applies to all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.cli.output import wants_color, write_text
from lee_llm_router.cli.trace.figures import Style, duration
from lee_llm_router.cli.trace.screen import drawn, is_piped, terminal_width
from lee_llm_router.telemetry.record_json import json_text
from lee_llm_router.telemetry.records import target_name

if TYPE_CHECKING:
    from rich.console import Console

    from lee_llm_router.routing.explanation import ExplainedSetting, ExplainedTarget, Explanation

_STYLES: dict[str, Style] = {
    "asked": "green", "waited_for": "yellow", "next": "", "closed": "yellow", "failing": "red", "skipped": "red",
}  # fmt: skip
_MAX_VALUE = 80
_HANG = 4
"""Extra indentation of the rest of a long line, in columns; no label is shorter."""
_MAX_REASON = 600
_WHOLE_LINES = 100_000
"""Columns in a pipe, where no line is wrapped."""
_SECONDS = ("timeout", "deadline", "backoff", "max_backoff", "patience", "first_token_timeout", "idle_timeout")
"""Settings in seconds, by the last part of their names."""


def print_explanation(told: Explanation) -> None:
    """Write `told` to standard output. Raises as `write_text`."""

    def render(console: Console) -> None:
        from rich.text import Text  # noqa: PLC0415 - help draws nothing

        for indent, label, text, style in _lines(told):
            line = Text.assemble((label, style), text)
            # Continuation lines are indented further, so that each line's beginning is visible.
            parts = line[_HANG:].wrap(console, max(1, console.width - indent - _HANG), overflow="fold")
            for number, part in enumerate(parts):
                console.print(
                    Text(" " * (indent + _HANG if number else indent)) + (part if number else line[:_HANG] + part),
                    soft_wrap=True,
                )

    text = drawn(render, _WHOLE_LINES if is_piped() else terminal_width(), color=wants_color())
    write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")


def _lines(told: Explanation) -> Iterator[tuple[int, str, str, Style]]:
    """Yield the lines: indent, a label, the text after it, and the label's style."""
    yield 0, f"role {told.role} ", _what_first(told), "bold"
    if told.asked_role is not None:
        yield 2, "asked for ", f"{told.asked_role}, which is not a role: the default role answers", "yellow"
    yield 2, "policy ", told.policy + (f": {_short(told.policy_reason)}" if told.policy_reason else ""), "dim"
    if told.is_compressed:
        yield 2, "messages ", "first go through a hook, which was not called here", "dim"
    for number, target in enumerate(told.targets, 1):
        yield from _target_lines(number, target)
    yield 2, "call ", _settings(told.settings), "dim"
    yield 2, "attempts ", _attempts(told), "dim"


def _what_first(told: Explanation) -> str:
    first = next((target for target in told.targets if target.state in ("asked", "waited_for")), None)
    name = "" if first is None else _name(first)
    match told.outcome:
        case "asks":
            return f"asks {name}"
        case "waits":
            length = "" if told.wait is None else f" {duration(told.wait * 1000)}"
            return f"waits{length} for {name}: {_short(told.reason)}"
        case "fails":
            return f"fails: {_short(told.reason)}"


def _target_lines(number: int, target: ExplainedTarget) -> Iterator[tuple[int, str, str, Style]]:
    when = "" if target.opens_in is None else f" (another {duration(target.opens_in * 1000)})"
    why = f": {_short(target.reason)}{when}" if target.reason else ""
    yield 2, f"{number}. {_name(target)} ", f"{target.state.replace('_', ' ')}{why}", _STYLES[target.state] or "bold"
    if target.chosen_because is not None:
        yield 5, "chosen because ", _short(target.chosen_because), "dim"
    model = "its own choice" if target.model is None else f"{target.model} ({target.model_source})"
    settings = _settings(target.settings)
    yield 5, "", f"model {model}, {settings}", ""
    provider = _settings(target.provider_settings, with_source=False)
    yield 5, "provider ", target.provider_type + (f", {provider}" if provider else ""), "dim"
    if target.dropped:
        left_out = "; ".join(f"{name}: {_short(reason)}" for name, reason in target.dropped.items())
        yield 5, "left out ", left_out, "yellow"
    if target.effects != "none":
        yield (
            5,
            "effects ",
            f"{target.effects}: an attempt is not repeated once it has begun, unless retry_effects is set",
            "dim",
        )
    if target.price is not None:
        yield 5, "price ", _price(target), "dim"
    if target.health is not None:
        yield 5, "health ", _health(target), "dim"


def _price(target: ExplainedTarget) -> str:
    price = target.price
    assert price is not None  # noqa: S101 - asked only then
    known = ((price.input_usd, "input"), (price.output_usd, "output"))
    rates = ", ".join(f"${usd:g} {what}" for usd, what in known if usd is not None)
    return f"{rates} per million tokens ({_short(price.source)})"


def _health(target: ExplainedTarget) -> str:
    known = target.health
    assert known is not None  # noqa: S101 - asked only then
    parts = [f"{known.successes} answers, {known.failures} failures"]
    if known.last_failure is not None:
        parts.append(f"the last {known.last_failure}")
    if known.in_flight or known.waiting:
        parts.append(f"{known.in_flight} in progress, {known.waiting} waiting")
    return ", ".join([f"breaker {known.state}", *parts])


def _attempts(told: Explanation) -> str:
    waits = ", ".join(f"{least:g} to {most:g} s" for least, most in told.backoffs)
    return f"{told.most_attempts} at most" + (f"; waits between attempts at one target: {waits}" if waits else "")


def _settings(settings: Iterable[ExplainedSetting], *, with_source: bool = True) -> str:
    return ", ".join(
        f"{setting.name} {_value(setting)}" + (f" ({setting.source})" if with_source else "") for setting in settings
    )


def _value(setting: ExplainedSetting) -> str:
    value = setting.value
    if isinstance(value, str):
        return _short(value, _MAX_VALUE)
    unit = " s" if setting.name.rpartition(".")[2] in _SECONDS else ""
    if isinstance(value, float):
        return f"{value:g}{unit}"
    return _short(json_text(value).decode("utf-8", "replace"), _MAX_VALUE) + unit


def _name(target: ExplainedTarget) -> str:
    key = "" if target.key_variable is None else f" with {target.key_variable}"
    return _short(target_name(target.provider, target.model) + key)


def _short(text: str | None, limit: int = _MAX_REASON) -> str:
    return bounded(text or "", limit)
