"""Header fields of requests: which may be sent, and which of their values are secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from lee_llm_router._util.scrubbing import is_sensitive_header
from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.http.transport.api import RawHeaders

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A header's name (RFC 9110, 5.6.2)."""
_RESERVED = frozenset({
    "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
"""Headers that frame the message. The transport sets them; with other values client and server could disagree on where
a message ends."""

CheckedHeaders: TypeAlias = dict[str, tuple[str, str]]
"""Lower-case name -> name as written, and value."""


def _validate_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        problem = _header_problem(name, value)
        if problem:
            raise PydanticCustomError("wanted_header", "{problem}", {"problem": problem})
    return headers


def _validate_value(value: str) -> str:
    if _header_problem("x", value):
        raise PydanticCustomError("wanted_header", "only characters that an HTTP header may contain are allowed")
    return value


HeaderText: TypeAlias = Annotated[str, AfterValidator(_validate_value)]
"""Type of a setting that becomes a header's value."""
HeaderFields: TypeAlias = Annotated[dict[str, str], AfterValidator(_validate_headers)]
"""Type of a setting that becomes headers, by name."""


def checked_headers(headers: Mapping[str, str]) -> CheckedHeaders:
    """Return `headers` by lower-case name, so that one can replace another of any case.

    Raises:
        InvalidRequestError: HTTP cannot carry one of them, or only the transport may set it.
    """
    checked = {}
    for name, value in headers.items():
        problem = _header_problem(name, value)
        if problem:
            raise InvalidRequestError(problem, sent=False)
        checked[name.lower()] = (name, value.strip())
    return checked


def sendable_headers(headers: Mapping[str, str] | None) -> CheckedHeaders:
    """Return the `headers` that HTTP can carry, in the form of `checked_headers`. No caller passed these, so the others
    raise nothing."""
    sound = {name: value for name, value in (headers or {}).items() if _header_problem(name, value) is None}
    return checked_headers(sound)


def _header_problem(name: Any, value: Any) -> str | None:
    """Return what is wrong with a header, without quoting its value, which may be a key."""
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        return f"{name!r:.60} is not a valid name for an HTTP header"
    if name.lower() in _RESERVED:
        return f"the header {name} cannot be set: it is computed for each request"
    if not isinstance(value, str) or not (value.isprintable() and value.isascii()):
        return f"the header {name} holds characters that no HTTP header may contain"
    return None


def secret_values(headers: Mapping[str, str]) -> Iterator[str]:
    """Yield the values of headers whose name suggests a secret; for "Bearer abc" also the second word."""
    for name, value in headers.items():
        if is_sensitive_header(name):
            yield value.strip()
            yield from value.split()[1:]


def raw_headers(headers: CheckedHeaders) -> RawHeaders:
    """Return `headers` as bytes, in a tuple: transports cache what they encode, by tuple."""
    return tuple((name.encode("ascii"), value.encode("ascii")) for name, value in headers.values())
