"""Checking what a caller passes as messages, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.response import MESSAGE_ROLES, Message

_USUAL_ROLES = ("user", "assistant", "system")

Messages: TypeAlias = str | Sequence[Message]


def normalised(messages: Messages) -> tuple[Message, ...]:
    """The messages as a tuple of dicts, the caller's own where they are some; a plain string is one user message.

    Raises:
        InvalidRequestError: empty, not a list of mappings, an unknown role, content of the wrong kind, or text that
            cannot be written as UTF-8 (lone surrogates).
    """
    if isinstance(messages, str) and messages:
        messages = ({"role": "user", "content": messages},)
    if not isinstance(messages, (list, tuple)) and not _is_sequence(messages):
        raise _wrong(f"messages must be a string or a list of messages, not {type(messages).__name__}")
    if not messages:
        raise _wrong("messages is empty")
    checked = []
    for index, message in enumerate(messages):
        if type(message) is dict:
            content = message.get("content")
            # The form that nearly all messages have needs none of the tests that find out what is wrong with one.
            if type(content) is not str or not content.isascii() or message.get("role") not in _USUAL_ROLES:
                _check(message, f"messages[{index}]")
            checked.append(message)
        else:
            _check(message, f"messages[{index}]")
            checked.append(dict(message))
    return tuple(checked)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, bytes | bytearray)


def _check(message: Any, where: str) -> None:
    if not isinstance(message, Mapping):
        raise _wrong(f"{where} must be a mapping with role and content, not {type(message).__name__}")
    role = message.get("role")
    if role not in MESSAGE_ROLES:
        known = ", ".join(sorted(MESSAGE_ROLES))
        raise _wrong(f"{where}.role must be one of {known}" + (f", not {role!r:.40}" if "role" in message else ""))
    content = message.get("content")
    if isinstance(content, str):
        _check_text(content, f"{where}.content")
    elif content is None:
        if role != "assistant":
            raise _wrong(f"{where}.content is missing")
    elif _is_sequence(content):
        for index, part in enumerate(content):
            if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
                raise _wrong(f"{where}.content[{index}] must be a mapping with a type")
            if isinstance(part.get("text"), str):
                _check_text(part["text"], f"{where}.content[{index}].text")
    else:
        raise _wrong(f"{where}.content must be a string or a list of parts, not {type(content).__name__}")


def _check_text(text: str, where: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _wrong(f"{where} holds a lone surrogate at character {error.start}, which UTF-8 cannot carry") from None


def _wrong(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, sent=False)
