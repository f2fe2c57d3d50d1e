"""The prices in the configuration file: which entry applies to a model, and its card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from lee_llm_router.telemetry.pricing.cards import PriceCard, TokenRates
from lee_llm_router.telemetry.pricing.price_settings import ModelPriceConfig, RatesConfig
from lee_llm_router.telemetry.pricing.settings import written_name

SOURCE = "pricing"
"""The cost source for prices from the file."""


class FilePrices:
    """The prices under ``pricing: {models: ...}``.

    An entry with the full names of provider and model takes precedence over patterns. Among patterns the first one in
    the file counts. The model that served takes precedence over the requested one.
    """

    def __init__(self, models: Mapping[str, ModelPriceConfig]) -> None:
        written = [(*written_name(name), config) for name, config in models.items()]
        self._exact = {(provider, model): config for provider, model, config in written if not _has_wildcard(model)}
        self._patterns = [entry for entry in written if _has_wildcard(entry[0]) or _has_wildcard(entry[1])]

    def card(self, provider: str, models: tuple[str, ...], tier: str | None) -> PriceCard | None:
        """Return the card for the first of `models` that has one; None if none has.

        Args:
            provider: The provider's name in the configuration.
            models: Names of the model, with the one that served first.
            tier: The billed service tier; None for the standard one.
        """
        for config in self._found(provider, tuple(model.lower() for model in models)):
            return card_of(config, tier)
        return None

    def _found(self, provider: str, models: tuple[str, ...]) -> Iterator[ModelPriceConfig]:
        for model in models:
            if config := self._exact.get((provider, model)):
                yield config
        for provider_pattern, pattern, config in self._patterns:
            if fnmatchcase(provider, provider_pattern) and any(fnmatchcase(m, pattern) for m in models or ("",)):
                yield config


def card_of(config: ModelPriceConfig, tier: str | None) -> PriceCard:
    """Return the card of a price in the file; for an unknown tier, one without prices."""
    rates, factor, own = _rates(config), 1.0, None
    if tier is not None:
        own = next((one for name, one in config.tiers.items() if name.lower() == tier), None)
        if own is None:
            return PriceCard(source=SOURCE)
        factor = 1.0 if own.times is None else own.times
    above = []
    for long in sorted(config.above, key=lambda one: one.input_tokens, reverse=True):
        higher = rates.with_rates(_rates(long)).times(factor)
        above.append((long.input_tokens, higher if own is None else higher.with_rates(_rates(own))))
    rates = rates.times(factor)
    return PriceCard(
        rates=rates if own is None else rates.with_rates(_rates(own)), per_request=config.per_request,
        above=tuple(above), source=SOURCE,
    )  # fmt: skip


def _rates(config: RatesConfig) -> TokenRates:
    return TokenRates(
        input=config.input, output=config.output, cached_input=config.cached_input, cache_write=config.cache_write,
        cache_write_1h=config.cache_write_1h, reasoning=config.reasoning,
    )  # fmt: skip


def _has_wildcard(text: str) -> bool:
    return any(character in text for character in "*?[")
