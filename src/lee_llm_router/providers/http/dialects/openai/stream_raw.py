"""Builds `raw` of a streamed chat completion in its unstreamed form. Pure.

Fields of `LLMResponse` are merged chunk by chunk; this merges all the rest, on access. It reads the bytes of the stream
a second time:

- deltas make the message: pieces of text are joined, names are kept, lists are filled by their items' `index`;
- tool calls are separated as in `ToolCallSorter`, so that `raw` has as many as the response;
- next to the message, lists grow (log probabilities), and other fields keep their last value other than null;
- outside the choices the last value counts, too. Nothing that the server sent under a name of its own is lost.

Pieces are collected in lists and joined once, so that the work grows linearly with the stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json

from lee_llm_router._util.lenient_json import read_odd_json, whole_characters
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http.dialects.openai.tool_calls import ToolCallSorter
from lee_llm_router.providers.http.dialects.openai.whole_answer import choice_number
from lee_llm_router.providers.http.dialects.sse import EventParser

_NAMES = frozenset({"id", "type", "role", "name", "index", "format", "object", "model", "mime_type", "finish_reason"})
"""Fields whose text comes whole, and which some servers repeat in each piece."""


class _Pieces(list[str]):
    """Incomplete text."""


class _Items(list[Any]):
    """An incomplete list."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: dict[int, int] = {}
        """Index of an item in the server's numbering -> its position."""


def merged_raw(body: bytes | bytearray, *, several: bool = False) -> dict[str, Any] | None:
    """Return the answer in the events of `body` as one object; None if they cannot be merged.

    Args:
        body: The bytes of the stream.
        several: Whether the request asked for more than one choice.
    """
    whole = _Answer(several)
    try:
        for value in _objects_in(bytes(body)):
            whole.add(value)
        found: dict[str, Any] = whole_characters(whole.result())
    except (ValueError, RecursionError, LLMRouterError):
        return None
    return found


def _objects_in(body: bytes) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in the events of `body`, up to the end mark."""
    parser = EventParser(len(body) + 1)
    events = parser.feed(body)
    last = parser.unfinished()
    for event in events if last is None else [*events, last]:
        data = event.data.strip()
        if data == b"[DONE]":
            return
        for value in _values_in(data):
            if isinstance(value, dict):
                yield value


def _values_in(data: bytes) -> Iterator[Any]:
    try:
        yield _read(data)
    except ValueError:
        for line in data.split(b"\n") if b"\n" in data else ():
            try:
                yield _read(line)
            except ValueError:
                continue


def _read(data: bytes) -> Any:
    """Return the JSON in `data`; half a character stays one until it is joined to its other half."""
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError:
        return read_odd_json(data)


class _Answer:
    """The answer so far."""

    def __init__(self, several: bool) -> None:
        self._several = several
        self._fields: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}

    def add(self, value: dict[str, Any]) -> None:
        """Take the object of the next event."""
        for name, part in value.items():
            if name != "choices":
                _replace_field(self._fields, name, part)
        choices = value.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                number = choice_number(choice) if self._several else 0
                self._choices.setdefault(number, _Choice(number)).add(choice)

    def result(self) -> dict[str, Any]:
        """Return the answer as one object."""
        fields = dict(self._fields)
        if fields.get("object") == "chat.completion.chunk":
            fields["object"] = "chat.completion"
        fields["choices"] = [choice.result() for _, choice in sorted(self._choices.items())]
        return fields


class _Choice:
    """One choice so far."""

    def __init__(self, number: int) -> None:
        self._fields: dict[str, Any] = {"index": number}
        self._message: dict[str, Any] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._sorter = ToolCallSorter()
        self._has_deltas = False

    def add(self, choice: dict[str, Any]) -> None:
        """Take its next piece."""
        for name, part in choice.items():
            if name in ("delta", "message"):
                if isinstance(part, dict):
                    self._add_part(name, part)
            elif name != "index" and part != "":
                _extend_field(self._fields, name, part)

    def _add_part(self, name: str, part: dict[str, Any]) -> None:
        """Take a delta, or a message: a piece too, unless deltas have come, which it says again."""
        if name == "delta":
            self._has_deltas = self._has_deltas or bool(part)
        elif self._has_deltas:
            for field in part.keys() & self._message.keys():
                if part[field]:
                    del self._message[field]
            part = {field: value for field, value in part.items() if field != "tool_calls" or not self._calls}
        self._add_message(part)

    def _add_message(self, delta: dict[str, Any]) -> None:
        for name, part in delta.items():
            if name == "tool_calls" and isinstance(part, list):
                self._add_calls(part)
            else:
                _join_field(self._message, name, part)

    def _add_calls(self, calls: list[Any]) -> None:
        for call in calls:
            piece = self._sorter.delta(call) if isinstance(call, dict) else None
            if piece is not None:
                join_fields(self._calls.setdefault(piece.index, {}), {**call, "index": piece.index})

    def result(self) -> dict[str, Any]:
        """Return the choice, with its message."""
        message = dict(self._message)
        if self._calls:
            message["tool_calls"] = [call for _, call in sorted(self._calls.items())]
        finished: dict[str, Any] = finished_value({**self._fields, "message": message})
        return finished


def _replace_field(target: dict[str, Any], name: str, part: Any) -> None:
    """Replace a field's value; objects are merged, and null replaces nothing."""
    known = target.get(name)
    if isinstance(known, dict) and isinstance(part, dict):
        for inner, value in part.items():
            _replace_field(known, inner, value)
    elif part is not None or name not in target:
        target[name] = dict(part) if isinstance(part, dict) else part


