"""The contract between a provider that speaks HTTP and whatever carries it.

A provider knows only this file. A transport (see `transport.py`) takes a `WireRequest`, gives back a `WireResponse`, or
a `WireStream` whose body is still to come, and raises nothing but this library's errors. Besides, each of them

- goes to one server only: a request for another is refused;
- goes through the proxy the environment names, follows no redirect, and keeps no cookie;
- verifies certificates, against the usual authorities and those in `ca_file`;
- speaks HTTP/1.1, and takes for an answer only what has a certain end, or ends with its connection;
- keeps a connection for a minute, for one request at a time, and closes one that has bytes to spare, was broken,
  cancelled or interrupted;
- serves any number of threads and event loops, forked children too, which open connections of their own.
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
MAX_DIGITS = 20
"""Of a Content-Length: as many as 2**64 has. Python refuses to read numbers of thousands of digits."""


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One request. `Host`, `Content-Length` and `Accept-Encoding` are added by the transport.

    Headers go out in their order and letters. Those given as a tuple again are not checked and written down again.
    """

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


class WireStream(Protocol):
    """One answer whose body is still to come. A stream dropped, or left by an error, has hung up."""

    status: int
    raw_headers: RawHeaders

    def allow(self, timeout: float) -> None:
        """The reads that follow may take `timeout` seconds of wall-clock time together."""
        ...

    def read(self) -> bytes:
        """The next part of the body, decoded; empty at its end. All reads raise as `Transport.send` does.

        A connection that was closed before the body's end by HTTP ends it as well: whoever reads a stream knows its
        end by a mark of its own. One that broke is an error.
        """
        ...

    def whole(self) -> WireResponse:
        """All that is left of the body, within what is left of the time the stream was opened with."""
        ...

    def finish(self) -> None:
        """Want no more: keep the connection for the next request if the body ends at once, else hang up."""
        ...

    def close(self) -> None:
        """Hang up, if the body has not come to its end."""
        ...


class AsyncWireStream(Protocol):
    """As `WireStream`, on the event loop that opened it. `close` needs no event loop."""

    status: int
    raw_headers: RawHeaders

    def allow(self, timeout: float) -> None:
        """As `WireStream.allow`."""
        ...

    async def read(self) -> bytes:
        """As `WireStream.read`. A cancellation passes through, and drops the connection."""
        ...

    async def whole(self) -> WireResponse:
        """As `WireStream.whole`."""
        ...

    async def finish(self) -> None:
        """As `WireStream.finish`."""
        ...

    def close(self) -> None:
        """As `WireStream.close`."""
        ...


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

    def open(self, request: WireRequest, timeout: float) -> WireStream:
        """Send `request` and read the answer's status and headers, within `timeout` seconds. Raises as `send`."""
        ...

    async def open_async(self, request: WireRequest, timeout: float) -> AsyncWireStream:
        """As `open`, on the running event loop. A cancellation passes through, and drops the connection."""
        ...

    def load(self) -> None:
        """Load what the first asynchronous call would load, while no event loop has to wait for it."""
        ...

    def close(self) -> None:
        """Close what is idle now, and what is in use when it comes back."""
        ...


class Body:
    """Decodes the body of an answer, and takes no more of it than `limit` bytes.

    The status of an error says more than its body, so a body that is too long, broken or undecodable spoils only a
    success; that of an error is cut there.

    Args:
        status: HTTP status of the answer.
        coding: Its Content-Encoding header.
        length: Its Content-Length header.
        limit: Bytes, decoded.
    """

    __slots__ = ("_coding", "_head", "_inflater", "_limit", "_strict", "_taken", "cut")

    def __init__(self, status: int, coding: str | None, length: str | None, limit: int) -> None:
        self._strict = 200 <= status < 300
        self._limit = limit if self._strict else min(limit, ERROR_BODY_LIMIT)
        self._coding = (coding or "identity").strip().lower()
        self._taken = 0
        self._head = b""
        self._inflater: zlib._Decompress | None = None
        self.cut = False
        if self._strict and length is not None and _is_above(length, limit):
            raise self._too_long()

    def decoded(self, data: bytes) -> bytes:
        """What a piece says, decoded. Nothing, and `cut` is set, if no more is wanted.

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
            return b""
        return data

    def broke(self, error: Exception) -> None:
        """The rest will not come, because of `error`, which is raised where that matters."""
        if self._strict:
            raise error
        self.cut = True

    def ended(self) -> None:
        """The body has come to its end.

        Raises:
            InvalidResponseError: its compressed data has not.
        """
        begun = self._inflater is not None or self._head
        if begun and not (self._inflater and self._inflater.eof):
            self.broke(InvalidResponseError("the answer's compressed data ends early"))

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


def _is_above(number: str, limit: int) -> bool:
    digits = number.lstrip("0")
    return digits.isdecimal() and (len(digits) > MAX_DIGITS or int(digits) > limit)


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
