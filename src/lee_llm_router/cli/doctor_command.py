"""The command `doctor`: checks of the configuration, offline and live, in several forms, and repairs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer
from typer.core import TyperCommand

from lee_llm_router.cli.arguments import ConfigOption, JsonOption, roles_beginning_with, text_of
from lee_llm_router.cli.output import PROGRAM, escaped, say, terminal_columns, wants_color, write_json, write_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lee_llm_router.doctor.live.call_probe import CallPlan
    from lee_llm_router.doctor.results import CheckResult

Format: TypeAlias = Literal["text", "json", "github"]

_LIVE = "--live"
_MAX_REPAIRS = 5
"""Rounds of repairs: one may make something readable that the next can repair."""
_LIVE_WORDS = ("models", "call")


FormatOption = Annotated[
    str, typer.Option("--format", help="text, json, or github: workflow commands, for its annotations.")
]
OnlyOption = Annotated[
    str | None, typer.Option("--only", help="Show only these checks: LLR301,LLR4 (all that begin with it).")
]
LiveOption = Annotated[
    str | None,
    typer.Option(
        _LIVE,
        metavar="[=call]",
        help="Ask the servers too: are they reachable, do they accept the key, do they have the model? With =call"
        " ask each target a small question; the cost is shown first.",
    ),
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.1, max=3600, help="Seconds to wait for each server's answer, with --live.")
]
FixOption = Annotated[
    bool, typer.Option("--fix", help="Repair what can be repaired safely; shows the changes and asks first.")
]


class DoctorCommand(TyperCommand):
    """The command, with an option that may have a word or none: ``--live``, ``--live=call``."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """As the base class, with the omitted word filled in."""
        filled: list[str] = []
        for index, word in enumerate(args):
            is_bare = word == _LIVE and args[index + 1 : index + 2] not in ([one] for one in _LIVE_WORDS)
            filled.append(f"{_LIVE}={_LIVE_WORDS[0]}" if is_bare else word)
        return super().parse_args(ctx, filled)


def doctor(
    *,
    config: ConfigOption = None,
    role: Annotated[
        str | None,
        typer.Option(
            "--role", "-r", help="Check only this role and its providers.", autocompletion=roles_beginning_with
        ),
    ] = None,
    as_json: JsonOption = False,
    form: FormatOption = "text",
    only: OnlyOption = None,
    skip: Annotated[str | None, typer.Option("--skip", help="Leave out these checks.")] = None,
    live: LiveOption = None,
    timeout: TimeoutOption = 15.0,
    fix: FixOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Answer all questions with yes.")] = False,
    explain: Annotated[
        str | None, typer.Option("--explain", help="Print the cause and cure of a check: LLR301.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Count warnings as errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also show everything that is fine.")] = False,
) -> None:
    """Check the configuration, keys, programs and trace folder; uses the network only with --live.

    Exit code: 0 healthy, 1 errors were found, 2 wrong usage, or the file cannot be opened.
    """
    from lee_llm_router.doctor.catalogue import check_ids, explanation  # noqa: PLC0415 - help needs none of it
    from lee_llm_router.doctor.results import is_bad, selected  # noqa: PLC0415

    if explain is not None:
        write_line(explanation(str(text_of(explain, "--explain"))))
        return
    shape = _format(form, as_json)
    wanted, left_out = (check_ids(_words(given)) for given in (only, skip))
    if live not in (None, *_LIVE_WORDS):
        raise typer.BadParameter(f"it takes no value but call: {_LIVE}=call", param_hint=_LIVE)
    if fix and shape != "text":
        raise typer.BadParameter("it cannot be combined with --json or --format", param_hint="--fix")
    path, results = _diagnosed(config, text_of(role, "--role"))
    rounds = _MAX_REPAIRS if fix else 0
    while rounds and _repaired(selected(results, wanted, left_out), yes, is_first=rounds == _MAX_REPAIRS):
        path, results = _diagnosed(config, text_of(role, "--role"))
        rounds -= 1
    if live is not None:
        results += _asked(path, text_of(role, "--role"), live == "call", timeout, yes)
    results = selected(results, wanted, left_out)
    _show(results, shape, verbose)
    raise typer.Exit(is_bad(results, strict))


def _format(form: str, as_json: bool) -> Format:
    forms: dict[str, Format] = {"text": "text", "json": "json", "github": "github"}
    if form not in forms:
        raise typer.BadParameter(f"there are: {', '.join(forms)}", param_hint="--format")
    if as_json and form == "github":
        raise typer.BadParameter("it cannot be combined with --json", param_hint="--format")
    return "json" if as_json else forms[form]


def _words(given: str | None) -> list[str]:
    return [word for word in (given or "").replace(",", " ").split() if word]


def _diagnosed(config: Path | None, role: str | None) -> tuple[Path, list[CheckResult]]:
    from lee_llm_router.config.discovery import find_config  # noqa: PLC0415
    from lee_llm_router.doctor.checks import diagnose  # noqa: PLC0415
    from lee_llm_router.errors import ConfigError  # noqa: PLC0415

    path = find_config(config)
    try:
        return path, diagnose(path, role)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _asked(path: Path, role: str | None, call: bool, timeout: float, yes: bool) -> list[CheckResult]:
    """Ask the servers, with a progress line on standard error."""
    from lee_llm_router.cli.progress import ProgressLine  # noqa: PLC0415
    from lee_llm_router.doctor.live.diagnosis import diagnose_live  # noqa: PLC0415

    with ProgressLine("asking") as line:

        def show(done: int, total: int) -> None:
            line.tell(f"asking  {done} of {total} answered")

        def agree(plan: CallPlan) -> bool:
            line.hide()
            agreed = _agreed(plan, yes)
            line.show()
            return agreed

        return diagnose_live(path, role, call=call, timeout=timeout, agree=agree, on_progress=show)


def _is_at_terminal() -> bool:
    """Whether a user is there to ask."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _agreed(plan: CallPlan, yes: bool) -> bool:
    """Show the cost of the questions, and ask for consent at a terminal; without one, only `yes` gives it."""
    from lee_llm_router.doctor.live.call_probe import lines_of_plan  # noqa: PLC0415

    for text in lines_of_plan(plan):
        say(f"{PROGRAM}: {text}")
    if yes or (plan.most_usd == 0 and not plan.unknown):
        return True
    if not _is_at_terminal():
        say(f"{PROGRAM}: not asked, because there is no terminal to confirm at; use --yes")
        return False
    return typer.confirm("Ask them?", default=False, err=True)


