"""The router: tries the targets of a role until one answers."""

from __future__ import annotations

import random as _random
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context, copy_context
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, Unpack, overload

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.threads import call_in_thread_async
from lee_llm_router.batch.calls import BatchCalls
from lee_llm_router.compression import Compressor
from lee_llm_router.config.load import load_config
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.engine.attempts import call_steps
from lee_llm_router.engine.drivers import drive, drive_async, drive_stream, drive_stream_async, need_asyncio
from lee_llm_router.engine.messages import Messages
from lee_llm_router.engine.operation import COMPLETION, Operation
from lee_llm_router.engine.steps import CallSteps
from lee_llm_router.engine.streaming import AsyncCompletionStream, CompletionStream
from lee_llm_router.errors import ConfigError, RouterClosedError
from lee_llm_router.policy.contract import RoutingPolicy
from lee_llm_router.providers.base import Provider
from lee_llm_router.providers.cassette.settings import CassetteConfig
from lee_llm_router.response.types import LLMResponse
from lee_llm_router.routing.assembly import Assembly, RouterOptions
from lee_llm_router.routing.options import CallOptions, OptionsWithoutSchema, Schema, SchemaT
from lee_llm_router.routing.performing import OperationCalls
from lee_llm_router.routing.router_arguments import RouterArguments, TargetOptions
from lee_llm_router.routing.router_state import RouterState
from lee_llm_router.telemetry.following import AnyEventSink, sinks_of
from lee_llm_router.telemetry.pricing.contract import BudgetLedger, PriceBook
from lee_llm_router.telemetry.records import TraceStore
from lee_llm_router.telemetry.reporter import TokenUsageHook


