"""The calendar of budgets, in UTC: which hour, day, week or month a time belongs to, and when that ends. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf

from lee_llm_router.telemetry.pricing.budget_settings import BudgetPeriod

_HOUR, _DAY = 3600, 86_400
_FIRST_MONDAY = 4 * _DAY
"""The first Monday of 1970."""


def period_name(per: BudgetPeriod, at: float) -> str:
    """Return the name of the period that contains `at`, in seconds since 1970: ``2026-11-26`` for a day."""
    if per == "total":
        return "total"
    moment = datetime.fromtimestamp(at, UTC)
    if per == "week":
        year, week, _ = moment.isocalendar()
        return f"{year}-W{week:02d}"
    return moment.strftime({"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}[per])


def period_end(per: BudgetPeriod, at: float) -> float:
    """Return the end of the period that contains `at`, both in seconds since 1970; infinity for ``total``."""
    if per == "total":
        return inf
    if per == "month":
        first = datetime.fromtimestamp(at, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return (first + timedelta(days=32)).replace(day=1).timestamp()
    if per == "week":
        return ((at - _FIRST_MONDAY) // (7 * _DAY) + 1) * 7 * _DAY + _FIRST_MONDAY
    length = _HOUR if per == "hour" else _DAY
    return (at // length + 1) * length
