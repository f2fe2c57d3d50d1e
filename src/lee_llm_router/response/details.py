"""The contents of an answer besides its text, tool calls and reasoning: `LLMResponse.details`. Plain frozen data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from hashlib import blake2b
from typing import Any

from lee_llm_router._util.data_class import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A source that the answer cites. Fields that the vendor does not report are None."""

    url: str | None = None
    title: str | None = None
    quote: str | None = None
    """The quoted words of the source."""
    start: int | None = None
    """Index of the first character of the answer's text that it supports, from 0."""
    end: int | None = None
    """Index just after the last character that it supports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """How likely one token of the answer was."""

    token: str
    logprob: float
    """The natural logarithm of its probability."""
    top: tuple[tuple[str, float], ...] = ()
    """The likeliest tokens at this position with the logarithms of their probabilities, likeliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeTurn:
    """An answer in its vendor's own form, which the same vendor wants back unchanged in the next request.

    It holds what no other vendor understands: thinking and its signatures, ids, phases.
    """

    dialect: str
    """The wire format it is in: ``anthropic``, ``gemini``, ``openai_responses``, ``openai_chat``."""
    origin: str
    """Who gave it, as returned by `native_origin`. Signatures are worthless elsewhere."""
    content: Any = field(repr=False)
    """JSON data in the form of the dialect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDetails:
    """The contents of an answer besides its text, tool calls and reasoning. A field that the vendor omits is empty."""

    id: str | None = None
    """The id that the vendor gave the answer."""
    parts: tuple[Mapping[str, Any], ...] = ()
    """The content in its original order, as message parts in the OpenAI shape, if it is more than one text:

    ``{"type": "text", "text": ...}``, ``{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}``,
    ``{"type": "input_audio", "input_audio": {"data": ..., "format": "wav"}}``; another `type` is the vendor's own.
    """
    citations: tuple[Citation, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    """Set only if they were requested."""
    service_tier: str | None = None
    """The service tier that answered."""
    finish_reason: str | None = None
    """The vendor's own word for why the answer ended."""
    native: NativeTurn | None = field(default=None, repr=False)

    @property
    def images(self) -> tuple[str, ...]:
        """The pictures in the answer, each as a URL or a data URL."""
        found = (part.get("image_url") for part in self.parts if part.get("type") == "image_url")
        urls = (image.get("url") for image in found if isinstance(image, Mapping))
        return tuple(url for url in urls if isinstance(url, str))


NO_DETAILS = AnswerDetails()
"""The details of an answer that has none."""

NATIVE_FIELD = "provider_data"
"""The field of a message that holds native turns, by dialect. No provider receives it as it is."""


def native_origin(server: str, model: str | None) -> str:
    """Return the `NativeTurn.origin` of an answer: the host that was called, and the model name in the request."""
    return f"{server}/{model or ''}"


def with_native(message: dict[str, Any], native: NativeTurn | None) -> dict[str, Any]:
    """Return `message`, an assistant message, with the native form of the answer added."""
    if native is not None:
        kept = {"origin": native.origin, "of": _digest(message), "content": native.content}
        message[NATIVE_FIELD] = {native.dialect: kept}
    return message


def native_content(message: Mapping[str, Any], dialect: str, origin: str) -> Any:
    """Return the content of the native turn in `message` that may go back to `origin`; None if there is none.

    A turn may not go back if another vendor or model gave it, or if the message has been changed since.
    """
    kept = message.get(NATIVE_FIELD)
    entry = kept.get(dialect) if isinstance(kept, Mapping) else None
    if not isinstance(entry, Mapping) or entry.get("origin") != origin or entry.get("of") != _digest(message):
        return None
    return entry.get("content")


def _digest(message: Mapping[str, Any]) -> str:
    """Return a digest that changes when the text or the tool calls of a message change."""
    calls = message.get("tool_calls")
    calls = calls if isinstance(calls, Sequence) and not isinstance(calls, str) else ()
    told = [message.get("content") or "", [_told(call) for call in calls if isinstance(call, Mapping)]]
    return blake2b(json.dumps(told, default=str).encode(), digest_size=8).hexdigest()


def _told(call: Mapping[str, Any]) -> list[Any]:
    function = call.get("function")
    function = function if isinstance(function, Mapping) else {}
    return [call.get("id"), function.get("name"), function.get("arguments")]
