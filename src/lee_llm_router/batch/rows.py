"""The rows of a batch, and how a value becomes one.

A value is a prompt (text), messages (a list), or an object::

    {"id": "a1", "prompt": "..."}              or "messages": [...], or the fields that the template names
    {"prompt": "...", "system": "...", "options": {"temperature": 0}, "metadata": {"customer": 7}}

Other fields are the row's own, and are not sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from hashlib import blake2b
from typing import Any, Self, TypeAlias

from pydantic_core import to_json

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.frozen import maker
from lee_llm_router.batch.template import MissingFieldError, PromptTemplate
from lee_llm_router.response.types import Message, is_instruction

RowValue: TypeAlias = "str | Sequence[Message] | Mapping[str, Any] | BatchRow"
"""The values that an iterable may contain for a row."""

MAX_ID = 512
"""The most characters of a row's id."""

_DIGEST_BYTES = 10
"""Bytes of a row's hash: among ten million rows, a collision has a chance of 1 in 20 billion."""
_EMPTY_HASH = blake2b(digest_size=_DIGEST_BYTES)
"""Copying it takes 0.1 us less than creating a new one with its arguments."""
_NO_OPTIONS: dict[str, Any] = {}
_CALL_ARGUMENTS = frozenset({"self", "role", "messages"})
_MISPLACED = frozenset({"temperature", "top_p", "max_tokens", "model", "seed", "stop", "tools", "schema", "json_mode"})
"""Call options that people write next to the prompt. They would be ignored silently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """One row: its request, and the id of its answer."""

    id: str
    """The row's own id, else its hash; with the suffix ``-2``, ``-3`` if an equal row came before."""
    messages: str | Sequence[Message]
    options: Mapping[str, Any] = field(default_factory=dict)
    """The row's own call options, including `metadata`."""
    line: int = 0
    """The line of the file at which it begins, or its number in an iterable; from 1."""
    digest: bytes = field(default=b"", repr=False)
    """The hash of its request."""
    has_own_id: bool = True
    """Whether the id was given."""
    key: bytes = field(default=b"", repr=False)
    """The hash of its id, which is its key in the ledger; empty until it is computed."""

    def repeated(self, times: int) -> Self:
        """Return the row under the id of its `times`-th occurrence among equal rows."""
        name = f"{self.id}-{times}"
        return replace(self, id=name, key=key_of(name))

    def as_fields(self) -> dict[str, Any]:
        """Return it as plain JSON values, for another process; `from_fields` turns them back into a row."""
        return {"id": self.id, "messages": self.messages, "options": dict(self.options), "line": self.line}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Return the row that `as_fields` wrote."""
        return cls(
            id=fields["id"], messages=fields["messages"], options=fields["options"], line=fields["line"],
            digest=digest_of((fields["messages"], fields["options"]) if fields["options"] else fields["messages"]),
        )  # fmt: skip


_made_row = maker(BatchRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRow:
    """A value that is not a row, and the reason. It is never sent."""

    line: int
    """See `BatchRow.line`."""
    reason: str
    id: str | None = None
    """Its id, if that could be read."""


class _NoRowError(ValueError):
    """A value is not a row. The text says why."""


class RowForm:
    """How values become rows: with which template and instructions.

    Args:
        template: Makes the prompt from a row's fields.
        system: Instructions for rows without instructions of their own.
    """

    def __init__(self, template: PromptTemplate | None = None, system: str | None = None) -> None:
        self._template = template
        self._system = system
        self._is_bare = template is None and not system

    def row(self, value: Any, line: int) -> BatchRow | BrokenRow:
        """Return `value` as a row, or what is wrong with it. Never raises."""
        own_id: str | None = None
        messages: str | list[Message]
        try:
            if isinstance(value, BatchRow):
                return _checked(value)
            if type(value) is dict or isinstance(value, Mapping):
                own_id = _own_id(value)
                # Nearly all rows have only these two: this takes 0.4 us less.
                if self._is_bare and len(value) == 1 + ("id" in value) and type(value.get("prompt")) is str:
                    options, messages = _NO_OPTIONS, _prompt(value["prompt"])
                else:
                    options, messages = _options(value, self._template), self._messages(value)
            else:
                options, messages = _NO_OPTIONS, self._of_plain(value)
            digest = digest_of((messages, options) if options else messages)
        except _NoRowError as error:
            return BrokenRow(line=line, reason=str(error), id=own_id)
        except Exception as error:  # noqa: BLE001 - a caller's own mapping may raise anything
            return BrokenRow(line=line, reason=f"it cannot be read ({type(error).__name__})", id=own_id)
        name = own_id or digest.hex()
        return _made_row(
            id=name, messages=messages, options=options, line=line, digest=digest, has_own_id=own_id is not None,
            key=key_of(name),
        )  # fmt: skip

    def _of_plain(self, value: Any) -> str | list[Message]:
        """Return the messages of a value that is not an object."""
        if self._template is not None:
            if isinstance(value, str) and len(self._template.fields) == 1:
                return self._asked(self._template.filled(dict.fromkeys(self._template.fields, value)))
            raise _NoRowError("the template needs an object with its fields")
        if isinstance(value, str):
            return self._asked(_prompt(value))
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
            return self._conversation(value, self._system)
        raise _NoRowError(f"it is neither a text, nor messages, nor an object, but {_kind(value)}")

    def _messages(self, value: Mapping[str, Any]) -> str | list[Message]:
        system = value.get("system") or self._system
        if not (system is None or isinstance(system, str)):
            raise _NoRowError("system is not text")
        if self._template is not None:
            try:
                return self._asked(self._template.filled(value), system)
            except MissingFieldError as error:
                raise _NoRowError(f"the field {str(error)!r} of the template is missing") from None
        prompt, messages = value.get("prompt"), value.get("messages")
        if prompt is not None and messages is not None:
            raise _NoRowError("it has both prompt and messages")
        if messages is not None:
            if isinstance(messages, str) or not isinstance(messages, Sequence):
                raise _NoRowError("messages is not a list")
            return self._conversation(messages, system)
        if prompt is None:
            raise _NoRowError("it has neither prompt nor messages (for other fields there is the template)")
        if not isinstance(prompt, str):
            raise _NoRowError(f"prompt is not text but {_kind(prompt)}")
        return self._asked(_prompt(prompt), system)

    def _asked(self, prompt: str, system: str | None = None) -> str | list[Message]:
        system = system or self._system
        if not system:
            return prompt
        return [{"role": "system", "content": system}, {"role": "user", "content": prompt}]

    @staticmethod
    def _conversation(messages: Sequence[Message], system: str | None) -> list[Message]:
        if not messages:
            raise _NoRowError("messages is empty")
        first = messages[0]
        if system and not (isinstance(first, Mapping) and is_instruction(first)):
            return [{"role": "system", "content": system}, *messages]
        return list(messages)


def key_of(name: str) -> bytes:
    """Return the key of the row whose id is `name`."""
    return _hash(name.encode())


def digest_of(value: Any) -> bytes:
    """Return the hash of a row's request."""
    try:
        text = to_json(value)
    except ValueError:  # a lone surrogate, which UTF-8 cannot encode: the call reports it
        text = json.dumps(value, default=repr).encode()
    return _hash(text)


