"""Replaces ``${VAR}`` and ``${VAR:-default}`` in a text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from lee_llm_router._util.late_pattern import late_pattern
from lee_llm_router.settings.mistakes import FindingKind

_REFERENCE = late_pattern(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}|\$\{")

_NO_PROBLEM: tuple[None, FindingKind] = (None, "reference")


class FilledText(NamedTuple):
    """A text with its references replaced."""

    text: str
    values: tuple[str, ...] = ()
    """Values of the variables used, in order, without empty ones."""
    references: int = 0
    """How many references the text had."""
    names: tuple[str, ...] = ()
    """Names of the variables used, in order."""
    problem: str | None = None
    """Why the text cannot be filled; names variables, never values."""
    kind: FindingKind = "reference"
    """The kind of problem: the form of a reference, or a variable that is not set."""


def fill_references(text: str, environ: Mapping[str, str]) -> FilledText:
    """Replace every reference in `text`. ``$${`` stands for a plain ``${``.

    As in a shell, ``:-`` gives the default if the variable is unset or empty.
    """
    if "${" not in text:
        return FilledText(text)
    problems: list[tuple[str, FindingKind]] = []
    values: list[str] = []
    names: list[str] = []
    references = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal references
        if match[0] == "$${":
            return "${"
        references += 1
        name, default = match["name"], match["default"]
        if name is None:
            problems.append(("not a reference: write ${NAME} or ${NAME:-default}, and $${ for a plain ${", "reference"))
            return ""
        names.append(name)
        value = environ.get(name)
        if default is not None and not value:
            return default
        if value is None:
            message = f"environment variable {name} is not set, and no default is given: ${{{name}:-...}}"
            problems.append((message, "unset"))
            return ""
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            problems.append((f"environment variable {name} is not UTF-8", "reference"))
        if value:
            values.append(value)
        return value

    result = _REFERENCE.sub(replace, text)
    problem, kind = problems[0] if problems else _NO_PROBLEM
    return FilledText(result, tuple(values), references, tuple(names), problem, kind)
