"""A provider around a provider: replays what is recorded, or asks and records it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

from lee_llm_router._util.deferred import Deferred
from lee_llm_router.errors import UnrecordedRequestError
from lee_llm_router.providers.base import Capabilities, Provider
from lee_llm_router.providers.cassette.exchanges import (
    answer_entry,
    answer_in,
    chunks_in,
    embeddings_in,
    error_entry,
    error_in,
    masked,
    raw_in,
    request_data,
    stream_entry,
)
from lee_llm_router.providers.cassette.tape import Tape
from lee_llm_router.providers.embeddings import EmbeddingRequest, EmbeddingResponse
from lee_llm_router.providers.streams import AnswerParts, ChunkStream, SingleChunkStream
from lee_llm_router.providers.wrapper import WrapperProvider
from lee_llm_router.response.types import LLMRequest, LLMResponse, StreamChunk

AnswerT = TypeVar("AnswerT")

_LEFT = "left"
"""Marks a stream that its reader abandoned while it was recorded."""


class Take:
    """One request: its recording, or the recorder of its result. As a context it records what is raised."""

    def __init__(
        self, tape: Tape, asked: Mapping[str, Any], secrets: Sequence[str], found: Mapping[str, Any] | None
    ) -> None:
        self._tape = tape
        self._asked = asked
        self._secrets = secrets
        self._is_recorded = False
        self.found = found
        """What to replay; None: ask the provider."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if isinstance(error, Exception):
            self._record(error_entry(error))

    def whole(self, answer: AnswerT) -> AnswerT:
        """Record a whole answer, and return it."""
        if isinstance(answer, (LLMResponse, EmbeddingResponse)):  # anything else fails in the engine
            self._record(answer_entry(answer, with_raw=self._tape.with_raw))
        return answer

    def streamed(self, chunks: Sequence[StreamChunk], raw: Any, how: Mapping[str, Any]) -> None:
        """Record a stream and how it ended, once."""
        raw = (raw.get() if isinstance(raw, Deferred) else raw) if self._tape.with_raw else None
        self._record({**stream_entry(chunks, raw), **how})

    def _record(self, came: dict[str, Any]) -> None:
        if not self._is_recorded:
            self._is_recorded = True
            self._tape.record(self._asked, masked(came, self._secrets))


