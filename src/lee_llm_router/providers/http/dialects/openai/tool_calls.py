"""Reads tool calls, whole and in pieces. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from lee_llm_router._util.lenient_json import whole_json_text, written_json
from lee_llm_router.providers.http.dialects.arguments_so_far import BEGINNINGS, ArgumentsSoFar
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.json_body import invalid_answer, mapping, string
from lee_llm_router.response.types import ToolCall, ToolCallDelta

_NO_ARGUMENTS = "{}"
FIELDS_OF_CALL = frozenset({"id", "type", "function", "custom", "index"})
"""Fields that every server's tool calls may have."""


def call_extras(call: Any) -> dict[str, Any]:
    """Return the fields of a tool call that only its server understands, such as signatures."""
    if not isinstance(call, dict) or call.keys() <= FIELDS_OF_CALL:
        return {}
    return {name: value for name, value in call.items() if name not in FIELDS_OF_CALL and value}


def arguments_text(arguments: Any) -> str:
    """Return the arguments of a tool call, or a piece of them, as JSON text."""
    if arguments is None:
        return ""
    # Some servers send the arguments as an object.
    return arguments if isinstance(arguments, str) else written_json(arguments).decode()


def arguments_object(arguments: str) -> str:
    """Return the arguments of an outgoing call as JSON of an object; any other value is put inside an object.

    A model may write invalid JSON, and an answer may be cut. Some servers parse the arguments that they get back
    (vLLM).
    """
    try:
        value = from_json(arguments, allow_inf_nan=False) if arguments.strip() else None
    except (TypeError, ValueError):  # TypeError for half a character
        whole = whole_json_text(arguments)
        if whole != arguments:
            return arguments_object(whole)
        value = arguments
    if type(value) is dict:
        return arguments
    return _NO_ARGUMENTS if value is None else written_json({"arguments": value}).decode()


def calls_in(message: Mapping[str, Any]) -> Any:
    """Return the tool calls of a message or delta as the server wrote them; a legacy `function_call` as a list of
    one."""
    calls = message.get("tool_calls")
    legacy = message.get("function_call")
    return [{"index": 0, "function": legacy}] if not calls and legacy else calls


def whole_calls(reply: HTTPReply, calls: Any, *, first: int = 0, cut: bool = False) -> list[ToolCall]:
    """Return whole tool calls.

    Args:
        reply: The response that holds them.
        calls: Their list, as the server wrote it.
        first: The position of the first one in the answer.
        cut: Whether the answer was cut by length; if so, missing arguments do not count as empty.

    Raises:
        InvalidResponseError: they are malformed.
    """
    if not isinstance(calls, list):
        raise invalid_answer(reply, "malformed (tool_calls is not a list)")
    return [_whole_call(reply, call, number, cut) for number, call in enumerate(calls, first)]


def _whole_call(reply: HTTPReply, call: Any, number: int, cut: bool) -> ToolCall:
    function = mapping(call).get("function") or mapping(call).get("custom")
    name = string(mapping(function).get("name"))
    if name is None:
        raise invalid_answer(reply, f"malformed (tool_calls[{number}] names no function)")
    arguments = arguments_text(mapping(function).get("arguments", mapping(function).get("input")))
    if arguments.strip() in ("", "null") and not cut and "input" not in mapping(function):
        arguments = _NO_ARGUMENTS
    # Some local servers send no ids; the position is enough to match call and result.
    return ToolCall(id=string(call.get("id")) or f"call_{number}", name=name, arguments=arguments)


def with_own_ids(calls: list[ToolCall]) -> tuple[ToolCall, ...]:
    """Return `calls` with a new id for each call that repeats an earlier id, so that results find their call."""
    if not calls or len({call.id for call in calls}) == len(calls):
        return tuple(calls)
    seen: set[str] = set()
    found = []
    for number, call in enumerate(calls):
        own = _own_id(call.id, number, seen)
        seen.add(own)
        found.append(call if own == call.id else ToolCall(id=own, name=call.name, arguments=call.arguments))
    return tuple(found)


def _own_id(call_id: str, number: int, taken: set[str]) -> str:
    while call_id in taken:
        call_id = f"{call_id}_{number}"
    return call_id


class _CallSoFar:
    """One call whose pieces are arriving."""

    __slots__ = ("arguments", "id", "is_custom", "name")

    def __init__(self, call_id: str | None, name: str | None, is_custom: bool) -> None:
        self.id = call_id
        self.name = name
        self.is_custom = is_custom
        self.arguments = ArgumentsSoFar()

    def take(self, arguments: str) -> str:
        """Take the next piece of its arguments, and return what it adds to them."""
        if not self.is_custom:
            return self.arguments.take(arguments)
        self.arguments.add(arguments)
        return arguments


