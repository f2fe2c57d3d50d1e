"""The section `pricing` of the configuration file, and models and budgets whose modules are loaded late."""

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import Field

from lee_llm_router._util.numbers import written_out
from lee_llm_router.settings.late_model import LateModel
from lee_llm_router.settings.mistakes import Mistake
from lee_llm_router.settings.model import Section

if TYPE_CHECKING:
    from lee_llm_router.telemetry.pricing.budget_settings import BudgetConfig, BudgetPeriod, ProviderBudgetConfig
    from lee_llm_router.telemetry.pricing.price_settings import ModelPriceConfig

    AnyBudget: TypeAlias = BudgetConfig
    AnyProviderBudget: TypeAlias = ProviderBudgetConfig
    AnyModelPrice: TypeAlias = ModelPriceConfig
else:
    AnyBudget = Annotated[Any, LateModel("telemetry.pricing.budget_settings", "BudgetConfig")]
    AnyProviderBudget = Annotated[Any, LateModel("telemetry.pricing.budget_settings", "ProviderBudgetConfig")]
    AnyModelPrice = Annotated[Any, LateModel("telemetry.pricing.price_settings", "ModelPriceConfig")]


class PricingConfig(Section):
    """What models cost. A vendor's own figure takes precedence, then these prices, then those of genai-prices."""

    models: dict[str, AnyModelPrice] = Field(
        default_factory=dict,
        description="Prices by provider/model. A * stands for any characters; a provider alone means all its models.",
    )
    vendors: dict[str, str] = Field(
        default_factory=dict,
        description="Vendors whose prices a provider has, as genai-prices names them: {gateway: openai}. Default: the"
        " vendor at its base_url.",
    )
    table: bool = Field(
        True, description="Take prices that are not here from genai-prices, if the extra [cost] is installed."
    )


def budget_in_words(usd: float, per: "BudgetPeriod") -> str:
    """Return what may be spent as messages say it: ``5 US dollars a day``."""
    each = {"total": "", "hour": " an hour"}.get(per, f" a {per}")
    return f"{written_out(usd)} US dollars{each}"


def written_name(pattern: str) -> tuple[str, str]:
    """Return the provider and model parts of a key of `PricingConfig.models`."""
    provider, slash, model = pattern.partition("/")
    return provider, model.lower() if slash else "*"


def unknown_priced(section: Any, providers: Any) -> list[Mistake]:
    """Return a mistake for each unknown provider in the section `pricing`, which is not validated yet."""
    found = []
    for key in ("models", "vendors"):
        names = section.get(key) if isinstance(section, dict) else getattr(section, key, None)
        for name in names if isinstance(names, dict) else ():
            provider = written_name(name)[0] if isinstance(name, str) else ""
            if isinstance(name, str) and not set("*?[") & set(provider) and provider not in providers:
                path = ("pricing", key, name)
                found.append(Mistake(path, "no such provider", at="key", word=provider, known=providers))
    return found
