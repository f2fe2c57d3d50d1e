"""Assembles function calls whose arguments come in pieces (`streamFunctionCallArguments`, on Vertex). Pure.

A piece names its place by a JSON path (``$.where[0].city``) and brings a value, or the next part of a text. The last
piece has neither a value nor a note that more follows.

A path of a few bytes may name a high index or a deep place. So the number of empty items in one call, and its depth,
are limited: otherwise a small stream could use up all memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice, pairwise
from typing import Any

_STEP = re.compile(r"\.(\w+)|\[(\d{1,6})\]|\[(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")\]")
_VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")
_MAX_EMPTY = 1000
"""Most list items that no piece has named, though one has named a later item."""
_MAX_DEPTH = 100


class PartialCall:
    """One function call so far.

    Args:
        part: The part in which it began.
    """

    def __init__(self, part: Mapping[str, Any]) -> None:
        self._part = {name: value for name, value in part.items() if name != "functionCall"}
        self._call: dict[str, Any] = {}
        self._args: dict[str, Any] = {}
        self._may_be_empty = _MAX_EMPTY

    def add(self, call: Mapping[str, Any]) -> dict[str, Any] | None:
        """Take the next piece; return the whole part after the last one.

        Raises:
            ValueError: a path has too high an index, or is too deep.
        """
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
        found = (step.groups(default="") for step in islice(_STEP.finditer(path), _MAX_DEPTH + 1))
        steps = [int(index) if index else plain or quoted or other for plain, index, quoted, other in found]
        if name is None or not steps:
            return
        if len(steps) > _MAX_DEPTH:
            raise ValueError(f"more than {_MAX_DEPTH} steps deep")
        value = None if name == "nullValue" else piece[name]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        holder: Any = self._args
        for step, following in pairwise(steps):
            inner = _at(holder, step)
            if not isinstance(inner, (dict, list)):
                inner = [] if isinstance(following, int) else {}
                self._put(holder, step, inner)
            holder = inner
        known = _at(holder, steps[-1])
        self._put(holder, steps[-1], known + value if isinstance(known, str) and isinstance(value, str) else value)

    def _put(self, holder: dict[str, Any] | list[Any], step: int | str, value: Any) -> None:
        if isinstance(holder, dict):
            holder[str(step)] = value
        elif isinstance(step, int):
            new = step + 1 - len(holder)
            self._may_be_empty -= max(0, new - 1)
            if self._may_be_empty < 0:
                raise ValueError(f"more than {_MAX_EMPTY} items are left out")
            holder.extend([None] * new)
            holder[step] = value


def _at(holder: dict[str, Any] | list[Any], step: int | str) -> Any:
    if isinstance(holder, dict):
        return holder.get(str(step))
    return holder[step] if isinstance(step, int) and step < len(holder) else None
