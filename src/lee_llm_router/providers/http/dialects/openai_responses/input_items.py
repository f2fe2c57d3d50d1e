"""Writes a caller's messages as the input items of the Responses API. Pure.

Texts, calls and results of the usual form are written directly: the API accepts a message's `role` and `content`
(llama.cpp accepts an assistant's only with the type `message`). Anything else is first put in order
(`conversation_of`), and then written item by item. Answers of the same model and server go back in their own form
(`native_turn`), others as text and calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.http.dialects.conversation import (
    CallItem,
    ContentItem,
    Item,
    LegalIds,
    MediaItem,
    OtherItem,
    ResultItem,
    TextItem,
    Turn,
    conversation_of,
)
from lee_llm_router.providers.http.dialects.openai.tool_calls import arguments_object
from lee_llm_router.providers.http.dialects.openai_responses.native_turn import DIALECT, items_to_send_back, kind_of
from lee_llm_router.response.content import Media, media_of
from lee_llm_router.response.details import NATIVE_FIELD, native_content
from lee_llm_router.response.types import Message, message_parts

IDS = LegalIds()
"""Ids of calls: at most 64 characters."""
MAX_BREAKPOINTS = 4
"""Cache breakpoints that one request may write."""

_PLAIN_ROLES = frozenset({"user", "assistant", "system", "developer"})
_OF_ANSWER = frozenset({"role", "content", "tool_calls", NATIVE_FIELD})
_OF_RESULT = frozenset({"role", "content", "tool_call_id", "name"})
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_BREAKPOINT = {"mode": "explicit"}
_TEXT_PARTS = frozenset({"input_text", "output_text"})
_FAILED = "Error: "
"""Precedes the result of a failed tool: the API has no field for that."""


def input_items(messages: Sequence[Message], origin: str, *, breakpoints: bool) -> list[Any]:
    """Return `messages` as input items.

    Args:
        messages: In the OpenAI shape of chat completions.
        origin: Their destination, in the form of `native_origin`.
        breakpoints: Whether to send cache marks.

    Raises:
        InvalidRequestError: a part cannot be expressed.
    """
    items: list[Any] = []
    open_calls: set[str] = set()
    """Calls of the last answer without a result so far."""
    seen: set[str] = set()
    for message in messages:
        content, role = message.get("content"), message.get("role")
        if len(message) == 2 and type(content) is str and content and role in _PLAIN_ROLES and not open_calls:
            items.append({"type": "message", **message} if role == "assistant" else message)
            continue
        usual = None
        if role == "tool":
            usual = _usual_result(message, open_calls)
        elif role == "assistant" and not open_calls:
            usual = _usual_answer(message, origin, open_calls, seen)
        if usual is None:
            return _written(messages, origin, breakpoints=breakpoints)
        items += usual
    return _written(messages, origin, breakpoints=breakpoints) if open_calls else items


def _usual_result(message: Message, open_calls: set[str]) -> list[dict[str, Any]] | None:
    """Return the result of an open call as an item; None if its form is unusual."""
    content, call_id = message["content"], message.get("tool_call_id")
    if type(content) is not str or type(call_id) is not str or call_id not in open_calls:
        return None
    if not message.keys() <= _OF_RESULT:
        return None
    open_calls.discard(call_id)
    return [{"type": "function_call_output", "call_id": call_id, "output": content}]


def _usual_answer(message: Message, origin: str, open_calls: set[str], seen: set[str]) -> list[dict[str, Any]] | None:
    """Return an answer as items, and record its calls in `open_calls` and `seen`; None if its form is unusual."""
    content, given = message.get("content"), message.get("tool_calls") or ()
    if not message.keys() <= _OF_ANSWER or not (content is None or type(content) is str):
        return None
    calls = _usual_calls(given, seen)
    if calls is None:
        return None
    ids = [call["call_id"] for call in calls]
    items = items_to_send_back(native_content(message, DIALECT, origin), ids) if NATIVE_FIELD in message else None
    if items is None:
        items = (
            [{"type": "message", "role": "assistant", "content": content}, *calls]
            if content and content.strip()
            else calls
        )
    elif any(kind_of(item) == "custom_tool_call" for item in items):
        return None
    open_calls.update(ids)
    return items


def _usual_calls(given: Any, seen: set[str]) -> list[dict[str, Any]] | None:
    """Return calls as items, and record their ids in `seen`; None if the form of one is unusual."""
    if type(given) is not list and type(given) is not tuple:
        return None
    calls: list[dict[str, Any]] = []
    for call in given:
        function = call.get("function") if type(call) is dict else None
        if type(function) is not dict:
            return None
        call_id, name, arguments = call.get("id"), function.get("name"), function.get("arguments")
        if type(call_id) is not str or call_id in seen or IDS.legal(call_id) != call_id:
            return None
        if type(name) is not str or type(arguments) is not str:
            return None
        if not _TOOL_NAME.fullmatch(name):
            return None
        seen.add(call_id)
        calls.append({
            "type": "function_call", "call_id": call_id, "name": name, "arguments": arguments_object(arguments),
        })  # fmt: skip
    return calls


def foreign_media(messages: Sequence[Message]) -> str | None:
    """Describe in a few words what in `messages` the API never accepts; None if there is nothing."""
    for message in messages:
        if type(message.get("content")) is str:
            continue
        for part in message_parts(message):
            media = media_of(part)
            if media is None or media.file_id is not None:
                continue
            if media.url is not None and not media.url[:8].lower().startswith(("http://", "https://")):
                return "an address that is not http(s)"
            if media.media_type.startswith(("audio/", "video/")):
                return f"a file of the type {media.media_type[:60]}"
    return None


def _written(messages: Sequence[Message], origin: str, *, breakpoints: bool) -> list[Any]:
    writer = _Writer(origin, breakpoints=breakpoints)
    for turn in conversation_of(messages, IDS, instructions_in_place=True).turns:
        writer.add(turn)
    if not writer.items:  # only empty texts: leave the verdict to the vendor
        return [{"role": "user", "content": ""}]
    for part in writer.marked[:-MAX_BREAKPOINTS]:
        del part["prompt_cache_breakpoint"]
    return writer.items


class _Writer:
    """Writes turns as items, in order."""

    def __init__(self, origin: str, *, breakpoints: bool) -> None:
        self.items: list[dict[str, Any]] = []
        self.marked: list[dict[str, Any]] = []
        """The parts that are marked for caching."""
        self._origin = origin
        self._breakpoints = breakpoints
        self._custom: set[str] = set()
        """Ids of calls whose input is free text: their results are items of another type."""

    def add(self, turn: Turn) -> None:
        """Write a turn."""
        if turn.role == "assistant":
            for message, items in turn.sources:
                self._add_answer(message, items)
            return
        content: list[ContentItem] = []
        for item in turn.items:
            if isinstance(item, ResultItem):
                self._add_result(item)
            elif not isinstance(item, CallItem):
                content.append(item)
        self._add_message(turn.role, content)

    def _add_message(self, role: str, content: Sequence[ContentItem]) -> None:
        if not content:
            return
        first = content[0]
        if len(content) == 1 and isinstance(first, TextItem) and not (first.cache and self._breakpoints):
            self.items.append({"role": role, "content": first.text})
        else:
            self.items.append({"role": role, "content": self._parts(content)})

    def _parts(self, content: Iterable[ContentItem]) -> list[dict[str, Any]]:
        parts = []
        for item in content:
            part = _part(item)
            parts.append(part)
            if item.cache and self._breakpoints:
                part["prompt_cache_breakpoint"] = dict(_BREAKPOINT)
                self.marked.append(part)
        return parts

    def _add_result(self, result: ResultItem) -> None:
        kind = "custom_tool_call_output" if result.call_id in self._custom else "function_call_output"
        output: str | list[dict[str, Any]]
        marked = self._breakpoints and (result.cache or any(item.cache for item in result.content))
        if not marked and all(isinstance(item, TextItem) for item in result.content):
            output = f"{_FAILED}{result.text}" if result.is_error else result.text
        else:
            output = self._parts(result.content)
            if result.is_error:
                output.insert(0, {"type": "input_text", "text": _FAILED.strip()})
            if result.cache and marked and output and "prompt_cache_breakpoint" not in output[-1]:
                output[-1]["prompt_cache_breakpoint"] = dict(_BREAKPOINT)
                self.marked.append(output[-1])
        self.items.append({"type": kind, "call_id": result.call_id, "output": output})

    def _add_answer(self, message: Message, items: Sequence[Item]) -> None:
        calls = [item.call for item in items if isinstance(item, CallItem)]
        native = items_to_send_back(native_content(message, DIALECT, self._origin), [call.id for call in calls])
        if native is not None:
            self.items += native
            self._custom.update(one["call_id"] for one in native if one.get("type") == "custom_tool_call")
            return
        texts = [text for item in items if (text := _text_of(item))]
        if texts:
            self.items.append({"type": "message", "role": "assistant", "content": "\n".join(texts)})
        # Only the user may show pictures.
        self._add_message("user", [item for item in items if isinstance(item, MediaItem)])
        for call in calls:
            self.items.append({
                "type": "function_call", "call_id": call.id, "name": _tool_name(call.name),
                "arguments": arguments_object(call.arguments),
            })  # fmt: skip


def _tool_name(name: str) -> str:
    """Return a name made of characters that the API allows; the model invented any other name."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "tool"


