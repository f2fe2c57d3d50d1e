"""The command `trace follow`: calls as they end, from any process that writes to the store."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lee_llm_router.cli.arguments import ConfigOption
from lee_llm_router.cli.output import say
from lee_llm_router.cli.trace.fields import FieldsOption, checked_fields
from lee_llm_router.cli.trace.filters import takes_filter
from lee_llm_router.cli.trace.reading import trace_store

if TYPE_CHECKING:
    from lee_llm_router._util.clock import Clock
    from lee_llm_router.telemetry.query import CallFilter
    from lee_llm_router.telemetry.scanning import TraceScanner
    from lee_llm_router.telemetry.tailing import TailRead

_EVERY = 0.25
"""Seconds between two looks at the store."""


@takes_filter
def follow(
    *,
    wanted: CallFilter,
    attempts: Annotated[
        bool, typer.Option("--attempts", "-a", help="Also show each attempt, as soon as it has ended.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", file_okay=False, help="Folder of traces, which need not exist yet."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the records of each call, one per line; with --attempts as they arrive."),
    ] = False,
    fields: FieldsOption = None,
    config: ConfigOption = None,
) -> None:
    """Show each call when it ends, from any process, until Ctrl-C.

    With --attempts, --status and --slower-than filter only the calls: they are not known yet when an attempt is shown.
    """
    from lee_llm_router.cli.trace.follow_rows import JsonRows, TableRows  # noqa: PLC0415 - help needs none of it
    from lee_llm_router.cli.trace.summary import RECORD_FIELDS  # noqa: PLC0415
    from lee_llm_router.cli.trace.table import COLUMNS  # noqa: PLC0415

    names = checked_fields(fields, RECORD_FIELDS if as_json else COLUMNS)
    rows = JsonRows(wanted, names, attempts=attempts) if as_json else TableRows(wanted, names, attempts=attempts)
    follow_calls(trace_store(folder, config), rows.show)


def follow_calls(store: TraceScanner, show: Callable[[TailRead], None], clock: Clock | None = None) -> None:
    """Pass what is written to `store` from now on to `show`, until an error is raised or nobody reads the output.

    If the store cannot be read for a while, keep trying; report this once each time.
    """
    from lee_llm_router._util.clock import SYSTEM_CLOCK  # noqa: PLC0415 - as above
    from lee_llm_router.telemetry.tailing import TraceTail  # noqa: PLC0415

    clock = clock or SYSTEM_CLOCK
    tail, problem = TraceTail(store), ""
    while not _reader_has_gone():
        clock.sleep(_EVERY)
        try:
            found = tail.read()
        except OSError as error:
            text = f"the traces cannot be read now: {error.strerror or error}"
            if text != problem:
                say(text)
            problem = text
            continue
        problem = ""
        show(found)


def _reader_has_gone() -> bool:
    """Return whether the reader of the output has ended. If no call ends, nothing is written that would show it."""
    import select  # noqa: PLC0415 - as above

    try:
        watched = select.poll()
        watched.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in watched.poll(0))
    except (AttributeError, OSError, ValueError):  # not on every system, and not for objects that are no files
        return False
