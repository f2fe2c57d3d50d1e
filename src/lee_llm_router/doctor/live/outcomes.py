"""What an error, or a response with a status, says about the way to a server: each case has its own id."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from lee_llm_router.errors import AuthenticationError, FailureType, LLMRouterError, LLMTimeoutError
from lee_llm_router.providers.http.dialects.base import Dialect, HTTPReply

MAX_SKEW = 60.0
"""Seconds by which the clocks of this machine and of a server may differ."""

_NOT_IN_TIME = frozenset({9, 10})
"""OpenSSL's numbers for certificates that are not yet valid, or have expired."""
_OTHER_NAME = frozenset({62, 63, 64})
_BY_FAILURE = {
    FailureType.AUTH: "LLR909",
    FailureType.QUOTA: "LLR917",
    FailureType.RATE_LIMIT: "LLR912",
    FailureType.OVERLOADED: "LLR913",
}
_BY_STATUS = {401: "LLR909", 402: "LLR917", 403: "LLR910", 404: "LLR911", 405: "LLR911", 407: "LLR916", 429: "LLR912",
              501: "LLR911"}  # fmt: skip


def id_of_error(error: LLMRouterError, proxy_host: str | None = None) -> str:
    """Return the id for an error without a response.

    Args:
        error: What a provider raised.
        proxy_host: The host of the request's proxy, if it has one.
    """
    if isinstance(error, AuthenticationError) and not error.status_code:
        return "LLR919"
    causes = list(_causes(error))
    if error.status_code == 407 or "proxy" in error.message.lower() or (proxy_host and proxy_host in error.message):
        return "LLR916"
    for cause in causes:
        found = _id_of_cause(cause)
        if found is not None:
            return found
    return "LLR903" if isinstance(error, LLMTimeoutError) else "LLR918"


def _id_of_cause(cause: BaseException) -> str | None:
    if isinstance(cause, ssl.SSLCertVerificationError):
        number = cause.verify_code
        return "LLR904" if number in _NOT_IN_TIME else "LLR905" if number in _OTHER_NAME else "LLR906"
    if isinstance(cause, ssl.SSLError):
        return "LLR907"
    if isinstance(cause, (socket.gaierror, UnicodeError)):
        return "LLR901"
    if isinstance(cause, ConnectionRefusedError):
        return "LLR902"
    if isinstance(cause, TimeoutError) or (isinstance(cause, OSError) and cause.errno == errno.ETIMEDOUT):
        return "LLR903"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def id_and_text_of_reply(reply: HTTPReply, dialect: Dialect) -> tuple[str, str]:  # type: ignore[type-arg]
    """Return the id for a response with an unsuccessful status, and the vendor's words, scrubbed and shortened."""
    status = reply.status
    if 300 <= status < 400:
        place = reply.quote(reply.headers.get("location", ""), 200)
        return (
            "LLR920",
            f"{status}: it sends requests to {place}" if place else f"{status}: it sends requests elsewhere",
        )
    if is_page(reply) and status not in (401, 402, 403, 407, 429) and status < 500:
        return "LLR914", f"{status}: the answer is a web page"
    try:
        failure = dialect.failure(reply)
    except Exception:  # noqa: BLE001 - a dialect of somebody else's
        return _by_status(status), f"the server answered {status}"
    if failure.failure_type == FailureType.AUTH:
        check = "LLR910" if status == 403 else "LLR909"
    else:
        check = _BY_FAILURE.get(failure.failure_type) or _by_status(status)
    return check, f"{status}: {failure.message}"


def _by_status(status: int) -> str:
    return _BY_STATUS.get(status) or ("LLR913" if status >= 500 else "LLR923")


def is_page(reply: HTTPReply) -> bool:
    """Whether the response is a web page."""
    return "html" in reply.headers.get("content-type", "").lower() or reply.body[:200].lstrip()[:1] == b"<"


def skew_of(reply: HTTPReply) -> float | None:
    """Return by how many seconds this machine's clock is ahead of the server's; None if unknown."""
    try:
        date = parsedate_to_datetime(reply.headers.get("date", ""))
        return reply.now - date.timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
