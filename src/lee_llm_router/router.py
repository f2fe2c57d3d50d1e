"""The router: a role becomes a chain of targets, and the chain an answer."""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Self, Unpack, overload

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.home_paths import NoHomeError
from lee_llm_router.compression import Compressor
from lee_llm_router.config.load import load_config
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.engine.attempts import call_steps
from lee_llm_router.engine.drivers import drive, drive_async, drive_stream, drive_stream_async
from lee_llm_router.engine.operation import COMPLETION, Operation
from lee_llm_router.engine.plan import RouterParts, Target
from lee_llm_router.engine.steps import CallSteps
from lee_llm_router.errors import ConfigError, RouterClosedError
from lee_llm_router.health.states import TargetHealth
from lee_llm_router.health.tracker import Health
from lee_llm_router.health.waiting import TargetKey
from lee_llm_router.messages import Messages
from lee_llm_router.policy.contract import RoutingPolicy
from lee_llm_router.policy.loading import ensure_policy, load_policy
from lee_llm_router.providers.base import Provider
from lee_llm_router.providers.pool import ProviderPool
from lee_llm_router.response import LLMResponse
from lee_llm_router.routing.options import CallOptions, OptionsWithoutSchema, Schema, SchemaT
from lee_llm_router.routing.planner import CallPlanner
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.streaming import AsyncCompletionStream, CompletionStream
from lee_llm_router.telemetry.events import EventSink
from lee_llm_router.telemetry.plugins import SINKS
from lee_llm_router.telemetry.records import TraceStore
from lee_llm_router.telemetry.reporter import Reporter, TokenUsageHook
from lee_llm_router.telemetry.settings import TraceConfig
from lee_llm_router.telemetry.stores.open import open_store


