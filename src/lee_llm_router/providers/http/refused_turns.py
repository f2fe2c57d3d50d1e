"""Answers in a vendor's own form that the vendor refuses to take back: sent as text and calls from then on.

Some parts of an answer only its vendor understands (`response.details`): thoughts with a signature, encrypted
reasoning. They are sent back with the answer. A signature may have expired, or a store may have changed it. Then the
vendor refuses the whole request with 400, although it would answer the same conversation without it. No vendor says
reliably which turn it means. So all turns of the request are remembered, and the target is asked again at once without
those parts.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import replace
from hashlib import blake2b

from pydantic_core import from_json

from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.error_body import read_error
from lee_llm_router.response.details import NATIVE_FIELD
from lee_llm_router.response.types import LLMRequest, Message

_MOST = 10_000
"""Turns to remember."""
_READ = 8192
"""Characters to read of an error."""
_WORDS = re.compile(
    r"signature|redacted_thinking|encrypted[ _]content|\bthinking\b[^.\n]{0,40}\bblock|\bblock[^.\n]{0,40}\bthinking\b"
    r"|\breasoning(?:_content|_details| item|['\"`])|\brs_[0-9a-z]+"
)
_LACKING = re.compile(r"\bmissing\b|must be passed back|field required")
"""Leaving parts out cannot add what a request lacks."""


class RefusedTurns:
    """Remembers which turns have been refused."""

    def __init__(self) -> None:
        self._marks: OrderedDict[bytes, None] = OrderedDict()

    def remember(self, request: LLMRequest) -> None:
        """Remember all turns of `request` that are in a vendor's own form."""
        for message in filter(_is_native, request.messages):
            self._marks[_mark(message)] = None
        while len(self._marks) > _MOST:
            self._marks.popitem(last=False)

    def left_out(self, request: LLMRequest) -> LLMRequest:
        """Return `request` with only the text and calls of the remembered turns."""
        if not self._marks or not any(map(self._knows, request.messages)):
            return request
        return replace(request, messages=tuple(_plain(one) if self._knows(one) else one for one in request.messages))

    def _knows(self, message: Message) -> bool:
        return _is_native(message) and _mark(message) in self._marks


def all_left_out(request: LLMRequest) -> LLMRequest | None:
    """Return `request` with only the text and calls of all turns; None if no turn holds anything else."""
    if not any(map(_is_native, request.messages)):
        return None
    return replace(request, messages=tuple(map(_plain, request.messages)))


def blames_turns(reply: HTTPReply) -> bool:
    """Return whether an error refuses content of a turn in a vendor's own form."""
    if reply.status not in (400, 422):
        return False
    try:
        error = read_error(from_json(reply.body), reply.now)
    except ValueError:
        return False
    text = "\n".join((*error.texts, *error.codes, *error.params))[:_READ].lower()
    return _WORDS.search(text) is not None and _LACKING.search(text) is None


def _is_native(message: Message) -> bool:
    return bool(message.get(NATIVE_FIELD))


def _plain(message: Message) -> Message:
    return {name: value for name, value in message.items() if name != NATIVE_FIELD}


def _mark(message: Message) -> bytes:
    return blake2b(repr(message[NATIVE_FIELD]).encode("utf-8", "replace"), digest_size=16).digest()
