"""The contract between a provider that speaks HTTP and whatever carries it.

A provider knows only this file. A transport (see `transport.py`) takes a `WireRequest`, gives back a `WireResponse`,
and raises nothing but this library's errors. One that streams will hand the body back piece by piece in place of whole;
the rest stays.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol, TypeAlias

from lee_llm_router.errors import InvalidResponseError

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]

ACCEPT_ENCODING = b"gzip, deflate"
ERROR_BODY_LIMIT = 65536
"""Bytes kept of an answer that is no success: enough for any error message."""


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One request. `Host`, `Content-Length` and `Accept-Encoding` are added by the transport."""

    url: str
    headers: RawHeaders
    body: bytes
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class WireResponse:
    """One answer, its body decoded. `cut`: the body of an error is not all there."""

    status: int
    raw_headers: RawHeaders
    body: bytes
    cut: bool = False


class Transport(Protocol):
    """Carries requests, over pooled connections. Serves many threads and event loops at once."""

    def send(self, request: WireRequest, timeout: float) -> WireResponse:
        """Send `request` and read the whole answer, both within `timeout` seconds of wall-clock time.

        Raises:
            LLMTimeoutError: not done in time.
            ProviderError: no connection, or a broken one.
            InvalidResponseError: the body is too large or cannot be decoded.
            InvalidRequestError: the request cannot be put into HTTP.
        """
        ...

    async def send_async(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `send`, on the running event loop. A cancellation passes through, and drops the connection."""
        ...

    def close(self) -> None:
        """Close what is idle now, and what is in use when it comes back."""
        ...


class Body:
    """Gathers the body of an answer: decoded, and no more than `limit` bytes.

    The status of an error says more than its body, so a body that is too long, broken or undecodable spoils only a
    success; that of an error is cut there.

    Args:
        status: HTTP status of the answer.
        coding: Its Content-Encoding header.
        length: Its Content-Length header.
        limit: Bytes, decoded.
    """

    __slots__ = ("_coding", "_head", "_inflater", "_limit", "_parts", "_strict", "_taken", "cut")

    def __init__(self, status: int, coding: str | None, length: str | None, limit: int) -> None:
        self._strict = 200 <= status < 300
        self._limit = limit if self._strict else min(limit, ERROR_BODY_LIMIT)
        self._coding = (coding or "identity").strip().lower()
        self._parts: list[bytes] = []
        self._taken = 0
        self._head = b""
        self._inflater: zlib._Decompress | None = None
        self.cut = False
        if self._strict and length is not None and length.isdecimal() and int(length) > limit:
            raise self._too_long()

    def feed(self, data: bytes) -> bool:
        """Take a piece as it came. False: no more is wanted.

        Raises:
            InvalidResponseError: it is too much, or cannot be decoded.
        """
        try:
            if self._coding != "identity":
                data = self._inflate(data)
            self._taken += len(data)
            if self._taken > self._limit:
                raise self._too_long()
        except InvalidResponseError as error:
            self.broke(error)
            return False
        self._parts.append(data)
        return True

    def broke(self, error: Exception) -> None:
        """The rest will not come, because of `error`, which is raised where that matters."""
        if self._strict:
            raise error
        self.cut = True

    def finish(self) -> bytes:
        """The whole body.

        Raises:
            InvalidResponseError: the compressed data ends early.
        """
        begun = self._inflater is not None or self._head
        if begun and not (self._inflater and self._inflater.eof) and not self.cut:
            self.broke(InvalidResponseError("the answer's compressed data ends early"))
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def _inflate(self, data: bytes) -> bytes:
        if self._inflater is None:
            self._head = data = self._head + data
            if len(data) < 2:
                return b""
            self._inflater = zlib.decompressobj(_window_bits(self._coding, data))
        try:
            return self._inflater.decompress(data, self._limit - self._taken + 1)
        except zlib.error as error:
            raise InvalidResponseError("the answer's compressed data is corrupt") from error

    def _too_long(self) -> InvalidResponseError:
        return InvalidResponseError(f"the answer is longer than {self._limit} bytes", final=True)


def _window_bits(coding: str, head: bytes) -> int:
    """How zlib is told of `coding`. "deflate" is zlib's format by RFC 9110, and raw deflate by some servers' habit."""
    if coding in {"gzip", "x-gzip"}:
        return 16 + zlib.MAX_WBITS
    if coding == "deflate":
        has_zlib_header = head[0] & 0x0F == zlib.DEFLATED and int.from_bytes(head[:2], "big") % 31 == 0
        return zlib.MAX_WBITS if has_zlib_header else -zlib.MAX_WBITS
    raise InvalidResponseError("the answer's Content-Encoding is none that was asked for", final=True)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, by its name alone."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
