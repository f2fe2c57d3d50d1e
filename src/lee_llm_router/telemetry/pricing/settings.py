"""The sections `pricing` and `budget` of the configuration file."""

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from lee_llm_router._util.numbers import written_out
from lee_llm_router.settings.fields import Integer, Number
from lee_llm_router.settings.mistakes import Mistake, validation_error
from lee_llm_router.settings.model import Section

_MOST_USD = 1e9
_Rate: TypeAlias = Annotated[Number, Field(ge=0, le=1_000_000)]

BudgetPeriod: TypeAlias = Literal["hour", "day", "week", "month", "total"]
"""The span of a budget, by the calendar in UTC; a week begins on Monday. ``total``: for ever."""


class RatesConfig(Section):
    """US dollars for a million tokens of each kind."""

    input: _Rate | None = Field(None, description="US dollars for a million input tokens.")
    output: _Rate | None = Field(None, description="US dollars for a million output tokens.")
    cached_input: _Rate | None = Field(
        None, description="US dollars for a million input tokens read from the vendor's cache. Default: as input."
    )
    cache_write: _Rate | None = Field(
        None, description="US dollars for a million input tokens written to the vendor's cache. Default: as input."
    )
    cache_write_1h: _Rate | None = Field(
        None, description="US dollars for a million of those that are kept for an hour. Default: as cache_write."
    )
    reasoning: _Rate | None = Field(
        None, description="US dollars for a million output tokens spent on reasoning. Default: as output."
    )


class LongPromptConfig(RatesConfig):
    """Rates of long prompts. They hold for all tokens of the request; a rate left out stays as it is."""

    input_tokens: Integer = Field(ge=1, le=1_000_000_000, description="For requests with more input tokens than this.")


class TierConfig(RatesConfig):
    """Prices of one service tier. What is left out stays as it is in the standard tier."""

    times: Annotated[Number, Field(ge=0, le=1000)] | None = Field(
        None, description="What the standard token prices are multiplied by, 0.5 for half of them."
    )


class ModelPriceConfig(RatesConfig):
    """What a model costs."""

    per_request: _Rate | None = Field(None, description="US dollars for each request, besides its tokens.")
    above: tuple[LongPromptConfig, ...] = Field((), max_length=20, description="Rates of long prompts.")
    tiers: dict[str, TierConfig] = Field(
        default_factory=dict, description="Prices of service tiers (flex, priority, batch), by the vendor's word."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.input is None and self.output is None and self.per_request is None:
            message = "says no price: write input and output, or per_request"
            raise validation_error("no_price", [Mistake((), message, at="key")])
        bounds = [long.input_tokens for long in self.above]
        for index, bound in enumerate(bounds):
            if bound in bounds[:index]:
                path = ("above", index, "input_tokens")
                raise validation_error("repeated", [Mistake(path, "the same number stands above already")])
        return self


class PricingConfig(Section):
    """What models cost. A vendor's own figure comes first, then these prices, then those of genai-prices."""

    models: dict[str, ModelPriceConfig] = Field(
        default_factory=dict,
        description="Prices by provider/model. A * stands for any characters; a provider alone means all its models.",
    )
    vendors: dict[str, str] = Field(
        default_factory=dict,
        description="Whose prices a provider has, by the names of genai-prices: {gateway: openai}. Default: those of"
        " the vendor at its base_url.",
    )
    table: bool = Field(
        True, description="Take prices that are not here from genai-prices, where the extra [cost] is installed."
    )


class BudgetConfig(Section):
    """How much may be spent, and what follows when it is."""

    usd: Number = Field(gt=0, le=_MOST_USD, description="US dollars that may be spent.")
    per: BudgetPeriod = Field(
        "total", description="Of each hour, day, week (from Monday) or month, in UTC; total: for ever."
    )
    on_exceed: Literal["next", "raise"] = Field(
        "next",
        description="When it is spent. next: its targets are skipped, but for those that cost nothing. raise: the call"
        " ends with a BudgetExceededError.",
    )


def budget_in_words(usd: float, per: BudgetPeriod) -> str:
    """Return what may be spent as messages say it: ``5 US dollars a day``."""
    each = {"total": "", "hour": " an hour"}.get(per, f" a {per}")
    return f"{written_out(usd)} US dollars{each}"


class ProviderBudgetConfig(BudgetConfig):
    """The budget of a provider, or of its key."""

    of: Literal["provider", "key"] = Field(
        "provider", description="key: counts what all providers spend that name the same variable in api_key_env."
    )


def written_name(pattern: str) -> tuple[str, str]:
    """Return the parts for provider and model of a key of `PricingConfig.models`."""
    provider, slash, model = pattern.partition("/")
    return provider, model.lower() if slash else "*"


def unknown_priced(section: Any, providers: Any) -> list[Mistake]:
    """Return a mistake for each provider that the section `pricing`, not validated yet, names and that is none."""
    found = []
    for key in ("models", "vendors"):
        names = section.get(key) if isinstance(section, dict) else getattr(section, key, None)
        for name in names if isinstance(names, dict) else ():
            provider = written_name(name)[0] if isinstance(name, str) else ""
            if isinstance(name, str) and not set("*?[") & set(provider) and provider not in providers:
                path = ("pricing", key, name)
                found.append(Mistake(path, "no such provider", at="key", word=provider, known=providers))
    return found
