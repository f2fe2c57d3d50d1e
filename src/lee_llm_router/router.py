"""The router: a role becomes a chain of targets, and the chain an answer."""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router.compression import Compressor
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.engine.messages import Messages
from lee_llm_router.engine.plan import Target
from lee_llm_router.health.tracker import TargetHealth, TargetKey
from lee_llm_router.policy.contract import RoutingPolicy
from lee_llm_router.response import LLMResponse
from lee_llm_router.routing.options import CallOptions
from lee_llm_router.streaming import AsyncCompletionStream, CompletionStream
from lee_llm_router.telemetry.records import EventSink, TokenUsageHook, TraceStore

if TYPE_CHECKING:
    from lee_llm_router.engine.drivers import Steps


class LeeLLMRouter:
    """Answers calls to roles. One instance serves any number of threads and event loops.

    Args:
        config: What `load_config` gives, or anything it takes (a path, a mapping).
        policy: Chooses the targets of a call: an object, or the name of an installed one. Default: the
            configuration's `policy`.
        trace_store: Where records go. Default: daily files as the configuration's `trace` says; False: nowhere.
        event_sink: One or several receivers of events.
        on_token_usage: Called as ``(usage, role, provider)`` once for each attempt that reports usage.
        compression: A ``messages -> messages`` hook, for all roles or by role name.
        workspace: Folder this router works for: noted in traces, and where the default trace folder stands.
        clock: Where the time comes from and how to wait; for tests.
        random: A number in [0, 1), for the jitter of waits.

    Raises:
        ConfigError: the configuration or the policy cannot be used.
    """

    def __init__(
        self,
        config: LLMConfig | str | PathLike[str] | Mapping[str, Any],
        *,
        policy: RoutingPolicy | str | None = None,
        trace_store: TraceStore | Literal[False] | None = None,
        event_sink: EventSink | Iterable[EventSink] = (),
        on_token_usage: TokenUsageHook | None = None,
        compression: Compressor | Mapping[str, Compressor] | None = None,
        workspace: str | PathLike[str] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = _random.random,
    ) -> None:
        # What stands behind this takes most of the time the package takes to load: not before there is a router.
        from lee_llm_router.engine import drivers  # noqa: PLC0415
        from lee_llm_router.routing.planner import Core  # noqa: PLC0415

        self._core = core = Core(
            config,
            policy=policy,
            trace_store=trace_store,
            event_sink=event_sink,
            on_token_usage=on_token_usage,
            compression=compression,
            workspace=workspace,
            clock=clock,
            random=random,
        )
        self.config = core.config
        self.policy = core.policy
        self._clock = clock
        self._drivers = drivers

    @classmethod
    def from_file(cls, path: str | PathLike[str], **options: Any) -> Self:
        """A router for the configuration file `path`. `options` as for the class."""
        return cls(path, **options)

    def complete(self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]) -> LLMResponse:
        """Ask `role`, and wait for the whole answer.

        Args:
            role: A role of the configuration. None or an unknown name means the default role (an unknown one is
                logged once).
            messages: Chat messages in the OpenAI shape, or a plain string for one user message.
            **overrides: What to ask for differently this time; see `CallOptions`.

        Raises:
            LLMRouterError: no target of the role gave an answer; `attempts` tells of each. What was wrong with the
                call itself (messages, options, policy) is raised so too.
        """
        return self._drivers.drive(self._call(role, messages, overrides), self._clock)

    async def complete_async(
        self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]
    ) -> LLMResponse:
        """As `complete`, for asyncio. Cancelling the task ends the attempt at once."""
        return await self._drivers.drive_async(self._call(role, messages, overrides), self._clock)

    def stream(self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]) -> CompletionStream:
        """As `complete`, the answer piece by piece.

        Nothing is sent before the first piece is asked for. Until the first real output, failures are retried and
        fall back unseen; after it they are raised, with the text so far in the error's `response`.

        Returns:
            An iterator over `StreamChunk`, and a context manager; leaving it early closes the connection. Once it has
            ended, its `response` is the whole answer.
        """
        return CompletionStream(
            lambda finished: self._drivers.drive_stream(
                lambda: self._call(role, messages, overrides, stream=True), self._clock, finished
            )
        )

    def stream_async(
        self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]
    ) -> AsyncCompletionStream:
        """As `stream`, for asyncio: iterate it with ``async for``, or enter it with ``async with``."""
        return AsyncCompletionStream(
            lambda finished: self._drivers.drive_stream_async(
                lambda: self._call(role, messages, overrides, stream=True), self._clock, finished
            )
        )

    @property
    def telemetry_errors(self) -> int:
        """How often a store, sink, hook or observer has raised; none of it reached a caller."""
        return self._core.reporter.errors

    def health(self) -> Mapping[TargetKey, TargetHealth]:
        """What is known of each target now, by (provider, model). One never asked is not in it."""
        return self._core.health.snapshot()

    @property
    def trace_store(self) -> TraceStore | None:
        """Where records go; None if nowhere."""
        return self._core.reporter.store

    def resolve(self, role: str | None = None, **overrides: Unpack[CallOptions]) -> tuple[Target, ...]:
        """The targets a call to `role` would use now, in order, by the policy's choice. Nothing is sent.

        Raises:
            LLMRouterError: as `complete` does for a wrong option or policy.
        """
        return self._core.resolve(role, overrides)

    def close(self) -> None:
        """Give back connections, processes and files. Calls after it raise `RouterClosedError`."""
        self._core.close()

    async def aclose(self) -> None:
        """As `close`, also for what belongs to the running event loop."""
        await self._core.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} roles={sorted(self.config.roles)}>"

    def _call(
        self, role: str | None, messages: Messages, overrides: Mapping[str, Any], *, stream: bool = False
    ) -> Steps:
        return self._core.call(role, messages, overrides, stream=stream)


LLMRouter = LeeLLMRouter
"""The same class, by its shorter name."""
