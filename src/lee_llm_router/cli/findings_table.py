"""The doctor's results as rows of text: errors first, and what is well in one row for each section."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lee_llm_router.doctor.checks import CheckResult

_LEVELS = ("error", "warning", "ok")
_INDENT = " " * 9
"""What continues a row stands below its section."""
_MIN_WIDTH = 20


def render_results(results: Sequence[CheckResult], width: int | None = None, verbose: bool = False) -> str:
    """Return the results, the worst first, and their counts below. No newline at the end.

    Args:
        results: The results, sections in the order to show them in.
        width: Columns of a line; longer ones are wrapped between words. None: one line for each result.
        verbose: Show each result that is well, not one row for each section.
    """
    rows = [_row(result.level, result.check, _text(result)) for result in results if result.level != "ok"]
    rows.sort(key=lambda row: _LEVELS.index(row.split(maxsplit=1)[0]))
    good = [result for result in results if result.level == "ok"]
    rows += [_row("ok", result.check, _text(result)) for result in good] if verbose else _folded(results)
    errors, warnings = (sum(result.level == level for result in results) for level in ("error", "warning"))
    lines = rows if width is None else [line for row in rows for line in _wrapped(row, max(width, _MIN_WIDTH))]
    return "\n".join([*lines, f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}"])


def _folded(results: Sequence[CheckResult]) -> Iterator[str]:
    """Yield a row for each section: the only result as it is, several by the names of what was checked.

    What is not well in every respect is left out.
    """
    ailing = {(result.check, result.subject) for result in results if result.level != "ok"}
    good = [result for result in results if (result.check, result.subject) not in ailing]
    for section in dict.fromkeys(result.check for result in good):
        those = [result for result in good if result.check == section]
        names = ", ".join(dict.fromkeys(result.subject for result in those))
        yield _row("ok", section, _text(those[0]) if len(those) == 1 else names)


def _row(level: str, section: str, text: str) -> str:
    return f"{level:<8} {section:<9} {text}"


def _text(result: CheckResult) -> str:
    return f"{result.subject}: {result.message}"


def _wrapped(row: str, width: int) -> list[str]:
    return textwrap.wrap(
        row, width, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
