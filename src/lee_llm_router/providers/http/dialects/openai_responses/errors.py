"""Reads the failures of the Responses API. Pure.

Bodies are read as for chat completions (`dialects.errors`). Three things are specific to this API:

- a failed response, and an event that reports it, have one of some twenty codes. If no sentence explains a code, its
  words do (`_BY_WORDS`): policies, pictures, invalid values;
- a 404 that does not mention a model means that the server lacks this API, or stores nothing under an id. Neither is
  the model's fault: it is INVALID_REQUEST, and the error says what to use instead;
- a server may refuse to send encrypted reasoning (`refuses_encrypted`).
"""

from __future__ import annotations

import re
from typing import Any

from lee_llm_router.errors import FailureType, LLMRouterError, error_for
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.error_words import code_words
from lee_llm_router.providers.http.dialects.errors import failure as failure_of_reply
from lee_llm_router.providers.http.dialects.errors import failure_within as read_within
from lee_llm_router.providers.http.dialects.json_body import mapping, string

_F = FailureType
_BY_WORDS: tuple[tuple[FailureType, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (_F.CONTENT_FILTER, r"\bpolicy\b|\bmoderation\b|\bsafety\b"),
        (_F.TIMEOUT, r"\btimeout\b"),
        (_F.INVALID_REQUEST, r"\bimages?\b|^(?:invalid|unsupported|missing|unknown|empty) |\bmismatch\b"),
    )
)
"""What a code means according to its words, if its message does not tell."""
_OF_MODEL = re.compile(r"model|deployment|engine", re.IGNORECASE)
_NO_API = frozenset({404, 405, 501})
_READ = 8192
_REFUSES_ENCRYPTED = re.compile(r"encrypted|['\"`]include\b|\binclude[\[.:]", re.IGNORECASE)


def failure_within(reply: HTTPReply, error: Any) -> LLMRouterError:
    """Return the error for an error that came with 200: an object, or the response or event that holds it."""
    found = read_within(reply, error)
    if found.failure_type is not _F.PROVIDER_ERROR:
        return found
    inner = mapping(error).get("error")
    code = string(mapping(inner or error).get("code")) or ""
    words = code_words(code)
    kind = next((kind for kind, pattern in _BY_WORDS if pattern.search(words)), None)
    return found if kind is None else _of_kind(kind, found, found.message)


def failure(reply: HTTPReply) -> LLMRouterError:
    """Return the error for a response with an unsuccessful status."""
    found = failure_of_reply(reply)
    if reply.status not in _NO_API or found.failure_type not in (_F.MODEL_NOT_FOUND, _F.UNKNOWN, _F.PROVIDER_ERROR):
        return found
    if _OF_MODEL.search(reply.body[:_READ].decode("utf-8", "replace")):
        return found
    message = found.message
    if b'"param"' not in reply.body[:_READ].replace(b'"param":null', b"").replace(b'"param": null', b""):
        message += " (a server without the Responses API is asked by the type http, for chat completions)"
    return _of_kind(_F.INVALID_REQUEST, found, message)


def refuses_encrypted(reply: HTTPReply) -> bool:
    """Return whether `reply` refuses a request for encrypted reasoning."""
    asked = reply.asked.get("include")
    if reply.status not in (400, 422) or not isinstance(asked, list) or "reasoning.encrypted_content" not in asked:
        return False
    return _REFUSES_ENCRYPTED.search(reply.body[:_READ].decode("utf-8", "replace")) is not None


def _of_kind(kind: FailureType, found: LLMRouterError, message: str) -> LLMRouterError:
    return error_for(
        kind, message, status_code=found.status_code, retry_after=found.retry_after, response=found.response
    )
