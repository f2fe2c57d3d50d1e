"""The command `lee-llm-router`: parse, call, print.

Exit codes: 0 success; 1 the call failed, the doctor found errors, or the output cannot be written; 2 wrong usage, or a
configuration that cannot be used; 130 interrupted. SIGTERM and SIGHUP cancel what runs, and then end the process.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lee_llm_router.cli.arguments import (
    ConfigOption,
    JsonOption,
    check_role,
    read_prompt,
    roles_beginning_with,
    text_of,
)
from lee_llm_router.cli.output import (
    PROGRAM,
    AnswerWriter,
    OutputError,
    flush_output,
    let_go,
    prepare_streams,
    say,
    terminal_columns,
    write_json,
    write_line,
    write_text,
)
from lee_llm_router.cli.setup_commands import init, providers
from lee_llm_router.cli.signals import EndedBySignalError, signals_as_errors
from lee_llm_router.cli.trace.group import trace_app

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lee_llm_router.response import StreamChunk
    from lee_llm_router.router import LeeLLMRouter

app = typer.Typer(
    name=PROGRAM,
    help="Ask for a role, get a whole answer, see every attempt.",
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
    # Imported here, as what the commands need: a tenth of the time that help takes goes into logging and errors.
    from lee_llm_router.cli.warnings import show_warnings  # noqa: PLC0415

    show_warnings()


@app.command(
    epilog='Example: echo "Plan a picnic" | lee-llm-router complete --role planner',
    short_help="Ask a role and print its answer.",
)
def complete(
    prompt: Annotated[str | None, typer.Argument(help="What to ask. Default: standard input.")] = None,
    *,
    role: Annotated[
        str | None,
        typer.Option(
            "--role", "-r", help="Role to ask. Default: the default role.", autocompletion=roles_beginning_with
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model for the targets that would use the role's.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", help="Ask this vendor/model, without a configuration. Several are a chain, in their order."
        ),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="Instructions for the model.")] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", "-t", min=0, help="Sampling temperature.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="Upper bound on generated tokens.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Ask a role, and print nothing but its answer on standard output, as it arrives.

    An answer that breaks off may be printed in part; the exit code is then 1. With --json it is printed as a whole.
    """
    role = text_of(role, "--role")
    targets = [str(text_of(one, "--target")) for one in target or ()]
    if targets and any(given is not None for given in (role, model, config)):
        raise typer.BadParameter("it goes without --role, --model and --config", param_hint="--target")
    instructions = text_of(system, "--system")
    named = {"model": text_of(model, "--model"), "temperature": temperature, "max_tokens": max_tokens}
    options: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    with _router(targets, config) as router:
        check_role(role, router.config.roles)
        messages = [{"role": "user", "content": read_prompt(prompt)}]
        if instructions is not None:
            messages.insert(0, {"role": "system", "content": instructions})
        _show_answer(router, role, messages, options, as_json=as_json)


def _show_answer(
    router: LeeLLMRouter, role: str | None, messages: list[dict[str, str]], options: dict[str, Any], *, as_json: bool
) -> None:
    """Ask, and print the answer: as JSON with all its fields, or its text as it arrives."""
    if as_json:
        from dataclasses import fields  # noqa: PLC0415

        answer = router.complete(role, messages, **options)
        shown = {f.name: getattr(answer, f.name) for f in fields(answer) if f.repr}
        write_json(shown | {"provider_request_id": answer.provider_request_id}, indent=2)
        return
    with router.stream(role, messages, **options) as stream:
        _print_pieces(stream)
    if stream.response.finish_reason == "length":
        say(f"{PROGRAM}: the answer is cut off: it has reached its limit of tokens")


@app.command(
    epilog="Example: lee-llm-router doctor --role planner --strict",
    short_help="Check the configuration on this machine.",
)
def doctor(
    config: ConfigOption = None,
    role: Annotated[
        str | None,
        typer.Option(
            "--role", "-r", help="Look only at this role and its providers.", autocompletion=roles_beginning_with
        ),
    ] = None,
    as_json: JsonOption = False,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings count as errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show everything that is well, too.")] = False,
) -> None:
    """Check the configuration, keys, programs and trace folder, without the network.

    Exit code: 0 healthy, 1 errors were found, 2 the file cannot be opened.
    """
    from lee_llm_router.cli.findings_table import render_results  # noqa: PLC0415
    from lee_llm_router.config.discovery import find_config  # noqa: PLC0415
    from lee_llm_router.doctor.checks import diagnose  # noqa: PLC0415
    from lee_llm_router.errors import ConfigError  # noqa: PLC0415

    path = find_config(config)
    try:
        results = diagnose(path, text_of(role, "--role"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if as_json:
        write_json(results, indent=2)
    else:
        write_line(render_results(results, terminal_columns() if sys.stdout.isatty() else None, verbose))
    bad = {"error", "warning"} if strict else {"error"}
    raise typer.Exit(any(result.level in bad for result in results))


@app.command(
    epilog="Example: lee-llm-router template > lee-llm-router.yaml", short_help="Print an example configuration."
)
def template() -> None:
    """Print an annotated example configuration, which works as it is."""
    from lee_llm_router.config.schema import template_text  # noqa: PLC0415

    write_text(template_text())


@app.command(
    epilog="Example: lee-llm-router schema > llm.schema.json", short_help="Print the JSON Schema of a configuration."
)
def schema() -> None:
    """Print the JSON Schema of the configuration file, with every provider type installed here."""
    from lee_llm_router.config.schema import json_schema  # noqa: PLC0415

    write_json(json_schema(installed=True), indent=2)


app.add_typer(trace_app)
app.command(epilog="Example: lee-llm-router providers --json", short_help="List what may stand as a provider's type.")(
    providers
)
app.command(epilog="Example: lee-llm-router init --output llm.yaml", short_help="Write a configuration to start from.")(
    init
)


def _router(targets: list[str], config: Path | None) -> LeeLLMRouter:
    from lee_llm_router.config.discovery import find_config  # noqa: PLC0415
    from lee_llm_router.router import LeeLLMRouter as Router  # noqa: PLC0415

    return Router.of(*targets) if targets else Router.from_file(find_config(config))


def _print_pieces(chunks: Iterable[StreamChunk]) -> None:
    """Print each piece as it arrives. The last line is ended, also when an error ends the answer."""
    answer, line_open = AnswerWriter(), False
    try:
        for chunk in chunks:
            # Set before printing, since an interruption may come during the print.
            line_open = bool(chunk.text) or (line_open and not chunk.restart)
            if chunk.restart:
                answer.end_line()
                say(f"{PROGRAM}: the answer broke off, and starts anew")
            elif chunk.text:
                answer.write(chunk.text)
    except (OutputError, BrokenPipeError):
        raise
    except BaseException:
        if line_open:
            with suppress(OutputError, OSError):
                answer.end_line()
        raise
    answer.end_line()


def _report(error: Exception) -> int:
    """Print what went wrong to standard error, and return the exit code."""
    if isinstance(error, BrokenPipeError):
        return 1
    from lee_llm_router.errors import ConfigError, LLMRouterError  # noqa: PLC0415

    text = str(error)
    if isinstance(error, ConfigError) and len(error.findings) == 1:
        text = error.findings[0]  # which says where, as the message above it would
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
