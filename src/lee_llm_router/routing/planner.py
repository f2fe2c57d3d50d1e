"""The parts of a router put together: what a role, messages and options become before the engine runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from os import PathLike
from typing import Any, Literal

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.ids import new_request_id
from lee_llm_router._util.log import logger
from lee_llm_router.compression import Compressor, for_role
from lee_llm_router.config.models import LLMConfig, load_config
from lee_llm_router.engine import json_contract
from lee_llm_router.engine.attempts import attempts
from lee_llm_router.engine.drivers import Steps
from lee_llm_router.engine.failures import cleaned
from lee_llm_router.engine.messages import Messages, normalised
from lee_llm_router.engine.plan import CallPlan, RoleTerms, Surroundings, Target
from lee_llm_router.engine.recorder import Recorder
from lee_llm_router.errors import LLMRouterError, RouterClosedError
from lee_llm_router.health.tracker import Health
from lee_llm_router.policy.contract import ProviderChoice, RoutingContext, RoutingPolicy, choose, takes_context
from lee_llm_router.policy.loading import ensure_policy, load_policy
from lee_llm_router.providers.pool import ProviderPool
from lee_llm_router.response import LLMRequest
from lee_llm_router.routing.chain import chain_of, own_chain
from lee_llm_router.routing.options import checked_fields
from lee_llm_router.telemetry.records import EventSink, TokenUsageHook, TraceStore, target_name
from lee_llm_router.telemetry.reporter import Reporter
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

_MAX_WARNED_ROLES = 1000


class Core:
    """What `LeeLLMRouter` works with; the arguments are its own."""

    def __init__(
        self,
        config: LLMConfig | str | PathLike[str] | Mapping[str, Any],
        *,
        policy: RoutingPolicy | str | None,
        trace_store: TraceStore | Literal[False] | None,
        event_sink: EventSink | Iterable[EventSink],
        on_token_usage: TokenUsageHook | None,
        compression: Compressor | Mapping[str, Compressor] | None,
        workspace: str | PathLike[str] | None,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self.config = config if isinstance(config, LLMConfig) else load_config(config)
        policy = self.config.policy if policy is None else policy
        self.policy = load_policy(policy) if isinstance(policy, str) else ensure_policy(policy)
        self._policy_name = type(self.policy).__name__
        self._wants_context = takes_context(self.policy)
        self._compression = compression
        self.clock = clock
        self.pool = ProviderPool(self.config.providers, clock)
        self.health = Health(self.config.health, self.config.providers, clock, random)
        self._closed = False
        self._warned_roles: set[str] = set()
        self._chains: dict[tuple[str, str], tuple[Target, ...]] = {}
        self._own_chains: dict[str, tuple[Target, ...]] = {}
        self._terms: dict[str, RoleTerms] = {}
        trace = self.config.trace
        folder = str(workspace) if workspace is not None else trace.workspace
        if trace_store is None and trace.enabled:
            trace_store = LocalFileTraceStore(
                trace_dir=trace.dir, workspace=folder, keep_days=trace.keep_days, clock=clock
            )
        self.reporter = Reporter(
            store=trace_store or None,
            sinks=(event_sink,) if isinstance(event_sink, EventSink) else event_sink,
            on_token_usage=on_token_usage,
            observer=getattr(self.policy, "observe", None),
        )
        self.around = Surroundings(
            clock=clock,
            random=random,
            reporter=self.reporter,
            health=self.health,
            pool=self.pool,
            secrets=self.config.filled_values(),
            capture_full=trace.capture == "full",
            workspace=folder,
        )

    def call(
        self, role: str | None, messages: Messages, overrides: Mapping[str, Any], *, stream: bool = False
    ) -> Steps:
        """One call, its arguments turned into a plan: what the drivers run."""
        if self._closed:
            raise RouterClosedError("the router is closed")
        name = role if role in self.config.roles else self._role_of(role)
        plan = self._bare_plan(name, new_request_id(self.clock.time()))
        try:
            self._resolve(plan, messages, overrides)
        except LLMRouterError as error:
            cleaned(error, self.around.secrets)
            recorder = Recorder(self._bare_plan(plan.terms.role, plan.request_id), self.around)
            recorder.outside(error, self.clock.monotonic() - plan.started)
            error.request_id, error.attempts = plan.request_id, tuple(recorder.records)
            raise
        if stream:
            plan.stream = plan.terms.stream
        return attempts(plan, self.around)

    def resolve(self, role: str | None, overrides: Mapping[str, Any]) -> tuple[Target, ...]:
        """As `LeeLLMRouter.resolve`."""
        plan, fields = self._bare_plan(self._role_of(role), ""), checked_fields(overrides)
        self._take_options(plan, fields)
        return self._chain(plan.terms.role, self._choose(plan, fields), fields)

    def close(self) -> None:
        """As `LeeLLMRouter.close`."""
        if not self._closed:
            self._closed = True
            self.pool.close()
            self._close_store()

    async def aclose(self) -> None:
        """As `LeeLLMRouter.aclose`."""
        if not self._closed:
            self._closed = True
            try:
                await self.pool.aclose()
            finally:
                self._close_store()

    def _resolve(self, plan: CallPlan, messages: Messages, overrides: Mapping[str, Any]) -> None:
        """Fill in `plan`: what is asked, of whom."""
        fields = checked_fields(overrides) if overrides else {}
        plan.messages = normalised(messages)
        if fields:
            self._take_options(plan, fields)
        targets = plan.targets = self._chain(plan.terms.role, self._choose(plan, fields), fields)
        plan.heard = self.reporter.hears_all
        if plan.heard:
            self.reporter.event(
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
        return CallPlan(terms, request_id, self.clock.monotonic(), terms.deadline, terms.metadata)

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
            context = RoutingContext(request=request, metadata=plan.metadata, health=self.health.snapshot())
        return choose(self.policy, plan.terms.role, self.config, context)

    def _chain(self, role: str, choice: ProviderChoice, fields: Mapping[str, Any]) -> tuple[Target, ...]:
        """`chain_of`, its schemas prepared; remembered for the common case that nothing is overridden."""
        key = (role, choice.provider_name)
        plain = not (fields or choice.request_overrides or choice.provider_overrides or choice.fallbacks is not None)
        chain = self._chains.get(key) if plain else None
        if chain is None:
            own = self._own_chains.get(role) or self._own_chains.setdefault(role, own_chain(role, self.config))
            chain = chain_of(choice, role, self.config, own, fields)
            for target in chain:
                json_contract.prepare(target.fields.get("schema"))
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
        close = getattr(self.reporter.store, "close", None)
        if close is not None:
            self.reporter.guarded("trace store", close)
