"""The commands `trace report` and `trace serve`: traces in a browser, as a file or live."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lee_llm_router.cli.arguments import ConfigOption
from lee_llm_router.cli.output import escaped, say, write_line
from lee_llm_router.cli.trace.filters import takes_filter
from lee_llm_router.cli.trace.reading import FolderOption, tell_skipped, trace_store

if TYPE_CHECKING:
    from lee_llm_router.telemetry.calls import TracedCall
    from lee_llm_router.telemetry.query import CallFilter
    from lee_llm_router.telemetry.report.server import ReportServer
    from lee_llm_router.telemetry.scanning import TraceScanner

_MOST_IN_FILE = 100_000
_MOST_ROWS = 200_000
"""Browsers cannot handle much longer tables."""
_MOST_SERVED = 10_000


@takes_filter
def report(
    *,
    wanted: CallFilter,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write; - prints it.", dir_okay=False)
    ] = Path("report.html"),
    most: Annotated[
        int,
        typer.Option(
            "--last", min=1, max=_MOST_ROWS, help="Show this many calls one by one, and sum up the earlier ones."
        ),
    ] = _MOST_IN_FILE,
    folder: FolderOption = None,
    config: ConfigOption = None,
) -> None:
    """Write an HTML page that shows the calls: figures, charts, and a table with a waterfall for each.

    It is one file that needs no network. It includes captured messages and answers, so be careful whom you give it to.
    """
    import time  # noqa: PLC0415 - help needs none of it

    from lee_llm_router.cli.progress import ProgressLine  # noqa: PLC0415
    from lee_llm_router.telemetry.report.older_calls import gathered  # noqa: PLC0415
    from lee_llm_router.telemetry.report.page import page_text  # noqa: PLC0415

    store, number = trace_store(folder, config), 0

    def counted() -> Iterator[TracedCall]:
        nonlocal number
        for number, call in enumerate(_calls(store, wanted), 1):  # noqa: B007 - the line below shows it
            yield call

    with ProgressLine(lambda: f"reading traces: {number:,} calls"):
        rows, older = gathered(counted(), most)
    tell_skipped(store)
    about = {"made": round(time.time() * 1000), "filter": filter_words(wanted), "older": older.rows()}
    page = page_text(rows, about)
    if output == Path("-"):
        write_line(page.decode().removesuffix("\n"))
        return
    _write_page(output, page)
    write_line(escaped(str(output)))


@takes_filter
def serve(
    *,
    wanted: CallFilter,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port. Default: a free one.")] = 0,
    opens: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    most: Annotated[
        int, typer.Option("--last", min=1, max=_MOST_IN_FILE, help="Show this many of the newest calls.")
    ] = _MOST_SERVED,
    folder: FolderOption = None,
    config: ConfigOption = None,
) -> None:
    """Show the page of `trace report` live, on this machine only. New calls appear by themselves.

    The command prints the address, with the token that is needed to see anything. Ctrl-C ends it.
    """
    from lee_llm_router.telemetry.report.feed import CallFeed  # noqa: PLC0415 - as above
    from lee_llm_router.telemetry.report.server import ReportServer  # noqa: PLC0415

    feed = CallFeed(trace_store(folder, config), wanted, most, {"filter": filter_words(wanted)})
    try:
        server = ReportServer(feed, port)
    except OSError as error:
        raise typer.BadParameter(f"{port} cannot be used: {error.strerror}", param_hint="--port") from None
    with _closed(server):
        write_line(server.url)
        if opens:
            import webbrowser  # noqa: PLC0415

            if not webbrowser.open(server.single_use_url()):
                say("no browser could be started: open the address above yourself")
        server.serve_forever(poll_interval=0.25)


def filter_words(wanted: CallFilter) -> str | None:
    """Return the conditions of `wanted` in words; None if every call passes."""
    from dataclasses import fields  # noqa: PLC0415
    from datetime import UTC, datetime  # noqa: PLC0415

    def shown(name: str, value: Any) -> str:
        if name in ("since", "until"):
            return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M} UTC"
        if name == "metadata":
            return ", ".join(f"{key}={entry}" for key, entry in value.items())
        return f"{value:g} s" if name == "slower_than" else str(value)

    given = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
    words = [f"{name.replace('_', ' ')} {shown(name, value)}" for name, value in given.items() if value]
    return ", ".join(words) or None


def _calls(store: TraceScanner, wanted: CallFilter) -> Iterator[TracedCall]:
    return (call for call in store.calls(wanted.since, wanted.until) if wanted.matches(call))


def _write_page(path: Path, page: bytes) -> None:
    """Write the page, which may hold prompts."""
    from lee_llm_router._util.scrubbing import bounded  # noqa: PLC0415
    from lee_llm_router.cli.output import OutputError  # noqa: PLC0415
    from lee_llm_router.cli.whole_file import write_whole_file  # noqa: PLC0415

    try:
        write_whole_file(path, lambda write: write(page))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "this cannot be a path"
        raise OutputError(f"{bounded(str(path))} cannot be written: {reason}") from error


@contextmanager
def _closed(server: ReportServer) -> Iterator[None]:
    try:
        yield
    finally:
        server.server_close()
