"""A streamed answer over HTTP: bytes from the transport, through a dialect's decoder, to chunks."""

from __future__ import annotations

from lee_llm_router.providers.http.dialects.base import Decoder
from lee_llm_router.providers.http.transport.api import AsyncWireStream, WireStream
from lee_llm_router.providers.streams import ChunkStream
from lee_llm_router.response import StreamChunk


class EventStream(ChunkStream):
    """The stream of a synchronous call. A buffered chunk is returned without reading the clock."""

    def __init__(self, wire: WireStream, decoder: Decoder) -> None:
        self._wire = wire
        self._decoder = decoder

    def pull(self, timeout: float) -> StreamChunk | None:
        """As `ChunkStream.pull`."""
        decoder = self._decoder
        chunk = decoder.next()
        if chunk is None and not decoder.done:
            self._wire.allow(timeout)
            while chunk is None and not decoder.done:
                decoder.feed(self._wire.read())
                chunk = decoder.next()
        if chunk is None:
            self._wire.finish()
        return chunk

    def close(self) -> None:
        """As `ChunkStream.close`."""
        self._wire.close()


class AsyncEventStream(ChunkStream):
    """The stream of an asynchronous call, for the event loop that opened it."""

    def __init__(self, wire: AsyncWireStream, decoder: Decoder) -> None:
        self._wire = wire
        self._decoder = decoder

    def buffered(self) -> StreamChunk | None:
        """As `ChunkStream.buffered`."""
        return self._decoder.next()

    def pull(self, timeout: float) -> StreamChunk | None:  # noqa: ARG002 - it always raises
        """Refuse: this stream belongs to an event loop.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("a stream opened with stream_async is pulled with pull_async")

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        """As `ChunkStream.pull_async`."""
        decoder = self._decoder
        chunk = decoder.next()
        if chunk is None and not decoder.done:
            self._wire.allow(timeout)
            while chunk is None and not decoder.done:
                decoder.feed(await self._wire.read())
                chunk = decoder.next()
        if chunk is None:
            await self._wire.finish()
        return chunk

    def close(self) -> None:
        """As `ChunkStream.close`. Needs no event loop."""
        self._wire.close()
