"""Finds the one JSON value in the text of an answer, complete or partial, and ignores the text around it. Pure.

Models asked for only JSON still write around it: a Markdown fence, their thinking between tags, a sentence. That text
is ignored only if nothing has to be guessed: exactly one JSON value remains, and no bracket outside it. A broken value
is never repaired, no part of it is taken for the whole, and a number or a word within a sentence is not a value.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from pydantic_core import from_json

_TAGS = "(?:think|thinking|thought|reasoning)"
_THOUGHTS_BEGIN = re.compile(rf"\s*<{_TAGS}>", re.IGNORECASE)
_THOUGHTS_END = re.compile(rf"</{_TAGS}>", re.IGNORECASE)
_LONE_END = re.compile(rf"^[ \t]*</{_TAGS}>", re.IGNORECASE | re.MULTILINE)
"""An end tag at the start of a line, where no string of a JSON value can contain it."""
_OPENING = re.compile(r"[\[{]")
_BRACKET = re.compile(r"[\[\]{}]")
_FENCE = "```"


def json_text(text: str) -> str:
    """Return the part of `text` (which is not JSON as a whole) that holds its one JSON value.

    If the value is not valid JSON, return everything from its beginning, so that the parser reports the error there.

    Raises:
        ValueError: there are several values, or brackets outside the one.
    """
    text = _without_fence(without_thoughts(text).strip())
    opening = _OPENING.search(text)
    if opening is None or _is_json(text):
        return text
    start = opening.start()
    try:
        _, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return text[start:]
    around = (text[:start], text[end:])
    if any(_BRACKET.search(part) or _is_json(part) for part in around):
        raise ValueError("there is more than one JSON value, or a bracket outside of it")
    return text[start:end]


def partial_json(text: str) -> Any:
    """Return the JSON value in `text` as far as it has arrived; None if none has begun.

    For a broken value, return the part before the break, or None.

    An unfinished string, list or object holds the part that has arrived; a key without its value is left out.
    """
    text = without_thoughts(text).strip()
    opening = _OPENING.search(text)
    start = 0 if opening is None or text.startswith('"') else opening.start()
    try:
        return from_json(text[start:], allow_inf_nan=False, allow_partial="trailing-strings")
    except ValueError:
        return None


def without_thoughts(text: str) -> str:
    """Return `text` without the model's thoughts at its beginning; empty until they end."""
    if _THOUGHTS_BEGIN.match(text):
        end = _THOUGHTS_END.search(text)
        return "" if end is None else text[end.end() :]
    # Some chat templates open the thoughts in the prompt, so the answer contains only the end tag.
    end = _LONE_END.search(text)
    return text if end is None else text[end.end() :]


def _without_fence(text: str) -> str:
    if text.startswith(_FENCE) and text.endswith(_FENCE) and "\n" in text:
        return text[text.index("\n") + 1 : -len(_FENCE)]
    return text


def _is_json(text: str) -> bool:
    try:
        from_json(text, allow_inf_nan=False)
    except ValueError:
        return False
    return True


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
