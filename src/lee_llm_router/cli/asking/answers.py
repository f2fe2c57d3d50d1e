"""Asks, and shows the answer: its text as it arrives, its value, or all its fields as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from time import perf_counter
from typing import TYPE_CHECKING, Any

from lee_llm_router.cli.asking.call_progress import CallProgress
from lee_llm_router.cli.output import PROGRAM, AnswerWriter, OutputError, say, write_json

if TYPE_CHECKING:
    from lee_llm_router.response.types import LLMResponse, StreamChunk
    from lee_llm_router.router import LeeLLMRouter


class AnswerPrinter:
    """Asks a role, and prints the result.

    Args:
        router: The router to ask.
        progress: Learns when the answer begins; None if no progress is shown.
    """

    def __init__(self, router: LeeLLMRouter, progress: CallProgress | None = None) -> None:
        self._router = router
        self._progress = progress
        self.seconds = 0.0
        """How long the call took."""
        self.first_seconds: float | None = None
        """Seconds to the first text."""
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """The printed text of the last answer."""
        return "".join(self._pieces)

    def as_text(self, role: str | None, messages: list[dict[str, Any]], options: dict[str, Any]) -> LLMResponse:
        """Print the text of the answer as it arrives, and return the answer."""
        started = self._begin()
        with self._router.stream(role, messages, **options) as stream:
            self._print_pieces(stream, started)
        self.seconds = perf_counter() - started
        return stream.response

    def as_value(self, role: str | None, messages: list[dict[str, Any]], options: dict[str, Any]) -> LLMResponse:
        """Print the value of an answer that must be JSON, once it is complete and valid, and return the answer."""
        answer = self.whole(role, messages, options)
        if answer.text or not answer.tool_calls:
            write_json(answer.parsed, indent=2)
        return answer

    def whole(self, role: str | None, messages: list[dict[str, Any]], options: dict[str, Any]) -> LLMResponse:
        """Return the whole answer, for callers that print it themselves."""
        started = self._begin()
        answer = self._router.complete(role, messages, **options)
        self.seconds = perf_counter() - started
        self._starts()
        return answer

    def _begin(self) -> float:
        self.first_seconds = None
        self._pieces = []
        return perf_counter()

    def _starts(self, characters: int = 0) -> None:
        if self._progress is not None:
            self._progress.answer_begins(characters)

    def _print_pieces(self, chunks: Iterable[StreamChunk], started: float) -> None:
        """Print each piece as it arrives. Ends the last line, even if an error ends the answer."""
        answer, line_open, calls_only = AnswerWriter(), False, False
        try:
            for chunk in chunks:
                # Set before printing, since an interruption may come during the print.
                line_open = bool(chunk.text) or (line_open and not chunk.restart)
                calls_only = not line_open and (calls_only or bool(chunk.tool_calls))
                if chunk.restart:
                    self._pieces = []
                    answer.end_line()
                    say(f"{PROGRAM}: the answer broke off and starts again")
                elif chunk.text:
                    if self.first_seconds is None:
                        self.first_seconds = perf_counter() - started
                    self._starts(len(chunk.text))
                    self._pieces.append(chunk.text)
                    answer.write(chunk.text)
        except (OutputError, BrokenPipeError):
            raise
        except BaseException:
            if line_open:
                with suppress(OutputError, OSError):
                    answer.end_line()
            raise
        self._starts()
        if not calls_only:
            answer.end_line()


def print_fields(answer: LLMResponse) -> None:
    """Print the fields of an answer as JSON, without the vendor's own body and the headers."""
    shown = {f.name: getattr(answer, f.name) for f in fields(answer) if f.repr}
    write_json(shown | {"provider_request_id": answer.provider_request_id}, indent=2)


def print_calls(answer: LLMResponse) -> None:
    """Print the tool calls of an answer: one object per line, with the arguments as the model wrote them."""
    for call in answer.tool_calls:
        try:
            arguments = json.loads(call.arguments or "{}")
        except (ValueError, RecursionError):
            arguments = call.arguments
        write_json({"tool": call.name, "arguments": arguments, "id": call.id})


def summary(answer: LLMResponse, printer: AnswerPrinter, progress: CallProgress | None) -> str:
    """Return a one-line summary of an answer: who gave it, how long it took, what it used, and its id."""
    from lee_llm_router.cli.trace.figures import count, duration, money  # noqa: PLC0415 - only some want it
    from lee_llm_router.telemetry.records import target_name  # noqa: PLC0415

    parts = [target_name(answer.provider, answer.model), duration(printer.seconds * 1000)]
    if printer.first_seconds is not None:
        parts.append(f"first text {duration(printer.first_seconds * 1000)}")
    usage = answer.usage
    if usage.prompt_tokens is not None or usage.completion_tokens is not None:
        parts.append(f"tokens {count(usage.prompt_tokens)} in, {count(usage.completion_tokens)} out")
    elif usage.total_tokens is not None:
        parts.append(f"tokens {count(usage.total_tokens)}")
    if answer.cost_usd is not None:
        parts.append(money(answer.cost_usd))
    if progress is not None and len(progress.targets) > 1:
        parts.append(f"attempts {len(progress.targets)}")
    return f"{', '.join(parts)}: {PROGRAM} trace show {answer.request_id}"


def tell_cut(answer: LLMResponse) -> None:
    """Report if an answer has ended at its token limit."""
    if answer.finish_reason == "length":
        say(f"{PROGRAM}: the answer is cut off: it has reached its token limit")
