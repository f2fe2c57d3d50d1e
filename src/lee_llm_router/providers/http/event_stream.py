"""A streamed response over HTTP: turns bytes from the transport into chunks, with a dialect's decoder."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from lee_llm_router.providers.http.dialects.base import Decoder
from lee_llm_router.providers.http.transport.api import AsyncWireStream, WireStream
from lee_llm_router.providers.streams import ChunkStream
from lee_llm_router.response.types import StreamChunk

_SLICE = 16 * 1024
"""Bytes; in events of ten bytes each, they take the decoder a few milliseconds."""


def _whole_raw(decoder: Decoder) -> Any:
    """Return the vendor's whole answer from the decoder; None if its dialect has none."""
    give = getattr(decoder, "whole_raw", None)
    return None if give is None else give()


class EventStream(ChunkStream):
    """The stream of a synchronous call. Returns a buffered chunk without reading the clock."""

    def __init__(self, wire: WireStream, decoder: Decoder, headers: Mapping[str, str]) -> None:
        self.headers = headers
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

    def whole_raw(self) -> Any:
        """As `ChunkStream.whole_raw`."""
        return _whole_raw(self._decoder)

    def close(self) -> None:
        """As `ChunkStream.close`."""
        self._wire.close()


class AsyncEventStream(ChunkStream):
    """The stream of an asynchronous call, for the event loop that opened it.

    Reading what a fast server has sent may never wait. So the decoder gets it in slices, and the event loop gets a turn
    between them: a body of many tiny events must not block other tasks.
    """

    def __init__(self, wire: AsyncWireStream, decoder: Decoder, headers: Mapping[str, str]) -> None:
        self.headers = headers
        self._wire = wire
        self._decoder = decoder
        self._received = b""
        """The bytes received last."""
        self._position = 0
        """How many of them the decoder has."""
        self._read_in_turn = 0
        """Bytes given to the decoder since the event loop last had a turn."""

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
                decoder.feed(await self._next_slice())
                chunk = decoder.next()
        if chunk is None:
            await self._wire.finish()
        return chunk

    async def _next_slice(self) -> bytes:
        """Return the next bytes of the body, at most `_SLICE`; empty at its end."""
        if self._read_in_turn >= _SLICE:
            self._read_in_turn = 0
            await asyncio.sleep(0)
        if self._position >= len(self._received):
            self._received, self._position = await self._wire.read(), 0
        data = self._received
        if len(data) > _SLICE:
            data = data[self._position : self._position + _SLICE]
        self._position += len(data)
        self._read_in_turn += len(data)
        return data

    def whole_raw(self) -> Any:
        """As `ChunkStream.whole_raw`."""
        return _whole_raw(self._decoder)

    def close(self) -> None:
        """As `ChunkStream.close`. Needs no event loop."""
        self._wire.close()
