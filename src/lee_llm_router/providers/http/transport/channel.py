"""Bytes over a `Connection`: TLS layers, and writes that are buffered until the next read.

The classes match httpcore's `NetworkBackend` and `NetworkStream` by shape; this module does not import httpcore. It
raises failures as this library's errors, because only this level knows the address, the phase, and whether the request
may have reached the server.
"""

# ruff: noqa: ARG002 - the HTTP library passes a `timeout` for each step; the connection's deadline replaces it

from __future__ import annotations

import select
import socket
import ssl
from typing import Any, TypeVar

from lee_llm_router.providers.http.transport.async_connection import AsyncConnection, run_async
from lee_llm_router.providers.http.transport.connecting import connect
from lee_llm_router.providers.http.transport.connection import (
    FLUSH_SIZE,
    READ_SIZE,
    WAITING,
    Connection,
    IOSteps,
    run,
)
from lee_llm_router.providers.http.transport.tls import TLSLayer

T = TypeVar("T")


class Channel:
    """Sends and receives bytes on one socket, through the TLS layers opened so far (two inside a proxy's TLS).

    Args:
        connection: Its deadline limits every operation.
        sock: Its socket.
        peer: Host and port, for error messages.
    """

    __slots__ = ("_connection", "_layers", "_peer", "_poll", "_sock", "_unsent", "_unsent_size", "_write_error")

    def __init__(self, connection: Connection, sock: socket.socket, peer: str) -> None:
        self._connection = connection
        self._sock = sock
        self._peer = peer
        self._layers: list[TLSLayer] = []
        """The outermost first. The socket carries its bytes; each layer carries those of the next one."""
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self._write_error: OSError | None = None
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    @property
    def is_broken(self) -> bool:
        """Whether a write has failed. Nothing is sent after that."""
        return self._write_error is not None

    @property
    def is_stale(self) -> bool:
        """Whether an idle connection has become readable: the server has closed it or sent stray data."""
        if self._poll.poll(0):
            return True
        return bool(self._layers) and any(layer.has_unread_data for layer in self._layers)

    def get_extra_info(self, info: str) -> Any:
        """Return one of the two values that httpcore asks for: the TLS object, or whether there is something to
        read."""
        if info == "is_readable":
            return self.is_stale
        return self._layers[-1].object if info == "ssl_object" and self._layers else None

    def enqueue(self, data: bytes) -> bool:
        """Buffer `data` until the next read; return whether there is now enough to send."""
        self._unsent.append(data)
        self._unsent_size += len(data)
        return self._unsent_size >= FLUSH_SIZE

    def flush(self) -> IOSteps[None]:
        """Send what was enqueued. If that fails, the next read reports it."""
        data = b"".join(self._unsent)
        self._unsent.clear()
        self._unsent_size = 0
        if not data or self._write_error is not None:
            return
        try:
            if self._layers:
                yield from self._send(data, len(self._layers))
            else:
                yield data
        except OSError as error:
            # A server may respond (401, 413) and close before it has read the whole request: read its response first.
            self._write_error = error

    def receive(self, size: int) -> IOSteps[bytes]:
        """Send what was enqueued, then return up to `size` received bytes; empty at the end."""
        if self._unsent:
            yield from self.flush()
        failure = self._write_error
        try:
            data = (yield from self._receive(size, len(self._layers))) if self._layers else (yield size)
        except OSError as error:
            data, failure = b"", failure or error
        if not data and failure is not None:
            raise self._connection.broken_error(f"connection to {self._peer} lost", failure) from failure
        return data

    def secure(self, context: ssl.SSLContext, hostname: str | None) -> IOSteps[None]:
        """Add a TLS layer inside the existing ones; all later bytes pass through it."""
        yield from self.flush()
        self._connection.phase = f"TLS handshake with {self._peer}"
        try:
            layer = TLSLayer(context, hostname)
            yield from self._run_layer(layer.handshake(), len(self._layers))
        except (OSError, ValueError) as error:
            raise self._connection.broken_error(f"no TLS connection to {self._peer}", error) from error
        self._layers.append(layer)
        self._connection.phase = WAITING

    def _receive(self, size: int, depth: int) -> IOSteps[bytes]:
        """Receive through the first `depth` layers."""
        if depth:
            return (yield from self._run_layer(self._layers[depth - 1].read(size), depth - 1))
        return (yield size)  # type: ignore[no-any-return]

    def _send(self, data: bytes, depth: int) -> IOSteps[None]:
        """Send through the first `depth` layers."""
        if depth:
            yield from self._run_layer(self._layers[depth - 1].write(data), depth - 1)
        else:
            yield data

    def _run_layer(self, steps: IOSteps[T], depth: int) -> IOSteps[T]:
        """Run the steps of a layer over the `depth` layers before it."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, bytes):
                    yield from self._send(step, depth)
                    step = next(steps)
                else:
                    step = steps.send((yield from self._receive(READ_SIZE, depth)))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


class SyncChannel(Channel):
    """A channel for blocking calls, each bounded by the connection's deadline."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return up to `max_bytes` received bytes; empty at the end."""
        return run(self._connection, self._sock, self.receive(max_bytes))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send `buffer`: at once if enough is buffered, otherwise before the next read."""
        if self.enqueue(buffer):
            run(self._connection, self._sock, self.flush())

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> SyncChannel:
        """Add a TLS layer; return this channel."""
        run(self._connection, self._sock, self.secure(ssl_context, server_hostname))
        return self

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class AsyncChannel(Channel):
    """A channel for asyncio. The caller limits the time, by cancelling."""

    __slots__ = ()

    _connection: AsyncConnection

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """As `SyncChannel.read`."""
        return await run_async(self._connection, self._sock, self.receive(max_bytes))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """As `SyncChannel.write`."""
        if self.enqueue(buffer):
            await run_async(self._connection, self._sock, self.flush())

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncChannel:
        """As `SyncChannel.start_tls`."""
        await run_async(self._connection, self._sock, self.secure(ssl_context, server_hostname))
        return self

    async def aclose(self) -> None:
        """Close the socket."""
        self._sock.close()


class SyncBackend:
    """Opens `connection` with blocking calls, for httpcore."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def connect_tcp(self, host: str, port: int, **_: Any) -> SyncChannel:
        """Connect to `host`; return the channel.

        Raises:
            LLMTimeoutError: the time is up.
            ProviderError: the host name cannot be resolved, or no address answers.
        """
        sock = run(self._connection, None, connect(self._connection, host, port))
        return SyncChannel(self._connection, sock, f"{host}:{port}")


class AsyncBackend:
    """Opens `connection` on the running event loop, for httpcore."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def connect_tcp(self, host: str, port: int, **_: Any) -> AsyncChannel:
        """As `SyncBackend.connect_tcp`."""
        sock = await run_async(self._connection, None, connect(self._connection, host, port))
        return AsyncChannel(self._connection, sock, f"{host}:{port}")
