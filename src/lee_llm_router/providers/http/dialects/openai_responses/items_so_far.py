"""The items of a streamed response so far. Pure.

Pieces name their item by `item_id` and by `output_index`. Some servers send only one of them, and gateways may change
the ids from event to event: a known id decides, otherwise the index. A piece of an unannounced item begins one.

It remembers what it has returned, so that at the end, when the whole response is there, it returns only the rest:
servers omit pieces, or send none at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lee_llm_router.providers.http.dialects.arguments_so_far import ArgumentsSoFar
from lee_llm_router.providers.http.dialects.json_body import string
from lee_llm_router.providers.http.dialects.openai.tool_calls import arguments_text
from lee_llm_router.providers.http.dialects.openai_responses.native_turn import CALLS
from lee_llm_router.providers.http.dialects.openai_responses.output_items import (
    BETWEEN,
    COMMENTARY,
    call_id_of,
    input_of,
)
from lee_llm_router.response.types import LLMResponse, ToolCallDelta


class ItemSoFar:
    """One item that has begun to arrive."""

    __slots__ = ("call", "done", "given", "kind", "phase", "pieces", "said", "thought")

    def __init__(self, kind: str, given: Mapping[str, Any]) -> None:
        self.kind = kind
        self.given = given
        """The item as announced."""
        self.done: dict[str, Any] | None = None
        """The complete item."""
        self.phase = string(given.get("phase"))
        self.pieces: list[str] = []
        self.said: dict[Any, str] = {}
        """Its text or its arguments, each part whole, as an event at the end of the part said it again."""
        self.call: int | None = None
        """Its position among the calls."""
        self.thought: str | None = None
        """The kind of reasoning that is returned: the first to arrive."""

    @property
    def is_commentary(self) -> bool:
        """Whether its text is not part of the answer's."""
        return self.phase == COMMENTARY

    def as_item(self) -> dict[str, Any]:
        """Return it in its form within a whole response."""
        if self.done is not None:
            return self.done
        text, said = "".join(self.pieces), "".join(self.said.values())
        text = said if said.startswith(text) else text
        if self.kind in CALLS:
            text = text or arguments_text(input_of(self.given))
            return {**self.given, "type": self.kind, "arguments" if self.kind == "function_call" else "input": text}
        if self.kind == "reasoning":
            name = "content" if self.thought == "content" else "summary"
            return {**self.given, "type": "reasoning", name: [{"text": text}] if text else []}
        if self.kind == "message" and (text or not self.given.get("content")):
            kind = "refusal" if self.thought == "refusal" else "output_text"
            part = {"type": kind, "refusal" if kind == "refusal" else "text": text}
            return {**self.given, "type": "message", "content": [part] if self.pieces or said else []}
        return {**self.given, "type": self.kind}


class _Call:
    """What has been returned of one call."""

    __slots__ = ("arguments", "name", "so_far")

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.arguments: list[str] = []
        self.so_far = ArgumentsSoFar()


