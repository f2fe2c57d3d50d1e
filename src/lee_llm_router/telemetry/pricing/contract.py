"""What an application may pass to a router for costs: its own prices, and a ledger of its spending."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.response.types import LLMUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledUsage:
    """What an attempt used, as a price book sees it."""

    provider: str
    """The provider's name in the configuration."""
    base_url: str | None
    """Its address, if it has one."""
    model: str | None
    """The requested model."""
    served_model: str | None
    """The model that answered, as the vendor names it."""
    service_tier: str | None
    """The tier that served, or else the requested one."""
    usage: LLMUsage
    operation: str | None
    """The kind of call, if it is not chat completion: ``embedding``."""


@runtime_checkable
class PriceBook(Protocol):
    """An application's own prices (`LeeLLMRouter(prices=...)`). They take precedence over those of the file.

    It may have a `name`, for `TraceRecord.cost_source`.
    """

    def cost_usd(self, used: BilledUsage) -> float | None:
        """Return the cost of `used` in US dollars; None if this book does not know. Called inline, so it must be
        quick."""
        ...


@runtime_checkable
class BudgetLedger(Protocol):
    """Records spending, across restarts and for all who share it.

    An account is a text: the scope of a budget and the name of its period, ``role:planner|day|2026-11-26``. The router
    calls a ledger from one thread at a time, never on an event loop. If a call raises, the router repeats it later.
    """

    def add(self, amounts: Mapping[str, float]) -> Mapping[str, float]:
        """Add US dollars to accounts, all or none, and return the sum of each; 0 only reads."""
        ...
