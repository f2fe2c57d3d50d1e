"""Checks on numbers that come from outside: what cannot be true counts as not said."""

from __future__ import annotations

import math
from typing import Any

MAX_WAIT = 7 * 86400.0
"""Seconds: no vendor is believed to mean more than a week."""

MAX_COUNT = 10**12
"""No number of tokens or bytes, and no amount of dollars, is believed to be larger."""


def wait_seconds(value: Any) -> float | None:
    """Return `value` as seconds to wait, `MAX_WAIT` at most; None if it is negative, not finite or no number."""
    number = _number(value)
    return None if number is None else float(min(number, MAX_WAIT))


def count(value: Any) -> int | None:
    """Return `value` if it can be a number of tokens or bytes, else None. A whole float counts as the integer."""
    number = _number(value)
    if number is None or number > MAX_COUNT:
        return None
    return int(number) if number == int(number) else None


def amount(value: Any) -> float | None:
    """Return `value` if it can be an amount of US dollars, else None."""
    number = _number(value)
    return None if number is None or number > MAX_COUNT else float(number)


def _number(value: Any) -> int | float | None:
    """Return `value` if it is a finite number, not below zero, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if value >= 0 and (isinstance(value, int) or math.isfinite(value)) else None
