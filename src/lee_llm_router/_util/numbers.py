"""Checks numbers from outside: an impossible value counts as missing."""

from __future__ import annotations

import math
from typing import Any

MAX_WAIT = 7 * 86400.0
"""Seconds: the longest wait accepted from a vendor, one week."""

MAX_COUNT = 10**12
"""The largest plausible number of tokens, bytes, or US dollars."""


def wait_seconds(value: Any) -> float | None:
    """Return `value` as seconds to wait, at most `MAX_WAIT`; None if it is negative, not finite or not a number."""
    number = _number(value)
    return None if number is None else float(min(number, MAX_WAIT))


def count(value: Any) -> int | None:
    """Return `value` if it can be a number of tokens or bytes, otherwise None. A whole float becomes an integer."""
    if type(value) is int and 0 <= value <= MAX_COUNT:  # nearly all
        return value
    number = _number(value)
    if number is None or number > MAX_COUNT:
        return None
    return int(number) if number == int(number) else None


def amount(value: Any) -> float | None:
    """Return `value` if it can be an amount of US dollars, otherwise None."""
    number = _number(value)
    return None if number is None or number > MAX_COUNT else float(number)


def written_out(number: float, digits: int = 6) -> str:
    """Return `number` with this many significant digits, without an exponent: ``0.000001`` and ``31700``, no
    ``e+04``."""
    short = f"{number:.{digits}g}"
    if "e" not in short:
        return short
    from decimal import Decimal  # noqa: PLC0415 - few numbers need it

    return f"{Decimal(short):f}"


def _number(value: Any) -> int | float | None:
    """Return `value` if it is a finite number that is not negative, otherwise None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if value >= 0 and (isinstance(value, int) or math.isfinite(value)) else None
