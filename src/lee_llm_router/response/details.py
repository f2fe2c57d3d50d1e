"""What an answer holds beside its text, tool calls and reasoning: `LLMResponse.details`. Plain frozen data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from hashlib import blake2b
from typing import Any

from lee_llm_router._util.data_class import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A source that the answer names. What the vendor does not say is None."""

    url: str | None = None
    title: str | None = None
    quote: str | None = None
    """The words of the source."""
    start: int | None = None
    """The first character of the answer's text that it supports, from 0."""
    end: int | None = None
    """The character after the last one that it supports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """How likely one token of the answer was."""

    token: str
    logprob: float
    """The natural logarithm of its probability."""
    top: tuple[tuple[str, float], ...] = ()
    """The likeliest tokens at its place with their logarithms, the likeliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeTurn:
    """An answer in its vendor's own form: what the same vendor wants back in the next request, unchanged.

    It holds what no other vendor understands: thinking and its signatures, ids, phases.
    """

    dialect: str
    """The wire format it is in: ``anthropic``, ``gemini``, ``openai_responses``, ``openai_chat``."""
    origin: str
    """Who gave it, as `native_origin` says it. Signatures are worth nothing elsewhere."""
    content: Any = field(repr=False)
    """JSON data in the form of the dialect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDetails:
    """What an answer holds beside its text, tool calls and reasoning. Empty is what the vendor does not say."""

    id: str | None = None
    """The id that the vendor gave the answer."""
    parts: tuple[Mapping[str, Any], ...] = ()
    """The content in the order it was given, as message parts in the OpenAI shape, where it is more than one text:

    ``{"type": "text", "text": ...}``, ``{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}``,
    ``{"type": "input_audio", "input_audio": {"data": ..., "format": "wav"}}``; another `type` is the vendor's own.
    """
    citations: tuple[Citation, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    """Only if they were asked for."""
    service_tier: str | None = None
    """The tier that served."""
    finish_reason: str | None = None
    """The vendor's own word for why the answer ended."""
    native: NativeTurn | None = field(default=None, repr=False)

    @property
    def images(self) -> tuple[str, ...]:
        """The pictures in the answer, each a URL or a data URL."""
        found = (part.get("image_url") for part in self.parts if part.get("type") == "image_url")
        urls = (image.get("url") for image in found if isinstance(image, Mapping))
        return tuple(url for url in urls if isinstance(url, str))


NO_DETAILS = AnswerDetails()
"""The details of an answer that has none."""

NATIVE_FIELD = "provider_data"
"""The field of a message that holds native turns, by dialect. It is sent to no provider as it is."""


def native_origin(server: str, model: str | None) -> str:
    """Return the `NativeTurn.origin` of an answer: the host that was asked, and the model by the name it was asked."""
    return f"{server}/{model or ''}"


def with_native(message: dict[str, Any], native: NativeTurn | None) -> dict[str, Any]:
    """Return `message`, one of the assistant, with the answer's own form added to it."""
    if native is not None:
        kept = {"origin": native.origin, "of": _digest(message), "content": native.content}
        message[NATIVE_FIELD] = {native.dialect: kept}
    return message


def native_content(message: Mapping[str, Any], dialect: str, origin: str) -> Any:
    """Return the content of the native turn in `message` that may go back to `origin`; None if there is none.

    It may not where another vendor or model gave it, nor where the message was changed since: what was changed counts.
    """
    kept = message.get(NATIVE_FIELD)
    entry = kept.get(dialect) if isinstance(kept, Mapping) else None
    if not isinstance(entry, Mapping) or entry.get("origin") != origin or entry.get("of") != _digest(message):
        return None
    return entry.get("content")


def _digest(message: Mapping[str, Any]) -> str:
    """Return what changes when the text or the tool calls of a message are changed."""
    calls = message.get("tool_calls")
    calls = calls if isinstance(calls, Sequence) and not isinstance(calls, str) else ()
    told = [message.get("content") or "", [_told(call) for call in calls if isinstance(call, Mapping)]]
    return blake2b(json.dumps(told, default=str).encode(), digest_size=8).hexdigest()


def _told(call: Mapping[str, Any]) -> list[Any]:
    function = call.get("function")
    function = function if isinstance(function, Mapping) else {}
    return [call.get("id"), function.get("name"), function.get("arguments")]
