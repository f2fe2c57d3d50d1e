"""Reads the errors of OpenAI-compatible servers. Pure.

How this works. `error_body` finds what the body says, however nested; then

1. the status decides by the table in `docs/errors.md`, unless
2. a code or a sentence says more precisely what failed (`error_words`). The status limits what it may say: in a 400
   anything, in a 429 only that waiting does not help, in a 402 nothing.
3. `_CODES` lists the few codes whose words do not tell. `_BROAD_CODES` lists codes so broad that they count only in a
   200, when the status says nothing.

The wait comes from the headers, or else from the body's fields, or else from its words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json

from lee_llm_router._util.lenient_json import written_json
from lee_llm_router._util.scrubbing import scrub
from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.error_body import ErrorBody, read_error
from lee_llm_router.providers.http.dialects.error_words import (
    code_words,
    failure_in_words,
    speaks_of_model,
    speaks_of_throttling,
)
from lee_llm_router.providers.http.dialects.sse import BOM
from lee_llm_router.providers.http.dialects.statuses import failure_of_status, http_error
from lee_llm_router.providers.http.dialects.waits import retry_after, spent_bucket_wait, wait_in_words
from lee_llm_router.response.types import LLMResponse

F = FailureType

_CODES: dict[str, FailureType] = {
    "content filter": F.CONTENT_FILTER,  # Azure
    "data inspection failed": F.CONTENT_FILTER,  # Alibaba
    "tool use failed": F.INVALID_RESPONSE,  # Groq
    "json validate failed": F.INVALID_RESPONSE,
    "exceed context size error": F.CONTEXT_LENGTH,  # llama.cpp
}
"""Codes whose words do not tell, or not with every status."""
_BROAD_CODES: dict[str, FailureType] = {
    "timeout": F.TIMEOUT, "timeout error": F.TIMEOUT,
    "authentication error": F.AUTH, "permission error": F.AUTH,
    "not found error": F.MODEL_NOT_FOUND,
    "invalid request error": F.INVALID_REQUEST, "bad request error": F.INVALID_REQUEST,
    "bad request": F.INVALID_REQUEST,
}  # fmt: skip
"""Codes too broad to overrule a status; they count only if the status says nothing (200)."""
_VAGUE_CODES = frozenset({"permission denied", "access denied", "unauthorized", "forbidden"})
"""Codes that say less than any sentence next to them."""
_PASSING = frozenset({
    "busy", "capacity", "context", "error", "limit", "loading", "output", "overloaded", "rate", "ready", "response",
    "stream", "throttled", "timeout", "exception",
})  # fmt: skip
"""Words after "model" in a code which say that the model exists."""

_LASTING = frozenset({F.QUOTA, F.MODEL_NOT_FOUND, F.CONTENT_FILTER})
_READ_IN: dict[int, frozenset[FailureType]] = {
    401: _LASTING,
    402: frozenset(),
    403: _LASTING | {F.CONTEXT_LENGTH, F.RATE_LIMIT},
    404: frozenset({F.QUOTA, F.AUTH, F.CONTENT_FILTER, F.CONTEXT_LENGTH, F.INVALID_REQUEST}),
    408: frozenset(),
    409: frozenset(),
    413: frozenset(),
    425: frozenset(),
    429: frozenset({F.QUOTA}),
}
"""What the body may say more precisely, by status; with other statuses below 500, anything."""
_TOO_LARGE = re.compile(r"\brequest (?:is )?too large\b.{0,200}\btokens?\b", re.IGNORECASE | re.DOTALL)
"""Words of a 429 for a single request that exceeds a limit: waiting does not help, but another target may."""
_LIMITS_READ = 2000
_READ_IN_5XX = frozenset({
    F.CONTEXT_LENGTH, F.CONTENT_FILTER, F.QUOTA, F.RATE_LIMIT, F.OVERLOADED, F.INVALID_REQUEST,
})  # fmt: skip
_EVERYTHING = frozenset(F)
_SHORT_WAIT = 3600.0
"""Seconds: if the wait is no longer than this, an "exceeded" quota refills by itself."""
_WAITS_IN_WORDS = frozenset({F.RATE_LIMIT, F.OVERLOADED, F.QUOTA, F.PROVIDER_ERROR, F.TIMEOUT})
_LONGEST_JSON = 2_000_000
"""Size in bytes of the longest body read as JSON; of a longer one the beginning is read as text."""
_TEXTS_READ = 16
_CODES_READ = 16
"""Texts and codes to search in one error."""
_QUOTED = 65_536
"""Characters of a text to search for keys before quoting it."""


def failure(reply: HTTPReply) -> LLMRouterError:
    """Return the error for a response with an unsuccessful status."""
    error = read_error(_decoded(reply.body), reply.now)
    wait = _named_wait(reply, error)
    said = _kind(reply.status, error, wait)
    kind = said or failure_of_status(reply.status)
    found = http_error(
        reply,
        _message(reply, error) if error.is_structured else None,
        kind=kind,
        wait=_wait(reply, error, kind, wait),
        final=kind is F.INVALID_RESPONSE and said is None,
        response=_generated(reply, error),
    )
    found.of_model = kind is F.INVALID_REQUEST and any(map(speaks_of_model, error.texts[:_TEXTS_READ]))
    return found


def failure_within(reply: HTTPReply, error: Any) -> LLMRouterError:
    """Return the error for an error that came with 200: an object, a text, or the whole body that holds it.

    If it names a status, that replaces the response's.
    """
    found = read_error(error, reply.now)
    status = found.status or reply.status
    wait = _named_wait(reply, found)
    said = _kind(status, found, wait)
    kind = said or (F.PROVIDER_ERROR if status == reply.status else failure_of_status(status))
    return http_error(
        reply,
        _message(reply, found) or f"an error without a message: {reply.quote(str(error), 100)}",
        kind=kind,
        status=status,
        wait=_wait(reply, found, kind, wait),
        final=False,
        response=_generated(reply, found),
    )


def _kind(status: int, error: ErrorBody, wait: float | None) -> FailureType | None:
    """Return the cause that the body names, as far as the status leaves that open; None if it names none."""
    kinds = _kinds_read(status)
    if not kinds:
        return None
    if F.INVALID_RESPONSE in kinds and error.generation:
        return F.INVALID_RESPONSE
    # If the server itself has failed (5xx), a code alone does not tell why: only words do.
    codes = [] if status >= 500 else list(dict.fromkeys(map(code_words, (*error.codes, *error.words))))[:_CODES_READ]
    return next(_readings(status, error, codes, kinds, wait), None)


def _readings(
    status: int, error: ErrorBody, codes: list[str], kinds: frozenset[FailureType], wait: float | None
) -> Iterator[FailureType]:
    """Yield what codes and texts mean, the most telling first."""
    texts = error.texts[:_TEXTS_READ]
    says_so = any(map(speaks_of_throttling, texts))
    telling = [_code_sentence(code, error) for code in codes if code not in _VAGUE_CODES]
    vague = [code for code in codes if code in _VAGUE_CODES]
    yield from (_CODES[code] for code in telling if _CODES.get(code) in kinds)
    for text in telling:
        kind = failure_in_words(text, kinds, throttled=says_so)
        if kind is not None:
            yield kind
    if status == 429 and any(_TOO_LARGE.search(text[:_LIMITS_READ]) for text in texts):
        yield F.CONTEXT_LENGTH
    if error.moderated and status == 403:
        yield F.CONTENT_FILTER
    waits_shortly = status == 429 and wait is not None and wait <= _SHORT_WAIT
    for text in (*texts, *vague):
        kind = failure_in_words(text, kinds, throttled=waits_shortly)
        if kind is not None:
            yield kind
    if F.MODEL_NOT_FOUND in kinds and _blames_model(codes, error):
        yield F.MODEL_NOT_FOUND
    if status == 200:
        yield from (_BROAD_CODES[code] for code in codes if code in _BROAD_CODES)


def _kinds_read(status: int) -> frozenset[FailureType]:
    if status == 200:
        return _EVERYTHING
    if not 400 <= status < 600:
        return frozenset()
    return _READ_IN_5XX if status >= 500 else _READ_IN.get(status, _EVERYTHING)


def _code_sentence(code: str, error: ErrorBody) -> str:
    # OpenAI's code for any text that is too long: a message, or the name of a tool.
    if code == "string above max length":
        return f"{next(iter(error.params), 'prompt')} too long"
    return code


def _blames_model(codes: list[str], error: ErrorBody) -> bool:
    """Whether a code begins with "model", or `param` is the model."""
    words = [code.split() for code in codes]
    return "model" in error.params or any(one[:1] == ["model"] and not _PASSING & set(one) for one in words if one[1:])


def _named_wait(reply: HTTPReply, error: ErrorBody) -> float | None:
    """Return the wait that headers or fields state directly."""
    by_header = retry_after(reply.headers, reply.now)
    if by_header is None and error.headers:
        by_header = retry_after(error.headers, reply.now)
    return max(error.waits, default=None) if by_header is None else by_header


def _wait(reply: HTTPReply, error: ErrorBody, kind: FailureType, named: float | None) -> float | None:
    """Return the wait for a failure: one stated directly, or else from an exhausted limit or the words."""
    if named is not None:
        return named
    if kind is F.RATE_LIMIT:
        spent = [spent_bucket_wait(headers, reply.now) for headers in (error.headers, reply.headers)]
        named = next((wait for wait in spent if wait is not None), None)
    if named is None and kind in _WAITS_IN_WORDS:
        named = next(_waits_in(error, reply.now), None)
    return named


def _waits_in(error: ErrorBody, now: float) -> Iterator[float]:
    for text in error.texts[:_TEXTS_READ]:
        wait = wait_in_words(text, now)
        if wait is not None:
            yield wait


def _generated(reply: HTTPReply, error: ErrorBody) -> LLMResponse | None:
    """Return the model's output, if the server includes it."""
    written = error.generation
    if not written:
        return None
    text = written if isinstance(written, str) else written_json(written).decode()
    return LLMResponse(text=scrub(text, reply.secrets), request_bytes=reply.request_bytes)


def _decoded(body: bytes) -> Any:
    """Return the JSON in a body, or else its text; nothing for a web page."""
    if len(body) <= _LONGEST_JSON:
        try:
            return from_json(body.removeprefix(BOM))
        except ValueError:
            pass
    text = body[:_QUOTED].decode("utf-8", "replace").strip()
    return None if text.startswith("<") else text


def _message(reply: HTTPReply, error: ErrorBody) -> str:
    """Return what the vendor says, and what it quotes from the one behind it."""
    texts = list(dict.fromkeys(error.texts or error.words or error.encoded))
    if not texts:
        return ""
    others = [text for text in texts[1:4] if text not in texts[0]]
    said = f"{texts[0]} ({'; '.join(others)})" if others else texts[0]
    return reply.quote(said[:_QUOTED])
