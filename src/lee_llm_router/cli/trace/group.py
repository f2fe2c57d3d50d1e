"""The command `trace` and those below it. Each is a function in a file of its own, registered here."""

from __future__ import annotations

from typing import Annotated

import typer

from lee_llm_router.cli.arguments import ConfigOption
from lee_llm_router.cli.output import escaped, say, terminal_columns, wants_color, write_json_text, write_line
from lee_llm_router.cli.trace.reading import FolderOption, trace_store

trace_app = typer.Typer(
    name="trace",
    help="Show the calls traced last: a row for each, and its attempts below it.",
    short_help="Show what was traced.",
    epilog="Example: lee-llm-router trace --last 5",
    rich_markup_mode=None,
    invoke_without_command=True,
)


@trace_app.callback()
def trace(
    ctx: typer.Context,
    last: Annotated[int, typer.Option("--last", min=1, help="How many calls, counted from the newest.")] = 10,
    folder: FolderOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records, one a line.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show the calls traced last: a row for each, and its attempts below it."""
    if ctx.invoked_subcommand is not None:
        return
    from lee_llm_router.cli.trace.table import render_calls  # noqa: PLC0415

    store = trace_store(folder, config)
    records = store.last(last)
    if skipped := getattr(store, "skipped", 0):
        say(f"unreadable lines passed over: {skipped}")
    if as_json:
        for record in records:
            write_json_text(record.to_json())
    elif records:
        write_line(render_calls(records, terminal_columns(), wants_color()))
    else:
        place = getattr(store, "trace_dir", None)
        write_line(escaped("no calls traced" if place is None else f"no calls traced in {place}"))