def _repaired(results: Sequence[CheckResult], yes: bool, *, is_first: bool) -> bool:
    """Show possible repairs, ask for consent, and make them. Return whether anything changed."""
    from lee_llm_router.doctor.fixes import planned_repairs  # noqa: PLC0415

    repairs = planned_repairs(results)
    if not repairs:
        if is_first:
            say(f"{PROGRAM}: there is nothing that can be repaired safely")
        return False
    for repair in repairs:
        write_line(escaped("\n".join(repair.lines())))
    if not yes and not _is_at_terminal():
        say(f"{PROGRAM}: not changed, because there is no terminal to confirm at; use --yes")
        return False
    if not yes and not typer.confirm("Make these changes?", default=False, err=True):
        return False
    changed = False
    for repair in repairs:
        try:
            repair.apply()
            changed = True
        except OSError as error:
            say(f"{PROGRAM}: {repair.path} is not changed: {error.strerror}")
    return changed


def _show(results: Sequence[CheckResult], shape: Format, verbose: bool) -> None:
    from lee_llm_router.cli.findings_table import github_commands, print_results, render_results  # noqa: PLC0415

    if shape == "json":
        write_json(list(results), indent=2)
    elif shape == "github":
        write_line(github_commands(results) or "::debug::the doctor found nothing")
    elif wants_color():
        write_line(print_results(results, terminal_columns(), verbose))
    else:
        write_line(render_results(results, terminal_columns() if sys.stdout.isatty() else None, verbose))
