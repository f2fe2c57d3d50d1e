"""The command `complete`: asks a role, and prints its answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lee_llm_router.cli.arguments import ConfigOption, JsonOption, check_role, read_prompt, text_of
from lee_llm_router.cli.asking.options import (
    FileOption,
    ImageOption,
    MaxTokensOption,
    ModelOption,
    RoleOption,
    SchemaOption,
    SettingOption,
    SystemOption,
    TargetOption,
    TemperatureOption,
    ToolOption,
    check_targets,
    question_options,
    router_for,
)

if TYPE_CHECKING:
    from lee_llm_router.cli.asking.call_progress import CallProgress
    from lee_llm_router.response.types import LLMResponse

_MOST_ROUNDS = 10
"""How often to run tools for one question."""


def complete(
    prompt: Annotated[str | None, typer.Argument(help="What to ask. Default: standard input.")] = None,
    *,
    role: RoleOption = None,
    model: ModelOption = None,
    target: TargetOption = None,
    system: SystemOption = None,
    file: FileOption = None,
    image: ImageOption = None,
    tool: ToolOption = None,
    run_tools: Annotated[
        bool,
        typer.Option("--run-tools", help="Run the Python functions that the model calls, and send it the results."),
    ] = False,
    schema: SchemaOption = None,
    temperature: TemperatureOption = None,
    max_tokens: MaxTokensOption = None,
    setting: SettingOption = None,
    as_json: JsonOption = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print at the end who answered, how fast, and at what cost.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Ask a role, and print only its answer on standard output, as it arrives.

    An answer that breaks off may be printed in part; the exit code is then 1. With --json or --schema it is printed as
    a whole. Tool calls are printed, one line of JSON each, or run with --run-tools.
    """
    from lee_llm_router.cli.asking.question import conversation, takes_standard_input, user_message  # noqa: PLC0415
    from lee_llm_router.cli.progress import ProgressLine  # noqa: PLC0415

    role = text_of(role, "--role")
    check_targets(target, role, model, config)
    options = question_options(
        model=model, temperature=temperature, max_tokens=max_tokens, settings=setting, tools=tool, schema=schema
    )
    if prompt is None and takes_standard_input(file):
        raise typer.BadParameter("no prompt: standard input is already read as a file", param_hint="PROMPT")
    with ProgressLine() as line:
        progress = _progress_of(line, verbose=verbose)
        with router_for(target, config, event_sink=() if progress is None else progress) as router:
            check_role(role, router.config.roles)
            messages = conversation(system, user_message(read_prompt(prompt), file, image))
            _Question(router, role, options, progress, as_json=as_json, verbose=verbose).ask(
                messages, options.get("tools", ()) if run_tools else ()
            )


def _progress_of(line: Any, *, verbose: bool) -> CallProgress | None:
    """Return the sink that updates `line`; None if nobody would see it."""
    if not (verbose or sys.stderr.isatty()):
        return None
    from lee_llm_router.cli.asking.call_progress import CallProgress  # noqa: PLC0415

    return CallProgress(line)


class _Question:
    """One question, repeated until the model calls no more tools."""

    def __init__(
        self, router: Any, role: str | None, options: dict[str, Any], progress: CallProgress | None, *, as_json: bool,
        verbose: bool,
    ) -> None:  # fmt: skip
        from lee_llm_router.cli.asking.answers import AnswerPrinter  # noqa: PLC0415

        self._printer = AnswerPrinter(router, progress)
        self._role = role
        self._options = options
        self._progress = progress
        self._as_json = as_json
        self._verbose = verbose

    def ask(self, messages: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]]) -> None:
        """Ask and print the answer. As long as it calls tools that can run, run them and ask again."""
        from lee_llm_router.cli.asking.answers import print_calls, print_fields, summary, tell_cut  # noqa: PLC0415
        from lee_llm_router.cli.asking.tool_files import ToolRunner  # noqa: PLC0415
        from lee_llm_router.cli.output import PROGRAM, say  # noqa: PLC0415

        runner, rounds = ToolRunner(tools), 0
        while True:
            answer = self._answer(messages)
            if self._verbose:
                say(summary(answer, self._printer, self._progress))
            if rounds == _MOST_ROUNDS or not runner.can_run(answer):
                break
            rounds += 1
            messages = [*messages, answer.message, *runner.results(answer)]
        if self._as_json:
            print_fields(answer)
            return
        print_calls(answer)
        tell_cut(answer)
        if rounds == _MOST_ROUNDS and answer.tool_calls:
            say(f"{PROGRAM}: the model still calls tools after {_MOST_ROUNDS} rounds")

    def _answer(self, messages: list[dict[str, Any]]) -> LLMResponse:
        printer = self._printer
        if self._as_json:
            return printer.whole(self._role, messages, self._options)
        if self._options.get("schema") is not None or self._options.get("json_mode"):
            return printer.as_value(self._role, messages, self._options)
        return printer.as_text(self._role, messages, self._options)