def _text_of(item: Item) -> str:
    if isinstance(item, TextItem):
        return item.text
    if isinstance(item, OtherItem) and kind_of(item.part) in _TEXT_PARTS:
        text = item.part.get("text")
        return text if isinstance(text, str) else ""
    return ""


def _part(item: ContentItem) -> dict[str, Any]:
    if isinstance(item, TextItem):
        return {"type": "input_text", "text": item.text}
    if isinstance(item, MediaItem):
        return _media_part(item.media)
    # A part without a form of ours is the caller's own, in the API's words.
    return {name: value for name, value in item.part.items() if name != "cache"}


def _media_part(media: Media) -> dict[str, Any]:
    if media.kind == "audio":
        raise InvalidRequestError("the Responses API takes no audio", sent=False)
    if media.kind == "image" or (media.data is not None and media.media_type.startswith("image/")):
        return {"type": "input_image", "image_url": media.data_url, "detail": media.detail or "auto"}
    if media.file_id is not None:
        return {"type": "input_file", "file_id": media.file_id}
    if media.url is not None:
        return {"type": "input_file", "file_url": media.url}
    return {"type": "input_file", "filename": media.name or _file_name(media), "file_data": media.data_url}


def _file_name(media: Media) -> str:
    """Return a name for an unnamed file: the API requires one, and reads its extension."""
    import mimetypes  # noqa: PLC0415 - rare

    return f"file{mimetypes.guess_extension(media.media_type) or ''}"
