"""Reads JSON as others really write it: with half surrogates in strings, and with NaN as a number.

`pydantic_core.from_json` refuses both, and reads everything else; refused text is examined again only if it contains
one of the two. Half a surrogate pair is half a character (a server that splits text by UTF-16 units sends it in two
pieces); alone it becomes U+FFFD, as in decoding bytes. NaN and Infinity are not JSON numbers: they are read as null, so
that nothing relies on them and they spoil nothing else.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic_core import from_json, to_json

_READABLE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]|NaN|Infinity")
_HALF = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


def read_json(data: bytes | bytearray) -> Any:
    """Return the JSON value in `data`, without half surrogates and without NaN.

    Raises:
        ValueError: it is not JSON, not UTF-8, or too deep.
    """
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError:
        return whole_characters(read_odd_json(data))


def read_odd_json(data: bytes | bytearray) -> Any:
    """Return the JSON value in `data`, which `from_json` has refused. Its strings may contain half surrogates.

    Raises:
        ValueError: as `read_json`.
    """
    if _READABLE.search(data) is None:
        raise ValueError("not JSON")
    try:
        return _DECODER.decode(data.decode("utf-8", "surrogatepass"))
    except RecursionError:
        raise ValueError("JSON that is too deep") from None


def split_json(text: str) -> tuple[list[str], str]:
    """Return the JSON values at the start of `text`, each as text, and the rest after them."""
    found: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        try:
            _, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            return found, text[position:]
        found.append(text[position:end])
        position = end


def ends_in_half(text: str) -> bool:
    """Return whether the last character of `text` is the first half of a pair, whose second half may follow."""
    return bool(text) and "\ud800" <= text[-1] <= "\udbff"


def whole_text(text: str) -> str:
    """Return `text` with its half surrogates joined, and U+FFFD for one that is alone."""
    if _HALF.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def whole_characters(value: Any) -> Any:
    """Return a JSON value with `whole_text` applied to each string.

    Raises:
        ValueError: it is too deep.
    """
    try:
        return _whole(value)
    except RecursionError:
        raise ValueError("JSON that is too deep") from None


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {whole_text(name): _whole(item) for name, item in value.items()}
    return value


def written_json(value: Any) -> bytes:
    """Return a value of `read_odd_json` as JSON again.

    Raises:
        ValueError: it is too deep.
    """
    try:
        return to_json(value)
    except ValueError:
        return to_json(whole_characters(value))


def whole_json_text(text: str) -> str:
    """Return JSON text with U+FFFD for each lone half surrogate, literal or escaped."""
    return whole_escapes(whole_text(text))


def whole_escapes(json_text: str) -> str:
    """Return JSON text with U+FFFD for each lone half surrogate that is escaped."""
    return _ESCAPE.sub(lambda found: "\\ufffd" if found[1] else found[0], json_text)
