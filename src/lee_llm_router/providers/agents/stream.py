"""The streamed answer of an agent, which runs in its own thread.

The thread puts each piece here as it arrives; the consumer takes it, or waits. The last chunk comes after the program
has ended and everything is cleaned up, since only then is the answer known to be complete. Closing the stream ends the
program, and waits for that.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from time import monotonic
from typing import Any

from lee_llm_router._util.short_waits import outcome
from lee_llm_router._util.threads import awaitable
from lee_llm_router.errors import InvalidResponseError
from lee_llm_router.providers.agents.turn import AgentTurn
from lee_llm_router.providers.child_process.cancellation import CancelSwitch, start_with_switch, until_done
from lee_llm_router.providers.streams import ChunkStream, chunk_of
from lee_llm_router.response.types import LLMResponse, StreamChunk


class AgentStream(ChunkStream):
    """One streamed answer of an agent.

    Args:
        run: Runs the agent until it ends, the switch is set or something fails; puts pieces into the stream.
    """

    def __init__(self, run: Callable[[AgentStream, CancelSwitch], LLMResponse]) -> None:
        self.turn: AgentTurn | None = None
        """The reader of the output, once the program is about to start."""
        self._lock = threading.Lock()
        self._chunks: deque[StreamChunk] = deque()
        self._texts: list[str] = []
        self._has_reasoning = False
        self._news: Future[None] | None = None
        self._is_over = False
        self._raw: Any = None
        self._end: Future[None] = Future()
        self._switch, self._run = start_with_switch(lambda switch: run(self, switch))
        self._run.add_done_callback(self._note_end)

    def put(self, chunk: StreamChunk) -> None:
        """Add a piece. Called by the thread that runs the agent."""
        with self._lock:
            self._chunks.append(chunk)
            self._texts.append(chunk.text)
            self._has_reasoning = self._has_reasoning or bool(chunk.reasoning)
            news, self._news = self._news, None
        if news is not None:
            news.set_result(None)

    def open(self, timeout: float) -> None:
        """Wait until the answer begins.

        Raises:
            TimeoutError: it did not begin within `timeout` seconds.
            LLMRouterError: the run failed first.
        """
        until = monotonic() + timeout
        while (news := self._awaited()) is not None:
            outcome(news, max(0.0, until - monotonic()))
        self._raise_early_failure()

    async def open_async(self, timeout: float) -> None:
        """As `open`, for asyncio."""
        async with asyncio.timeout(timeout):
            while (news := self._awaited()) is not None:
                await awaitable(news)
        self._raise_early_failure()

    def buffered(self) -> StreamChunk | None:
        """As `ChunkStream.buffered`."""
        with self._lock:
            return self._chunks.popleft() if self._chunks else None

    def pull(self, timeout: float) -> StreamChunk | None:
        """As `ChunkStream.pull`."""
        until = monotonic() + timeout
        while (news := self._awaited()) is not None:
            outcome(news, max(0.0, until - monotonic()))
        return self.buffered() or self._last()

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        """As `ChunkStream.pull_async`."""
        async with asyncio.timeout(timeout):
            while (news := self._awaited()) is not None:
                await awaitable(news)
        return self.buffered() or self._last()

    def whole_raw(self) -> Any:
        """As `ChunkStream.whole_raw`."""
        return self._raw

    def close(self) -> None:
        """End the agent, and wait for the cleanup."""
        self._switch.set()
        outcome(self._end)

    async def aclose(self) -> None:
        """As `close`. A cancellation is re-raised after the cleanup."""
        self._switch.set()
        await until_done(awaitable(self._end))

    def _awaited(self) -> Future[None] | None:
        """Return a future that completes when there is more; None if there is something now."""
        with self._lock:
            if self._chunks or self._run.done():
                return None
            # A consumer that gave up waiting may have left a future that nobody awaits.
            self._news = self._news or Future()
            return self._news

    def _note_end(self, _: object) -> None:
        with self._lock:
            news, self._news = self._news, None
        if news is not None:
            news.set_result(None)
        self._end.set_result(None)

    def _raise_early_failure(self) -> None:
        with self._lock:
            is_early = not self._chunks
        if is_early and self._run.done():
            self._run.result()

    def _last(self) -> StreamChunk | None:
        """Return what completes the answer: the end of its text, the finish reason, and the usage."""
        if self._is_over:
            return None
        response = self._run.result()
        streamed = "".join(self._texts)
        if not response.text.startswith(streamed):
            raise InvalidResponseError("the agent's answer differs from the one that it streamed")
        self._is_over = True
        self._raw = response.raw
        reasoning = "" if self._has_reasoning else response.reasoning or ""
        return replace(chunk_of(response), text=response.text[len(streamed) :], reasoning=reasoning)
