"""The price table of genai-prices, loaded in its own thread when a call first needs it.

Loading takes 60 to 110 ms, and looking up a model up to 8 ms. Threads do both while a vendor is at work, and the
results are cached. A call itself only reads the cache. The whole process shares one table.

genai-prices decides which model a name means, and whose prices an address has. Its own arithmetic takes 125 us per call
and knows no "unknown", so the numbers are copied into a `PriceCard`. If a model has no price for a tier, the price is
unknown here; genai-prices would use the standard price.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from datetime import UTC, datetime
from functools import cache
from math import inf
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.log import logger
from lee_llm_router._util.numbers import amount
from lee_llm_router._util.scrubbing import text_of_exception
from lee_llm_router._util.threads import start_in_thread
from lee_llm_router.telemetry.pricing.cards import PriceCard, TokenRates

SOURCE = "genai-prices"
"""The cost source for prices from the table."""

_MOST_MODELS = 1000
"""Names of models to cache: an application may pass any."""
_KEPT_FOR = 3600.0
"""Seconds after which a price is looked up again: prices begin and end, and an application may load newer ones."""
_STEP = 60.0
"""The same if the price depends on the time of day, which is given in minutes."""

_RATES = {
    "input": "input_mtok", "output": "output_mtok", "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok", "cache_write_1h": "cache_write_1h_mtok", "reasoning": "output_reasoning_mtok",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TableModel:
    """An entry of the table."""

    provider: Any
    model: Any
    found_at: float
    """When it was looked up, in seconds since 1970."""

    @property
    def id(self) -> str:
        """The model's name in the table."""
        return str(self.model.id)

    @property
    def context_window(self) -> int | None:
        """The most input tokens it accepts, if the table says so."""
        found = self.model.context_window
        return found if isinstance(found, int) else None

    @property
    def is_deprecated(self) -> bool:
        """Whether its vendor has announced its end."""
        return bool(self.model.deprecated)

    def card(self, tier: str | None, at: float) -> PriceCard:
        """Return the price in a service tier at a given time; one without prices if there is none."""
        moment, model = datetime.fromtimestamp(at, UTC), self.model
        until = min(_end_of_price(model, at), self.found_at + _KEPT_FOR)
        unknown = PriceCard(source=SOURCE, until=until)
        if tier is None:
            return _card(model.get_prices(moment), until)
        # As in genai-prices, variants apply to the provider that lists them, and not to one that borrows the model.
        own = any(model is listed for listed in self.provider.models)
        for context in _contexts(tier) if own else ():
            if any(_is_meant(variant, context, moment) for variant in model.price_variants or ()):
                return _card(model.get_prices(moment, context), until)
        return unknown


