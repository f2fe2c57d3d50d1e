"""What one model costs: rates for each kind of token, and the cost of a usage. Pure.

A usage counts cached tokens and cache writes within the prompt, and reasoning within the completion. So each kind with
its own rate is subtracted from the total before the rest is multiplied, and nothing is counted twice. A kind without
its own rate is charged at the rate of the total. An unknown cost is None, never 0.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.numbers import amount
from lee_llm_router.response.types import LLMUsage

_PER = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRates:
    """US dollars per million tokens of each kind. None: no rate of its own."""

    input: float | None = None
    output: float | None = None
    cached_input: float | None = None
    """Tokens read from the vendor's cache."""
    cache_write: float | None = None
    """Tokens written to the vendor's cache."""
    cache_write_1h: float | None = None
    """Cache writes kept for an hour."""
    reasoning: float | None = None

    def times(self, factor: float) -> TokenRates:
        """Return the same rates, multiplied."""
        return TokenRates(**{
            name: None if rate is None else rate * factor for name, rate in self.by_name().items()
        })  # fmt: skip

    def with_rates(self, other: TokenRates) -> TokenRates:
        """Return these rates, with those set in `other` replacing them."""
        return replace(self, **{name: rate for name, rate in other.by_name().items() if rate is not None})

    def by_name(self) -> dict[str, float | None]:
        """Return the rates by the names of their fields."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceCard:
    """What a model of a provider costs in one service tier."""

    rates: TokenRates = TokenRates()
    per_request: float | None = None
    """US dollars per request, in addition to its tokens."""
    above: tuple[tuple[int, TokenRates], ...] = ()
    """Rates of long prompts, the largest number first: they apply to all tokens of a request with more input tokens
    than the number."""
    source: str
    """The source of the price, as in `TraceRecord.cost_source`."""
    until: float = inf
    """The time, in seconds since 1970, until which it is known to apply."""

    def times(self, factor: float) -> PriceCard:
        """Return the same card, with token prices multiplied."""
        above = tuple((tokens, rates.times(factor)) for tokens, rates in self.above)
        return replace(self, rates=self.rates.times(factor), above=above)

    @property
    def knows_nothing(self) -> bool:
        """Whether it has no price."""
        return self.per_request is None and not self.above and self.rates == TokenRates()

    @property
    def is_free(self) -> bool:
        """Whether it says that everything is free."""
        return (
            all(
                rates.input == 0 and not any(rates.by_name().values())
                for rates in (self.rates, *(rates for _, rates in self.above))
            )
            and not self.per_request
        )

    def cost_of(self, usage: LLMUsage, *, has_output: bool = True) -> float | None:
        """Return what `usage` costs in US dollars; None if that is not known.

        Args:
            usage: The reported tokens.
            has_output: Whether the answer consists of tokens; an embedding does not.
        """
        prompt, completion, reasoning = usage.prompt_tokens, usage.completion_tokens, usage.reasoning_tokens or 0
        total = usage.total_tokens
        if prompt is None or completion is None:
            prompt, completion = _completed(prompt, completion, total, has_output)
        elif reasoning and total == prompt + completion + reasoning:  # a vendor that counts reasoning separately (xAI)
            completion += reasoning
        if prompt is None or completion is None:
            return None
        rates = self.rates
        for tokens, higher in self.above:
            if prompt > tokens:
                rates = higher
                break
        cost, fresh, written = 0.0, prompt, completion
        if rates.cached_input is not None and usage.cached_tokens:
            fresh -= usage.cached_tokens
            cost += usage.cached_tokens * rates.cached_input
        if usage.cache_write_tokens and rates.cache_write is not None:
            fresh -= usage.cache_write_tokens
            cost += _cache_writes(usage, rates, rates.cache_write)
        if rates.reasoning is not None and reasoning:
            written -= reasoning
            cost += reasoning * rates.reasoning
        return self._whole(cost, rates, fresh, written)

    def _whole(self, cost: float, rates: TokenRates, fresh: int, written: int) -> float | None:
        if fresh < 0 or written < 0:  # parts larger than their total: such counts are not credible
            return None
        is_by_request = self.per_request is not None and rates.input is None and rates.output is None
        if not is_by_request:
            if (fresh and rates.input is None) or (written and rates.output is None):
                return None
            cost += fresh * (rates.input or 0.0) + written * (rates.output or 0.0)
            if rates.input is None and rates.output is None and not cost:
                return None
        return amount(cost / _PER + (self.per_request or 0.0))


def _cache_writes(usage: LLMUsage, rates: TokenRates, rate: float) -> float:
    """Return the cost of the tokens written to the cache; those kept for an hour have their own rate."""
    written, kept = usage.cache_write_tokens or 0, usage.cache_write_1h_tokens or 0
    if rates.cache_write_1h is None or kept > written:
        return written * rate
    return (written - kept) * rate + kept * rates.cache_write_1h


def _completed(
    prompt: int | None, completion: int | None, total: int | None, has_output: bool
) -> tuple[int | None, int | None]:
    """Return prompt and completion tokens; derive an unreported one from the total."""
    if not has_output:
        return (total if prompt is None else prompt), completion or 0
    if total is not None:
        if prompt is None and completion is not None and total >= completion:
            return total - completion, completion
        if completion is None and prompt is not None and total >= prompt:
            return prompt, total - prompt
    return prompt, completion


BATCH_TIER = "batch"
"""The tier of answers from a vendor's batch API."""
BATCH_SHARE = 0.5
"""Their price as a fraction of the plain price, if no other is known: OpenAI, Anthropic and Google all say 50%
(platform.openai.com/docs/guides/batch, docs.claude.com on batch processing, ai.google.dev on the Batch API)."""

_STANDARD_TIERS = frozenset({"", "default", "standard", "standard_only", "auto", "on_demand", "normal"})
"""Vendors' words for the tier with the plain price."""


def tier_word(served: str | None, asked: str | None) -> str | None:
    """Return the billed tier in lower case: the one that served, or else the one requested; None for the plain tier."""
    word = (served or asked or "").lower()
    return None if word in _STANDARD_TIERS else word