class ToolCallSorter:
    """Assigns the pieces of tool calls to their calls.

    The index of a piece says which call it belongs to. Some servers send no index, or the same one for all calls. So a
    piece that names a function begins a new call if the call at its index

    - has another name;
    - or came with another id, unless its arguments are in the middle. A new id alone does not: other servers give each
      piece one;
    - or has whole JSON for its arguments, and the piece brings more. Other servers name the function in each piece.

    A name again, without an id and without arguments, after whole arguments may be either an echo or the beginning of
    the next call to the same function: it is the latter if arguments follow.

    What a piece adds to the arguments is said by `ArgumentsSoFar`.
    """

    def __init__(self) -> None:
        self.calls: dict[int, _CallSoFar] = {}
        """The calls by their position."""
        self.extras: dict[int, dict[str, Any]] = {}
        """By position: the fields of calls that only their server understands."""
        self._positions: dict[int | None, int] = {}
        self._named_again: set[int | None] = set()
        """Indexes at which a name was repeated after complete arguments."""
        self._ids: set[str] = set()
        self._next = 0
        """The first position after all calls."""

    def deltas(self, calls: Any) -> tuple[ToolCallDelta, ...] | None:
        """Return the pieces in a list, as `delta` does; None if it is no list."""
        if type(calls) is not list:
            return None
        pieces = []
        for call in calls:
            if type(call) is not dict:
                return None
            piece = self.delta(call)
            if piece is not None:
                pieces.append(piece)
                if len(call) != 2 and not call.keys() <= FIELDS_OF_CALL:
                    self.extras.setdefault(piece.index, {}).update(call_extras(call))
        return tuple(pieces)

    def delta(self, call: Mapping[str, Any]) -> ToolCallDelta | None:
        """Return the piece `call` with its position, and its id and name only if they are new; None if it is empty."""
        further = self._further_arguments(call)
        if further is not None:
            return further
        is_custom = not call.get("function") and bool(call.get("custom"))
        function = mapping(call.get("function") or call.get("custom"))
        call_id, name, index = string(call.get("id")), string(function.get("name")), call.get("index")
        arguments = arguments_text(function.get("arguments", function.get("input")))
        index = index if type(index) is int and index >= 0 else None
        position = self._positions.get(index)
        if position is not None:
            known = self.calls[position]
            if index in self._named_again and arguments.strip():
                self._named_again.discard(index)
                return self._begin(index, call_id, name or known.name, arguments, is_custom)
            if not self._is_another(known, call_id, name, index, arguments):
                return self._go_on(position, name, arguments)
        return self._begin(index, call_id, name, arguments, is_custom)

    def _further_arguments(self, call: Mapping[str, Any]) -> ToolCallDelta | None:
        """Return the piece if it is of the usual kind: arguments for a call known by its index."""
        function, index = call.get("function"), call.get("index")
        if type(function) is not dict or type(index) is not int or self._named_again or function.get("name"):
            return None
        position, arguments = self._positions.get(index), function.get("arguments")
        if position is None or type(arguments) is not str:
            return None
        known = self.calls[position]
        if arguments[:1] in BEGINNINGS:
            arguments = known.take(arguments)
        else:
            known.arguments.add(arguments)
        return ToolCallDelta(index=position, arguments=arguments)

    def nameless(self) -> int | None:
        """Return the position of the first call without a name; None if all have one."""
        return next((position for position, call in sorted(self.calls.items()) if call.name is None), None)

    def missing_arguments(self, *, cut: bool) -> tuple[ToolCallDelta, ...]:
        """Return a piece for each call that ended without arguments: an empty object.

        With `cut`, arguments may be missing because the answer was cut: only for calls that began with one.
        """
        return tuple(
            ToolCallDelta(index=position, arguments=_NO_ARGUMENTS)
            for position, call in sorted(self.calls.items())
            if not call.is_custom and call.arguments.is_empty and (call.arguments.says_none or not cut)
        )

    def _begin(
        self, index: int | None, call_id: str | None, name: str | None, arguments: str, is_custom: bool
    ) -> ToolCallDelta:
        position = self._next if index is None or index in self.calls else index
        self._next = max(self._next, position + 1)
        self._positions[index] = position
        self.calls[position] = begun = _CallSoFar(call_id, name, is_custom)
        arguments = begun.take(arguments)
        # Some local servers send no ids; the position is enough to pair call and result.
        own_id = _own_id(call_id or f"call_{position}", position, self._ids)
        self._ids.add(own_id)
        return ToolCallDelta(index=position, id=own_id, name=name, arguments=arguments)

    def _go_on(self, position: int, name: str | None, arguments: str) -> ToolCallDelta:
        known = self.calls[position]
        arguments = known.take(arguments)
        new_name = None if known.name else name
        known.name = known.name or name
        return ToolCallDelta(index=position, name=new_name, arguments=arguments)

    def _is_another(
        self, known: _CallSoFar, call_id: str | None, name: str | None, index: int | None, arguments: str
    ) -> bool:
        if name is None or known.name is None:
            return False
        if name != known.name:
            return True
        if call_id is not None:
            return call_id != known.id and (known.is_custom or known.arguments.is_empty or known.arguments.is_whole)
        if known.is_custom or not known.arguments.is_whole:
            return known.is_custom  # free text has no end that could be seen
        if not arguments.strip():
            self._named_again.add(index)
        return bool(arguments.strip())
