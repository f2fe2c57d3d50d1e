"""Prices the attempts of a router, and charges its budgets.

An attempt is billed once: when its answer arrives, accepted or not; or, if it reports its usage, when it fails or is
cancelled. The vendor's own figure takes precedence over any price. If the price is still being looked up (at most for
the first answer of a model), a step of the call waits for it, for `LOOK_UP_SECONDS` at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.log import logger
from lee_llm_router.engine.failures import believable_part
from lee_llm_router.engine.plan import Attempt, CallPlan, Target
from lee_llm_router.engine.steps import WorkStep
from lee_llm_router.engine.stream_assembler import StreamAssembler
from lee_llm_router.errors import BudgetExceededError
from lee_llm_router.health.states import TargetHealth
from lee_llm_router.health.waiting import TargetKey
from lee_llm_router.response.types import UNREPORTED, LLMResponse, with_cost
from lee_llm_router.telemetry.pricing.budgets import Budget, BudgetState, charge
from lee_llm_router.telemetry.pricing.cards import PriceCard, tier_word
from lee_llm_router.telemetry.pricing.pricer import PricedProvider, Pricer
from lee_llm_router.telemetry.pricing.table import wait_until_known
from lee_llm_router.telemetry.records import target_name

LOOK_UP_SECONDS = 1.0
"""Seconds that an answer may wait for the price table to load; after that, its cost stays unknown."""


LOOK_AGAIN_SECONDS = 600.0
"""Seconds until the table is searched again for a model."""
_LONGEST_NAME = 200
_MOST_KEPT = 1000


class Billing:
    """Prices attempts, and charges them to budgets. A router has one if anything gives the cost of answers.

    Args:
        pricer: Knows prices; None if only vendors' own figures count.
        budgets: The budgets of the whole router, of roles and of providers, under ``""``, ``role NAME`` and
            ``provider NAME``.
        base_urls: The address of each provider in the configuration.
    """

    def __init__(
        self, pricer: Pricer | None, budgets: Mapping[str, tuple[Budget, ...]], base_urls: Mapping[str, object]
    ) -> None:
        self._pricer = pricer
        self._budgets = budgets
        self._by_call: dict[tuple[str, str], tuple[Budget, ...]] = {}
        self._base_urls = base_urls
        self._providers: dict[str, PricedProvider] = {}
        self._cards: dict[tuple[Any, ...], PriceCard] = {}
        self._looked_up: dict[tuple[str, str | None], float] = {}
        """The time until which nothing is looked up for a model of a provider."""
        self._warned: set[tuple[str, str | None]] = set()
        self.has_budgets = bool(budgets)
        self.spending = next((budget.spending for found in budgets.values() for budget in found), None)
        """Shared by all budgets."""

    def started(self, attempt: Attempt, served: object = None) -> None:
        """Start looking up the attempt's price while the vendor works; `served` is the model that the vendor names."""
        if self._pricer is None:
            return
        target, at = attempt.target, attempt.started_at
        model = served if isinstance(served, str) and len(served) <= _LONGEST_NAME else target.model
        key = (target.provider, model)
        if at >= self._looked_up.get(key, 0.0) or target.provider_overrides:
            pending = self._pricer.look_up(self._provider_of(target), model, at=at)
            if pending is None and not target.provider_overrides:
                self._note_looked_up(key, at)

    def priced(self, plan: CallPlan, attempt: Attempt, answer: Any, *, waited: bool = False) -> Any:
        """Bill the attempt for `answer`, as the operation accepted it, and return the answer with its cost.

        If its price is still being looked up, return the `WorkStep` to make first, unless the call has `waited`
        already.
        """
        facts = plan.operation.facts(answer)
        if facts.cost_usd is not None or self._pricer is None or not facts.usage:
            self._bill(plan, attempt, facts)
            return answer
        cost = self._bill(plan, attempt, facts, is_certain=waited)
        if cost is not None:
            return plan.operation.with_cost(answer, cost)
        if not waited and attempt.cost_source is None:
            target = attempt.target
            pending = self._pricer.look_up(self._provider_of(target), facts.model, target.model, at=attempt.started_at)
            if pending is not None:
                return WorkStep(partial(wait_until_known, pending, LOOK_UP_SECONDS), LOOK_UP_SECONDS + 1)
            self._warn(plan, attempt)
        return answer

    def ended(self, plan: CallPlan, attempt: Attempt, part: LLMResponse | None) -> LLMResponse | None:
        """Bill a failed attempt for the usage it reports, unless it is billed already; return `part` with its cost."""
        if part is None or attempt.is_billed:
            return part
        cost = self._bill(plan, attempt, part)
        return part if cost is None or part.cost_usd is not None else with_cost(part, cost)

    def cost_so_far(self, plan: CallPlan, attempt: Attempt, assembler: StreamAssembler) -> float | None:
        """Return the cost of a streamed answer whose usage has arrived; bill nothing, and wait for nothing."""
        try:
            part = believable_part(assembler.partial())
            return None if part is None else self._cost(plan, attempt, part)[0]
        except Exception:  # noqa: BLE001 - third-party chunks; errors are reported when the answer is complete
            return None

    def refusal(self, role: str, target: Target, now: float) -> BudgetExceededError | None:
        """Return why `target` must not be called: a budget is spent, and the target costs something. None if it may."""
        for budget in self._budgets_of(role, target.provider):
            spent = budget.refusal(now)
            if spent is not None and (spent.final or not self._is_free(target, now)):
                return spent
        return None

    def price_of(self, target: Target, now: float) -> PriceCard | None:
        """Return the price of the target's model; None if it is unknown. This may load the price table."""
        if self._pricer is None:
            return None
        provider, tier = self._provider_of(target), target.request_template.service_tier
        pending = self._pricer.look_up(provider, target.model, at=now)
        if pending is not None:
            wait_until_known(pending, LOOK_UP_SECONDS)
        return self._pricer.card(provider, asked=target.model, tier=tier_word(None, tier), at=now)

    def known_price_of(self, target: Target, *, clock: Clock) -> PriceCard | None:
        """Same as `price_of`, without a wait: if the price table is not loaded, start loading it and return None."""
        if self._pricer is None:
            return None
        now, provider, tier = clock.time(), self._provider_of(target), target.request_template.service_tier
        card = self._pricer.card(provider, asked=target.model, tier=tier_word(None, tier), at=now)
        if card is None and now >= self._looked_up.get(target.key, 0.0):
            pending = self._pricer.look_up(provider, target.model, at=now)
            if pending is None:
                self._note_looked_up(target.key, now)
        return card

    def _note_looked_up(self, key: tuple[str, str | None], now: float) -> None:
        if len(self._looked_up) >= _MOST_KEPT:
            self._looked_up.clear()
        self._looked_up[key] = now + LOOK_AGAIN_SECONDS

    def shown_in(self, known: Mapping[TargetKey, TargetHealth], now: float) -> Mapping[TargetKey, TargetHealth]:
        """Return `known`, with targets marked unavailable if a budget of all calls or of their provider is spent."""
        if not self.has_budgets:
            return known
        return {key: self._with_budget(key, health, now) for key, health in known.items()}

    def _with_budget(self, key: TargetKey, health: TargetHealth, now: float) -> TargetHealth:
        for budget in (*self._budgets.get("", ()), *self._budgets.get(f"provider {key[0]}", ())):
            if (spent := budget.refusal(now)) is not None:
                wait = max(health.retry_after, spent.retry_after or 0.0)
                return replace(health, available=False, reason=spent.message, retry_after=wait)
        return health

    def states(self, now: float) -> tuple[BudgetState, ...]:
        """Return the state of each budget."""
        return tuple(budget.state(now) for budget in self._distinct())

    def close(self) -> None:
        """Report to the ledger everything that it does not know yet."""
        if self.spending is not None:
            self.spending.close()

    def _distinct(self) -> Iterable[Budget]:
        return dict.fromkeys(budget for budgets in self._budgets.values() for budget in budgets)

    def _bill(self, plan: CallPlan, attempt: Attempt, facts: LLMResponse, *, is_certain: bool = True) -> float | None:
        """Charge the cost of `facts` to the budgets of the attempt, once, and return it.

        Args:
            plan: The call.
            attempt: The attempt.
            facts: The facts it reports.
            is_certain: Whether a cost that is unknown now will stay unknown.
        """
        cost, attempt.cost_source = self._cost(plan, attempt, facts)
        attempt.is_billed = cost is not None
        if self.has_budgets:
            if cost:
                budgets = self._budgets_of(plan.role_settings.role, attempt.target.provider)
                charge(budgets, cost, attempt.started_at)
            elif cost is None and is_certain:
                self._warn(plan, attempt)
        return cost

    def _cost(self, plan: CallPlan, attempt: Attempt, facts: LLMResponse) -> tuple[float | None, str | None]:
        if facts.cost_usd is not None:
            return facts.cost_usd, "vendor"
        if self._pricer is None or facts.usage is UNREPORTED:
            return None, None
        target, operation, at = attempt.target, plan.operation.name, attempt.started_at
        tier, asked_tier = facts.details.service_tier, getattr(attempt.request, "service_tier", None)
        key = (target.key, facts.model, tier, asked_tier)
        card = self._cards.get(key)
        if card is None or at >= card.until or target.provider_overrides:
            found = self._pricer.cost(
                self._provider_of(target), facts.usage, asked=target.model, served=facts.model,
                asked_tier=asked_tier, served_tier=tier, operation=operation, at=at,
            )  # fmt: skip
            self._keep_card(key, target, at)
            return found or (None, None)
        cost = card.cost_of(facts.usage, has_output=operation != "embedding")
        return cost, card.source  # the source is empty if the table has no price

    def _keep_card(self, key: tuple[Any, ...], target: Target, at: float) -> None:
        """Keep the card under a key that is quick to make, if nothing else affects the price."""
        assert self._pricer is not None  # noqa: S101 - as above
        if self._pricer.has_book or target.provider_overrides:
            return
        _, served, tier, asked_tier = key
        word = tier_word(tier, asked_tier)
        card = self._pricer.kept_card(self._provider_of(target), target.model, served, word, at)
        if card is not None:
            if len(self._cards) >= _MOST_KEPT:
                self._cards.clear()
            self._cards[key] = card

    def _provider_of(self, target: Target) -> PricedProvider:
        assert self._pricer is not None  # noqa: S101 - called only if there is one
        if "base_url" in target.provider_overrides:
            return self._pricer.provider(target.provider, target.provider_overrides["base_url"])
        provider = self._providers.get(target.provider)
        if provider is None:
            provider = self._pricer.provider(target.provider, self._base_urls.get(target.provider))
            self._providers[target.provider] = provider
        return provider

    def _budgets_of(self, role: str, provider: str) -> tuple[Budget, ...]:
        found = self._by_call.get((role, provider))
        if found is None:
            names = ("", f"role {role}", f"provider {provider}")
            found = self._by_call[(role, provider)] = tuple(b for name in names for b in self._budgets.get(name, ()))
        return found

    def _is_free(self, target: Target, now: float) -> bool:
        if self._pricer is None:
            return False
        card = self._pricer.card(self._provider_of(target), asked=target.model, at=now)
        return card is not None and card.is_free

    def _warn(self, plan: CallPlan, attempt: Attempt) -> None:
        """Warn once that the cost of a target is unknown, and therefore not counted."""
        target = attempt.target
        budgets = self._budgets_of(plan.role_settings.role, target.provider) if self.has_budgets else ()
        if budgets and target.key not in self._warned and len(self._warned) < _MOST_KEPT:
            self._warned.add(target.key)
            logger.warning(
                "the price of %s is not known, so the budget for %s does not count it: set it under pricing, or install"
                " the extra [cost]", target_name(*target.names), budgets[0].scope,
            )  # fmt: skip
