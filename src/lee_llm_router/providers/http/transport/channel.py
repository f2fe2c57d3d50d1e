"""Connections for an HTTP library: they fit httpcore's `NetworkBackend` and `NetworkStream` by shape.

Nothing here imports httpcore. Failures are raised as this library's errors, which say what is known only here: the
address, the phase, and whether the request was on its way.
"""

# ruff: noqa: ARG002 - the HTTP library passes a `timeout` a step; the line's deadline stands in its place

from __future__ import annotations

import select
import socket
import ssl
from typing import Any, TypeVar

from lee_llm_router.providers.http.transport.connection import (
    FLUSH_SIZE,
    READ_SIZE,
    WAITING,
    Line,
    Steps,
    Tls,
    connecting,
    run,
    run_async,
)

T = TypeVar("T")


class Stream:
    """A connection: layers of TLS, and writes gathered until something is read."""

    __slots__ = ("_broken", "_layers", "_line", "_peer", "_poll", "_sock", "_unsent", "_unsent_size")

    def __init__(self, line: Line, sock: socket.socket, peer: str) -> None:
        self._line = line
        self._sock = sock
        self._peer = peer
        self._layers: list[Tls] = []
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self._broken: OSError | None = None
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    @property
    def is_broken(self) -> bool:
        """Whether not all that was written has gone out. What is written from now on does not."""
        return self._broken is not None

    @property
    def is_stale(self) -> bool:
        """Whether an idle server has spoken or left: what it said was not asked for, and it may listen no more."""
        return bool(self._poll.poll(0)) or any(layer.pending for layer in self._layers)

    def get_extra_info(self, info: str) -> Any:
        """The two facts an HTTP library asks for: the TLS there is, and whether an idle server has spoken or left."""
        if info == "is_readable":
            return self.is_stale
        return self._layers[-1].object if info == "ssl_object" and self._layers else None

    def gather(self, data: bytes) -> bool:
        """Keep `data` until something is read; whether it is time to send."""
        self._unsent.append(data)
        self._unsent_size += len(data)
        return self._unsent_size >= FLUSH_SIZE

    def _flushing(self) -> Steps[None]:
        data = b"".join(self._unsent)
        self._unsent.clear()
        self._unsent_size = 0
        if not data or self._broken is not None:
            return
        try:
            yield from self._sending(data, len(self._layers))
        except OSError as error:
            # A server may answer (401, 413) and hang up before it has read the whole request: the answer decides.
            self._broken = error

    def reading(self, size: int) -> Steps[bytes]:
        """Up to `size` bytes received; empty at the end. What was gathered goes out before."""
        if self._unsent:
            yield from self._flushing()
        failure = self._broken
        try:
            data = (yield from self._receiving(size, len(self._layers))) if self._layers else (yield size)
        except OSError as error:
            data, failure = b"", failure or error
        if not data and failure is not None:
            raise self._line.failed(f"connection to {self._peer} lost", failure) from failure
        return data

    def securing(self, context: ssl.SSLContext, hostname: str | None) -> Steps[None]:
        """Speak TLS from here on, on top of what is spoken already."""
        yield from self._flushing()
        self._line.doing = f"TLS handshake with {self._peer}"
        try:
            layer = Tls(context, hostname)
            yield from self._through(layer.handshake(), len(self._layers))
        except (OSError, ValueError) as error:
            raise self._line.failed(f"no TLS connection to {self._peer}", error) from error
        self._layers.append(layer)
        self._line.doing = WAITING

    def _receiving(self, size: int, depth: int) -> Steps[bytes]:
        if depth:
            return (yield from self._through(self._layers[depth - 1].read(size), depth - 1))
        return (yield size)  # type: ignore[no-any-return]

    def _sending(self, data: bytes, depth: int) -> Steps[None]:
        if depth:
            yield from self._through(self._layers[depth - 1].write(data), depth - 1)
        else:
            yield data

    def _through(self, steps: Steps[T], depth: int) -> Steps[T]:
        """Run the steps of one layer on the layer below it."""
        try:
            wanted = next(steps)
            while True:
                if isinstance(wanted, bytes):
                    yield from self._sending(wanted, depth)
                    wanted = next(steps)
                else:
                    wanted = steps.send((yield from self._receiving(READ_SIZE, depth)))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


class SyncStream(Stream):
    """A connection for blocking calls, each clamped to the line's deadline; `timeout` arguments are ignored."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Up to `max_bytes` received; empty at the end."""
        return run(self._line, self._sock, self.reading(max_bytes))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Take `buffer`; it goes out when enough has gathered, or before the next read."""
        if self.gather(buffer):
            run(self._line, self._sock, self._flushing())

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> SyncStream:
        """Speak TLS from here on, on top of what is spoken already."""
        run(self._line, self._sock, self.securing(ssl_context, server_hostname))
        return self

    def close(self) -> None:
        """Hang up."""
        self._sock.close()


class AsyncStream(Stream):
    """A connection for asyncio. Time is bounded by whoever cancels; `timeout` arguments are ignored."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """As `SyncStream.read`."""
        return await run_async(self._line, self._sock, self.reading(max_bytes))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """As `SyncStream.write`."""
        if self.gather(buffer):
            await run_async(self._line, self._sock, self._flushing())

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncStream:
        """As `SyncStream.start_tls`."""
        await run_async(self._line, self._sock, self.securing(ssl_context, server_hostname))
        return self

    async def aclose(self) -> None:
        """Hang up."""
        self._sock.close()


class SyncBackend:
    """Connects `line` with blocking calls."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def connect_tcp(self, host: str, port: int, **_: Any) -> SyncStream:
        """A connection to `host`.

        Raises:
            LLMTimeoutError: not in time.
            ProviderError: the name cannot be looked up, or no address answers.
        """
        sock = run(self._line, None, connecting(self._line, host, port))
        return SyncStream(self._line, sock, f"{host}:{port}")


class AsyncBackend:
    """Connects `line` on the running event loop."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def connect_tcp(self, host: str, port: int, **_: Any) -> AsyncStream:
        """As `SyncBackend.connect_tcp`."""
        sock = await run_async(self._line, None, connecting(self._line, host, port))
        return AsyncStream(self._line, sock, f"{host}:{port}")
