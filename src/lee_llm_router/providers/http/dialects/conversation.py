"""Turns a caller's messages into a conversation: instructions, and alternating turns. For dialects that need this.
Pure.

How this works. The messages of a call have the OpenAI shape, and may come from anywhere: other vendors' answers, a
history that somebody truncated, a store. `conversation_of` puts them in an order that every vendor accepts:

- it takes instructions (`system`, `developer`) out, wherever they are. For a vendor that accepts them anywhere, they
  become turns of their own; one between calls and their results moves behind the results;
- adjacent messages of one side become one turn: tool results and the user's text after them are one turn of the user;
- every tool call is followed by its result, in the next turn. Results are matched by id, or else by order. A call
  without a result gets one that says so; a result without a call becomes text of the user;
- ids that are missing, duplicate, or invalid for the vendor are replaced, in calls and results alike (`LegalIds`);
- empty texts and empty turns are dropped.

What only its own vendor understands stays in the message (`details.native_content`), where the dialect finds it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from hashlib import blake2b
from typing import Any, Literal, TypeAlias

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.response.content import Media, MediaKind, media_of
from lee_llm_router.response.types import Message, ToolCall, is_instruction, message_parts, message_tool_calls

_MEDIA_WORDS: Mapping[MediaKind, str] = {"image": "a picture", "audio": "a sound", "file": "a file"}
NO_RESULT = "no result is known"
"""The text of a tool result that is missing from the messages."""


@dataclass(frozen=True, slots=True)
class TextItem:
    """A piece of text."""

    text: str
    cache: bool = False
    """Whether the vendor should cache everything up to here."""


@dataclass(frozen=True, slots=True)
class MediaItem:
    """A picture, a sound or a file."""

    media: Media
    cache: bool = False


@dataclass(frozen=True, slots=True)
class OtherItem:
    """A part of a vendor-specific type, unchanged."""

    part: Mapping[str, Any]
    cache: bool = False


@dataclass(frozen=True, slots=True)
class CallItem:
    """A tool call of the assistant."""

    call: ToolCall
    cache: bool = False


@dataclass(frozen=True, slots=True)
class ResultItem:
    """The result of a tool call."""

    call_id: str
    name: str
    """The name of the tool called; empty if the messages do not say."""
    content: tuple[TextItem | MediaItem | OtherItem, ...]
    is_error: bool = False
    cache: bool = False

    @property
    def text(self) -> str:
        """The text of the result, its pieces joined by newlines."""
        return "\n".join(item.text for item in self.content if isinstance(item, TextItem))


ContentItem: TypeAlias = TextItem | MediaItem | OtherItem
Item: TypeAlias = ContentItem | CallItem | ResultItem


@dataclass(slots=True)
class Turn:
    """What one side says until the other does."""

    role: Literal["user", "assistant", "system", "developer"]
    items: list[Item] = field(default_factory=list)
    """Tool results come first."""
    sources: list[tuple[Message, list[Item]]] = field(default_factory=list)
    """The assistant messages that it is made of, each with its items: for `native_content`.

    A call item has the id that is sent; the message may have had another.
    """


@dataclass(slots=True)
class Conversation:
    """A call's messages, in order."""

    system: list[TextItem]
    turns: list[Turn]
    """They alternate. The first is the assistant's if the messages begin that way."""


