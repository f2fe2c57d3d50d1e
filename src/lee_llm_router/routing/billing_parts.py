"""Builds the parts of a router that price its attempts and hold its budgets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.home_paths import expand_home
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.engine.billing import Billing
from lee_llm_router.errors import ConfigError
from lee_llm_router.telemetry.pricing.budget_settings import ProviderBudgetConfig
from lee_llm_router.telemetry.pricing.budgets import Budget
from lee_llm_router.telemetry.pricing.contract import BudgetLedger, PriceBook
from lee_llm_router.telemetry.pricing.ledger_file import FileLedger
from lee_llm_router.telemetry.pricing.need import needs_prices
from lee_llm_router.telemetry.pricing.pricer import ListenerCall, Pricer
from lee_llm_router.telemetry.pricing.spending import Spending


def open_billing(
    config: LLMConfig,
    *,
    prices: PriceBook | None,
    ledger: BudgetLedger | None,
    folder: Callable[[], Path],
    clock: Clock,
    call_listener: ListenerCall,
    before: Billing | None = None,
) -> Billing:
    """Return the billing of a router that has prices or budgets.

    Args:
        config: The configuration.
        prices: The application's own prices.
        ledger: Keeps the amounts spent; None means a file.
        folder: Returns the folder of that file; called only if there are budgets.
        clock: Tells the current period of the budgets.
        call_listener: Calls `prices`.
        before: The billing of the previous configuration, whose sums are taken over.
    """
    base_urls = {name: getattr(provider, "base_url", None) for name, provider in config.providers.items()}
    is_priced = prices is not None or needs_prices(config.pricing, base_urls.values())
    pricer = Pricer(config.pricing, prices, call_listener) if is_priced else None
    budgets: dict[str, tuple[Budget, ...]] = {}
    if config.has_budgets:
        spending, now = _spending(ledger, folder, before), clock.time()
        budgets = _budgets(config, spending)
        spending.load(budget.account(now) for found in budgets.values() for budget in found)
    return Billing(pricer, budgets, base_urls)


def _spending(ledger: BudgetLedger | None, folder: Callable[[], Path], before: Billing | None) -> Spending:
    if ledger is None:
        try:
            ledger = FileLedger(folder())
        except OSError as error:
            raise ConfigError(f"there is no folder to keep budgets in: {error.strerror}", sent=False) from None
    old = None if before is None else before.spending
    if old is not None and (old.ledger is ledger or _same_file(old.ledger, ledger)):
        return old
    return Spending(ledger)


def _same_file(one: BudgetLedger, other: BudgetLedger) -> bool:
    return isinstance(one, FileLedger) and isinstance(other, FileLedger) and one.path == other.path


def _budgets(config: LLMConfig, spending: Spending) -> dict[str, tuple[Budget, ...]]:
    """Return the budgets by scope: ``""`` for all calls, ``role NAME``, ``provider NAME``."""
    found: dict[str, tuple[Budget, ...]] = {}
    if config.budget is not None:
        found[""] = (Budget("all calls", config.budget, spending),)
    for name, role in config.roles.items():
        if role.budget is not None:
            found[f"role {name}"] = (Budget(f"role {name}", role.budget, spending),)
    for name, provider in config.providers.items():
        key = getattr(provider, "api_key_env", None)
        if not isinstance(provider.budget, ProviderBudgetConfig):
            continue
        if provider.budget.of == "key" and isinstance(key, (str, tuple)):
            name_of_key = key if isinstance(key, str) else ", ".join(map(str, key))
            budget = Budget(f"key {name_of_key}", provider.budget, spending)
            for other, config_of_other in config.providers.items():
                if getattr(config_of_other, "api_key_env", None) == key:
                    found[f"provider {other}"] = (*found.get(f"provider {other}", ()), budget)
        else:
            own = Budget(f"provider {name}", provider.budget, spending)
            found[f"provider {name}"] = (*found.get(f"provider {name}", ()), own)
    return found


def ledger_folder(config: LLMConfig, trace_dir: object, workspace: object) -> Path:
    """Return the folder of the spending file: the trace folder.

    Raises:
        OSError: the path begins with ``~``, and there is no home.
    """
    named: dict[str, str] = {}
    if workspace is not None:
        named["workspace"] = str(expand_home(Path(str(workspace))).absolute())
    if trace_dir is not None:
        named["dir"] = str(expand_home(Path(str(trace_dir))))
    return (config.trace.changed(named) if named else config.trace).trace_folder.absolute()
