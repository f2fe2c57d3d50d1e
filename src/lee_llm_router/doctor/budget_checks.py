"""Checks of budgets: how much is left of each, and whether they can count the cost of their targets."""

from __future__ import annotations

from collections.abc import Iterator
from time import time
from typing import Any

from lee_llm_router._util.hosts import host_of, is_this_machine
from lee_llm_router._util.numbers import written_out
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.doctor.partial_config import PartialConfig
from lee_llm_router.doctor.results import CheckResult, found
from lee_llm_router.doctor.role_checks import path_of_entry
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.settings.model import KeyPath
from lee_llm_router.telemetry.pricing.budgets import BudgetState
from lee_llm_router.telemetry.pricing.pricer import Pricer
from lee_llm_router.telemetry.pricing.settings import budget_in_words
from lee_llm_router.telemetry.records import target_name

_NO_MONEY = frozenset({"mock", "llama_cpp"})
"""Types of providers that cost nothing."""


def check_budgets(partial: PartialConfig, config: LLMConfig, budgets: tuple[BudgetState, ...]) -> Iterator[CheckResult]:
    """Yield findings about `budgets`, those of a router for the configuration."""
    if not budgets:
        return
    for budget in budgets:
        spent = f"{written_out(budget.spent_usd, 4)} of {budget_in_words(budget.usd, budget.per)} are spent"
        at = partial.place(_path(config, budget.scope))
        yield found("LLR711" if budget.is_spent else "LLR710", budget.scope, spent, at=at)
    told: set[tuple[str, str | None]] = set()
    pricer = pricer_of(config)
    for role, settings in config.roles.items():
        for index, entry in enumerate(config.chain(role)):
            key = (entry.provider, entry.model)
            provider = config.providers[entry.provider]
            is_within = config.budget or settings.budget or _has_budget(config, entry.provider)
            if not is_within or key in told or _is_free(provider):
                continue
            told.add(key)
            if not is_priced(pricer, entry.provider, getattr(provider, "base_url", None), entry.model):
                path = path_of_entry(index, role)
                text = "no price is known: a budget counts it only if the vendor reports what it costs"
                yield found("LLR712", target_name(*key), text, at=partial.place(path))


def _is_free(provider: ProviderConfig) -> bool:
    """Whether calls cost nothing: a mock, a model in this process, a server on this machine."""
    host = host_of(str(getattr(provider, "base_url", "") or ""))
    return provider.type in _NO_MONEY or bool(host and is_this_machine(host))


def pricer_of(config: LLMConfig) -> Pricer:
    """Return the pricer for a configuration, without an application's own price book."""
    return Pricer(config.pricing, None, _never)


def is_priced(pricer: Pricer, name: str, base_url: object, model: str | None) -> bool:
    """Return whether the price of any model of the provider `name` is known. May load the price table."""
    provider, now = pricer.provider(name, base_url), time()
    pending = pricer.look_up(provider, model, at=now)
    if pending is not None:
        pending.result()
    return pricer.card(provider, asked=model, at=now) is not None


def _has_budget(config: LLMConfig, name: str) -> bool:
    """Whether a budget of `name`, or of the key that it shares with others, applies to its attempts."""
    key = getattr(config.providers[name], "api_key_env", None)
    return any(
        provider.budget is not None
        and (other == name or (provider.budget.of == "key" and getattr(provider, "api_key_env", None) == key))
        for other, provider in config.providers.items()
    )


def _path(config: LLMConfig, scope: str) -> KeyPath:
    """Return where a scope's budget is in the file."""
    kind, _, name = scope.partition(" ")
    if kind == "role":
        return ("roles", name, "budget")
    if kind == "provider":
        return ("providers", name, "budget")
    if kind == "key":
        keys = {n: getattr(p, "api_key_env", None) for n, p in config.providers.items() if p.budget}
        name = next((n for n, k in keys.items() if name in (k, ", ".join(k) if isinstance(k, tuple) else k)), "")
        return ("providers", name, "budget")
    return ("budget",)


def _never(*_: Any) -> None:
    """Stand in for the function that calls a price book; there is none."""
