"""Finds what an attempt cost: from an application's own price book, the configuration file, or the price table.

The vendor's own figure takes precedence; without one, the router asks here. Cards are cached by everything they depend
on, so that a call looks up one key and multiplies.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeAlias

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.numbers import amount
from lee_llm_router.response.types import LLMUsage
from lee_llm_router.telemetry.pricing.cards import BATCH_SHARE, BATCH_TIER, PriceCard, tier_word
from lee_llm_router.telemetry.pricing.contract import BilledUsage, PriceBook
from lee_llm_router.telemetry.pricing.file_prices import FilePrices
from lee_llm_router.telemetry.pricing.need import has_prices, is_installed
from lee_llm_router.telemetry.pricing.settings import PricingConfig
from lee_llm_router.telemetry.pricing.table import PriceTable, price_table

_MOST_CARDS = 1000
_LOOK_AGAIN = 600.0
"""Seconds after which to look again for the price of a model without one."""

ListenerCall: TypeAlias = Callable[..., Any]
"""As `Reporter.call_listener`: calls a third party's function, and survives its errors."""


@dataclass(frozen=True, slots=True)
class PricedProvider:
    """Determines the prices of attempts at a provider."""

    name: str
    base_url: str | None
    vendor: str | None
    """The address or name to look up in the table; None: do not look it up."""


class Pricer:
    """Knows what attempts cost.

    Args:
        config: The section `pricing`.
        book: The application's own prices.
        call_listener: Calls the book.
    """

    def __init__(self, config: PricingConfig, book: PriceBook | None, call_listener: ListenerCall) -> None:
        self._book = book
        self._book_name = str(getattr(book, "name", None) or type(book).__name__)[:60]
        self._call = call_listener
        self._file = FilePrices(config.models) if config.models else None
        self._vendors = config.vendors
        self._table: PriceTable | None = price_table() if config.table and is_installed() else None
        self._cards: dict[tuple[str | None, ...], PriceCard] = {}

    @property
    def has_book(self) -> bool:
        """Whether the application has its own prices."""
        return self._book is not None

    def provider(self, name: str, base_url: object) -> PricedProvider:
        """Return what determines the prices of the provider named `name`."""
        address = str(base_url) if isinstance(base_url, str) else None
        vendor = self._vendors.get(name)
        if vendor is None and address is not None and has_prices(address):
            vendor = address
        return PricedProvider(name, address, vendor if self._table is not None else None)

    def look_up(self, provider: PricedProvider, *models: str | None, at: float) -> Future[None] | None:
        """Start looking up unknown entries of the table; return a future for that, None if all are known."""
        names = tuple(model for model in models if model)
        if self._table is None or provider.vendor is None or not names:
            return None
        if self._file is not None and self._file.card(provider.name, names, None) is not None:
            return None
        return self._table.look_up(provider.vendor, names, at)

    def cost(
        self,
        provider: PricedProvider,
        usage: LLMUsage,
        *,
        asked: str | None,
        served: str | None,
        asked_tier: str | None = None,
        served_tier: str | None = None,
        operation: str | None = None,
        at: float,
    ) -> tuple[float, str] | None:
        """Return the cost of an attempt in US dollars, and the source of the price; None if unknown."""
        if self._book is not None:
            used = BilledUsage(
                provider=provider.name, base_url=provider.base_url, model=asked, served_model=served,
                service_tier=served_tier or asked_tier, usage=usage, operation=operation,
            )  # fmt: skip
            own = amount(self._call("price book", self._book.cost_usd, used))
            if own is not None:
                return own, self._book_name
        card = self.kept_card(provider, asked, served, tier_word(served_tier, asked_tier), at)
        if card is None:
            return None
        found = card.cost_of(usage, has_output=operation != "embedding")
        return None if found is None else (found, card.source)

    def card(
        self, provider: PricedProvider, *, asked: str | None, served: str | None = None, tier: str | None = None,
        at: float,
    ) -> PriceCard | None:  # fmt: skip
        """Return the currently known card for a model: the model that served, or else the requested one."""
        card = self.kept_card(provider, asked, served, tier, at)
        return None if card is None or not card.source else card

    def kept_card(
        self, provider: PricedProvider, asked: str | None, served: str | None, tier: str | None, at: float
    ) -> PriceCard | None:
        """Return the card; one without a source if there is no price, and None if that is not known yet."""
        key = (provider.name, provider.vendor, asked, served, tier)
        card = self._cards.get(key)
        if card is None or at >= card.until:
            card = self._find_card(provider, asked, served, tier, at)
            if tier == BATCH_TIER and card is not None and card.knows_nothing:
                plain = self._find_card(provider, asked, served, None, at)
                card = None if plain is None else plain.times(BATCH_SHARE)
            if card is not None:
                if len(self._cards) >= _MOST_CARDS:
                    self._cards.clear()
                self._cards[key] = card
        return card

    def _find_card(
        self, provider: PricedProvider, asked: str | None, served: str | None, tier: str | None, at: float
    ) -> PriceCard | None:
        models = tuple(dict.fromkeys(model for model in (served, asked) if model))
        if self._file is not None and (card := self._file.card(provider.name, models, tier)) is not None:
            return card
        if self._table is not None and provider.vendor is not None:
            for model in models:
                known = self._table.known(provider.vendor, model, at)
                if known is None:  # the model that served may have another price than the requested one
                    return None
                if known[0] is not None:
                    return known[0].card(tier, at)
        return PriceCard(source="", until=at + _LOOK_AGAIN)
