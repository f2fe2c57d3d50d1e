"""The command `trace export`: traces for other programs, as JSON lines or as spans of OpenTelemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lee_llm_router._util.counted_things import counted
from lee_llm_router.cli.arguments import ConfigOption, text_of
from lee_llm_router.cli.output import say
from lee_llm_router.cli.trace.filters import takes_filter
from lee_llm_router.cli.trace.reading import FolderOption, tell_skipped, trace_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lee_llm_router.telemetry.calls import TracedCall
    from lee_llm_router.telemetry.query import CallFilter
    from lee_llm_router.telemetry.scanning import TraceScanner


@takes_filter
def export(
    *,
    wanted: CallFilter,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print the records as JSON lines, oldest call first.")] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="File for --jsonl, written completely or not at all."),
    ] = None,
    otlp: Annotated[
        str | None,
        typer.Option("--otlp", metavar="URL", help="Send spans to this receiver (OTLP over HTTP, JSON)."),
    ] = None,
    content: Annotated[
        bool, typer.Option("--content", help="With --otlp: also send prompts and answers, if they were captured.")
    ] = False,
    folder: FolderOption = None,
    config: ConfigOption = None,
) -> None:
    """Export traces to other programs: --jsonl prints or writes records, --otlp sends spans to a receiver.

    Headers for the receiver come from OTEL_EXPORTER_OTLP_HEADERS. Span ids derive from call ids, so sending a call
    twice sends the same spans.
    """
    if jsonl == (otlp is not None):
        raise typer.BadParameter("give either --jsonl or --otlp URL")
    if output is not None and not jsonl:
        raise typer.BadParameter("it is only for --jsonl", param_hint="--output")
    if content and otlp is None:
        raise typer.BadParameter("it is only for --otlp; --jsonl always has what was captured", param_hint="--content")
    store = trace_store(folder, config)
    if otlp is not None:
        _send(_calls(store, wanted), str(text_of(otlp, "--otlp")), content=content)
    else:
        _write(_calls(store, wanted), str(text_of(output, "--output")) if output is not None else "-")
    tell_skipped(store)


def _calls(store: TraceScanner, wanted: CallFilter) -> Iterator[TracedCall]:
    """Yield the matching calls, the newest first."""
    for call in store.calls(wanted.since, wanted.until):
        if wanted.is_open or wanted.matches(call):
            yield call


def _write(calls: Iterator[TracedCall], output: str) -> None:
    from lee_llm_router.cli.progress import ProgressLine  # noqa: PLC0415 - help needs none of it
    from lee_llm_router.cli.trace.json_lines import written_lines  # noqa: PLC0415

    with ProgressLine("reading calls") as line:
        count, records = written_lines(calls, output, line)
    if output != "-":
        say(f"wrote {counted(count, 'call')}, {counted(records, 'record')}, to {output}")


def _send(calls: Iterator[TracedCall], url: str, *, content: bool) -> None:
    from lee_llm_router import __version__  # noqa: PLC0415 - as above
    from lee_llm_router.cli.progress import ProgressLine  # noqa: PLC0415
    from lee_llm_router.cli.trace.otlp_sending import OtlpSender  # noqa: PLC0415
    from lee_llm_router.errors import LLMRouterError  # noqa: PLC0415

    sender = OtlpSender(url, version=__version__, content=content)
    sent = sender.sent
    try:
        with ProgressLine("sending calls") as line:
            sender.send(calls, line.advance)
    except LLMRouterError:
        if sent.reached is not None:
            say(f"sent {counted(sent.calls, 'call')}, the newest; to send the others, use --until"
                f" {sent.reached:%Y-%m-%dT%H:%M:%S.%fZ}")  # fmt: skip
        raise
    say(f"sent {counted(sent.calls, 'call')} as {counted(sent.spans, 'span')}")
    if sent.left_out:
        say(f"left out, without a time or too large for the receiver: {counted(sent.left_out, 'call')}")
    if sent.rejected or sent.message:
        say(f"rejected by the receiver: {counted(sent.rejected, 'span')}" + f" ({sent.message})" * bool(sent.message))
    if sent.rejected or sent.left_out:
        raise typer.Exit(1)