class PriceTable:
    """What has been looked up in genai-prices. Safe to use from any thread."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[TableModel | None, float]] = {}
        self._under_way: dict[tuple[str, str], Future[None]] = {}
        self._lock = ForkLock(in_child=self._forget_threads)
        self._is_broken = False

    def known(self, vendor: str, model: str, at: float) -> tuple[TableModel | None] | None:
        """Return the result for a name, in a tuple; None if it has not been looked up, or not recently."""
        found = self._found.get((vendor, model))
        if found is None:
            return (None,) if self._is_broken else None
        return (found[0],) if abs(at - found[1]) < _KEPT_FOR or self._is_broken else None

    def look_up(self, vendor: str, models: tuple[str, ...], at: float) -> Future[None] | None:
        """Look `models` up in a thread; return a future for that, or None if all are known.

        Args:
            vendor: Whose prices: an address, or a name that genai-prices knows.
            models: Names of models.
            at: Now, in seconds since 1970.
        """
        missing = tuple(model for model in models if self.known(vendor, model, at) is None)
        if not missing:
            return None
        key = (vendor, missing[0])
        with self._lock:
            started = self._under_way.get(key)
            if started is None:
                try:
                    started = start_in_thread(self._find_all, vendor, missing, at, key)
                except OSError:  # no thread can start: the cost stays unknown this time
                    return None
                if not started.done():
                    self._under_way[key] = started
        return started

    def find(self, vendor: str, model: str, at: float) -> TableModel | None:
        """Return the entry of a model, looked up directly, which may take a tenth of a second."""
        known = self.known(vendor, model, at)
        if known is None:
            self._find_all(vendor, (model,), at)
            known = self.known(vendor, model, at)
        return known[0] if known else None

    def _find_all(self, vendor: str, models: tuple[str, ...], at: float, key: tuple[str, str] | None = None) -> None:
        try:
            from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - see the module's own words

            snapshot = get_snapshot()
            for model in models:
                entry = _entry(snapshot, vendor, model, at)
                if len(self._found) >= _MOST_MODELS:
                    self._found.clear()
                self._found[(vendor, model)] = (entry, at)
        except Exception as error:  # noqa: BLE001 - a table that cannot be used must not break a call
            with self._lock:
                was_broken, self._is_broken = self._is_broken, True
            if not was_broken:
                logger.warning("the price table cannot be used, so costs are not known: %s", text_of_exception(error))
        finally:
            if key is not None:
                with self._lock:
                    self._under_way.pop(key, None)

    def _forget_threads(self) -> None:
        """In a forked child, forget threads: one of the parent may have been loading, and its import lock is never
        released."""
        self._is_broken = self._is_broken or bool(self._under_way)
        self._under_way.clear()


@cache
def price_table() -> PriceTable:
    """Return the table of this process."""
    return PriceTable()


def wait_until_known(found: Future[None], seconds: float) -> None:
    """Wait at most `seconds` for a lookup. Never raises."""
    wait_for((found,), seconds)


def _entry(snapshot: Any, vendor: str, model: str, at: float) -> TableModel | None:
    is_address = "://" in vendor
    try:
        provider, found = snapshot.find_provider_model(
            model, None, None if is_address else vendor, vendor if is_address else None
        )
    except LookupError:
        return None
    return TableModel(provider, found, at)


def _contexts(tier: str) -> tuple[Mapping[str, str], ...]:
    """Return the objects that genai-prices may use as a tier."""
    return {"service_tier": tier}, {"processing": tier}, {"speed": tier}


def _is_meant(variant: Any, context: Mapping[str, str], moment: datetime) -> bool:
    is_active = variant.constraint is None or variant.constraint.active(moment)
    return bool(is_active and variant.when == context)


def _end_of_price(model: Any, at: float) -> float:
    """Return the time until which the price of `model` cannot change; times of day are given in minutes."""
    constraints = [one.constraint for one in model.prices] if isinstance(model.prices, list) else []
    constraints += [one.constraint for one in model.price_variants or ()]
    by_time = any(hasattr(constraint, "start_time") for constraint in constraints)
    return (at // _STEP + 1) * _STEP if by_time else inf


def _card(price: Any, until: float) -> PriceCard:
    """Return the card for a `ModelPrice`, whose attributes are numbers, tiers by number of input tokens, or None."""
    values = {name: getattr(price, key) for name, key in _RATES.items()}
    bounds = {tier.start for value in values.values() for tier in getattr(value, "tiers", ())}
    requests = getattr(price, "requests_kcount", None)
    return PriceCard(
        rates=_rates_at(values, 0),
        above=tuple((bound, _rates_at(values, bound + 1)) for bound in sorted(bounds, reverse=True)),
        per_request=None if requests is None else _number(getattr(requests, "base", requests)) / 1000,
        source=SOURCE, until=until,
    )  # fmt: skip


def _rates_at(values: Mapping[str, Any], tokens: int) -> TokenRates:
    """Return the rates for a request with this many input tokens."""
    found = {}
    for name, value in values.items():
        higher = [tier for tier in getattr(value, "tiers", ()) if tokens > tier.start]
        rate = max(higher, key=lambda tier: tier.start).price if higher else getattr(value, "base", value)
        found[name] = None if rate is None else _number(rate)
    return TokenRates(**found)


def _number(value: Any) -> float:
    number = amount(float(value))
    if number is None:
        raise ValueError("a price of the table is not a price")
    return number
