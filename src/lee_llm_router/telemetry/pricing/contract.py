"""What an application may give a router for its money: prices of its own, and a ledger of what was spent."""

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
    """Its address, where it has one."""
    model: str | None
    """The model that was asked for."""
    served_model: str | None
    """The model that answered, as the vendor names it."""
    service_tier: str | None
    """The tier that served, else the one asked for."""
    usage: LLMUsage
    operation: str | None
    """The kind of call, where it is no chat completion: ``embedding``."""


@runtime_checkable
class PriceBook(Protocol):
    """An application's own prices (`LeeLLMRouter(prices=...)`). They come before those of the file.

    It may have a `name`, for `TraceRecord.cost_source`.
    """

    def cost_usd(self, used: BilledUsage) -> float | None:
        """Return what `used` cost in US dollars; None if this book does not say. Called inline, so it must be quick."""
        ...


@runtime_checkable
class BudgetLedger(Protocol):
    """Keeps what was spent, over restarts and for all who share it.

    An account is a text: the scope of a budget and the name of its period, ``role:planner|day|2026-11-26``. A ledger is
    called from one thread at a time, never on an event loop; it may raise, and is then called again later.
    """

    def add(self, amounts: Mapping[str, float]) -> Mapping[str, float]:
        """Add US dollars to accounts, all or none, and return the sum of each of them; 0 only reads."""
        ...
