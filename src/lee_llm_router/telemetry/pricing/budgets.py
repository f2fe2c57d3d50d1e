"""Budgets: who may spend how much, whether it is spent, and what that means for a target."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Literal

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.errors import BudgetExceededError
from lee_llm_router.telemetry.pricing.budget_settings import BudgetConfig, BudgetPeriod
from lee_llm_router.telemetry.pricing.periods import period_end, period_name
from lee_llm_router.telemetry.pricing.settings import budget_in_words
from lee_llm_router.telemetry.pricing.spending import Spending


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """A budget at one point in time (`LeeLLMRouter.budgets`)."""

    scope: str
    """Whose: ``all calls``, ``role planner``, ``provider openai``, ``key OPENAI_API_KEY``."""
    usd: float
    """The budget's amount."""
    per: BudgetPeriod
    spent_usd: float
    """The amount spent in this period, as far as costs are known."""
    resets_in: float | None
    """Seconds until the next period; None for ``total``."""
    on_exceed: Literal["next", "raise"]

    @property
    def left_usd(self) -> float:
        """The amount that is left."""
        return max(0.0, self.usd - self.spent_usd)

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left."""
        return self.spent_usd >= self.usd


class Budget:
    """One budget of a router.

    Args:
        scope: The budget's scope, in readable form.
        config: Its settings.
        spending: Has the sums.
    """

    __slots__ = ("_period", "config", "scope", "spending")

    def __init__(self, scope: str, config: BudgetConfig, spending: Spending) -> None:
        self.scope = scope
        self.config = config
        self.spending = spending
        self._period = ("", inf, -inf)
        """The account used last, and the time range in which it is known to be the right one."""

    def account(self, at: float) -> str:
        """Return the account of the period that contains `at`, in seconds since 1970."""
        name, since, until = self._period
        if not since <= at < until:
            per = self.config.per
            name = f"{self.scope}|{per}|{period_name(per, at)}"
            self._period = (name, at, period_end(per, at))
        return name

    def refusal(self, at: float) -> BudgetExceededError | None:
        """Return the error for a spent budget; None if something is left."""
        if self.spending.spent(self.account(at)) < self.config.usd:
            return None
        end = period_end(self.config.per, at)
        return BudgetExceededError(
            f"the budget of {budget_in_words(self.config.usd, self.config.per)} for {self.scope} is spent",
            retry_after=None if end == inf else end - at, sent=False, final=self.config.on_exceed == "raise",
        )  # fmt: skip

    def state(self, at: float) -> BudgetState:
        """Return its state at `at`."""
        end = period_end(self.config.per, at)
        return BudgetState(
            scope=self.scope, usd=self.config.usd, per=self.config.per, on_exceed=self.config.on_exceed,
            spent_usd=self.spending.spent(self.account(at)), resets_in=None if end == inf else end - at,
        )  # fmt: skip


def charge(budgets: Iterable[Budget], usd: float, at: float) -> None:
    """Add the cost of an attempt to `budgets`, which share their `Spending`."""
    spending, accounts = None, []
    for budget in budgets:
        spending = budget.spending
        accounts.append(budget.account(at))
    if spending is not None:
        spending.add(accounts, usd)
