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
from lee_llm_router._plan import CallPlan, RoleTerms, Surroundings
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
        self._terms: dict[str, RoleTerms] = {}
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
        plan, fields = self._bare_plan(self._role_of(role), ""), checked_fields(overrides)
        self._take_options(plan, fields)
        return self._chain(plan.terms.role, self._choose(plan, fields), fields)

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
        plan = self._bare_plan(self._role_of(role), new_request_id(self._clock.time()))
        try:
            self._resolve(plan, messages, overrides)
        except LLMRouterError as error:
            cleaned(error, self._around.secrets)
            recorder = Recorder(self._bare_plan(plan.terms.role, plan.request_id), self._around)
            recorder.outside(error, self._clock.monotonic() - plan.started)
            error.request_id, error.attempts = plan.request_id, tuple(recorder.records)
            raise
        if stream:
            plan.stream = plan.terms.stream
        return (yield from attempts(plan, self._around))

    def _resolve(self, plan: CallPlan, messages: Messages, overrides: Mapping[str, Any]) -> None:
        """Fill in `plan`: what is asked, of whom."""
        fields = checked_fields(overrides)
        plan.messages = normalised(messages)
        if fields:
            self._take_options(plan, fields)
        targets = plan.targets = self._chain(plan.terms.role, self._choose(plan, fields), fields)
        if self._reporter.heard("policy.choice"):
            self._reporter.event(
                "policy.choice", plan.request_id, plan.terms.role, provider=targets[0].provider,
                model=targets[0].model, policy=self._policy_name,
                chain=[target_name(t.provider, t.model) for t in targets],
            )  # fmt: skip

    def _take_options(self, plan: CallPlan, fields: dict[str, Any]) -> None:
        """Move what is about the call, not about a request, from `fields` to `plan`."""
        plan.deadline = fields.pop("deadline", plan.deadline)
        metadata = fields.pop("metadata", None)
        if metadata:
            plan.metadata = {**plan.metadata, **metadata}

    def _bare_plan(self, role: str, request_id: str) -> CallPlan:
        terms = self._terms.get(role) or self._terms.setdefault(role, self._terms_of(role))
        return CallPlan(
            terms=terms,
            request_id=request_id,
            started=self._clock.monotonic(),
            deadline=terms.deadline,
            metadata=terms.metadata,
        )

    def _terms_of(self, role: str) -> RoleTerms:
        config = self.config.roles[role]
        return RoleTerms(
            role=role,
            policy=self._policy_name,
            deadline=config.deadline,
            retry=config.retry,
            fallback_on=config.fallback_on,
            retry_effects=config.retry_effects,
            metadata=config.metadata,
            compress=for_role(self._compression, role),
            stream=config.stream,
        )

    def _choose(self, plan: CallPlan, fields: Mapping[str, Any]) -> ProviderChoice:
        context = None
        if self._wants_context:
            asked = {name: value for name, value in fields.items() if name != "timeout"}
            request = LLMRequest(
                messages=plan.messages, role=plan.terms.role, request_id=plan.request_id, metadata=plan.metadata,
                **asked,
            )  # fmt: skip
            context = RoutingContext(request=request, metadata=plan.metadata, health=self._health.snapshot())
        return choose(self.policy, plan.terms.role, self.config, context)

    def _chain(self, role: str, choice: ProviderChoice, fields: Mapping[str, Any]) -> tuple[Target, ...]:
        """`chain_of`, its schemas prepared; remembered for the common case that nothing is overridden."""
        key = (role, choice.provider_name)
        plain = not (fields or choice.request_overrides or choice.provider_overrides or choice.fallbacks is not None)
        chain = self._chains.get(key) if plain else None
        if chain is None:
            chain = chain_of(choice, role, self.config, fields)
            for target in chain:
                _contract.prepare(target.fields.get("schema"))
            if plain:
                chain = self._chains[key] = tuple(replace(target, lasting=True) for target in chain)
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
