"""The router: a role becomes a chain of targets, and the chain an answer."""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, Unpack

from lee_llm_router import _contract
from lee_llm_router._clock import SYSTEM_CLOCK, Clock
from lee_llm_router._drivers import Steps, drive, drive_async, drive_stream, drive_stream_async
from lee_llm_router._failures import cleaned
from lee_llm_router._ids import new_request_id
from lee_llm_router._messages import normalised
from lee_llm_router._overrides import CallOptions, checked_fields
from lee_llm_router._plan import CallPlan, Surroundings
from lee_llm_router._records import Recorder
from lee_llm_router._reporter import Reporter
from lee_llm_router.compression import Compressor, for_role
from lee_llm_router.config import LLMConfig, load_config
from lee_llm_router.engine import attempts
from lee_llm_router.errors import LLMRouterError, RouterClosedError
from lee_llm_router.health import Health, TargetHealth, TargetKey
from lee_llm_router.policy import (
    ProviderChoice,
    RoutingContext,
    RoutingPolicy,
    Target,
    chain_of,
    choose,
    ensure_policy,
    load_policy,
    takes_context,
)
from lee_llm_router.providers.pool import ProviderPool
from lee_llm_router.response import LLMRequest, LLMResponse, Message
from lee_llm_router.stores.jsonl import LocalFileTraceStore
from lee_llm_router.streaming import AsyncCompletionStream, CompletionStream
from lee_llm_router.telemetry import EventSink, TokenUsageHook, TraceStore, logger, target_name

