"""Puts function calls together whose arguments come in pieces (`streamFunctionCallArguments`, on Vertex). Pure.

A piece names its place by a JSON path (``$.where[0].city``) and brings a value, or the next part of a text. The last
piece says neither that more follows nor what.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

_STEP = re.compile(r"\.(\w+)|\[(\d{1,6})\]|\[(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")\]")
_VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")
_MAX_ITEMS = 100_000


class PartialCall:
    """One function call so far.

    Args:
        part: The part that it began in.
    """

    def __init__(self, part: Mapping[str, Any]) -> None:
        self._part = {name: value for name, value in part.items() if name != "functionCall"}
        self._call: dict[str, Any] = {}
        self._args: dict[str, Any] = {}

    def add(self, call: Mapping[str, Any]) -> dict[str, Any] | None:
        """Take the next piece; return the whole part if that was the last one."""
        for name in ("id", "name"):
            if call.get(name):
                self._call[name] = call[name]
        if isinstance(call.get("args"), dict):
            self._args |= call["args"]
        pieces = call.get("partialArgs")
        for piece in pieces if isinstance(pieces, list) else ():
            if isinstance(piece, dict):
                self._set(piece)
        if call.get("willContinue"):
            return None
        return {**self._part, "functionCall": {**self._call, "args": self._args}}

    def _set(self, piece: Mapping[str, Any]) -> None:
        name = next((name for name in _VALUES if name in piece), None)
        path = str(piece.get("jsonPath", ""))
        found = _STEP.findall(path)
        steps = [int(index) if index else plain or quoted or other for plain, index, quoted, other in found]
        if name is None or not steps:
            return
        value = None if name == "nullValue" else piece[name]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        holder: Any = self._args
        for step, following in pairwise(steps):
            holder = _within(holder, step, [] if isinstance(following, int) else {})
        known = _at(holder, steps[-1])
        _put(holder, steps[-1], known + value if isinstance(known, str) and isinstance(value, str) else value)


def _at(holder: Any, step: int | str) -> Any:
    if isinstance(holder, dict):
        return holder.get(str(step))
    return holder[step] if isinstance(holder, list) and isinstance(step, int) and step < len(holder) else None


def _put(holder: Any, step: int | str, value: Any) -> None:
    if isinstance(holder, dict):
        holder[str(step)] = value
    elif isinstance(holder, list) and isinstance(step, int) and step < _MAX_ITEMS:
        holder.extend([None] * (step + 1 - len(holder)))
        holder[step] = value


def _within(holder: Any, step: int | str, new: Any) -> Any:
    found = _at(holder, step)
    if not isinstance(found, (dict, list)):
        _put(holder, step, new)
        found = new
    return found
