"""Reads the errors of Anthropic's Messages API. Pure.

Most of it is common to all vendors: statuses, codes, sentences, waits. Specific to this API are two types of errors,
headers that say when a limit is refilled, and one that says whether to retry.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import from_json

from lee_llm_router.errors import FailureType, LLMRouterError, error_for
from lee_llm_router.providers.http.dialects import errors as common
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.json_body import mapping
from lee_llm_router.providers.http.dialects.waits import wait_in_field

_F = FailureType
_OWN_TYPES = {"timeout_error": _F.TIMEOUT, "billing_error": _F.QUOTA}
"""Error types that say more than their status, or than an error that came with 200."""
_PASSING = frozenset({_F.PROVIDER_ERROR, _F.OVERLOADED, _F.RATE_LIMIT, _F.TIMEOUT})
_BUCKET = re.compile(r"anthropic-(?:priority-)?(?:fast-)?ratelimit-([a-z-]+)-reset")
_REGAIN = re.compile(
    r"regain access on ([0-9]{4}-[0-9]{2}-[0-9]{2}) at ([0-9]{2}:[0-9]{2})(?::[0-9]{2})? utc", re.IGNORECASE
)
_LONGEST = 1_000_000


def failure(reply: HTTPReply) -> LLMRouterError:
    """Return the error for a response with an unsuccessful status."""
    error = common.failure(reply)
    kind = _OWN_TYPES.get(_type_in(reply.body), error.failure_type)
    # A mistake of the caller stays one, whatever its type is called.
    if kind is not error.failure_type and error.failure_type in _PASSING:
        error = _as(error, kind)
    if error.retry_after is None:
        error.retry_after = _wait(reply, error)
    if error.failure_type in _PASSING and reply.headers.get("x-should-retry", "").strip().lower() == "false":
        error.final = True
    return error


def failure_within(reply: HTTPReply, value: Any) -> LLMRouterError:
    """Return the error for an error that came with 200: instead of an answer, or within a stream."""
    error = common.failure_within(reply, value)
    inner = mapping(value).get("error", value)
    kind = _OWN_TYPES.get(str(mapping(inner).get("type")))
    return error if kind is None or error.failure_type is not _F.PROVIDER_ERROR else _as(error, kind)


def _as(error: LLMRouterError, kind: FailureType) -> LLMRouterError:
    return error_for(
        kind,
        error.message,
        status_code=error.status_code,
        retry_after=error.retry_after,
        final=error.final,
        response=error.response,
    )


def _type_in(body: bytes) -> str:
    if len(body) > _LONGEST:
        return ""
    try:
        return str(mapping(mapping(from_json(body)).get("error")).get("type"))
    except ValueError:
        return ""


def _wait(reply: HTTPReply, error: LLMRouterError) -> float | None:
    """Return the wait in a form that only this vendor uses: a sentence, or the time when a limit is refilled."""
    if error.failure_type is _F.QUOTA:
        said = _REGAIN.search(error.message)
        return None if said is None else wait_in_field("resets at", f"{said[1]}T{said[2]}:00Z", reply.now)
    return _scarcest_wait(reply) if error.failure_type is _F.RATE_LIMIT else None


def _scarcest_wait(reply: HTTPReply) -> float | None:
    """Return the seconds until the most exhausted limit is refilled; None if no header says."""
    headers, found = reply.headers, []
    for name, moment in headers.items():
        bucket = _BUCKET.fullmatch(name)
        wait = wait_in_field("resets at", moment, reply.now) if bucket else None
        if wait is not None:
            left = _share(
                headers.get(name.replace("-reset", "-remaining")), headers.get(name.replace("-reset", "-limit"))
            )
            found.append((left, wait))
    return min(found)[1] if found else None


def _share(remaining: str | None, limit: str | None) -> float:
    """Return the remaining share of a limit; 1.0 if the headers do not say."""
    try:
        return max(0.0, min(1.0, float(remaining or "") / float(limit or "")))
    except (ValueError, ZeroDivisionError):
        return 1.0
