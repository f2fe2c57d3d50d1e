"""The doctor's results as text: rows with the worst first, JSON, or GitHub's workflow commands."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lee_llm_router._util.counted_things import counted
from lee_llm_router.cli.output import escaped

if TYPE_CHECKING:
    from lee_llm_router.doctor.results import CheckResult

_LEVELS = ("error", "warning", "info", "ok")
_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan", "ok": "green"}
_INDENT = " " * 9
"""Continuation lines of a row begin below its id."""
_MIN_WIDTH = 20
_GITHUB = {"error": "error", "warning": "warning", "info": "notice"}


def render_results(results: Sequence[CheckResult], width: int | None = None, verbose: bool = False) -> str:
    """Return the results, the worst first, with their counts below. No newline at the end.

    The cure is below the first result of each check.

    Args:
        results: The results, with sections in display order.
        width: Columns of a line; longer ones are wrapped between words. None: one line for each result.
        verbose: Show each good result, not one row for each section.
    """
    lines = [line for _, row in _rows(results, verbose) for line in _wrapped(row, width)]
    return "\n".join([*lines, _counts(results)])


def print_results(results: Sequence[CheckResult], width: int, verbose: bool = False) -> str:
    """As `render_results`, with the colours of a terminal."""
    from io import StringIO  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415 - slow to load, and help needs none
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=StringIO(), force_terminal=True, width=max(width, _MIN_WIDTH), highlight=False)
    with console.capture() as captured:
        for level, row in _rows(results, verbose):
            for index, line in enumerate(_wrapped(row, width)):
                text = Text(line, no_wrap=True, overflow="ignore")
                if level and not index:
                    text.stylize(_STYLES[level], 0, len(level))
                elif not level:
                    text.stylize("dim")
                console.print(text, soft_wrap=True)
        console.print(Text(_counts(results), style="bold"), soft_wrap=True)
    return captured.get().rstrip("\n")


def github_commands(results: Sequence[CheckResult]) -> str:
    """Return GitHub's workflow commands for the bad results, one per line, so that GitHub shows them next to the file's
    lines.

    In values ``%``, carriage returns and newlines are escaped; in properties colons and commas too.
    """
    return "\n".join(_command(result) for result in results if result.level in _GITHUB)


def _command(result: CheckResult) -> str:
    properties = {"title": f"{result.id} {result.subject}"}
    if result.file:
        properties = {"file": _in_repository(result.file), **properties}
        if result.line:
            properties |= {"line": str(result.line), "col": str(result.column or 1)}
    text = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    message = result.message if not result.cure else f"{result.message}\n{result.cure}"
    return f"::{_GITHUB[result.level]} {text}::{_data(message)}"


def _in_repository(file: str) -> str:
    """Return the path relative to the top of the repository, which GitHub needs to find the file."""
    top = os.environ.get("GITHUB_WORKSPACE") or os.curdir
    path = os.path.relpath(file, top)
    return file if path.startswith(os.pardir) else path


def _data(text: str) -> str:
    return escaped(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _rows(results: Sequence[CheckResult], verbose: bool) -> Iterator[tuple[str, str]]:
    """Yield the level and the text of each row; a cure has no level."""
    told: set[str] = set()
    for level in _LEVELS[:-1]:
        for result in (one for one in results if one.level == level):
            yield level, f"{level:<8} {result.id} {_text(result)}"
            if result.cure and result.id not in told:
                told.add(result.id)
                yield "", f"{_INDENT}do: {escaped(result.cure)}"
    good = [result for result in results if result.level == "ok"]
    rows = [_ok(result.section, _text(result)) for result in good] if verbose else _folded(results)
    yield from (("ok", row) for row in rows)


def _folded(results: Sequence[CheckResult]) -> Iterator[str]:
    """Yield a row for each section: a single result unchanged, several by the names of what was checked.

    Omits subjects that are not fine in every respect.
    """
    ailing = {(result.section, result.subject) for result in results if result.level in ("error", "warning")}
    good = [result for result in results if result.level == "ok" and (result.section, result.subject) not in ailing]
    for section in dict.fromkeys(result.section for result in good):
        those = [result for result in good if result.section == section]
        names = ", ".join(dict.fromkeys(result.subject for result in those))
        yield _ok(section, _text(those[0]) if len(those) == 1 else names)


def _ok(section: str, text: str) -> str:
    return f"{'ok':<8} {section:<9} {text}"


def _text(result: CheckResult) -> str:
    place, subject = _from_here(result.place), _from_here(result.subject)
    where = f"{place}: " if place and place != subject and result.level != "ok" else ""
    return escaped(f"{where}{subject}: {result.message}")


def _from_here(path: str) -> str:
    """Return a path below the current folder as a relative one: it is easier to read, and terminals can still open
    it."""
    try:
        here = os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118 - as text
    except OSError:
        return path
    return path.removeprefix(here) if len(here) > 1 else path


def _counts(results: Sequence[CheckResult]) -> str:
    errors, warnings = (sum(result.level == level for result in results) for level in ("error", "warning"))
    return f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"


def _wrapped(row: str, width: int | None) -> list[str]:
    if width is None:
        return [row]
    begin = row[: len(row) - len(row.lstrip())]
    return textwrap.wrap(
        row, max(width, _MIN_WIDTH), initial_indent="", subsequent_indent=_INDENT if not begin else f"{begin}    ",
        break_long_words=False, break_on_hyphens=False, drop_whitespace=True,
    )  # fmt: skip
