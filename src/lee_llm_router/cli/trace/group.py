"""The command `trace` and its subcommands. Each is a function in its own file, registered here."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from lee_llm_router.cli.arguments import ConfigOption
from lee_llm_router.cli.output import write_json_text, write_line
from lee_llm_router.cli.trace.export import export
from lee_llm_router.cli.trace.fields import FieldsOption, checked_fields, picked
from lee_llm_router.cli.trace.filters import takes_filter
from lee_llm_router.cli.trace.follow import follow
from lee_llm_router.cli.trace.path import path
from lee_llm_router.cli.trace.prune import prune
from lee_llm_router.cli.trace.reading import (
    FolderOption,
    nothing_found,
    take_options_before_command,
    tell_skipped,
    trace_store,
)
from lee_llm_router.cli.trace.replay import replay
from lee_llm_router.cli.trace.report import report, serve
from lee_llm_router.cli.trace.show import show
from lee_llm_router.cli.trace.stats import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lee_llm_router.telemetry.calls import TracedCall
    from lee_llm_router.telemetry.query import CallFilter
    from lee_llm_router.telemetry.scanning import TraceScanner

trace_app = typer.Typer(
    name="trace",
    help="Show traces. Without a command: the last calls, one row each, the newest at the end.",
    short_help="Show traces of calls.",
    epilog="Example: lee-llm-router trace --last 5 --status error --since 2h",
    rich_markup_mode=None,
    invoke_without_command=True,
)


@trace_app.callback()
@takes_filter
def trace(
    ctx: typer.Context,
    *,
    wanted: CallFilter,
    last: Annotated[
        int, typer.Option("--last", "-n", min=1, help="How many of the newest matching calls to show.")
    ] = 10,
    attempts: Annotated[bool, typer.Option("--attempts", "-a", help="Show each attempt below its call.")] = False,
    folder: FolderOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records, one per line.")] = False,
    fields: FieldsOption = None,
    config: ConfigOption = None,
) -> None:
    """Show the latest calls, one row each."""
    take_options_before_command(ctx)
    if ctx.invoked_subcommand is not None:
        return
    from lee_llm_router.cli.trace.summary import RECORD_FIELDS  # noqa: PLC0415 - help reads no calls
    from lee_llm_router.cli.trace.table import KNOWN_FIELDS, render_calls  # noqa: PLC0415

    names = checked_fields(fields, RECORD_FIELDS if as_json else KNOWN_FIELDS)
    store = trace_store(folder, config)
    calls = newest_calls(store, wanted, last)
    tell_skipped(store)
    if as_json:
        _write_records(calls, names)
    elif calls:
        from lee_llm_router.cli.trace.screen import draw, is_piped  # noqa: PLC0415

        draw(lambda console: render_calls(calls, console, plain=is_piped(), attempts=attempts, names=names))
    else:
        write_line(nothing_found(store, wanted))


def newest_calls(store: TraceScanner, wanted: CallFilter, count: int) -> Sequence[TracedCall]:
    """Return the newest `count` matching calls, oldest first; stops reading when they are found."""
    from lee_llm_router.telemetry.calls import calls_from  # noqa: PLC0415 - help reads no calls

    if wanted.is_open:
        return calls_from(store.last(count))
    matching = filter(wanted.matches, store.calls(wanted.since, wanted.until))
    return list(islice(matching, count))[::-1]


def _write_records(calls: Sequence[TracedCall], names: Sequence[str] | None) -> None:
    from lee_llm_router.telemetry.record_json import json_object, json_text  # noqa: PLC0415 - as above

    for call in calls:
        for record in call.records:
            line = record.to_json()
            write_json_text(line if names is None else json_text(picked(json_object(line), names)))


trace_app.command(epilog="Example: lee-llm-router trace show @1", short_help="Show one call, whole.")(show)
trace_app.command(
    epilog="Example: lee-llm-router trace replay @1 --target groq/llama-4-scout",
    short_help="Ask the same again of another target, and compare.",
)(replay)
trace_app.command(
    epilog="Example: lee-llm-router trace report --since 7d -o week.html", short_help="Write a page of HTML."
)(report)
trace_app.command(epilog="Example: lee-llm-router trace serve --open", short_help="Show the page live.")(serve)
trace_app.command(
    epilog="Example: lee-llm-router trace stats --by provider --since 7d",
    short_help="Count calls, errors, times, tokens and cost.",
)(stats)
trace_app.command(
    epilog="Example: lee-llm-router trace follow --status error", short_help="Show calls of all processes as they end."
)(follow)
trace_app.command(
    epilog="Example: lee-llm-router trace prune --older-than 30d --dry-run", short_help="Delete old traces."
)(prune)
trace_app.command(epilog='Example: du -sh "$(lee-llm-router trace path)"', short_help="Print where the traces are.")(
    path
)
trace_app.command(
    epilog="Example: lee-llm-router trace export --otlp http://localhost:4318 --since 1h",
    short_help="Write records as JSON lines, or send spans.",
)(export)
