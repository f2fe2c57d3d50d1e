"""Turns a role, messages and options into a plan for the engine: what to ask of which targets, within which limits.

The order is: check the options, check the payload, call the policy, build the chain, check its schemas. A mistake in
any of them ends the call before an attempt, with a typed and traced error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context
from dataclasses import field
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.ids import new_request_id
from lee_llm_router.compression import Compressor, for_role
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.engine.failures import foreign_error
from lee_llm_router.engine.operation import COMPLETION, Operation
from lee_llm_router.engine.plan import CallPlan, RoleSettings, RouterParts, Target
from lee_llm_router.engine.recorder import CallRecorder
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.policy.contract import (
    ProviderChoice,
    RoutingContext,
    RoutingPolicy,
    check_choice,
    choose,
    takes_context,
)
from lee_llm_router.response.types import LLMRequest
from lee_llm_router.routing.asked_roles import AskedRoles
from lee_llm_router.routing.chain import asked_chain, chosen_chain, configured_chain, reasons_of
from lee_llm_router.routing.key_spread import KeySpread
from lee_llm_router.routing.options import refuse_foreign_options, validate_options
from lee_llm_router.settings.model import Section
from lee_llm_router.telemetry.following import CallFollowing, CallStart
from lee_llm_router.telemetry.records import target_name

if TYPE_CHECKING:
    from lee_llm_router.engine.call_cache import RoleCache
    from lee_llm_router.routing.explanation import Explanation


SectionT = TypeVar("SectionT", bound=Section)

_MOST_ORDERS = 1024
"""The most chain orders that are kept: every order of six targets, and a few more."""


@dataclass(slots=True)
class _AskedPolicy:
    """A policy, and the facts about it that are determined once."""

    policy: RoutingPolicy
    name: str
    wants_context: bool


@dataclass(slots=True)
class _KnownRole:
    """The parts of a plan that are the same for every call to a role, so they are worked out once."""

    settings: RoleSettings
    asked: _AskedPolicy
    sound_choice: ProviderChoice | None = None
    """The choice checked last: a simple policy returns the same one each time."""
    plain_chains: dict[str, tuple[Target, ...]] = field(default_factory=dict)
    """The chains of calls without overrides, by the chosen provider."""


def _asked_policy(policy: RoutingPolicy) -> _AskedPolicy:
    return _AskedPolicy(policy, type(policy).__name__, takes_context(policy))


class CallPlanner:
    """Makes the plans of one router.

    Args:
        config: The configuration.
        policy: Chooses the targets of each call.
        parts: The router's parts.
        compression: A hook over the messages, for all roles or by role name.
        role_policies: Policies of roles that have their own.
        cache_of: Returns the cache of a role, or None if it has none. None: no role has a cache.
    """

    def __init__(
        self,
        config: LLMConfig,
        policy: RoutingPolicy,
        parts: RouterParts,
        compression: Compressor | Mapping[str, Compressor] | None = None,
        *,
        role_policies: Mapping[str, RoutingPolicy] = MappingProxyType({}),
        cache_of: Callable[[str], RoleCache | None] | None = None,
    ) -> None:
        self._cache_of = cache_of
        self.parts = parts
        self._config = config
        self._policy = _asked_policy(policy)
        self._role_policies = {role: _asked_policy(own) for role, own in role_policies.items()}
        self._compression = compression
        self._roles = AskedRoles(config, parts.secrets)
        self._known_roles: dict[str, _KnownRole] = {}
        self._configured_chains: dict[str, tuple[Target, ...]] = {}
        """The chains of roles as in the file."""
        self._ordered_chains: dict[tuple[str, tuple[int, ...]], tuple[Target, ...]] = {}
        self._keys = KeySpread(config.providers)

    def plan(
        self,
        role: str | None,
        payload: Any,
        overrides: Mapping[str, Any],
        *,
        operation: Operation = COMPLETION,
        stream: bool = False,
        origin: Context | None = None,
    ) -> CallPlan:
        """Return the plan of one call.

        Args:
            role: As for `LeeLLMRouter.complete`.
            payload: The request content (messages, inputs).
            overrides: The caller's options.
            operation: The kind of call.
            stream: Whether the answer is streamed.
            origin: The context in which the call was made, if it is not the current one.

        Raises:
            LLMRouterError: the options, the payload or the policy are wrong; traced, with the call's id.
        """
        served = role if role.__class__ is str and role in self._known_roles else self._roles.served(role)
        plan = self._bare_plan(served, new_request_id(self.parts.clock.time()), operation)
        if stream:
            plan.stream = plan.role_settings.stream
        if self.parts.reporter.follows:
            plan.following = self._following(plan, origin)
        if plan.wants_debug_events:
            CallRecorder(plan, self.parts).call_started()
        failure = None
        try:
            if served is not role:
                plan.asked_role = self._roles.unknown(role)
                self._roles.check(role)
            self._fill(plan, payload, overrides)
        except Exception as caught:  # noqa: BLE001 - options, payloads, policies and operations are third-party code
            failure = foreign_error(caught, "the call could not be planned", self.parts.secrets)
        except BaseException as interrupted:
            self._record_refusal(plan, interrupted)
            raise
        if failure is not None:
            self._record_refusal(plan, failure)
            raise failure
        return plan

    def draft(self, role: str | None, payload: Any, overrides: Mapping[str, Any]) -> CallPlan:
        """Return the plan that a call would have now. No call is made: nothing is traced, and no follower hears of it.

        Raises:
            LLMRouterError: as `plan`.
        """
        try:
            self._roles.check(role, warn=False)
            plan = self._bare_plan(self._roles.served(role), "", COMPLETION)
            self._fill(plan, payload, overrides)
            return plan
        except Exception as caught:  # noqa: BLE001 - as in `plan`
            failure = foreign_error(caught, "the call could not be planned", self.parts.secrets)
        raise failure

    def resolve(self, role: str | None, overrides: Mapping[str, Any]) -> tuple[Target, ...]:
        """See `LeeLLMRouter.resolve`."""
        try:
            self._roles.check(role)
            plan, fields = self._bare_plan(self._roles.served(role), "", COMPLETION), validate_options(overrides)
            self._take_options(plan, fields)
            chain = self._chain(plan.role_settings.role, self._choose(plan, fields), fields)
            return tuple(target.masked(self.parts.secrets) for target in chain)
        except Exception as caught:  # noqa: BLE001 - as in `plan`
            failure = foreign_error(caught, "the call could not be planned", self.parts.secrets)
        raise failure

    def explain(self, role: str | None, messages: Any, overrides: Mapping[str, Any]) -> Explanation:
        """See `LeeLLMRouter.explain`."""
        from lee_llm_router.routing.explaining import explain  # noqa: PLC0415 - for explanations, not for calls

        try:
            served = self._roles.served(role)
            self._roles.check(role, warn=False)
            plan = self._bare_plan(served, "", COMPLETION)
            plan.asked_role = self._roles.unknown(role)
            plan.payload = () if messages is None else plan.operation.checked(messages)
            asked = validate_options(overrides)
            fields = dict(asked)
            self._take_options(plan, fields)
            choice = self._choose(plan, fields)
            self._chain(served, choice, fields)  # raises what a call would raise
            return explain(plan, self.parts, self._config, choice, asked, keys=self._keys)
        except Exception as caught:  # noqa: BLE001 - as in `plan`
            failure = foreign_error(caught, "the call could not be planned", self.parts.secrets)
        raise failure

    def _following(self, plan: CallPlan, origin: Context | None) -> CallFollowing | None:
        role = plan.role_settings
        call = CallStart(
            plan.request_id, role.shown_role, role.policy, plan.operation.name, plan.stream is not None, role.metadata,
            origin,
        )  # fmt: skip
        return self.parts.reporter.following(call)

    def _record_refusal(self, plan: CallPlan, error: BaseException) -> None:
        """Record that the call ended before its first attempt, and complete its final error."""
        recorder = CallRecorder(plan, self.parts)
        if isinstance(error, LLMRouterError):
            recorder.ended_without_attempt(error, self.parts.clock.monotonic() - plan.started)
            error.request_id, error.attempts = plan.request_id, tuple(recorder.records)
        recorder.call_ended(attempts=0)

    def _fill(self, plan: CallPlan, payload: Any, overrides: Mapping[str, Any]) -> None:
        fields = validate_options(overrides) if overrides else {}
        if fields and plan.operation.options is not None:
            refuse_foreign_options(fields, plan.operation.options)
        plan.payload = plan.operation.checked(payload)
        if fields:
            self._take_options(plan, fields)
        role = plan.role_settings.role
        choice = self._choose(plan, fields)
        targets = plan.targets = self._chain(role, choice, fields)
        if choice.reason is not None or choice.fallbacks:
            plan.reasons = reasons_of(choice, targets)
        if self._keys.is_needed:
            plan.targets = self._keys.spread(targets, kept=not fields)
        if plan.wants_debug_events:
            self.parts.reporter.event(
                "policy.choice", plan.request_id, plan.role_settings.shown_role, provider=targets[0].names[0],
                model=targets[0].names[1], policy=plan.role_settings.policy,
                chain=[target_name(t.provider, t.model) for t in targets],
            )  # fmt: skip

    def _take_options(self, plan: CallPlan, fields: dict[str, Any]) -> None:
        """Move the options about the call, not about a request, from `fields` to `plan`."""
        if metadata := fields.pop("metadata", None):
            plan.metadata = {**plan.metadata, **metadata}
        if not fields:
            # A batch, or a caller that only passes metadata, needs no more.
            return
        plan.deadline = fields.pop("deadline", plan.deadline)
        plan.accept = fields.pop("accept", plan.accept)
        if fields.pop("no_cache", False):
            from lee_llm_router.engine.call_cache import CallCaching  # noqa: PLC0415 - few calls

            plan.caching = CallCaching(is_fresh=True)
        contract, hedge = fields.pop("contract", None), fields.pop("hedge", None)
        if contract is not None:
            plan.contract = _changed(plan.contract, contract)
        if hedge is not None:
            plan.hedge = hedge if plan.hedge is None else _changed(plan.hedge, hedge)

    def _bare_plan(self, role: str, request_id: str, operation: Operation) -> CallPlan:
        known = self._known_roles.get(role)
        if known is None:
            asked = self._role_policies.get(role, self._policy)
            known = self._known_roles.setdefault(role, _KnownRole(self._settings_of(role, asked), asked))
        settings = known.settings
        started = self.parts.clock.monotonic()
        plan = CallPlan(settings, operation, request_id, started, settings.deadline, settings.metadata,
                        settings.contract)  # fmt: skip
        plan.accept = settings.accept if operation.judged else None
        plan.hedge = settings.hedge
        plan.wants_debug_events = self.parts.reporter.wants_debug_events()
        return plan

    def _settings_of(self, role: str, asked: _AskedPolicy) -> RoleSettings:
        config = self._config.roles[role]
        return RoleSettings(
            role=role,
            policy=asked.name,
            deadline=config.deadline,
            retry=config.retry,
            fallback_on=config.fallback_on,
            retry_effects=config.retry_effects,
            metadata=config.metadata,
            compress=for_role(self._compression, role),
            stream=config.stream,
            contract=config.contract,
            accept=config.accept,
            hedge=config.hedge,
            cache=None if self._cache_of is None else self._cache_of(role),
        )

    def _choose(self, plan: CallPlan, fields: Mapping[str, Any]) -> ProviderChoice:
        role = plan.role_settings.role
        known = self._known_roles[role]
        context = self._context(plan, fields) if known.asked.wants_context else None
        choice = choose(known.asked.policy, role, self._config, context)
        if choice is not known.sound_choice:
            check_choice(choice)
            known.sound_choice = choice
        return choice

    def _context(self, plan: CallPlan, fields: Mapping[str, Any]) -> RoutingContext:
        parts, role = self.parts, plan.role_settings.role
        asked = {name: value for name, value in fields.items() if name != "timeout"}
        messages = plan.payload if plan.operation is COMPLETION else ()
        request = LLMRequest(messages=messages, role=role, request_id=plan.request_id, metadata=plan.metadata, **asked)
        own, health = self._configured_chain(role), parts.health.view()
        if parts.billing is None:
            return RoutingContext(request, plan.metadata, health, own)
        price_of = partial(parts.billing.known_price_of, clock=parts.clock)
        return RoutingContext(request, plan.metadata, health, own, price_of)

    def _chain(self, role: str, choice: ProviderChoice, fields: Mapping[str, Any]) -> tuple[Target, ...]:
        """Return the targets of a call, with their schemas checked."""
        if choice.order is not None:
            return self._ordered_chain(role, choice, choice.order, fields)
        plain_chains = self._known_roles[role].plain_chains
        plain = not (choice.request_overrides or choice.provider_overrides or choice.fallbacks is not None)
        chain = plain_chains.get(choice.provider_name) if plain else None
        if chain is None:
            chain = chosen_chain(choice, role, self._config, self._configured_chain(role))
            for target in chain:
                _check_schema(target.fields.get("schema"))
            if plain:
                plain_chains[choice.provider_name] = chain
            else:
                chain = tuple(target.masked(self.parts.secrets) for target in chain)
        return self._with_fields(role, chain, choice, fields) if fields else chain

    def _with_fields(
        self, role: str, chain: tuple[Target, ...], choice: ProviderChoice, fields: Mapping[str, Any]
    ) -> tuple[Target, ...]:
        _check_schema(fields.get("schema"))
        return asked_chain(chain, choice, role, self._config, fields)

    def _ordered_chain(
        self, role: str, choice: ProviderChoice, order: tuple[int, ...], fields: Mapping[str, Any]
    ) -> tuple[Target, ...]:
        """Same as `_chain`, for a choice that reorders the role's own chain."""
        chain = self._ordered_chains.get((role, order))
        if chain is None:
            chain = chosen_chain(choice, role, self._config, self._configured_chain(role))
            for target in chain:
                _check_schema(target.fields.get("schema"))
            if len(self._ordered_chains) >= _MOST_ORDERS:
                self._ordered_chains.clear()
            self._ordered_chains[role, order] = chain
        return self._with_fields(role, chain, choice, fields) if fields else chain

    def _configured_chain(self, role: str) -> tuple[Target, ...]:
        chain = self._configured_chains.get(role)
        return chain or self._configured_chains.setdefault(role, configured_chain(role, self._config))


def _changed(section: SectionT, by: SectionT) -> SectionT:
    """Return `section` updated with the fields that are set in `by`."""
    return section.model_copy(update={name: getattr(by, name) for name in by.model_fields_set})


def _check_schema(schema: Any) -> None:
    """Call `json_contract.check_schema` if there is a schema."""
    if schema is not None:
        _schema_checker()(schema)


@cache
def _schema_checker() -> Callable[[Any], None]:
    from lee_llm_router.engine.json_contract import check_schema  # noqa: PLC0415 - many programs have no schemas

    return check_schema