class LeeLLMRouter(RouterState, OperationCalls, BatchCalls):
    """Answers calls to roles. One instance serves any number of threads and event loops.

    Args:
        config: The result of `load_config`, or anything that `load_config` takes (a path, a mapping).
        policy: Chooses the targets of a call: an object, or the name of an installed policy. Default: the
            configuration's `policy`.
        trace_store: Receives the records. Default: the store of the configuration's `trace`; False: records are not
            stored.
        event_sink: One or more receivers of events or calls, in addition to those of the configuration.
        on_token_usage: Called as ``(usage, role, provider)`` once for each attempt that reports usage.
        compression: A ``messages -> messages`` hook, for all roles or by role name.
        trace_dir: Folder of the default trace store; replaces the configuration's ``trace: {dir: ...}``. A relative
            path starts at `workspace`.
        workspace: Folder this router works for: recorded in traces, and the parent of the default trace folder.
        wrap_provider: Called with each provider that is built. The router uses the provider it returns instead, for
            example a `WrapperProvider` around the first.
        cassette: The file of recorded answers; replaces the configuration's. A path, a `CassetteConfig`, or its fields.
            False: none.
        redact: Called with each text of a record before it is stored, after the patterns of the configuration; returns
            the text to store. If it raises, that text is not stored at all.
        prices: The application's own prices, which take precedence over the configuration's.
        budget_ledger: Keeps the amounts spent against budgets. Default: a file in the trace folder.
        clock: Tells the time and waits; for tests.
        random: Returns a number in [0, 1), for the jitter of waits.

    Raises:
        ConfigError: the configuration or the policy cannot be used.
    """

    def __init__(
        self,
        config: LLMConfig | str | PathLike[str] | Mapping[str, Any],
        *,
        policy: RoutingPolicy | str | None = None,
        trace_store: TraceStore | Literal[False] | None = None,
        event_sink: AnyEventSink | Iterable[AnyEventSink] = (),
        on_token_usage: TokenUsageHook | None = None,
        compression: Compressor | Mapping[str, Compressor] | None = None,
        trace_dir: str | PathLike[str] | None = None,
        workspace: str | PathLike[str] | None = None,
        wrap_provider: Callable[[Provider[Any]], Provider[Any]] | None = None,
        cassette: CassetteConfig | Mapping[str, Any] | str | PathLike[str] | Literal[False] | None = None,
        redact: Callable[[str], str] | None = None,
        prices: PriceBook | None = None,
        budget_ledger: BudgetLedger | None = None,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._options = RouterOptions(
            policy=policy,
            trace_store=trace_store,
            event_sinks=sinks_of(event_sink),
            on_token_usage=on_token_usage,
            compression=compression,
            trace_dir=trace_dir,
            workspace=workspace,
            wrap_provider=wrap_provider,
            cassette=cassette,
            redact=redact,
            prices=prices,
            budget_ledger=budget_ledger,
            clock=clock,
            random=random,
        )
        self._clock = clock
        self._closed = False
        self._replacing = ForkLock(reentrant=True)
        """Held while one assembly replaces another, or while the last one is closed."""
        self._retired: list[weakref.finalize[..., Any]] = []
        loaded = config if isinstance(config, LLMConfig) else load_config(config)
        self._assembly = Assembly(loaded, self._options)

    @classmethod
    def from_file(cls, path: str | PathLike[str], **options: Unpack[RouterArguments]) -> Self:
        """Return a router for the configuration file `path`. The other arguments are the same as those of the class."""
        return cls(path, **options)

    @classmethod
    def of(
        cls,
        *targets: str,
        providers: Mapping[str, Mapping[str, Any]] | None = None,
        **options: Unpack[TargetOptions],
    ) -> Self:
        """Return a router without a file: one role, ``default``, whose chain is `targets`, in order.

        Args:
            *targets: Each is ``vendor/model``: ``anthropic/claude-sonnet-5-5``, ``openrouter/meta/llama-3``. The vendor
                is a provider's type or alias (`lee-llm-router providers` lists them), or a name in `providers`. A type
                that needs no model may stand alone: ``mock``, ``codex_cli``.
            providers: Settings of providers, by the names that the targets use: ``{"openai": {"base_url": ...}}``. A
                name that is not a type needs a `type` among its settings.
            **options: Settings of the role (``temperature=0.2``, ``deadline=60``, ``retry={"attempts": 2}``), and the
                other arguments of the class.

        Raises:
            ConfigError: a target or an option is wrong, or none of the targets has a key. Its `findings` hold every
                mistake.
        """
        from lee_llm_router.routing.named_targets import config_of_targets, split_options  # noqa: PLC0415 - few need it

        role, arguments = split_options(options)
        return cls(config_of_targets(targets, role, providers or {}), **arguments)

    def reload(self) -> None:
        """Read the configuration file and the `.env` next to it again, and use them for every call from now on.

        Calls in progress finish under the old configuration. The health of a provider is kept unless its settings, its
        key or the section `health` have changed. The policy, the store and the sinks are kept if their settings are the
        same. If the file cannot be used, the old configuration stays in force.

        Raises:
            ConfigError: the file cannot be used, or the router was not built from a file.
            RouterClosedError: the router is closed.
        """
        with self._replacing:
            if self._closed:
                raise RouterClosedError("the router is closed", sent=False)
            old = self._assembly
            if old.config.origin.file is None:
                raise ConfigError(
                    "this router was not built from a file, so there is no file to read again", sent=False
                )
            new = Assembly(load_config(Path(old.config.origin.file)), self._options, before=old)
            self._retired = [closing for closing in self._retired if closing.alive]
            self._retired.append(old.retire(new))
            self._assembly = new

    async def reload_async(self) -> None:
        """Same as `reload`, without blocking the event loop."""
        await call_in_thread_async(self.reload)

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
        """Call `role` and wait for the complete answer.

        Args:
            role: A role of the configuration. None means the default role. An unknown name also means the default role
                and gives one `UserWarning`, unless the configuration says ``unknown_role: error``; then it is an error.
            messages: Chat messages in the OpenAI shape, or a plain string for one user message.
            **overrides: Options that differ for this call; see `CallOptions`.

        Raises:
            LLMRouterError: no target of the role gave an answer; `attempts` lists each attempt. Also raised if the call
                itself is wrong (messages, options, policy).
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
        """Same as `complete`, for asyncio. Cancelling the task ends the attempt at once."""
        need_asyncio()
        response: LLMResponse = await drive_async(self._steps(role, messages, overrides), self._clock)
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
        """Same as `complete`, but return the answer piece by piece.

        Nothing is sent until the first piece is requested. Before the first real output, failures are retried and fall
        back without the caller noticing; after it they are raised, with the text so far in the error's `response`.

        Returns:
            An iterator over `StreamChunk` and a context manager; leaving it early closes the connection. When the
            stream has ended, its `response` is the complete answer.
        """
        origin = self._origin()
        return CompletionStream(
            lambda state: drive_stream(
                lambda: self._steps(role, messages, overrides, stream=True, origin=origin), self._clock, state
            )
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
        """Same as `stream`, for asyncio: iterate it with ``async for``, or enter it with ``async with``."""
        origin = self._origin()
        return AsyncCompletionStream(
            lambda state: drive_stream_async(
                lambda: self._steps(role, messages, overrides, stream=True, origin=origin), self._clock, state
            )
        )

    def close(self) -> None:
        """Release connections, processes and files. Later calls raise `RouterClosedError`."""
        if self._close_retired():
            self._assembly.close()

    async def aclose(self) -> None:
        """Same as `close`, and also release what belongs to the running event loop."""
        if self._close_retired():
            await self._assembly.aclose()

    def _close_retired(self) -> bool:
        """Close what earlier configurations have left open; return whether the current one still has to be closed."""
        with self._replacing:
            was_open, self._closed = not self._closed, True
        for closing in self._retired:
            closing()
        return was_open

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled or copied: it holds connections and locks. Build one in each"
            " process; its configuration (`router.config`) can be pickled"
        )

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

    def _origin(self) -> Context | None:
        """Return the current context, for a stream that starts later, perhaps elsewhere; None if nobody follows it."""
        return copy_context() if self._parts.reporter.follows else None

    def _steps(
        self,
        role: str | None,
        payload: Any,
        overrides: Mapping[str, Any],
        *,
        operation: Operation = COMPLETION,
        stream: bool = False,
        origin: Context | None = None,
    ) -> CallSteps:
        """Return one planned call, for a driver to run."""
        if self._closed:
            raise RouterClosedError("the router is closed")
        planner = self._assembly.planner
        plan = planner.plan(role, payload, overrides, operation=operation, stream=stream, origin=origin)
        if plan.role_settings.cache is None:
            return call_steps(plan, planner.parts)
        from lee_llm_router.engine.cached_call import cached_steps  # noqa: PLC0415 - many programs have no cache

        return cached_steps(plan, planner.parts)


LLMRouter = LeeLLMRouter
"""A shorter name for the same class."""
