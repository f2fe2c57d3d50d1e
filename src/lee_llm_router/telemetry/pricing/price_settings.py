"""The settings for the price of a model; loaded if a file has some."""

from typing import Annotated, Self, TypeAlias

from pydantic import Field, model_validator

from lee_llm_router.settings.fields import Integer, Number
from lee_llm_router.settings.mistakes import Mistake, validation_error
from lee_llm_router.settings.model import Section

_Rate: TypeAlias = Annotated[Number, Field(ge=0, le=1_000_000)]


class RatesConfig(Section):
    """US dollars per million tokens of each kind."""

    input: _Rate | None = Field(None, description="US dollars for a million input tokens.")
    output: _Rate | None = Field(None, description="US dollars for a million output tokens.")
    cached_input: _Rate | None = Field(
        None, description="US dollars for a million input tokens read from the vendor's cache. Default: as input."
    )
    cache_write: _Rate | None = Field(
        None, description="US dollars for a million input tokens written to the vendor's cache. Default: as input."
    )
    cache_write_1h: _Rate | None = Field(
        None, description="US dollars for a million of those kept for an hour. Default: as cache_write."
    )
    reasoning: _Rate | None = Field(
        None, description="US dollars for a million output tokens spent on reasoning. Default: as output."
    )


class LongPromptConfig(RatesConfig):
    """Rates of long prompts. They apply to all tokens of the request; omitted rates stay unchanged."""

    input_tokens: Integer = Field(ge=1, le=1_000_000_000, description="For requests with more input tokens than this.")


class TierConfig(RatesConfig):
    """Prices of one service tier. Omitted ones are those of the standard tier."""

    times: Annotated[Number, Field(ge=0, le=1000)] | None = Field(
        None, description="Factor on the standard token prices: 0.5 halves them."
    )


class ModelPriceConfig(RatesConfig):
    """What a model costs."""

    per_request: _Rate | None = Field(None, description="US dollars for each request, in addition to its tokens.")
    above: tuple[LongPromptConfig, ...] = Field((), max_length=20, description="Rates of long prompts.")
    tiers: dict[str, TierConfig] = Field(
        default_factory=dict, description="Prices of service tiers, by the vendor's name: flex, priority, batch."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.input is None and self.output is None and self.per_request is None:
            message = "names no price: write input and output, or per_request"
            raise validation_error("no_price", [Mistake((), message, at="key")])
        bounds = [long.input_tokens for long in self.above]
        for index, bound in enumerate(bounds):
            if bound in bounds[:index]:
                path = ("above", index, "input_tokens")
                raise validation_error("repeated", [Mistake(path, "the same number is already above")])
        return self
