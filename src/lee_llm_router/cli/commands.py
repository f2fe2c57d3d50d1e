"""The command `lee-llm-router`: parse, call, print.

Exit codes: 0 success; 1 the call failed, the doctor found errors, or the output cannot be written; 2 wrong usage, or an
unusable configuration; 130 interrupted. SIGTERM and SIGHUP cancel running work, and then end the process.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lee_llm_router.cli.batch_command import batch
from lee_llm_router.cli.chat.command import chat
from lee_llm_router.cli.complete_command import complete
from lee_llm_router.cli.doctor_command import DoctorCommand, doctor
from lee_llm_router.cli.explain_command import explain
from lee_llm_router.cli.output import (
    PROGRAM,
    OutputError,
    flush_output,
    let_go,
    prepare_streams,
    say,
    write_json,
    write_line,
    write_text,
)
from lee_llm_router.cli.setup_commands import init, providers
from lee_llm_router.cli.signals import EndedBySignalError, signals_as_errors
from lee_llm_router.cli.trace.group import trace_app
from lee_llm_router.cli.worker_command import worker

app = typer.Typer(
    name=PROGRAM,
    help="Call a role, get a complete answer, see every attempt.",
    epilog='Example: lee-llm-router complete --role planner "Plan a picnic"',
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from lee_llm_router import __version__  # noqa: PLC0415

        write_line(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: ARG001 - its callback acts on it
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the program itself."""
    # Imported late, like what the commands need: logging and errors take a tenth of the time of the help.
    from lee_llm_router.cli.warnings import show_warnings  # noqa: PLC0415

    show_warnings()


app.command(
    epilog='Example: echo "Plan a picnic" | lee-llm-router complete --role planner',
    short_help="Ask a role and print its answer.",
)(complete)
app.command(epilog="Example: lee-llm-router chat --role planner", short_help="Talk to a role.")(chat)
app.command(
    epilog="Example: lee-llm-router batch rows.jsonl -o answers.jsonl --role planner",
    short_help="Ask many rows, one answer each.",
)(batch)
app.command(
    epilog="Example: lee-llm-router worker --db postgresql://batch@db.internal/rows",
    short_help="Answer rows of batches from a database.",
)(worker)
app.command(epilog="Example: lee-llm-router explain planner", short_help="Show what asking a role would do.")(explain)


@app.command(
    epilog="Example: lee-llm-router template > lee-llm-router.yaml", short_help="Print an example configuration."
)
def template() -> None:
    """Print an annotated example configuration that is ready to use."""
    from lee_llm_router.config.schema import template_text  # noqa: PLC0415

    write_text(template_text())


@app.command(
    epilog="Example: lee-llm-router schema > llm.schema.json", short_help="Print the JSON Schema of a configuration."
)
def schema() -> None:
    """Print the JSON Schema of the configuration file, with every provider type installed here."""
    from lee_llm_router.config.schema import json_schema  # noqa: PLC0415

    write_json(json_schema(installed=True), indent=2)


app.command(
    cls=DoctorCommand,
    epilog="Example: lee-llm-router doctor --role planner --strict",
    short_help="Check the configuration on this machine.",
)(doctor)
app.add_typer(trace_app)
app.command(epilog="Example: lee-llm-router providers --json", short_help="List the types that a provider may have.")(
    providers
)
app.command(epilog="Example: lee-llm-router init --output llm.yaml", short_help="Write a configuration to start from.")(
    init
)


def _report(error: Exception) -> int:
    """Print an error to standard error, and return the exit code."""
    if isinstance(error, BrokenPipeError):
        return 1
    from lee_llm_router.errors import ConfigError, LLMRouterError  # noqa: PLC0415

    text = str(error)
    if isinstance(error, ConfigError) and len(error.findings) == 1:
        text = error.findings[0]  # it says where, as the message above would
    elif not isinstance(error, LLMRouterError | OutputError):
        text = f"{type(error).__name__}: {text}"
    say(f"{PROGRAM}: {text}")
    return 2 if isinstance(error, ConfigError) else 1


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    has_output = prepare_streams()
    try:
        if not has_output:
            raise OutputError("standard output cannot be written: it is closed")
        with signals_as_errors():
            try:
                app(prog_name=PROGRAM)
            finally:
                flush_output()
    except EndedBySignalError as signal:
        signal.end_process()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - no traceback in a terminal
        sys.exit(_report(error))
    finally:
        let_go()
