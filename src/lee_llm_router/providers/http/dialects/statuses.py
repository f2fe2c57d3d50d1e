"""What an HTTP status means, and how long a server asks to wait. Pure, and the same for every vendor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from lee_llm_router._util.numbers import wait_seconds
from lee_llm_router.errors import FailureType, LLMRouterError, error_for
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.json_body import describe_body

_STATUS_FAILURES: dict[int, FailureType] = {
    400: FailureType.INVALID_REQUEST,
    401: FailureType.AUTH,
    402: FailureType.QUOTA,
    403: FailureType.AUTH,
    404: FailureType.MODEL_NOT_FOUND,
    408: FailureType.TIMEOUT,
    409: FailureType.PROVIDER_ERROR,
    413: FailureType.CONTEXT_LENGTH,
    422: FailureType.INVALID_REQUEST,
    425: FailureType.PROVIDER_ERROR,
    429: FailureType.RATE_LIMIT,
    503: FailureType.OVERLOADED,
    529: FailureType.OVERLOADED,
}


def failure_of_status(status: int) -> FailureType:
    """Return what an HTTP status alone means. `docs/errors.md` has the table."""
    known = _STATUS_FAILURES.get(status)
    if known is not None:
        return known
    if 500 <= status < 600:
        return FailureType.PROVIDER_ERROR
    return FailureType.INVALID_RESPONSE if status < 400 else FailureType.UNKNOWN


def http_error(
    reply: HTTPReply, message: str | None = None, *, kind: FailureType | None = None, status: int | None = None
) -> LLMRouterError:
    """Return the error for `reply`, with what its headers say about waiting.

    Args:
        reply: What came back.
        message: What the vendor says, quoted; None or empty describes the status and the body instead.
        kind: What failed. Default: what the status means.
        status: The status that an error object names, where it differs from that of `reply`.
    """
    status = reply.status if status is None else status
    kind = failure_of_status(status) if kind is None else kind
    return error_for(
        kind,
        message or _describe_status(reply),
        status_code=status,
        retry_after=retry_after(reply.headers, reply.now),
        final=kind is FailureType.INVALID_RESPONSE,
    )


def _describe_status(reply: HTTPReply) -> str:
    if 300 <= reply.status < 400:
        return f"HTTP {reply.status}: redirects are not followed, so that the key stays with the address it is for"
    return f"HTTP {reply.status} with {describe_body(reply)}"


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds the server asks to wait, from 0 to a week; None if it does not say, or says nonsense.

    ``retry-after-ms`` (milliseconds) goes before ``Retry-After`` (seconds, or a date: RFC 9110, 10.2.3). A date is
    compared with the answer's ``Date`` where there is one, so that a wrong clock on this machine does no harm. A date
    in the past means now. Negative numbers are ignored.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return wait_seconds(milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _seconds(value)
    if seconds is None and value is not None:
        then = _timestamp(value)
        if then is not None:
            sent_at = _timestamp(headers.get("date", ""))
            seconds = max(0.0, then - (now if sent_at is None else sent_at))
    return wait_seconds(seconds)


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _timestamp(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        # The asctime form names no zone; it is UTC (RFC 9110, 5.6.7).
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
