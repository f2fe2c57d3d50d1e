"""What the dialects share: reading numbers, dates and JSON from the wire, and what a status means. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, NoReturn, Protocol

from pydantic_core import from_json, to_json

from lee_llm_router._util.numbers import wait_seconds
from lee_llm_router._util.scrubbing import bounded, scrub
from lee_llm_router.errors import FailureType, InvalidRequestError, InvalidResponseError, LLMRouterError
from lee_llm_router.response import LLMRequest, LLMResponse, StreamChunk

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
_NO_ANSWER = frozenset({204, 205, 206})
_UTF8_BOM = b"\xef\xbb\xbf"


@dataclass
class Reply:
    """What came back for a request, and what is needed to make sense of it."""

    status: int
    body: bytes
    raw_headers: Sequence[tuple[bytes, bytes]] = ()
    request_bytes: int | None = None
    secrets: Sequence[str] = ()
    """Taken out of everything that is quoted."""
    now: float = 0.0
    """Seconds since 1970-01-01 UTC."""

    @property
    def ok(self) -> bool:
        """Whether the status promises an answer. 204, 205 and 206 do not."""
        return 200 <= self.status < 300 and self.status not in _NO_ANSWER

    @cached_property
    def headers(self) -> dict[str, str]:
        """Headers with lower-case names; repeated ones joined by commas (RFC 9110, 5.3)."""
        found: dict[str, str] = {}
        for raw_name, raw_value in self.raw_headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found

    def quote(self, text: str, limit: int = 300) -> str:
        """`text` of the vendor's, fit for an error: without secrets, on one line, `limit` characters at most."""
        return bounded(scrub(text, self.secrets), limit)


class Decoder(Protocol):
    """Turns the body of a streamed answer into pieces. It asks for bytes only when it has none left to read."""

    done: bool
    """Whether the answer has come to its end, and is whole."""

    def feed(self, data: bytes) -> None:
        """Take the next part of the body; empty: there is no more of it.

        Raises:
            InvalidResponseError: the answer ends too early, or an event is too long.
        """
        ...

    def next(self) -> StreamChunk | None:
        """The next piece, or None: more bytes are wanted, or the answer is `done`.

        Raises:
            LLMRouterError: what has come in place of a piece.
        """
        ...


class Dialect(Protocol):
    """One wire format. Modules of this package are dialects."""

    PATH: str
    """Where requests go, after the base URL."""

    def encode(
        self, request: LLMRequest, model: str | None, max_tokens_field: str, extra: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The body for `request`, with `extra` merged into it last.

        Raises:
            InvalidRequestError: it cannot be said in this dialect.
        """
        ...

    def decode(self, reply: Reply) -> LLMResponse:
        """The answer in a `reply` that is `ok`.

        Raises:
            LLMRouterError: it is none.
        """
        ...

    def failure(self, reply: Reply) -> LLMRouterError:
        """The error for a `reply` that is not `ok`."""
        ...

    def streamed(self, body: Mapping[str, Any], usage: bool) -> dict[str, Any]:
        """`body`, asking for the answer piece by piece, and if `usage`, for the tokens used at its end."""
        ...

    def decoder(self, reply: Reply, limit: int, end_mark: bool) -> Decoder:
        """What reads the body that follows a `reply` that is `ok`.

        Args:
            reply: Status and headers.
            limit: Bytes one event may have.
            end_mark: Whether the stream must end with the dialect's end mark, besides a finish reason.
        """
        ...


def encode_json(body: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> bytes:
    """`body` as JSON text in UTF-8.

    Raises:
        InvalidRequestError: it holds what JSON has no words for: NaN, lone surrogates, objects, itself.
    """
    try:
        data = to_json(body, fallback=_plain)
        if b"NaN" in data or b"Infinity" in data:
            # In a string that is fine; only a parser can tell.
            json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, TypeError, RecursionError) as error:
        reason = bounded(str(error).removeprefix("Error serializing to JSON: "), 200)
        raise InvalidRequestError(f"the request cannot be written as JSON: {reason}", sent=False) from error
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (Sequence, Set)):
        return list(value)
    raise TypeError(f"no JSON for a {type(value).__name__}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def decode_json(reply: Reply) -> dict[str, Any]:
    """The JSON object that the body is.

    Raises:
        InvalidResponseError: it is anything else.
    """
    try:
        value = from_json(reply.body.removeprefix(_UTF8_BOM))
    except ValueError as error:
        raise invalid(reply, f"not JSON but {describe(reply)}") from error
    if not isinstance(value, dict):
        raise invalid(reply, f"not a JSON object but {describe(reply)}")
    return value


def describe(reply: Reply) -> str:
    """What a body that makes no sense looks like, in a few words."""
    if not reply.body:
        return "an empty body"
    text = reply.body[:4096].decode("utf-8", "replace").strip()
    if not text.startswith("<"):
        return f"{reply.quote(text, 100)!r}"
    title = re.search(r"<title[^>]*>([^<]{1,300})</title", text, re.IGNORECASE)
    return f"a web page ({reply.quote(title[1], 100)})" if title else "a web page"


def invalid(reply: Reply, message: str, *, final: bool = False) -> InvalidResponseError:
    """The error for an answer that is none: `message` continues "the answer is"."""
    return InvalidResponseError(f"the answer is {message}", status_code=reply.status, final=final)


def failure_of_status(status: int) -> FailureType:
    """What an HTTP status alone means. `docs/errors.md` has the table."""
    known = _STATUS_FAILURES.get(status)
    if known is not None:
        return known
    if 500 <= status < 600:
        return FailureType.PROVIDER_ERROR
    return FailureType.INVALID_RESPONSE if status < 400 else FailureType.UNKNOWN


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds the vendor asks to wait, between 0 and a week; None if it does not say, or not sensibly.

    ``retry-after-ms`` (milliseconds) goes before ``Retry-After`` (seconds, or a date: RFC 9110, 10.2.3). A date is held
    against the answer's own ``Date``, where there is one, so that a wrong clock here does no harm; one that has passed
    means now. Negative numbers mean nothing.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return wait_seconds(milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _seconds(value)
    if seconds is None and value is not None:
        then = _timestamp(value)
        if then is not None:
            here = _timestamp(headers.get("date", ""))
            seconds = max(0.0, then - (now if here is None else here))
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


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` if it is a JSON object; else an empty one. For what is optional."""
    return value if isinstance(value, dict) else {}


def string(value: Any) -> str | None:
    """`value` if it is text that says something; else None. For what is optional."""
    return value if isinstance(value, str) and value else None
