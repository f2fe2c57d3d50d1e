"""What a provider is: settings, what it can do, a call, a close.

Write one by subclassing `Provider`; `docs/providers.md` has a whole example. Names and rules:

- `complete` returns a whole `LLMResponse` or raises an `LLMRouterError` that says what failed. Anything else it raises
  is taken as UNKNOWN (a `TimeoutError` as TIMEOUT, an `OSError` as PROVIDER_ERROR).
- It makes one try. Retries, fallbacks, traces and deadlines are the router's.
- One instance serves many threads and event loops at once, and is built once for its settings.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeAlias, TypeVar

from pydantic import Field

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.threads import awaitable, call_in_thread_async, start_in_thread
from lee_llm_router.errors import AuthenticationError, InvalidResponseError
from lee_llm_router.response import LLMRequest, LLMResponse, StreamChunk, ToolCallDelta
from lee_llm_router.settings.fields import BaseUrl, EnvName, Integer, Number, Seconds
from lee_llm_router.settings.model import RedactingModel

__all__ = [
    "BaseUrl",
    "Capabilities",
    "ChunkStream",
    "Effects",
    "EnvName",
    "Integer",
    "Number",
    "Provider",
    "ProviderConfig",
    "Seconds",
    "SettingsT",
    "WholeAnswer",
    "read_key",
    "whole_answer",
]

Effects: TypeAlias = Literal["none", "workspace", "external"]
"""What an attempt may change besides giving an answer. Attempts with effects are not repeated by default."""


class ProviderConfig(RedactingModel):
    """Settings every provider has; a provider adds its own by subclassing."""

    type: str = Field(description="Which kind of provider serves: mock, http, codex_cli, or a registered type.")
    model: str | None = Field(None, min_length=1, description="Model for targets that name none themselves.")
    max_concurrency: Integer | None = Field(None, ge=1, description="Attempts at once, of this router. Default: any.")
    rpm: Integer | None = Field(None, ge=1, description="Attempts started within 60 seconds. Default: any.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a provider can do. A request that needs more skips the provider's targets."""

    tools: bool = False
    """Takes `tools` and gives back tool calls."""
    content_parts: bool = False
    """Takes messages whose content is a list with parts other than text."""
    bounded: bool = False
    """Holds its `timeout` itself, whatever the other side does. Without this the router puts a thread or a task
    around every call, to be able to walk away from one that hangs."""


SettingsT = TypeVar("SettingsT", bound=ProviderConfig)


def whole_answer(response: object) -> LLMResponse:
    """`response`, if it is one.

    Raises:
        InvalidResponseError: a provider gave back something else.
    """
    if not isinstance(response, LLMResponse):
        raise InvalidResponseError(f"the provider gave back {type(response).__name__}, not an answer", final=True)
    return response


class ChunkStream(ABC):
    """One streamed answer, pulled piece by piece by one caller at a time."""

    def ready(self) -> StreamChunk | None:
        """The next piece, if it is here already; None says nothing. Asked before each `pull_async`, which costs more.

        Raises:
            LLMRouterError: as `pull`.
        """
        return None

    @abstractmethod
    def pull(self, timeout: float) -> StreamChunk | None:
        """The next piece, or None after the last one of a whole answer.

        Args:
            timeout: Seconds of wall-clock time it may take.

        Raises:
            LLMRouterError: what broke. An answer that ends early is an `InvalidResponseError`, never None.
        """

    _pulling: Future[StreamChunk | None] | None = None
    """What `pull` does in a thread, for `pull_async`."""

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        """As `pull`, for asyncio. Unless overridden, runs `pull` in a thread."""
        self._pulling = start_in_thread(self.pull, timeout)
        return await awaitable(self._pulling)

    def close(self) -> None:
        """Hang up, whole or not. Called once, after the last `pull`."""
        return

    async def aclose(self) -> None:
        """As `close`, for a stream that was opened with `stream_async`.

        Unless overridden, calls `close`; after a cancelled `pull_async`, once its thread has left `pull`.
        """
        if self._pulling is None or self._pulling.done():
            self.close()
        else:
            self._pulling.add_done_callback(lambda _: self.close())


class WholeAnswer(ChunkStream):
    """An answer that came at once, as a stream of one piece: for providers that cannot stream."""

    def __init__(self, response: LLMResponse) -> None:
        self._response: LLMResponse | None = whole_answer(response)

    def pull(self, timeout: float) -> StreamChunk | None:  # noqa: ARG002 - it is here already
        """The answer; then None."""
        response, self._response = self._response, None
        if response is None:
            return None
        return StreamChunk(
            text=response.text,
            reasoning=response.reasoning or "",
            tool_calls=tuple(
                ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
                for index, call in enumerate(response.tool_calls)
            ),
            finish_reason=response.finish_reason or "stop",
            usage=response.usage,
            cost_usd=response.cost_usd,
            model=response.model,
            request_bytes=response.request_bytes,
            raw=response.raw,
        )

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        """As `pull`."""
        return self.pull(timeout)


class Provider(ABC, Generic[SettingsT]):
    """Base of all providers.

    Args:
        name: Its name in the configuration, used in traces and errors.
        config: Its settings, already validated; an instance of `config_model`.
        clock: Where it reads the time and sleeps, if it does.
    """

    config_model: ClassVar[type[ProviderConfig]] = ProviderConfig
    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init__(self, name: str, config: SettingsT, clock: Clock = SYSTEM_CLOCK) -> None:
        self.name = name
        self.config = config
        self.clock = clock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @property
    def effects(self) -> Effects:
        """What an attempt may change besides giving an answer."""
        return "none"

    @abstractmethod
    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Make one try and return the whole answer.

        Args:
            request: What is asked.
            timeout: Seconds of wall-clock time the try may take.

        Raises:
            LLMRouterError: what failed.
        """

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """As `complete`, for asyncio. Unless overridden, runs `complete` in a thread that a cancellation abandons."""
        return await call_in_thread_async(self.complete, request, timeout)

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """Make one try and return its answer as a stream, once the other side has begun to answer.

        Unless overridden, waits for the whole answer of `complete`.

        Args:
            request: What is asked.
            timeout: Seconds of wall-clock time until the stream is open.

        Raises:
            LLMRouterError: what failed.
        """
        return WholeAnswer(self.complete(request, timeout))

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """As `stream`, for asyncio."""
        return WholeAnswer(await self.complete_async(request, timeout))

    def secrets(self) -> Iterable[str]:
        """Values that must never appear in a trace, an error or a log: keys, as they are now.

        Unless overridden, the values of environment variables that fill the settings; an override adds to them.
        """
        return self.config.filled_values()

    def close(self) -> None:
        """Give back what is held: connections, files. Called once; `complete` is not called after it."""

    async def aclose(self) -> None:
        """As `close`, for what belongs to the running event loop. Unless overridden, calls `close`."""
        self.close()

    def check(self) -> Iterable[tuple[Literal["ok", "warning", "error"], str]]:
        """What the doctor should say of this provider, found out without the network: (level, sentence) pairs."""
        return ()


def read_key(name: str, provider: str) -> str:
    """The value of the environment variable `name`.

    Raises:
        AuthenticationError: it is unset, empty, or holds what no header can carry.
    """
    value = os.environ.get(name, "").strip()
    if not value:
        raise AuthenticationError(f"environment variable {name} is not set", provider=provider, sent=False)
    if not value.isascii() or not value.isprintable():
        raise AuthenticationError(
            f"environment variable {name} holds characters no HTTP header can carry", provider=provider, sent=False
        )
    return value
