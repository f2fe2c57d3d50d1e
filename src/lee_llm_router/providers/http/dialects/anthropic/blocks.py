"""Writes texts, media and tool calls as the content blocks of Anthropic's messages. Pure."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from pydantic_core import from_json

from lee_llm_router._util.lenient_json import whole_json_text
from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.http.dialects.conversation import (
    CallItem,
    ContentItem,
    Item,
    MediaItem,
    TextItem,
    other_than_text,
)
from lee_llm_router.providers.http.dialects.json_body import encode_json
from lee_llm_router.response.content import Media, media_of
from lee_llm_router.response.types import Message, ToolCall, message_parts

Block: TypeAlias = dict[str, Any]

_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_TEXT_TYPES = re.compile(r"text/|application/(?:json|xml|yaml|x-yaml|javascript|toml|sql|[\w.-]+\+(?:json|xml))(?:;|$)")
_HUGE = re.compile(r"[eE]\+?[0-9]{3}|[0-9]{300}")
_PDF = "application/pdf"
_OF_USERS = frozenset({"", "image", "document", "search_result", "tool_result"})
"""Types of blocks that only user turns may hold."""
_FIELDS_OF_ANSWERS: Mapping[str, Mapping[str, type]] = {
    "text": {"text": str},
    "thinking": {"thinking": str},
    "redacted_thinking": {"data": str},
    "tool_use": {"name": str, "input": dict},
}
"""The least that blocks of an answer hold."""
_NOT_OF_ANSWERS = {"image": "(a picture)", "audio": "(a sound)", "file": "(a file)"}
"""Replaces a part that only user turns may hold."""


def block_kind(block: Mapping[str, Any]) -> str:
    """Return the type of a block: text if it names none, and unknown if it names something that is no type."""
    kind = block.get("type", "text")
    return kind if type(kind) is str else ""


def is_thinking(block: Mapping[str, Any]) -> bool:
    """Return whether a block is the model's thinking, shown or not."""
    return block_kind(block) in ("thinking", "redacted_thinking")


def of_an_answer(block: Any) -> bool:
    """Return whether an answer of the API may hold `block`, and a request may send it back.

    Anybody may have written what a store kept; whatever else it contains, it speaks as the model.
    """
    if not isinstance(block, Mapping) or type(block.get("type")) is not str or "cache_control" in block:
        return False
    kind = block["type"]
    fields = _FIELDS_OF_ANSWERS.get(kind, {})
    if kind in _OF_USERS or not all(type(block.get(name)) is of for name, of in fields.items()):
        return False
    if kind == "thinking":
        return type(block.get("signature", "")) is str
    return bool(block["text"].strip()) if kind == "text" else kind != "tool_use" or bool(block["name"])


def tool_use_block(call: ToolCall) -> Block:
    """Return a tool call as a block."""
    return {"type": "tool_use", "id": call.id, "name": _tool_name(call.name), "input": input_of(call.arguments)}


def _tool_name(name: str) -> str:
    """Return a name made of characters that the API allows; the model invented any other name."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:128] or "unnamed"


def input_of(arguments: str) -> dict[str, Any]:
    """Return the arguments of a call as an object; invalid ones, for example of a truncated answer, inside one."""
    try:
        value = from_json(arguments, allow_inf_nan=False) if arguments.strip() else {}
    except (TypeError, ValueError):  # TypeError for half a character
        whole = whole_json_text(arguments)
        if whole != arguments:
            return input_of(whole)
        value = arguments
    if type(value) is not dict:
        return {} if value is None else {"arguments": value}
    # A number beyond doubles is read as infinite, which JSON cannot express.
    is_finite = not _HUGE.search(arguments) or can_be_sent(value)
    return value if is_finite else {"arguments": arguments}


def can_be_sent(value: Any) -> bool:
    """Return whether JSON can express `value`."""
    try:
        encode_json({"value": value})
    except InvalidRequestError:
        return False
    return True


def answer_block(item: Item) -> Block | None:
    """Return an assistant's item as a block; None for what another vendor has put there for itself."""
    if isinstance(item, CallItem):
        return tool_use_block(item.call)
    if isinstance(item, TextItem):
        return {"type": "text", "text": item.text}
    if isinstance(item, MediaItem):
        return {"type": "text", "text": _NOT_OF_ANSWERS[item.media.kind]}
    return None


def content_block(item: ContentItem, *, cite: bool) -> Block:
    """Return an item of the user or of a tool result as a block; an unknown type stays unchanged."""
    if isinstance(item, TextItem):
        return {"type": "text", "text": item.text}
    if isinstance(item, MediaItem):
        return _media_block(item.media, cite=cite)
    return {name: value for name, value in item.part.items() if name != "cache"}


def foreign_media(messages: Sequence[Message]) -> str | None:
    """Describe in a few words which types in `messages` the API does not accept; None if all are fine."""
    for message in messages:
        content = message.get("content")
        if type(content) is str or content is None or message.get("role") == "assistant":
            continue
        for part in message_parts(message):
            media = media_of(part)
            foreign = None if media is None else _foreign(media)
            if foreign is not None:
                return foreign
    return other_than_text(messages)


def _foreign(media: Media) -> str | None:
    kind = media.media_type.partition(";")[0]
    if media.file_id is not None:
        return None
    if media.url is not None:
        return None if media.url[:8].lower().startswith(("http://", "https://")) else "an address that is not http(s)"
    if media.kind == "image" or kind.startswith("image/"):
        return None if kind in _IMAGE_TYPES else f"a picture of the type {kind[:60] or 'unknown'}"
    if media.kind == "file" and kind != _PDF and not _TEXT_TYPES.match(media.media_type):
        return f"a file of the type {kind[:60] or 'unknown'}"
    return None


def _media_block(media: Media, *, cite: bool) -> Block:
    if media.kind == "image" or media.media_type.partition(";")[0] in _IMAGE_TYPES:
        return {"type": "image", "source": _source(media)}
    block: Block = {"type": "document", "source": _source(media)}
    if media.name:
        block["title"] = media.name
    if cite:
        block["citations"] = {"enabled": True}
    return block


def _source(media: Media) -> dict[str, Any]:
    if media.file_id is not None:
        return {"type": "file", "file_id": media.file_id}
    if media.url is not None:
        return {"type": "url", "url": media.url}
    if media.kind == "file" and _TEXT_TYPES.match(media.media_type):
        return {"type": "text", "media_type": "text/plain", "data": _decoded(media.data or "")}
    return {"type": "base64", "media_type": media.media_type.partition(";")[0], "data": media.data}


def _decoded(data: str) -> str:
    try:
        return b64decode(data).decode("utf-8", "replace")
    except ValueError:
        return data