class LegalIds:
    """Ids of tool calls in the form that one vendor accepts. An id always maps to the same new id.

    Args:
        pattern: Matches a whole legal id. None: any id that is not empty.
        max_length: Maximum length in characters.
        length: Exact length, if the vendor requires one.
    """

    def __init__(
        self, pattern: str | None = r"[a-zA-Z0-9_-]+", max_length: int = 64, length: int | None = None
    ) -> None:
        self._pattern = None if pattern is None else re.compile(pattern)
        self._max_length = max_length
        self._length = length

    def legal(self, call_id: str) -> str:
        """Return `call_id` if it is legal, or else a legal id made from it."""
        if self._is_legal(call_id):
            return call_id
        digest = blake2b(call_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return digest[: self._length] if self._length else f"call_{digest[:20]}"[: self._max_length]

    def _is_legal(self, call_id: str) -> bool:
        if not call_id or len(call_id) > self._max_length or (self._length and len(call_id) != self._length):
            return False
        return self._pattern is None or self._pattern.fullmatch(call_id) is not None


def conversation_of(
    messages: Sequence[Message],
    ids: LegalIds,
    *,
    instructions_in_place: bool = False,
    keeps: Callable[[Message], bool] | None = None,
) -> Conversation:
    """Return `messages` as a conversation, with tool calls and results in order and legal ids.

    Args:
        messages: A call's messages, from anywhere.
        ids: What ids of tool calls must look like.
        instructions_in_place: Whether instructions keep their place, as turns of their own.
        keeps: Whether to keep an assistant message with neither text nor calls, because it may hold a picture, for
            example, in the vendor's own form. Its turn may then have `sources` and no items. Default: keep none.

    Raises:
        InvalidRequestError: a part for a picture, a sound or a file holds none.
    """
    system: list[TextItem] = []
    builder = _Builder(ids, keeps)
    for message in messages:
        if not is_instruction(message):
            builder.add(message)
            continue
        if instructions_in_place:
            builder.instruct(message, list(content_items(message)))
        else:
            system += [item for item in content_items(message) if isinstance(item, TextItem)]
    builder.settle()
    return Conversation(system, [turn for turn in builder.turns if turn.items or turn.sources])


def other_than_text(messages: Sequence[Message]) -> str | None:
    """Return what the instructions in `messages` hold besides text, in a few words; None if they are all text.

    For vendors whose instructions are text only: the part would be lost.
    """
    for message in messages:
        if type(message.get("content")) is str or not is_instruction(message):
            continue
        for item in content_items(message):
            if isinstance(item, MediaItem):
                return f"{_MEDIA_WORDS[item.media.kind]} in the instructions"
            if isinstance(item, OtherItem):
                return f"a part of the type {str(item.part.get('type'))[:60]} in the instructions"
    return None


def content_items(message: Message) -> Iterator[ContentItem]:
    """Yield the content of a message without empty texts. The message's cache mark goes to its last item."""
    items: list[ContentItem] = []
    for part in message_parts(message):
        cache = bool(part.get("cache"))
        text = part.get("text")
        media = media_of(part)
        if media is not None:
            items.append(MediaItem(media, cache))
        elif part.get("type") == "text" or part.keys() <= {"type", "text", "cache"}:
            if isinstance(text, str) and text.strip():
                items.append(TextItem(text, cache))
        elif part.get("type") != "refusal":
            items.append(OtherItem(part, cache))
        elif isinstance(part.get("refusal"), str) and part["refusal"].strip():
            items.append(TextItem(part["refusal"], cache))
    if items and message.get("cache"):
        items[-1] = replace(items[-1], cache=True)
    yield from items


class _Builder:
    """Adds messages to turns, and tracks the calls that wait for their results."""

    def __init__(self, ids: LegalIds, keeps: Callable[[Message], bool] | None) -> None:
        self.turns: list[Turn] = []
        self._keeps = keeps
        self._ids = ids
        self._used: set[str] = set()
        self._open: list[tuple[str, CallItem]] = []
        """Calls without a result in the assistant's last turn: the id in the messages, and the call."""
        self._count = 0
        self._held: list[Turn] = []
        """Instructions between calls and their results."""

    def instruct(self, message: Message, items: list[ContentItem]) -> None:
        """Add an instruction as a turn of its own."""
        if items:
            role: Literal["system", "developer"] = "system" if message.get("role") == "system" else "developer"
            (self._held if self._open else self.turns).append(Turn(role, [*items]))

    def add(self, message: Message) -> None:
        """Add one message that is not an instruction."""
        role = message.get("role")
        if role in ("tool", "function"):
            self._add_result(message)
        elif role == "assistant":
            self._add_answer(message)
        else:
            items = list(content_items(message))
            if items:  # a result that follows later goes before them
                self._turn("user").items += items

    def settle(self) -> None:
        """Give each open call a result that says there is none, unless the assistant spoke last.

        Also done if a conversation ends with open calls: no vendor continues from there.
        """
        open_calls, self._open = self._open, []
        for _, item in open_calls:
            self._insert_result(ResultItem(item.call.id, item.call.name, (TextItem(NO_RESULT),), is_error=True))
        self._release()

    def _add_answer(self, message: Message) -> None:
        items: list[Item] = list(content_items(message))
        # Some programs put calls made at the same time into separate messages.
        goes_on = self.turns and self.turns[-1].role == "assistant" and bool(message_tool_calls(message))
        if not goes_on:
            self.settle()
        begun: list[tuple[str, CallItem]] = []
        for call in message_tool_calls(message):
            item = CallItem(ToolCall(id=self._new_id(call.id), name=call.name, arguments=call.arguments))
            items.append(item)
            begun.append((call.id, item))
        if items or (self._keeps is not None and self._keeps(message)):
            turn = self._turn("assistant")
            turn.items += items
            turn.sources.append((message, items))
        self._open += begun

    def _new_id(self, written: str) -> str:
        """Return a legal id that no other call has."""
        self._count += 1
        new = self._ids.legal(written or f"call_{self._count}")
        while new in self._used:
            self._count += 1
            new = self._ids.legal(f"{written}_{self._count}")
        self._used.add(new)
        return new

    def _add_result(self, message: Message) -> None:
        written, name = str(message.get("tool_call_id") or ""), str(message.get("name") or "")
        found = self._answered(written, name)
        content = tuple(content_items(message))
        if found is None:
            items: list[Item] = [TextItem(f"Result of a tool{f' ({name})' if name else ''}:"), *content]
            if content:
                self._turn("user").items += items
            return
        is_error = bool(message.get("is_error"))
        self._insert_result(ResultItem(found.call.id, found.call.name, content, is_error, bool(message.get("cache"))))
        if not self._open:
            self._release()

    def _release(self) -> None:
        """Add the instructions held back until no call was open."""
        self.turns += self._held
        self._held = []

    def _answered(self, written: str, name: str) -> CallItem | None:
        """Return the open call that a result belongs to: by its id, or else by the tool's name, or else the first."""
        for index, (asked, item) in enumerate(self._open):
            if asked == written if written else item.call.name == name or not name:
                del self._open[index]
                return item
        return None

    def _insert_result(self, result: ResultItem) -> None:
        items = self._turn("user").items
        place = next((index for index, item in enumerate(items) if not isinstance(item, ResultItem)), len(items))
        items.insert(place, result)

    def _turn(self, role: Literal["user", "assistant"]) -> Turn:
        if not self.turns or self.turns[-1].role != role:
            self.turns.append(Turn(role))
        return self.turns[-1]
