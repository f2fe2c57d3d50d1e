"""The command `lee-llm-router`: parse, call, print.

Exit codes: 0 success; 1 the call failed, the doctor found errors, or the reader of the output is gone; 2 wrong usage,
or a configuration that cannot be used; 130 interrupted. SIGTERM and SIGHUP cancel what runs, and then end the process.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lee_llm_router.cli.signals import EndedBySignalError, signals_as_errors
from lee_llm_router.errors import ConfigError, LLMRouterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lee_llm_router.doctor.checks import CheckResult
    from lee_llm_router.response import StreamChunk
    from lee_llm_router.telemetry.records import TraceReader

PROGRAM = "lee-llm-router"

app = typer.Typer(
    name=PROGRAM,
    help="Ask for a role, get a whole answer, see every attempt.",
    epilog='Example: lee-llm-router complete --role planner "Plan a picnic"',
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Configuration file. Default: $LEE_LLM_ROUTER_CONFIG, else lee-llm-router.yaml or config/llm.yaml here"
        " or in a folder above.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from lee_llm_router import __version__  # noqa: PLC0415

        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the program itself."""


@app.command(
    epilog='Example: echo "Plan a picnic" | lee-llm-router complete --role planner',
    short_help="Ask a role and print its answer.",
)
def complete(
    prompt: Annotated[str | None, typer.Argument(help="What to ask. Default: standard input.")] = None,
    role: Annotated[str | None, typer.Option("--role", help="Role to ask. Default: the default role.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Ask a role, and print nothing but its answer on standard output, as it arrives.

    An answer that breaks off may be printed in part; the exit code is then 1. With --json it is printed as a whole.
    """
    from lee_llm_router.config.discovery import find_config  # noqa: PLC0415
    from lee_llm_router.router import LeeLLMRouter  # noqa: PLC0415

    with LeeLLMRouter.from_file(find_config(config)) as router:
        if as_json:
            from dataclasses import fields  # noqa: PLC0415

            answer = router.complete(role, _prompt(prompt))
            _print_json({f.name: getattr(answer, f.name) for f in fields(answer) if f.repr}, indent=2)
        else:
            with router.stream(role, _prompt(prompt)) as stream:
                _print_pieces(stream)


@app.command(
    epilog="Example: lee-llm-router doctor --role planner --strict",
    short_help="Check the configuration on this machine.",
)
def doctor(
    config: ConfigOption = None,
    role: Annotated[str | None, typer.Option("--role", help="Look only at this role and its providers.")] = None,
    as_json: JsonOption = False,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings count as errors.")] = False,
) -> None:
    """Check the configuration, keys, programs and trace folder, without the network.

    Exit code: 0 healthy, 1 errors were found, 2 the file cannot be opened.
    """
    from lee_llm_router.config.discovery import find_config  # noqa: PLC0415
    from lee_llm_router.doctor.checks import diagnose  # noqa: PLC0415

    path = find_config(config)
    try:
        results = diagnose(path, role)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if as_json:
        _print_json(results, indent=2)
    else:
        print(_table(results))
    bad = {"error", "warning"} if strict else {"error"}
    raise typer.Exit(any(result.level in bad for result in results))


@app.command(epilog="Example: lee-llm-router trace --last 5", short_help="Show the calls traced last.")
def trace(
    last: Annotated[int, typer.Option("--last", min=1, help="How many calls, counted from the newest.")] = 10,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            exists=True,
            file_okay=False,
            help="Folder of traces. Default: the configuration's, else .lee-llm-router/traces.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records, one a line.")] = False,
) -> None:
    """Show the calls traced last: a row for each, and its attempts below it."""
    from lee_llm_router.cli.trace_table import render_calls  # noqa: PLC0415

    store = _trace_store(folder)
    records = store.last(last)
    if skipped := getattr(store, "skipped", 0):
        print(f"unreadable lines passed over: {skipped}", file=sys.stderr)
    if as_json:
        for record in records:
            _print_bytes(record.to_json())
    else:
        width = shutil.get_terminal_size((80, 24)).columns
        print(render_calls(records, width, _wants_color()))


@app.command(
    epilog="Example: lee-llm-router template > lee-llm-router.yaml", short_help="Print an example configuration."
)
def template() -> None:
    """Print an annotated example configuration, which works as it is."""
    from lee_llm_router.config.schema import template_text  # noqa: PLC0415

    print(template_text(), end="")


@app.command(
    epilog="Example: lee-llm-router schema > llm.schema.json", short_help="Print the JSON Schema of a configuration."
)
def schema() -> None:
    """Print the JSON Schema of the configuration file, with every provider type installed here."""
    from lee_llm_router.config.schema import json_schema  # noqa: PLC0415

    _print_json(json_schema(installed=True), indent=2)


def _print_pieces(chunks: Iterable[StreamChunk]) -> None:
    """Print each piece as it arrives. The last line is ended, also when an error ends the answer."""
    line_open = False
    try:
        for chunk in chunks:
            # Set before printing, since an interruption may come during the print.
            line_open = bool(chunk.text) or (line_open and not chunk.restart)
            if chunk.restart:
                print(flush=True)
                print(f"{PROGRAM}: the answer broke off, and starts anew", file=sys.stderr)
            elif chunk.text:
                print(chunk.text, end="", flush=True)
    except BaseException:
        if line_open:
            with suppress(OSError):
                print(flush=True)
        raise
    print()


def _prompt(given: str | None) -> str:
    """Return the prompt: the argument, else standard input."""
    if given is not None and given != "-":
        return given
    if sys.stdin.isatty():
        raise typer.BadParameter("no prompt: give it as an argument, or on standard input")
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise typer.BadParameter("standard input is not UTF-8 text") from error


def _trace_store(folder: Path | None) -> TraceReader:
    """Return the store of `folder`, else the one that `complete` writes to when called from here."""
    from lee_llm_router.telemetry.records import TraceReader as Reader  # noqa: PLC0415
    from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore  # noqa: PLC0415
    from lee_llm_router.telemetry.stores.open import open_store  # noqa: PLC0415

    if folder is not None:
        return LocalFileTraceStore(folder)
    from lee_llm_router.config.discovery import find_config  # noqa: PLC0415
    from lee_llm_router.config.load import load_config  # noqa: PLC0415

    try:
        path = find_config()
    except ConfigError:
        return LocalFileTraceStore()
    try:
        settings = load_config(path).trace
    except ConfigError as error:
        files = LocalFileTraceStore()
        print(f"{error.message}: looking in {files.trace_dir}", file=sys.stderr)
        return files
    store = open_store(settings)
    if not isinstance(store, Reader):
        raise ConfigError(f"traces of the store {settings.store.type!r} cannot be read here: it has no last and find")
    return store


def _table(results: Sequence[CheckResult]) -> str:
    """Return the doctor's results as one line each, and their counts below."""
    lines = [f"{result.level:<8} {result.check:<9} {result.subject}: {result.message}" for result in results]
    errors, warnings = (sum(result.level == level for result in results) for level in ("error", "warning"))
    counts = (f"{n} {what}" + ("" if n == 1 else "s") for n, what in ((errors, "error"), (warnings, "warning")))
    return "\n".join([*lines, ", ".join(counts)])


def _print_json(value: Any, indent: int | None = None) -> None:
    from lee_llm_router.telemetry.record_json import json_text  # noqa: PLC0415

    _print_bytes(json_text(value, indent))


def _print_bytes(text: bytes) -> None:
    """Print bytes as they are: JSON is UTF-8, whatever encoding the terminal has."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.buffer.flush()


def _wants_color() -> bool:
    """Whether standard output is a terminal that shows colours, and the user has not refused them."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _set_up_output() -> None:
    """Escape what cannot be encoded, and send warnings, but no events of attempts, to standard error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: not hasattr(record, "llm_event"))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])


def _report(error: Exception) -> int:
    """Print what went wrong to standard error, and return the exit code."""
    if isinstance(error, BrokenPipeError):
        # Otherwise the interpreter would fail to flush the buffer at exit, and report that.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    text = str(error) if isinstance(error, LLMRouterError) else f"{type(error).__name__}: {error}"
    print(f"{PROGRAM}: {text}", file=sys.stderr)
    return 2 if isinstance(error, ConfigError) else 1


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    _set_up_output()
    try:
        with signals_as_errors():
            try:
                app(prog_name=PROGRAM)
            finally:
                sys.stdout.flush()
    except EndedBySignalError as signal:
        signal.end_process()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - no traceback in a terminal
        sys.exit(_report(error))