Messages: TypeAlias = str | Sequence[Message]
_MAX_WARNED_ROLES = 1000


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
        self.config = config if isinstance(config, LLMConfig) else load_config(config)
        policy = self.config.policy if policy is None else policy
        self.policy = load_policy(policy) if isinstance(policy, str) else ensure_policy(policy)
        self._policy_name = type(self.policy).__name__
        self._wants_context = takes_context(self.policy)
        self._compression = compression
        self._clock = clock
        self._pool = ProviderPool(self.config.providers, clock)
        self._health = Health(self.config.health, self.config.providers, clock, random)
        self._closed = False
        self._warned_roles: set[str] = set()
        self._chains: dict[tuple[str, str], tuple[Target, ...]] = {}
        trace = self.config.trace
        folder = str(workspace) if workspace is not None else trace.workspace
        if trace_store is None and trace.enabled:
            trace_store = LocalFileTraceStore(
                trace_dir=trace.dir, workspace=folder, keep_days=trace.keep_days, clock=clock
            )
        self._reporter = Reporter(
            store=trace_store or None,
            sinks=(event_sink,) if isinstance(event_sink, EventSink) else event_sink,
            on_token_usage=on_token_usage,
            observer=getattr(self.policy, "observe", None),
        )
        self._around = Surroundings(
            clock=clock,
            random=random,
            reporter=self._reporter,
            health=self._health,
            pool=self._pool,
            secrets=self.config.filled_values(),
            capture_full=trace.capture == "full",
            workspace=folder,
        )

    @classmethod
    def from_file(cls, path: str | PathLike[str], **options: Any) -> Self:
        """A router for the configuration file `path`. `options` as for the class."""
        return cls(load_config(path), **options)

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
        return drive(self._call(role, messages, overrides), self._clock)

    async def complete_async(
        self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]
    ) -> LLMResponse:
        """As `complete`, for asyncio. Cancelling the task ends the attempt at once."""
        return await drive_async(self._call(role, messages, overrides), self._clock)

    def stream(self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]) -> CompletionStream:
        """As `complete`, the answer piece by piece.

        Nothing is sent before the first piece is asked for. Until the first real output, failures are retried and
        fall back unseen; after it they are raised, with the text so far in the error's `response`.

        Returns:
            An iterator over `StreamChunk`, and a context manager; leaving it early closes the connection. Once it has
            ended, its `response` is the whole answer.
        """
        return CompletionStream(
            lambda finished: drive_stream(self._call(role, messages, overrides, stream=True), self._clock, finished)
        )

    def stream_async(
        self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]
    ) -> AsyncCompletionStream:
        """As `stream`, for asyncio: iterate it with ``async for``, or enter it with ``async with``."""
        return AsyncCompletionStream(
            lambda finished: drive_stream_async(
                self._call(role, messages, overrides, stream=True), self._clock, finished
            )
        )

    @property
    def telemetry_errors(self) -> int:
        """How often a store, sink, hook or observer has raised; none of it reached a caller."""
        return self._reporter.errors

    def health(self) -> Mapping[TargetKey, TargetHealth]:
        """What is known of each target now, by (provider, model). One never asked is not in it."""
        return self._health.snapshot()

    @property
    def trace_store(self) -> TraceStore | None:
        """Where records go; None if nowhere."""
        return self._reporter.store

    def resolve(self, role: str | None = None, **overrides: Unpack[CallOptions]) -> tuple[Target, ...]:
        """The targets a call to `role` would use now, in order, by the policy's choice. Nothing is sent.

        Raises:
            LLMRouterError: as `complete` does for a wrong option or policy.
        """
        name = self._role_of(role)
        fields = checked_fields(overrides)
        plan = self._bare_plan(name, "", metadata=fields.pop("metadata", None))
        fields.pop("deadline", None)
        return self._chain(name, self._choose(plan, fields), fields)

    def close(self) -> None:
        """Give back connections, processes and files. Calls after it raise `RouterClosedError`."""
        if not self._closed:
            self._closed = True
            self._pool.close()
            self._close_store()

    async def aclose(self) -> None:
        """As `close`, also for what belongs to the running event loop."""
        if not self._closed:
            self._closed = True
            await self._pool.aclose()
            self._close_store()

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
        """One call, from its arguments to its answer: what the drivers run."""
        if self._closed:
            raise RouterClosedError("the router is closed")
        name = self._role_of(role)
        request_id = new_request_id(self._clock.time())
        started = self._clock.monotonic()
        try:
            plan = self._plan(name, request_id, messages, overrides)
            if stream:
                plan = replace(plan, stream=self.config.roles[name].stream)
        except LLMRouterError as error:
            cleaned(error, self._around.secrets)
            recorder = Recorder(self._bare_plan(name, request_id), self._around)
            recorder.outside(error, self._clock.monotonic() - started)
            error.request_id, error.attempts = request_id, tuple(recorder.records)
            raise
        return (yield from attempts(plan, self._around))

    def _plan(self, role: str, request_id: str, messages: Messages, overrides: Mapping[str, Any]) -> CallPlan:
        fields = checked_fields(overrides)
        plan = self._bare_plan(
            role,
            request_id,
            messages=normalised(messages),
            deadline=fields.pop("deadline", None),
            metadata=fields.pop("metadata", None),
        )
        choice = self._choose(plan, fields)
        targets = self._chain(role, choice, fields)
        for target in targets:
            _contract.prepare(target.fields.get("schema"))
        self._reporter.event(
            "policy.choice", request_id, role, provider=targets[0].provider, model=targets[0].model,
            policy=self._policy_name, chain=[target_name(t.provider, t.model) for t in targets],
        )  # fmt: skip
        return replace(plan, targets=targets)

    def _bare_plan(
        self,
        role: str,
        request_id: str,
        *,
        messages: tuple[Message, ...] = (),
        deadline: float | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> CallPlan:
        config = self.config.roles[role]
        return CallPlan(
            request_id=request_id,
            role=role,
            policy=self._policy_name,
            messages=messages,
            deadline=config.deadline if deadline is None else deadline,
            retry=config.retry,
            fallback_on=config.fallback_on,
            retry_effects=config.retry_effects,
            metadata={**config.metadata, **metadata} if metadata else config.metadata,
            compress=for_role(self._compression, role),
        )

    def _choose(self, plan: CallPlan, fields: Mapping[str, Any]) -> ProviderChoice:
        context = None
        if self._wants_context:
            asked = {name: value for name, value in fields.items() if name != "timeout"}
            request = LLMRequest(
                messages=plan.messages, role=plan.role, request_id=plan.request_id, metadata=plan.metadata, **asked
            )
            context = RoutingContext(request=request, metadata=plan.metadata, health=self._health.snapshot())
        return choose(self.policy, plan.role, self.config, context)

    def _chain(self, role: str, choice: ProviderChoice, fields: Mapping[str, Any]) -> tuple[Target, ...]:
        """`chain_of`, remembered for the common case that nothing is overridden."""
        if fields or choice.request_overrides or choice.provider_overrides or choice.fallbacks is not None:
            return chain_of(choice, role, self.config, fields)
        key = (role, choice.provider_name)
        chain = self._chains.get(key)
        if chain is None:
            chain = self._chains[key] = chain_of(choice, role, self.config, fields)
        return chain

    def _role_of(self, role: str | None) -> str:
        if role is not None and role in self.config.roles:
            return role
        default = self.config.default_role or next(iter(self.config.roles))
        if role is not None and role not in self._warned_roles and len(self._warned_roles) < _MAX_WARNED_ROLES:
            self._warned_roles.add(role)
            logger.warning("unknown role %r: using the default role %r", role, default)
        return default

    def _close_store(self) -> None:
        close = getattr(self._reporter.store, "close", None)
        if close is not None:
            self._reporter.guarded("trace store", close)


LLMRouter = LeeLLMRouter
"""The same class, by its shorter name."""
