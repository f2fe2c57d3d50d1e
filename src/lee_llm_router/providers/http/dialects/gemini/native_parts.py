"""Tells which parts a model's turn may hold when it goes back to Google. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ABOUT_PART = frozenset({"thought", "thoughtSignature", "partMetadata"})
_TYPES: Mapping[str, type] = {"text": str, "thought": bool, "thoughtSignature": str}
_HELD: Mapping[str, Mapping[str, tuple[type, bool]]] = {
    "functionCall": {"name": (str, True), "args": (dict, False), "id": (str, False)},
    "inlineData": {"mimeType": (str, True), "data": (str, True)},
    "fileData": {"fileUri": (str, True)},
}
"""What the content of a part holds: the type of each field, and whether it is required."""


def of_an_answer(part: Any) -> bool:
    """Return whether an answer of the model may hold `part`.

    Anybody may have written what a store kept; whatever else it contains, it speaks as the model.
    """
    if not isinstance(part, Mapping) or not part.keys() - _ABOUT_PART or "functionResponse" in part:
        return False
    if any(type(value) is not _TYPES[name] for name, value in part.items() if name in _TYPES):
        return False
    return all(_is_whole(part[name], fields) for name, fields in _HELD.items() if name in part)


def _is_whole(value: Any, fields: Mapping[str, tuple[type, bool]]) -> bool:
    if not isinstance(value, Mapping):
        return False
    for name, (expected, is_needed) in fields.items():
        if name in value and (type(value[name]) is not expected or not (value[name] or not is_needed)):
            return False
        if is_needed and name not in value:
            return False
    return True