def _extend_field(target: dict[str, Any], name: str, part: Any) -> None:
    """As `_replace_field`, but lists grow."""
    known = target.get(name)
    if isinstance(known, dict) and isinstance(part, dict):
        for inner, value in part.items():
            _extend_field(known, inner, value)
    elif isinstance(part, list):
        if not isinstance(known, _Items):
            known = target[name] = _Items()
        known.extend(part)
    elif isinstance(part, dict):
        target[name] = {}
        for inner, value in part.items():
            _extend_field(target[name], inner, value)
    elif part is not None or name not in target:
        target[name] = part


def join_fields(target: dict[str, Any], delta: dict[str, Any]) -> None:
    """Merge the fields of a piece into those of the whole; see `finished_value`."""
    for name, part in delta.items():
        _join_field(target, name, part)


def _join_field(target: dict[str, Any], name: str, part: Any) -> None:
    """Add a piece to a field: text to text, items to lists, fields to objects."""
    known = target.get(name)
    if part is None:
        target.setdefault(name, None)
    elif isinstance(part, str) and name not in _NAMES:
        if isinstance(known, _Items) and part:
            known.append({"type": "text", "text": part})
        elif isinstance(known, _Pieces):
            known.append(part)
        elif not isinstance(known, _Items):
            target[name] = _Pieces([part])
    elif isinstance(part, list):
        if not isinstance(known, _Items):
            target[name] = items = _Items()
            if isinstance(known, _Pieces) and any(known):
                items.append({"type": "text", "text": known})
        _add_items(target[name], part)
    elif isinstance(part, dict):
        if not isinstance(known, dict):
            known = target[name] = {}
        join_fields(known, part)
    elif part != "" or known is None:
        target[name] = part


def _add_items(items: _Items, parts: list[Any]) -> None:
    for part in parts:
        index = part.get("index") if isinstance(part, dict) else None
        position = items.positions.get(index) if type(index) is int else None
        if position is not None and _belongs(items[position], part):
            join_fields(items[position], part)
            continue
        if type(index) is int:
            items.positions[index] = len(items)
        if isinstance(part, dict):
            begun: dict[str, Any] = {}
            join_fields(begun, part)
            items.append(begun)
        else:
            items.append(part)


def _belongs(known: dict[str, Any], part: dict[str, Any]) -> bool:
    """Return whether two items with the same index are pieces of one: none of their names differ."""
    return all(not part.get(name) or not known.get(name) or part[name] == known[name] for name in ("type", "id"))


def finished_value(value: Any) -> Any:
    """Return a value built by `join_fields` as plain data."""
    if isinstance(value, _Pieces):
        return "".join(value)
    if isinstance(value, list):
        return [finished_value(item) for item in value]
    if isinstance(value, dict):
        return {name: finished_value(part) for name, part in value.items()}
    return value
