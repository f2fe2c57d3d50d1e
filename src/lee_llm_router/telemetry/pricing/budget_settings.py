"""The settings of budgets; loaded if a file has some."""

from typing import Literal, TypeAlias

from pydantic import Field

from lee_llm_router.settings.fields import Number
from lee_llm_router.settings.model import Section

BudgetPeriod: TypeAlias = Literal["hour", "day", "week", "month", "total"]
"""The span of a budget, by the calendar in UTC; a week begins on Monday. ``total``: for ever."""

_MOST_USD = 1e9


class BudgetConfig(Section):
    """How much may be spent, and what happens then."""

    usd: Number = Field(gt=0, le=_MOST_USD, description="US dollars that may be spent.")
    per: BudgetPeriod = Field(
        "total",
        description="Period of the amount: each hour, day, week (from Monday) or month, in UTC; total: for ever.",
    )
    on_exceed: Literal["next", "raise"] = Field(
        "next",
        description="What to do when it is spent. next: skip its targets, except those that cost nothing. raise: end"
        " the call with a BudgetExceededError.",
    )


class ProviderBudgetConfig(BudgetConfig):
    """The budget of a provider, or of its key."""

    of: Literal["provider", "key"] = Field(
        "provider", description="key: counts the spending of all providers that name the same variable in api_key_env."
    )