def _hash(text: bytes) -> bytes:
    made = _EMPTY_HASH.copy()
    made.update(text)
    return made.digest()


def _prompt(text: str) -> str:
    if not text or text.isspace():
        raise _NoRowError("the prompt is empty")
    return text


def _own_id(value: Mapping[str, Any]) -> str | None:
    own = value.get("id")
    if type(own) is str and own.isascii() and 0 < len(own) <= MAX_ID:
        return own
    if own is None or own == "":
        return None
    if isinstance(own, bool) or not isinstance(own, str | int):
        raise _NoRowError(f"id is neither a text nor a whole number, but {_kind(own)}")
    text = str(own)
    if len(text) > MAX_ID:
        raise _NoRowError(f"id is longer than {MAX_ID} characters")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise _NoRowError("id holds half a character, which UTF-8 cannot encode")
    return text


def _options(value: Mapping[str, Any], template: PromptTemplate | None) -> dict[str, Any]:
    given, metadata = value.get("options"), value.get("metadata")
    fields = frozenset() if template is None else template.fields
    if not _MISPLACED.isdisjoint(value) and (misplaced := sorted((_MISPLACED & value.keys()) - fields)):
        raise _NoRowError(f"{misplaced[0]} is next to the prompt: put options of a call into options")
    options: dict[str, Any] = {}
    if given not in (None, "") and "options" not in fields:
        options = _checked_options(given)
    if metadata not in (None, "") and "metadata" not in fields:
        if not isinstance(metadata, Mapping):
            raise _NoRowError("metadata is not an object")
        options["metadata"] = dict(metadata)
    return options


def _checked_options(given: Any) -> dict[str, Any]:
    """Return options for a call; the call itself checks their values."""
    if not isinstance(given, Mapping):
        raise _NoRowError("options is not an object")
    options = dict(given)
    if not all(isinstance(name, str) for name in options):
        raise _NoRowError("options has a name that is not text")
    if foreign := sorted(_CALL_ARGUMENTS & options.keys()):
        raise _NoRowError(f"{foreign[0]} is not an option of a call")
    if not isinstance(options.get("metadata"), Mapping | None):
        raise _NoRowError("options.metadata is not an object")
    return options


def _checked(row: BatchRow) -> BatchRow:
    """Return a row that the caller has made, if it can be sent."""
    if _own_id({"id": row.id}) != row.id:
        raise _NoRowError("id is not text, or is empty")
    _checked_options(row.options)
    return row


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {bool: "true or false", int: "a number", float: "a number", dict: "an object", list: "a list"}.get(
        type(value), f"of the type {type(value).__name__}"
    )
