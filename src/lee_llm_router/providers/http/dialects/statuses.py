"""What an HTTP status means. Pure, and the same for every vendor.

A standard status below 500 without a row of its own means that the request or the address differs from what this router
sends: UNKNOWN. A status that no standard defines (440, 460, 499, ...) comes from a proxy that gave up, so it counts as
a 5xx.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from lee_llm_router.errors import FailureType, LLMRouterError, error_for
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.json_body import describe_body
from lee_llm_router.providers.http.dialects.waits import retry_after
from lee_llm_router.response.types import LLMResponse

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
    424: FailureType.PROVIDER_ERROR,
    425: FailureType.PROVIDER_ERROR,
    429: FailureType.RATE_LIMIT,
    498: FailureType.OVERLOADED,
    503: FailureType.OVERLOADED,
    529: FailureType.OVERLOADED,
}
_FOR_GOOD = frozenset({FailureType.INVALID_REQUEST, FailureType.UNKNOWN})
"""What the same request would meet again, unless the server says that a retry may help."""
_REGISTERED = frozenset({*range(400, 419), *range(421, 427), 428, 429, 431, 451})
"""The statuses from 400 to 499 of the IANA registry."""
_NO_SUCH_PATH = frozenset({404, 405})
_OF_MODEL = re.compile(r"model|deployment|engine", re.IGNORECASE)
_VERSION = re.compile(r"/v\d")


def failure_of_status(status: int) -> FailureType:
    """Return what an HTTP status alone means, by the table in `docs/errors.md`."""
    known = _STATUS_FAILURES.get(status)
    if known is not None:
        return known
    if 500 <= status < 600 or (400 <= status < 500 and status not in _REGISTERED):
        return FailureType.PROVIDER_ERROR
    return FailureType.INVALID_RESPONSE if status < 400 else FailureType.UNKNOWN


def http_error(
    reply: HTTPReply,
    message: str | None = None,
    *,
    kind: FailureType | None = None,
    status: int | None = None,
    wait: float | None = None,
    final: bool | None = None,
    response: LLMResponse | None = None,
) -> LLMRouterError:
    """Return the error for `reply`, with what its headers say about waiting.

    Args:
        reply: The response.
        message: The vendor's message, quoted; if None or empty, the error describes the status and the body instead.
        kind: What failed. Default: what the status means.
        status: The status that an error object names, if it differs from that of `reply`.
        wait: Seconds to wait. Default: the header `Retry-After`.
        final: Whether asking the same target again is pointless. Default: determined by the status. The header
            `x-should-retry` takes precedence.
        response: The incomplete answer, if any.
    """
    status = reply.status if status is None else status
    kind = failure_of_status(status) if kind is None else kind
    final = kind is FailureType.INVALID_RESPONSE if final is None else final
    # OpenAI and Anthropic, and gateways to them: this header overrules the status.
    again = reply.headers.get("x-should-retry", "").strip().lower()
    if again == "true" and kind in _FOR_GOOD:
        kind, final = FailureType.PROVIDER_ERROR, False
    return error_for(
        kind,
        (message or _describe_status(reply)) + _advice(reply, status, message or ""),
        status_code=status,
        retry_after=retry_after(reply.headers, reply.now) if wait is None else wait,
        final=final or again == "false",
        response=response,
    )


def _advice(reply: HTTPReply, status: int, message: str) -> str:
    """Return what may be wrong with the address if it leads nowhere; empty if the error is about a model."""
    base_url = getattr(reply.settings, "base_url", None)
    if status not in _NO_SUCH_PATH or not isinstance(base_url, str) or _OF_MODEL.search(message):
        return ""
    if _VERSION.search(urlsplit(base_url).path):
        return ""
    return " (is the version missing in base_url? Most servers have their API below one, /v1 say)"


def _describe_status(reply: HTTPReply) -> str:
    if 300 <= reply.status < 400:
        return f"HTTP {reply.status}: redirects are not followed, so that the key stays with the address it is for"
    return f"HTTP {reply.status} with {describe_body(reply)}"