class LeeLLMRouter:
    """Answers calls to roles. One instance serves any number of threads and event loops.

    Args:
        config: What `load_config` gives, or anything it takes (a path, a mapping).
        policy: Chooses the targets of a call: an object, or the name of an installed one. Default: the
            configuration's `policy`.
        trace_store: Where records go. Default: the store of the configuration's `trace`; False: nowhere.
        event_sink: One or several receivers of events, besides those of the configuration.
        on_token_usage: Called as ``(usage, role, provider)`` once for each attempt that reports usage.
        compression: A ``messages -> messages`` hook, for all roles or by role name.
        trace_dir: Folder of the default trace store, in place of the configuration's ``trace: {dir: ...}``. A relative
            one is taken from `workspace`.
        workspace: Folder this router works for: noted in traces, and where the default trace folder stands.
        wrap_provider: Called with each provider that is built; the router asks what it returns (a `WrapperProvider`
            around it, say) in its place.
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
        trace_dir: str | PathLike[str] | None = None,
        workspace: str | PathLike[str] | None = None,
        wrap_provider: Callable[[Provider[Any]], Provider[Any]] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self.config = config if isinstance(config, LLMConfig) else load_config(config)
        chosen = self.config.policy if policy is None else policy
        self.policy = load_policy(chosen) if isinstance(chosen, str | PluginSettings) else ensure_policy(chosen)
        self._closed = False
        self._clock = clock
        trace = self.config.trace
        if trace_store is None and trace.enabled:
            trace_store = open_store(trace, workspace=workspace, trace_dir=trace_dir, clock=clock)
        self._own_sinks: list[EventSink] = []
        try:
            for settings in self.config.sinks:
                self._own_sinks.append(SINKS.build(settings))
        except ConfigError:
            _close_listeners(trace_store, self._own_sinks)
            raise
        parts = RouterParts(
            clock=clock,
            random=random,
            reporter=Reporter(
                store=None if trace_store is False else trace_store,  # an empty one may be false
                sinks=(*self._own_sinks, *((event_sink,) if isinstance(event_sink, EventSink) else event_sink)),
                on_token_usage=on_token_usage,
                observer=getattr(self.policy, "observe", None),
                secrets=self.config.filled_values(),
            ),
            health=Health(self.config.health, self.config.providers, clock, random),
            pool=ProviderPool(self.config.providers, clock, wrap=wrap_provider),
            secrets=self.config.filled_values(),
            capture_full=trace.capture == "full",
            workspace=_workspace(trace, workspace),
        )
        self._planner = CallPlanner(self.config, self.policy, parts, compression)

    @classmethod
    def from_file(cls, path: str | PathLike[str], **options: Any) -> Self:
        """Return a router for the configuration file `path`. `options` as for the class."""
        return cls(path, **options)

    @overload
    def complete(
        self,
        role: str | None,
        messages: Messages,
        *,
        schema: Schema[SchemaT],
        **overrides: Unpack[OptionsWithoutSchema],
    ) -> LLMResponse[SchemaT]: ...

    @overload
    def complete(self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]) -> LLMResponse: ...

    def complete(self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]) -> LLMResponse[Any]:
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
        response: LLMResponse = drive(self._steps(role, messages, overrides), self._clock)
        return response

    @overload
    async def complete_async(
        self,
        role: str | None,
        messages: Messages,
        *,
        schema: Schema[SchemaT],
        **overrides: Unpack[OptionsWithoutSchema],
    ) -> LLMResponse[SchemaT]: ...

    @overload
    async def complete_async(
        self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]
    ) -> LLMResponse: ...

    async def complete_async(
        self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]
    ) -> LLMResponse[Any]:
        """As `complete`, for asyncio. Cancelling the task ends the attempt at once."""
        response: LLMResponse = await drive_async(lambda: self._steps(role, messages, overrides), self._clock)
        return response

    @overload
    def stream(
        self,
        role: str | None,
        messages: Messages,
        *,
        schema: Schema[SchemaT],
        **overrides: Unpack[OptionsWithoutSchema],
    ) -> CompletionStream[SchemaT]: ...

    @overload
    def stream(self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]) -> CompletionStream: ...

    def stream(self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]) -> CompletionStream[Any]:
        """As `complete`, the answer piece by piece.

        Nothing is sent before the first piece is asked for. Until the first real output, failures are retried and
        fall back unseen; after it they are raised, with the text so far in the error's `response`.

        Returns:
            An iterator over `StreamChunk`, and a context manager; leaving it early closes the connection. Once it has
            ended, its `response` is the whole answer.
        """
        return CompletionStream(
            lambda state: drive_stream(lambda: self._steps(role, messages, overrides, stream=True), self._clock, state)
        )

    @overload
    def stream_async(
        self,
        role: str | None,
        messages: Messages,
        *,
        schema: Schema[SchemaT],
        **overrides: Unpack[OptionsWithoutSchema],
    ) -> AsyncCompletionStream[SchemaT]: ...

    @overload
    def stream_async(
        self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]
    ) -> AsyncCompletionStream: ...

    def stream_async(
        self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]
    ) -> AsyncCompletionStream[Any]:
        """As `stream`, for asyncio: iterate it with ``async for``, or enter it with ``async with``."""
        return AsyncCompletionStream(
            lambda state: drive_stream_async(
                lambda: self._steps(role, messages, overrides, stream=True), self._clock, state
            )
        )

    def perform(self, operation: Operation, role: str | None, payload: Any, **overrides: Unpack[CallOptions]) -> Any:
        """Ask `role` by another operation than chat completion; chain, retries, health and traces are the same.

        Args:
            operation: How to ask a provider, and how to check its answer.
            role: As for `complete`.
            payload: What is asked, in the form that `operation` takes.
            **overrides: As for `complete`.

        Returns:
            What the operation accepted.

        Raises:
            LLMRouterError: as `complete`.
        """
        return drive(self._steps(role, payload, overrides, operation=operation), self._clock)

    async def perform_async(
        self, operation: Operation, role: str | None, payload: Any, **overrides: Unpack[CallOptions]
    ) -> Any:
        """As `perform`, for asyncio."""
        return await drive_async(lambda: self._steps(role, payload, overrides, operation=operation), self._clock)

    @property
    def telemetry_errors(self) -> int:
        """How often a store, sink, hook or observer has raised; none of it reached a caller."""
        return self._parts.reporter.errors

    def health(self) -> Mapping[TargetKey, TargetHealth]:
        """What is known of each target now, by (provider, model). One never asked is not in it."""
        return self._parts.health.snapshot()

    def reset_health(self, provider: str | None = None, model: str | None = None) -> None:
        """Forget what keeps targets from being asked: breakers, vendors' waits, rests, and what retries have cost.

        For when you know that an outage is over, or that a key was renewed.

        Args:
            provider: Only targets of this provider. Default: all.
            model: Only targets with this model. Default: all.
        """
        self._parts.health.reset(provider, model)

    @property
    def trace_store(self) -> TraceStore | None:
        """Where records go; None if nowhere."""
        return self._parts.reporter.store

    def resolve(self, role: str | None = None, **overrides: Unpack[CallOptions]) -> tuple[Target, ...]:
        """The targets a call to `role` would use now, in order, by the policy's choice. Nothing is sent.

        Raises:
            LLMRouterError: as `complete` does for a wrong option or policy.
        """
        return self._planner.resolve(role, overrides)

    def close(self) -> None:
        """Give back connections, processes and files. Calls after it raise `RouterClosedError`."""
        if not self._closed:
            self._closed = True
            self._parts.pool.close()
            _close_listeners(self._parts.reporter.store, self._own_sinks, self._parts.reporter.call_listener)

    async def aclose(self) -> None:
        """As `close`, also for what belongs to the running event loop."""
        if not self._closed:
            self._closed = True
            try:
                await self._parts.pool.aclose()
            finally:
                _close_listeners(self._parts.reporter.store, self._own_sinks, self._parts.reporter.call_listener)

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

    @property
    def _parts(self) -> RouterParts:
        return self._planner.parts

    def _steps(
        self,
        role: str | None,
        payload: Any,
        overrides: Mapping[str, Any],
        *,
        operation: Operation = COMPLETION,
        stream: bool = False,
    ) -> CallSteps:
        """Return one call, planned, for a driver to run."""
        if self._closed:
            raise RouterClosedError("the router is closed")
        plan = self._planner.plan(role, payload, overrides, operation=operation, stream=stream)
        return call_steps(plan, self._planner.parts)


def _close_listeners(store: object, sinks: Iterable[object], call: Callable[..., Any] | None = None) -> None:
    """Close a store and sinks, each that can be closed; by ``call(what, close)`` if given."""
    for what, listener in (("trace store", store), *(("event sink", sink) for sink in sinks)):
        close = getattr(listener, "close", None)
        if close is not None:
            close() if call is None else call(what, close)


def _workspace(trace: TraceConfig, given: str | PathLike[str] | None) -> str | None:
    """Return the folder that traces belong to, as records have it; None if there is no current directory."""
    if given is not None:
        return str(given)
    try:
        return str(trace.workspace_folder.absolute())
    except NoHomeError as error:
        raise ConfigError(f"trace.workspace: {error.strerror}", sent=False) from None
    except OSError:
        return None


LLMRouter = LeeLLMRouter
"""The same class, by its shorter name."""
