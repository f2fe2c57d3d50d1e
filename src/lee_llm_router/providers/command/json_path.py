"""Paths into JSON values: ``result.text``, ``choices[0].message``, ``items[-1]``, ``"a.b".c``. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, TypeAlias

JSONPath: TypeAlias = tuple[str | int, ...]
"""Names and indexes that lead to a value, the outermost first."""

MAX_PATH = 500
_STEP = re.compile(r'\.?(?:"((?:[^"\\]|\\.)*)"|([^.\[\]"\s]+))|\[(-?[0-9]{1,9})\]')

MISSING: Any = object()
"""Marks a missing value."""


def parse_path(text: str) -> JSONPath:
    """Return the path in `text`.

    Raises:
        ValueError: it is not a path.
    """
    steps: list[str | int] = []
    place = 0
    while place < len(text):
        found = _STEP.match(text, place)
        if found is None or (text[place] == ".") != (bool(steps) and found[3] is None):
            raise ValueError('write a path into JSON like result.text, choices[0].message, "a.b".c')
        quoted, name, index = found.groups()
        steps.append(json.loads(f'"{quoted}"') if quoted is not None else name if name is not None else int(index))
        place = found.end()
    return tuple(steps)


def value_at(value: Any, path: JSONPath) -> Any:
    """Return the value at `path` in `value`; `MISSING` if there is none, or null."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and (index := _index(step)) is not None and -len(value) <= index < len(value):
            value = value[index]
        else:
            return MISSING
    return MISSING if value is None else value


def documents_in(text: str) -> list[Any]:
    """Return the JSON values in `text`: all of it, or else the objects and lists in its lines.

    If there are none, return what begins with the first line that looks like JSON and extends to the end.
    """
    whole = _read(text)
    if whole is not MISSING:
        return [whole]
    lines = text.split("\n")
    found = [value for line in lines if isinstance(value := _read(line), (dict, list))]
    if found:
        return found
    for number, line in enumerate(lines):
        if line.lstrip()[:1] in ("{", "["):
            value = _read("\n".join(lines[number:]))
            return [] if value is MISSING else [value]
    return []


def _index(step: str | int) -> int | None:
    if isinstance(step, int):
        return step
    return int(step) if step.isdecimal() and len(step) < 10 else None


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return MISSING
