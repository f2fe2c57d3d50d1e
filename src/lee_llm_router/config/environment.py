"""``${VAR}`` and ``${VAR:-default}`` in a text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}|\$\{")


class Filled(NamedTuple):
    """A text with its references replaced."""

    text: str
    used: tuple[str, ...] = ()
    """Values of the variables that are set, in order; empty ones are left out."""
    references: int = 0
    whole: bool = False
    """The text was one reference and nothing else."""
    problem: str | None = None
    """Why it cannot be filled; names variables, never values."""


def fill(text: str, environ: Mapping[str, str]) -> Filled:
    """Replace every reference in `text`. ``$${`` stands for a plain ``${``.

    As in a shell, the default of ``:-`` is taken where the variable is unset or empty.
    """
    if "${" not in text:
        return Filled(text)
    problems: list[str] = []
    used: list[str] = []
    references = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal references
        if match[0] == "$${":
            return "${"
        references += 1
        name, default = match["name"], match["default"]
        if name is None:
            problems.append("not a reference: write ${NAME} or ${NAME:-default}, and $${ for a plain ${")
            return ""
        value = environ.get(name)
        if default is not None and not value:
            return default
        if value is None:
            problems.append(f"environment variable {name} is not set, and no default is given: ${{{name}:-...}}")
            return ""
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            problems.append(f"environment variable {name} is not UTF-8")
        if value:
            used.append(value)
        return value

    result = _REFERENCE.sub(replace, text)
    match = _REFERENCE.fullmatch(text)
    whole = match is not None and match["name"] is not None
    return Filled(result, tuple(used), references, whole, problems[0] if problems else None)
