"""The contract between a provider that speaks HTTP and the transport that carries its requests.

A provider imports only this file and `choice`. A transport takes a `WireRequest` and returns a `WireResponse`, or a
`WireStream` whose body is still to be read. It raises only this library's errors. Every transport also

- connects to one server only, and refuses requests for others;
- uses the proxy that the environment names, follows no redirect, and keeps no cookie;
- verifies certificates against the usual authorities and those in `ca_file`;
- speaks HTTP/1.1, and accepts a response only if its end is certain, or is the end of its connection;
- keeps an idle connection for a minute, and uses a connection for one request at a time;
- closes a connection that was broken, cancelled or interrupted, or that has received bytes past the response's end;
- serves any number of threads and event loops; a forked child opens its own connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from lee_llm_router._util.data_class import dataclass

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]

ACCEPT_ENCODING = b"gzip, deflate"


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One request. The transport adds `Host`, `Content-Length` and `Accept-Encoding`.

    Headers are sent in the given order and case. A transport may cache what it made of a tuple of headers, so that it
    need not check and encode the same tuple again.
    """

    url: str
    headers: RawHeaders
    body: bytes
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class WireResponse:
    """One response with its decoded body. `cut` is true if the body of an error is incomplete."""

    status: int
    raw_headers: RawHeaders
    body: bytes
    cut: bool = False


class WireStream(Protocol):
    """One response whose body is still to be read. Dropping it, or an error, closes its connection."""

    status: int
    raw_headers: RawHeaders

    def allow(self, timeout: float) -> None:
        """Give the following reads `timeout` seconds of wall-clock time in total."""
        ...

    def read(self) -> bytes:
        """Return the next decoded part of the body; empty at the end. All reads raise as `Transport.send` does.

        A connection closed before the end that HTTP announced counts as the end too: streamed formats have an end mark,
        which shows the reader whether something is missing. A broken connection is an error.
        """
        ...

    def whole(self) -> WireResponse:
        """Return the response with the rest of its body, read within the time left."""
        ...

    def finish(self) -> None:
        """Stop reading: reuse the connection if the body ends promptly, otherwise close it."""
        ...

    def close(self) -> None:
        """Close the connection, unless the body was read to its end."""
        ...


class AsyncWireStream(Protocol):
    """As `WireStream`, for the event loop that opened it. `close` needs no event loop."""

    status: int
    raw_headers: RawHeaders

    def allow(self, timeout: float) -> None:
        """As `WireStream.allow`."""
        ...

    async def read(self) -> bytes:
        """As `WireStream.read`. Passes a cancellation on and closes the connection."""
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
    """Carries requests over pooled connections. Serves many threads and event loops at once."""

    def send(self, request: WireRequest, timeout: float) -> WireResponse:
        """Send `request` and read the whole response, both within `timeout` seconds of wall-clock time.

        Raises:
            LLMTimeoutError: the time is up.
            ProviderError: there is no connection, or it broke.
            InvalidResponseError: the body is too large or cannot be decoded.
            InvalidRequestError: HTTP cannot carry the request.
        """
        ...

    async def send_async(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `send`, on the running event loop. Passes a cancellation on and closes the connection."""
        ...

    def open(self, request: WireRequest, timeout: float) -> WireStream:
        """Send `request` and read the response's status and headers, within `timeout` seconds. Raises as `send`."""
        ...

    async def open_async(self, request: WireRequest, timeout: float) -> AsyncWireStream:
        """As `open`, on the running event loop. Passes a cancellation on and closes the connection."""
        ...

    def load(self) -> None:
        """Load what the first asynchronous call would otherwise load while its event loop waits."""
        ...

    def close(self) -> None:
        """Close idle connections now, and busy ones when they are given back."""
        ...
