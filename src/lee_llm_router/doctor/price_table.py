"""What the table of genai-prices says about models, offline: known or not, deprecated, the size of their window.

The package is an extra. Its table ages, so an entry missing from it is not a fault by itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from lee_llm_router._util.clock import SYSTEM_CLOCK
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.log import logger
from lee_llm_router._util.scrubbing import bounded, text_of_exception
from lee_llm_router._util.suggestions import MAX_WORD
from lee_llm_router.config.models import ChainEntry, LLMConfig
from lee_llm_router.response.types import LLMUsage
from lee_llm_router.telemetry.pricing.cards import tier_word
from lee_llm_router.telemetry.pricing.pricer import Pricer
from lee_llm_router.telemetry.pricing.table import price_table

_DIGITS = re.compile(r"\d+")
_NEAR = 0.8
_NO_TEXT = re.compile(
    r"(?:^|[-_./])(?:embed(?:ding|dings)?|rerank(?:er)?|tts|whisper|transcribe|moderation|dall-e)(?:$|[-_./:0-9])"
)
"""Words in the names of models that do not answer a chat with text."""
_OF_CLOUD = "aiplatform."
"""Part of the address of Google's cloud, which serves models of many vendors."""
_GATEWAYS = frozenset({"azure", "aws", "openrouter", "databricks", "cloudflare", "github-copilot", "modal", "baseten"})
"""Vendors that serve other vendors' models, or deployments named by their users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the table says about a model of a vendor."""

    vendor: str
    """The vendor's name in the table."""
    is_known: bool
    near: str | None = None
    """The model that was meant, if it has nearly the same spelling."""
    elsewhere: str | None = None
    """The vendor that has it instead."""
    is_deprecated: bool = False
    gives_text: bool = True
    context_window: int | None = None


def facts_of(model: str, base_url: str) -> ModelFacts | None:
    """Return what the table says about `model` at the server `base_url`; None if it does not know the server."""
    try:
        return _facts(model, base_url)
    except Exception as error:  # noqa: BLE001 - a table that cannot be used must not end the checks
        _say_broken(bounded(text_of_exception(error)))
        return None


@cache
def _say_broken(reason: str) -> None:
    """Report once that the table cannot be used."""
    logger.warning("the price table cannot be used, so models are not checked against it: %s", reason)


def _facts(model: str, base_url: str) -> ModelFacts | None:
    snapshot = _snapshot()
    vendor = None if snapshot is None else _vendor(snapshot, base_url)
    if snapshot is None or vendor is None or len(model) > 4 * MAX_WORD:
        return None
    known = _found(vendor, snapshot, model)
    is_gateway = vendor.id in _GATEWAYS or vendor.id.startswith("huggingface") or _OF_CLOUD in base_url
    if known is None:
        near = None if is_gateway else _near(model, [one.id for one in vendor.models])
        elsewhere = None if is_gateway or near else _elsewhere(snapshot, vendor, model)
        return ModelFacts(
            vendor=vendor.name, is_known=False, near=near, elsewhere=elsewhere, gives_text=_talks(model, None)
        )
    return ModelFacts(
        vendor=vendor.name, is_known=True, is_deprecated=known.deprecated is True,
        gives_text=_talks(model, known), context_window=known.context_window,
    )  # fmt: skip


@cache
def _snapshot() -> Any:
    try:
        from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - an extra, and slow to load
    except ImportError:
        return None
    return get_snapshot()


def _vendor(snapshot: Any, base_url: str) -> Any:
    for vendor in snapshot.providers:
        try:
            if re.match(vendor.api_pattern, base_url):
                return vendor
        except re.error:
            continue
    return None


def _found(vendor: Any, snapshot: Any, model: str) -> Any:
    name = model.removeprefix("models/")
    found = vendor.find_model(name, all_providers=snapshot.providers)
    bare = name.rpartition("/")[2]  # some addresses of a vendor want its name as a prefix: google/gemini-...
    return found if found is not None or bare == name else vendor.find_model(bare, all_providers=snapshot.providers)


def _elsewhere(snapshot: Any, asked: Any, model: str) -> str | None:
    """Return the vendor that makes `model`, judged by its model names, if it is not the one in use."""
    if "/" in model or ":" in model:
        return None
    for vendor in snapshot.providers:
        if vendor is asked or vendor.id in _GATEWAYS or vendor.model_match is None:
            continue
        if vendor.model_match.is_match(model.lower()) and _found(vendor, snapshot, model) is not None:
            return str(vendor.name)
    return None


def _near(model: str, known: Sequence[str]) -> str | None:
    """Return the known model with nearly the same spelling and the same numbers: other numbers mean other models."""
    from difflib import get_close_matches  # noqa: PLC0415 - only what is unknown needs it

    if model.startswith("ft:") or len(model) > MAX_WORD:
        return None
    numbers = _DIGITS.findall(model)
    alike = [one for one in known if _DIGITS.findall(one) == numbers]
    return next(iter(get_close_matches(model.lower(), alike, 1, _NEAR)), None)


def _talks(model: str, known: Any) -> bool:
    """Whether a model answers a chat with text, as far as its name tells."""
    if _NO_TEXT.search(model.lower()):
        return False
    prices = getattr(known, "prices", None)
    if isinstance(prices, list):
        prices = prices[-1].prices if prices else None
    if prices is None:
        return True
    tokens = [getattr(prices, name, None) for name in ("input_mtok", "output_mtok")]
    return any(price is not None for price in tokens) or not any(value is not None for value in vars(prices).values())


def most_usd(config: LLMConfig, target: ChainEntry, input_tokens: int, output_tokens: int) -> float | None:
    """Return the highest possible cost of a call to a target in US dollars; None if no price is known.

    Prices come from the file, or else from the table, as for a call of the router.
    """
    if not target.model:
        return None
    now, settings = SYSTEM_CLOCK.time(), config.providers[target.provider]
    pricer = Pricer(config.pricing, None, lambda *_: None)
    provider = pricer.provider(target.provider, getattr(settings, "base_url", None))
    if provider.vendor is not None:
        price_table().find(provider.vendor, target.model, now)
    card = pricer.card(provider, asked=target.model, tier=tier_word(None, target.settings.service_tier), at=now)
    usage = LLMUsage(
        prompt_tokens=input_tokens, completion_tokens=output_tokens, total_tokens=input_tokens + output_tokens
    )
    return None if card is None else card.cost_of(usage)
