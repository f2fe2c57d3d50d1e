"""Explains a planned call: follows the engine's own path to its first attempt, and stops before it.

Providers are opened and requests built as for a call (`engine/preparation.py`). The engine's own target selection
(`engine/selection.py`) runs over a `HealthGlance`, which takes no permits. So the explanation matches what would
happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lee_llm_router._util.scrubbing import quoted
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.engine.billed_attempt import refusing
from lee_llm_router.engine.candidates import Candidate, NextAction
from lee_llm_router.engine.failure_rules import backoff
from lee_llm_router.engine.operation import COMPLETION
from lee_llm_router.engine.plan import SHORTEST_ATTEMPT, CallPlan, RouterParts, Target
from lee_llm_router.engine.preparation import prepare
from lee_llm_router.engine.selection import TargetSelector
from lee_llm_router.errors import AuthenticationError, LLMRouterError
from lee_llm_router.health.states import Permit, Refusal, TargetHealth
from lee_llm_router.policy.contract import ProviderChoice
from lee_llm_router.providers.keys import KeyedConfig, KeySource
from lee_llm_router.routing.chain import ChosenTarget, asked_targets, chosen_entries, configured_chain, reasons_of
from lee_llm_router.routing.explained_settings import TargetSettings, call_settings, provider_settings
from lee_llm_router.routing.explanation import ExplainedTarget, Explanation, TargetState, TokenPrice
from lee_llm_router.routing.key_spread import KeySpread
from lee_llm_router.routing.options import OF_WHOLE_CALL

_MOST_BACKOFFS = 10
"""The most waits that are listed; by then they are all equal."""


def explain(
    plan: CallPlan,
    parts: RouterParts,
    config: LLMConfig,
    choice: ProviderChoice,
    asked: Mapping[str, Any],
    *,
    keys: KeySpread,
) -> Explanation:
    """Return what would happen to the call of `plan`.

    Args:
        plan: The call, without its targets.
        parts: The router's parts.
        config: The configuration.
        choice: The choice of the policy.
        asked: The arguments of the call, checked.
        keys: The keys of providers that have several.
    """
    fields = {name: value for name, value in asked.items() if name not in OF_WHOLE_CALL}
    entries = _entries(plan.role_settings.role, config, choice, fields)
    plan.reasons = reasons_of(choice, [target for target, _ in entries])
    entries = [(keyed, entry) for target, entry in entries for keyed in keys.keyed(target)]
    plan.targets = [target for target, _ in entries]
    is_compressed = plan.role_settings.compress is not None
    plan.role_settings = replace(plan.role_settings, compress=None)  # a hook may call anything
    explainer = _Explainer(plan, parts, config, asked)
    try:
        action = explainer.first_action()
        targets = tuple(
            explainer.target(candidate, entry, action)
            for candidate, (_, entry) in zip(explainer.candidates(), entries, strict=True)
        )
        reason = None if choice.reason is None else quoted(choice.reason, parts.secrets)
        return explainer.whole(action, targets, reason, is_compressed=is_compressed)
    finally:
        explainer.release()


def _entries(
    role: str, config: LLMConfig, choice: ProviderChoice, fields: Mapping[str, Any]
) -> list[tuple[Target, ChosenTarget]]:
    """Return the targets of the call, each with the sources of its settings."""
    chosen: list[ChosenTarget] = []
    for entry in chosen_entries(choice, role, config, configured_chain(role, config)):
        if all(entry.target != other.target for other in chosen):
            chosen.append(entry)
    targets = [entry.target for entry in chosen]
    asked = asked_targets(targets, choice, role, config, fields) if fields else targets
    found: list[tuple[Target, ChosenTarget]] = []
    for target, entry in zip(asked, chosen, strict=True):
        if all(target != other for other, _ in found):
            found.append((target, entry))
    return found


class _Explainer:
    """Collects the facts about one call."""

    def __init__(self, plan: CallPlan, parts: RouterParts, config: LLMConfig, asked: Mapping[str, Any]) -> None:
        self._plan = plan
        self._parts = parts
        self._config = config
        self._asked = asked
        self._role = config.roles[plan.role_settings.role]
        self._health = parts.health.glance()
        self._known = parts.health.snapshot()
        self._spent = refusing(plan, parts)
        self._refused: dict[int, str] = {}
        """Why targets cannot take the request, by their index in the chain."""
        self._failing: dict[int, str] = {}
        """Why attempts would fail before anything is sent."""
        self._now = parts.clock.monotonic()
        self._selector = TargetSelector(
            plan.targets, self._health, self._prepare, self._now + plan.deadline - SHORTEST_ATTEMPT,
            plan.role_settings.retry,
        )  # fmt: skip
        self._selector.refuse = self._spent

    def candidates(self) -> list[Candidate]:
        """Return the targets of the chain."""
        return self._selector.all_candidates()

    def first_action(self) -> NextAction | None:
        """Return the first action of the call: an attempt at an available target, or a wait for one."""
        action = self._selector.next_action(None, self._now)
        while action is not None and action.permit is not None:
            candidate = action.candidate
            problem = self._key_problem(candidate)
            if problem is None:
                return action
            self._failing[candidate.position] = problem
            candidate.exhausted = True
            action = self._selector.next_action(candidate, self._now)
        return action

    def target(self, candidate: Candidate, entry: ChosenTarget, action: NextAction | None) -> ExplainedTarget:
        """Return the explanation of one target."""
        target, secrets = candidate.target, self._parts.secrets
        if candidate.request is None and candidate.position not in self._refused:
            self._prepare(candidate)
        state, reason, opens_in = self._state(candidate, action)
        provider, own = candidate.provider, self._config.providers[target.provider]
        config = own if provider is None else provider.config
        told = TargetSettings(entry, self._config, self._role, self._asked, secrets)
        return ExplainedTarget(
            provider=target.provider,
            provider_type=config.type,
            model=target.model,
            key_variable=target.key_variable,
            model_source=told.model_source(target),
            chosen_because=self._chosen_because(target),
            state=state,
            reason=reason,
            opens_in=opens_in,
            settings=tuple(told.settings(target)),
            provider_settings=tuple(
                provider_settings(config, own.model_fields_set, target.provider_overrides, secrets)
            ),
            dropped=self._dropped(candidate),
            effects="none" if provider is None else provider.effects,
            price=self._price(target),
            health=self._health_of(target),
        )

    def _health_of(self, target: Target) -> TargetHealth | None:
        known = self._known.get((target.provider, target.model))
        return known if known is None or target.key_variable is None else known.keys.get(target.key_variable)

    def whole(
        self, action: NextAction | None, targets: tuple[ExplainedTarget, ...], policy_reason: str | None, *,
        is_compressed: bool,
    ) -> Explanation:  # fmt: skip
        """Return the explanation of the call."""
        settings = self._plan.role_settings
        retry = settings.retry
        able = sum(target.state in ("asked", "waited_for", "next", "closed") for target in targets)
        waits = range(1, min(retry.attempts, _MOST_BACKOFFS))
        wait = reason = None
        if action is None:
            spent = self._selector.spent_budget
            reason = spent.message if spent else self._selector.shut_reason or "none of its targets can take it"
        elif action.permit is None:
            reason, wait = action.reason, self._wait(action)
        return Explanation(
            role=settings.role,
            asked_role=self._plan.asked_role,
            policy=settings.policy,
            policy_reason=policy_reason,
            outcome="fails" if action is None else "waits" if action.permit is None else "asks",
            reason=reason,
            wait=wait,
            targets=targets,
            settings=tuple(call_settings(self._plan, self._role, self._asked, self._parts.secrets)),
            most_attempts=min(retry.max_attempts, retry.attempts * able),
            backoffs=tuple((backoff(retry, n, lambda: 0.0), backoff(retry, n, lambda: 1.0)) for n in waits),
            is_compressed=is_compressed,
        )

    def release(self) -> None:
        """Release the providers that were opened for it."""
        for candidate in self.candidates():
            target = candidate.target
            if candidate.provider is not None and target.provider_overrides:
                self._parts.pool.release(target.provider, target.provider_overrides, target.key_variable)

    def _prepare(self, candidate: Candidate) -> LLMRouterError | None:
        problem = prepare(self._plan, self._parts, candidate)
        if problem is not None:
            self._refused[candidate.position] = problem.message
        return problem

    def _state(self, candidate: Candidate, action: NextAction | None) -> tuple[TargetState, str | None, float | None]:
        """Return the state of a target, the reason, and the seconds until it opens."""
        position = candidate.position
        if self._spent is not None and (spent := self._spent(candidate.target)) is not None:
            return "closed", spent.message, spent.retry_after
        if position in self._refused:
            return "skipped", self._refused[position], None
        if position not in self._failing and (problem := self._key_problem(candidate)) is not None:
            self._failing[position] = problem
        if position in self._failing:
            return "failing", self._failing[position], None
        refusal = self._refusal(candidate)
        reason, opens_in = (None, None) if refusal is None else (refusal.reason, self._seconds(refusal))
        if action is not None and action.candidate is candidate:
            return "waited_for" if action.permit is None else "asked", reason, opens_in
        return ("next", None, None) if refusal is None else ("closed", reason, opens_in)

    def _chosen_because(self, target: Target) -> str | None:
        reason = (self._plan.reasons or {}).get((target.provider, target.model))
        return None if reason is None else quoted(reason, self._parts.secrets)

    def _price(self, target: Target) -> TokenPrice | None:
        billing = self._parts.billing
        card = None if billing is None else billing.price_of(target, self._parts.clock.time())
        if card is None:
            return None
        return TokenPrice(input_usd=card.rates.input, output_usd=card.rates.output, source=card.source)

    def _refusal(self, candidate: Candidate) -> Refusal | None:
        answer = self._health.acquire(candidate.target.key, tokens=candidate.tokens)
        return None if isinstance(answer, Permit) else answer

    def _seconds(self, refusal: Refusal) -> float | None:
        return None if refusal.opens_at is None else max(0.0, refusal.opens_at - self._now)

    def _wait(self, action: NextAction) -> float | None:
        refusal = self._refusal(action.candidate)
        is_known = refusal is None or refusal.opens_at is not None
        return max(0.0, action.at - self._now) if is_known else None

    def _key_problem(self, candidate: Candidate) -> str | None:
        """Return why the key of a target cannot be used; None if it can, or if the target needs no key."""
        provider = candidate.provider
        if provider is None or not isinstance(provider.config, KeyedConfig):
            return None
        try:
            KeySource(provider.config, provider.name).read()
        except AuthenticationError as error:
            return error.message
        return None

    def _dropped(self, candidate: Candidate) -> dict[str, str]:
        """Return the options that were left out of the request to a target, each with the reason."""
        provider = candidate.provider
        if provider is None or not candidate.dropped:
            return {}
        try:
            request = COMPLETION.request_for(self._plan, candidate.target, self._parts.reporter)
            reasons = {
                **provider.unsupported(request, provider.settings_for(request)),
                **provider.refused_before(request),
            }
        except Exception:  # noqa: BLE001 - a third-party provider
            reasons = {}
        return {option: str(reasons.get(option, "")) for option in candidate.dropped}
