"""The contract between a provider that speaks HTTP and the transport that carries its requests.

A provider knows only this file and `choice`. A transport takes a `WireRequest` and returns a `WireResponse`, or a
`WireStream` whose body is still to come. It raises only this library's errors. Every transport also

- connects to one server only, and refuses a request for another;
- uses the proxy that the environment names, follows no redirect, and keeps no cookie;
- verifies certificates, against the usual authorities and those in `ca_file`;
- speaks HTTP/1.1, and accepts an answer only if its end is certain, or is the end of its connection;
- keeps an idle connection for a minute and uses it for one request at a time;
- closes a connection that was broken, cancelled or interrupted, or that has received bytes past the answer's end;
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
    """One request. `Host`, `Content-Length` and `Accept-Encoding` are added by the transport.

    Headers are sent in the order and the letter case given. If they are a tuple, what was made of them may be kept,
    so that the same tuple is not checked and written again.
    """

    url: str
    headers: RawHeaders
    body: bytes
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class WireResponse:
    """One answer, its body decoded. `cut` is true if the body of an error is incomplete."""

    status: int
    raw_headers: RawHeaders
    body: bytes
    cut: bool = False


class WireStream(Protocol):
    """One answer whose body is still to come. Its connection is closed if it is dropped or raises an error."""

    status: int
    raw_headers: RawHeaders

    def allow(self, timeout: float) -> None:
        """Give the reads that follow `timeout` seconds of wall-clock time in total."""
        ...

    def read(self) -> bytes:
        """Return the next part of the body, decoded; empty at the end. All reads raise as `Transport.send` does.

        A connection closed before the end that HTTP announced counts as the end too: streamed formats have an end
        mark, by which the reader sees what is missing. A broken connection is an error.
        """
        ...

    def whole(self) -> WireResponse:
        """Return the answer with the rest of its body, read within the time that is left."""
        ...

    def finish(self) -> None:
        """Stop reading: reuse the connection if the body ends promptly, otherwise close it."""
        ...

    def close(self) -> None:
        """Close the connection, unless the body has been read to its end."""
        ...


class AsyncWireStream(Protocol):
    """As `WireStream`, for the event loop that opened it. `close` needs no event loop."""

    status: int
    raw_headers: RawHeaders

    def allow(self, timeout: float) -> None:
        """As `WireStream.allow`."""
        ...

    async def read(self) -> bytes:
        """As `WireStream.read`. A cancellation passes through and closes the connection."""
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
        """Send `request` and read the whole answer, both within `timeout` seconds of wall-clock time.

        Raises:
            LLMTimeoutError: the time is up.
            ProviderError: no connection, or a broken one.
            InvalidResponseError: the body is too large or cannot be decoded.
            InvalidRequestError: the request cannot be put into HTTP.
        """
        ...

    async def send_async(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `send`, on the running event loop. A cancellation passes through and closes the connection."""
        ...

    def open(self, request: WireRequest, timeout: float) -> WireStream:
        """Send `request` and read the answer's status and headers, within `timeout` seconds. Raises as `send`."""
        ...

    async def open_async(self, request: WireRequest, timeout: float) -> AsyncWireStream:
        """As `open`, on the running event loop. A cancellation passes through and closes the connection."""
        ...

    def load(self) -> None:
        """Load now what the first asynchronous call would load while its event loop waits."""
        ...

    def close(self) -> None:
        """Close idle connections now, and those in use when they are given back."""
        ...