class CassetteProvider(WrapperProvider):
    """Replays from `tape`, and records the answers of `inner` on it.

    Args:
        inner: The provider to record. If the tape only replays, it is never asked, and needs no key.
        tape: The cassette.
    """

    def __init__(self, inner: Provider[Any], tape: Tape) -> None:
        super().__init__(inner)
        self._tape = tape

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """What the inner provider can do; a tape that only replays keeps every timeout."""
        known = self.inner.capabilities
        return known if self._tape.may_ask else replace(known, bounded=True)

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """As `Provider.complete`."""
        take = self._take(request)
        if take.found is not None:
            return self._whole(take.found)
        with take:
            return take.whole(self.inner.complete(request, timeout))

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """As `Provider.complete_async`."""
        take = self._take(request)
        if take.found is not None:
            return self._whole(take.found)
        with take:
            return take.whole(await self.inner.complete_async(request, timeout))

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """As `Provider.stream`."""
        take = self._take(request)
        if take.found is not None:
            return self._streamed(take.found)
        with take:
            return RecordedStream(self.inner.stream(request, timeout), take)

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """As `Provider.stream_async`."""
        take = self._take(request)
        if take.found is not None:
            return self._streamed(take.found)
        with take:
            return RecordedStream(await self.inner.stream_async(request, timeout), take)

    def embed(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        """As `Provider.embed`."""
        take = self._take(request)
        if take.found is not None:
            return self._embedded(take.found)
        with take:
            return take.whole(self.inner.embed(request, timeout))

    async def embed_async(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        """As `Provider.embed_async`."""
        take = self._take(request)
        if take.found is not None:
            return self._embedded(take.found)
        with take:
            return take.whole(await self.inner.embed_async(request, timeout))

    def _take(self, request: LLMRequest | EmbeddingRequest) -> Take:
        secrets: tuple[str, ...] = ()
        with suppress(Exception):  # a key that cannot be read now is unknown
            secrets = tuple(self.inner.secrets())
        asked = request_data(self.name, request, secrets)
        return Take(self._tape, asked, secrets, self._tape.next_for(asked))

    def _whole(self, found: Mapping[str, Any]) -> LLMResponse:
        try:
            if (error := error_in(found)) is not None:
                raise error
            if "answer" in found:
                return answer_in(found)
            parts = AnswerParts()
            for chunk in chunks_in(found):
                parts.add(chunk)
            return parts.response(raw_in(found))
        except (KeyError, TypeError, ValueError) as error:
            raise self._unreadable(error) from error

    def _streamed(self, found: Mapping[str, Any]) -> ChunkStream:
        try:
            if "answer" in found:
                return SingleChunkStream(answer_in(found))
            error = error_in(found)
            if error is not None and "chunks" not in found:
                raise error
            if found.get(_LEFT):
                what = f"cassette {self._tape.path.name}: when it was recorded, this stream was abandoned here"
                error = UnrecordedRequestError(what, sent=False, final=True)
            return PlayedStream(chunks_in(found), error, raw_in(found))
        except (KeyError, TypeError, ValueError) as error:
            raise self._unreadable(error) from error

    def _embedded(self, found: Mapping[str, Any]) -> EmbeddingResponse:
        try:
            if (error := error_in(found)) is not None:
                raise error
            return embeddings_in(found)
        except (KeyError, TypeError, ValueError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> UnrecordedRequestError:
        what = f"the outcome of this request cannot be read ({type(error).__name__}: {error})"
        return UnrecordedRequestError(f"cassette {self._tape.path.name}: {what}", sent=False, final=True)


class PlayedStream(ChunkStream):
    """Recorded pieces, and the error after them if there was one."""

    def __init__(self, chunks: list[StreamChunk], error: Exception | None, raw: Any) -> None:
        self._chunks = iter(chunks)
        self._error = error
        self._raw = raw

    def pull(self, timeout: float) -> StreamChunk | None:  # noqa: ARG002 - nothing to wait for
        """As `ChunkStream.pull`."""
        chunk = next(self._chunks, None)
        if chunk is None and self._error is not None:
            raise self._error
        return chunk

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        """As `pull`."""
        return self.pull(timeout)

    def whole_raw(self) -> Any:
        """As `ChunkStream.whole_raw`."""
        return self._raw


class RecordedStream(ChunkStream):
    """Passes on the pieces of `inner`, and records them when it ends, fails or is abandoned."""

    def __init__(self, inner: ChunkStream, take: Take) -> None:
        self._inner = inner
        self._take = take
        self._chunks: list[StreamChunk] = []
        self._raw: Any = None
        self.headers = inner.headers

    def buffered(self) -> StreamChunk | None:
        """As `ChunkStream.buffered`."""
        with self._recording():
            chunk = self._inner.buffered()
        return None if chunk is None else self._taken(chunk)

    def pull(self, timeout: float) -> StreamChunk | None:
        """As `ChunkStream.pull`."""
        with self._recording():
            chunk = self._inner.pull(timeout)
        return self._taken(chunk)

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        """As `ChunkStream.pull_async`."""
        with self._recording():
            chunk = await self._inner.pull_async(timeout)
        return self._taken(chunk)

    def whole_raw(self) -> Any:
        """As `ChunkStream.whole_raw`."""
        return self._raw

    def close(self) -> None:
        """As `ChunkStream.close`."""
        self._take.streamed(self._chunks, None, {_LEFT: True})
        self._inner.close()

    async def aclose(self) -> None:
        """As `ChunkStream.aclose`."""
        self._take.streamed(self._chunks, None, {_LEFT: True})
        await self._inner.aclose()

    @contextmanager
    def _recording(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._take.streamed(self._chunks, None, error_entry(error))
            raise

    def _taken(self, chunk: StreamChunk | None) -> StreamChunk | None:
        if chunk is None:
            self._raw = self._inner.whole_raw()
            self._take.streamed(self._chunks, self._raw, {})
        elif isinstance(chunk, StreamChunk):  # anything else fails in the engine
            self._chunks.append(chunk)
        return chunk