class ItemsSoFar:
    """All items that have begun to arrive, and what has been returned."""

    def __init__(self) -> None:
        self.items: list[ItemSoFar] = []
        self.calls: list[_Call] = []
        self.texts: list[str] = []
        """The pieces of text returned so far."""
        self.reasoning: list[str] = []
        self._by_id: dict[Any, ItemSoFar] = {}
        self._by_index: dict[Any, ItemSoFar] = {}
        self._ids: set[str] = set()
        self._last_thought: tuple[Any, ...] = ()

    def item_of(self, event: Mapping[str, Any], kind: str) -> ItemSoFar:
        """Return the item that an event is about; an unannounced one begins, as one of `kind`."""
        item_id, index = event.get("item_id"), event.get("output_index")
        item = self._by_id.get(item_id) if type(item_id) is str else None
        if item is None and type(index) is int:
            item = self._by_index.get(index)
        if item is None and item_id is None and index is None and self.items and self.items[-1].kind == kind:
            item = self.items[-1]
        return item if item is not None else self._begin(kind, {}, item_id, index)

    def announce(self, event: Mapping[str, Any], *, is_done: bool) -> tuple[ItemSoFar, bool]:
        """Return the item in an event (`output_item.added`, `.done`), and whether it is new."""
        given = event["item"]
        item_id, index = given.get("id"), event.get("output_index")
        item = self._by_id.get(item_id) if type(item_id) is str else None
        if item is None and is_done and type(index) is int:
            item = self._by_index.get(index)
            if item is not None and (item.done is not None or item.kind != given.get("type")):
                item = None
        if item is not None:
            return item, False
        return self._begin(str(given.get("type")), given, item_id, index), True

    def _begin(self, kind: str, given: Mapping[str, Any], item_id: Any, index: Any) -> ItemSoFar:
        item = ItemSoFar(kind, given)
        self.items.append(item)
        if type(item_id) is str and item_id:
            self._by_id[item_id] = item
        if type(index) is int:
            self._by_index[index] = item
        return item

    def output(self) -> list[dict[str, Any]]:
        """Return the items in the form of a whole response's output."""
        return [item.as_item() for item in self.items]

    def thought(self, item: ItemSoFar, kind: str, index: Any, piece: str) -> str:
        """Return a piece of reasoning, separated from text that belongs to another piece."""
        if item.thought is None:
            item.thought = kind
        if not piece or item.thought != kind:
            return ""
        key = (id(item), index)
        between = BETWEEN if self.reasoning and key != self._last_thought else ""
        self._last_thought = key
        item.pieces.append(f"{BETWEEN}{piece}" if between and item.pieces else piece)
        return between + piece

    def call(self, item: ItemSoFar, arguments: str) -> ToolCallDelta:
        """Return a piece of a call; its id and its name come with the first."""
        if item.call is not None:
            return ToolCallDelta(index=item.call, arguments=self._taken(item, arguments))
        item.call = position = len(self.calls)
        name = string(item.given.get("name"))
        self.calls.append(_Call(name))
        arguments = self._taken(item, arguments)
        own_id = call_id_of(item.given) or f"call_{position}"
        while own_id in self._ids:
            own_id = f"{own_id}_{position}"
        self._ids.add(own_id)
        return ToolCallDelta(index=position, id=own_id, name=name, arguments=arguments)

    def _taken(self, item: ItemSoFar, arguments: str) -> str:
        """Return what a piece adds to the arguments of a call, and remember it."""
        known = self.calls[item.call or 0]
        if item.kind == "function_call":
            arguments = known.so_far.take(arguments)
        known.arguments.append(arguments)
        if arguments:
            item.pieces.append(arguments)
        return arguments

    def begin_call(self, item: ItemSoFar) -> ToolCallDelta:
        """Return the first piece of a call that was announced, with its arguments if it is whole.

        What an item has at its beginning, its pieces may bring again.
        """
        return self.call(item, "" if item.done is None else arguments_text(input_of(item.given)))

    def rest_of(self, whole: LLMResponse) -> tuple[str, str, tuple[ToolCallDelta, ...]] | None:
        """Return what has not been returned of the text, reasoning and calls of `whole`; None if it contradicts
        them."""
        text, reasoning = "".join(self.texts), "".join(self.reasoning)
        if not whole.text.startswith(text):
            return None
        thought = whole.reasoning or ""
        more = thought[len(reasoning) :] if thought.startswith(reasoning) else ""
        return whole.text[len(text) :], more, self._rest_of_calls(whole)

    def _rest_of_calls(self, whole: LLMResponse) -> tuple[ToolCallDelta, ...]:
        found = []
        for position, call in enumerate(whole.tool_calls):
            if position >= len(self.calls):
                found.append(ToolCallDelta(index=position, id=call.id, name=call.name, arguments=call.arguments))
                continue
            known = self.calls[position]
            given = "".join(known.arguments)
            rest = call.arguments[len(given) :] if call.arguments.startswith(given) else ""
            if rest or known.name is None:
                found.append(ToolCallDelta(
                    index=position, name=call.name if known.name is None else None, arguments=rest,
                ))  # fmt: skip
        return tuple(found)
