"""Reads what a docstring says of a function and its parameters, in the style of Google, NumPy or Sphinx."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_PARAMETERS = re.compile(r"(Args|Arguments|Parameters|Params|Keyword Args|Keyword Arguments|Other Parameters)\s*:?\s*")
_SECTION = re.compile(
    r"(Returns?|Yields?|Raises|Examples?|Notes?|See Also|Warnings?|Warns|Attributes|References|Todo)\s*:?\s*"
)
_SPHINX = re.compile(r":(?P<field>\w+)(?:\s+(?:[^:]*\s)?\*{0,2}(?P<name>\w+))?\s*:\s*(?P<text>.*)")
_GOOGLE_ENTRY = re.compile(r"\*{0,2}(?P<name>\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)")
_NUMPY_ENTRY = re.compile(r"\*{0,2}(?P<name>\w+)\s*(?::.*)?(?P<text>)")


def described_parameters(docstring: str) -> tuple[str, dict[str, str]]:
    """Return the text of `docstring` before its sections, and the description of each parameter.

    Args:
        docstring: As `inspect.getdoc` returns it: without the common indentation.
    """
    summary: list[str] = []
    described: dict[str, str] = {}
    for heading, lines in _sections(docstring.splitlines()):
        if heading is None:
            summary += lines
        elif _PARAMETERS.fullmatch(heading):
            is_numpy = bool(lines) and set(lines[0].strip()) == {"-"}
            described |= _entries(lines[1:] if is_numpy else lines, _NUMPY_ENTRY if is_numpy else _GOOGLE_ENTRY)
        elif (field := _SPHINX.fullmatch(heading)) and field["name"] and field["field"].startswith(("param", "arg")):
            described[field["name"]] = " ".join([field["text"], *(line.strip() for line in lines)]).strip()
    return "\n".join(summary).strip(), {name: text for name, text in described.items() if text}


def _sections(lines: Sequence[str]) -> Iterator[tuple[str | None, list[str]]]:
    """Yield each section's heading and its lines; the text before the first section has no heading."""
    heading: str | None = None
    found: list[str] = []
    for line in lines:
        if _PARAMETERS.fullmatch(line) or _SECTION.fullmatch(line) or _SPHINX.fullmatch(line):
            yield heading, found
            heading, found = line, []
        else:
            found.append(line)
    yield heading, found


def _entries(lines: Sequence[str], pattern: re.Pattern[str]) -> dict[str, str]:
    """Return the entries of a section on parameters: each of its least indented lines begins one."""
    depths = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        entry = pattern.fullmatch(line.strip()) if line.strip() and line[: min(depths) + 1].strip() else None
        if entry:
            name = entry["name"]
            found[name] = entry["text"].strip()
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found
