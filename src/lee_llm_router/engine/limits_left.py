"""What an answer says about per-minute limits: the tokens it used, and what the vendor has left.

How this works
--------------
The headers of all vendors have one shape: a name with ``ratelimit``, a unit (``tokens`` or ``requests``) and
``remaining``, and next to it the same name with ``reset``. OpenAI writes ``x-ratelimit-remaining-tokens: 149984`` and
``x-ratelimit-reset-tokens: 6m0s``, Anthropic ``anthropic-ratelimit-tokens-remaining`` and a moment. ``RateLimit:
"default";r=50;t=30`` (the IETF draft) says both at once. A name without a unit counts requests. Names with an extra
word (``input-tokens``, ``tokens-month``) are about limits that the file does not have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from lee_llm_router._util.answer_headers import AnswerHeaders
from lee_llm_router.engine.operation import Operation
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.health.minute_window import AmountLeft, LimitsLeft
from lee_llm_router.providers.http.dialects.waits import number_in, seconds_in, server_time
from lee_llm_router.response.types import LLMUsage

_OF_ANOTHER_LIMIT = frozenset(
    {"input", "output", "day", "days", "month", "hour", "week", "year", "second", "concurrent", "bysize", "images"}
)
"""Words in a name that mean a part of the tokens, or a period other than a minute."""
_ITEM = re.compile(r"\b(r|t|remaining|reset)\s*=\s*\"?([0-9.]{1,20})")
_LONGEST_DURATION = 9
"""Characters of a duration; longer values (``2026-11-26T19:00:00Z``, ``1764180000``) are read as moments, or slowly."""
_PLAIN_NAMES = ("ratelimit", "x-ratelimit")


def tokens_used(operation: Operation, said: Any) -> int | None:
    """Return the tokens that an attempt used, judging by its result; None if the result does not tell.

    Args:
        operation: The operation of the call.
        said: The answer, or the error. An attempt that sent nothing, or was refused (a 4xx status), has used none.
    """
    if isinstance(said, LLMRouterError):
        if said.response is not None and (used := _total(said.response.usage)) is not None:
            return used
        is_refused = said.status_code is not None and 400 <= said.status_code < 500
        return None if said.sent and not is_refused else 0
    return _total(operation.facts(said).usage)


def _total(usage: LLMUsage) -> int | None:
    if usage.total_tokens is not None:
        return usage.total_tokens
    parts = [part for part in (usage.prompt_tokens, usage.completion_tokens) if part is not None]
    return sum(parts) if parts else None


def limits_left(headers: Mapping[str, str], now: float) -> LimitsLeft | None:
    """Return what is left of a vendor's per-minute limits according to `headers`; None if they do not tell.

    Of several limits for one unit, the one with the least left counts.

    Args:
        headers: The headers of an answer, by lower-case name.
        now: Seconds since 1970.
    """
    of_answer = headers if isinstance(headers, AnswerHeaders) else AnswerHeaders.from_mapping(headers)
    told = of_answer.bare(b"ratelimit", b"rate-limit")
    if not told:
        return None
    least: dict[str, AmountLeft] = {}
    for name, value in told.items():
        if name in _PLAIN_NAMES:
            for unit, left in _left_in_items(value):
                _keep_less(least, unit, left)
        elif (part := _part_of(name)) is not None and (amount := number_in(value)) is not None:
            unit, beside = part
            reset = told.get(beside, "")
            if len(reset) > _LONGEST_DURATION:  # a moment: compare it with the clock of the answer
                resets_in = seconds_in(reset, server_time(of_answer.bare(b"date"), now))
            else:
                resets_in = seconds_in(reset, now) if reset else None
            _keep_less(least, unit, AmountLeft(amount, resets_in))
    return LimitsLeft(least.get("requests"), least.get("tokens")) if least else None


def _keep_less(least: dict[str, AmountLeft], unit: str, left: AmountLeft) -> None:
    known = least.get(unit)
    if known is None or left.amount < known.amount:
        least[unit] = left


@lru_cache(maxsize=256)
def _part_of(name: str) -> tuple[str, str] | None:
    """Return the unit of a header with a remaining amount, and the name of its reset header; None if it is not one."""
    words = set(name.replace("_", "-").split("-"))
    if "remaining" not in words or words & _OF_ANOTHER_LIMIT:
        return None
    return "tokens" if words & {"tokens", "token"} else "requests", name.replace("remaining", "reset")


def _left_in_items(value: str) -> Iterator[tuple[str, AmountLeft]]:
    """Yield the amounts in ``"tokens";r=50;t=30`` or ``limit=100, remaining=50, reset=30``."""
    for item in value.split(",") if ";" in value else [value]:
        fields = dict(_ITEM.findall(item))
        amount = number_in(fields.get("r", fields.get("remaining")))
        if amount is not None:
            resets_in = number_in(fields.get("t", fields.get("reset")))
            yield "tokens" if "token" in item.lower() else "requests", AmountLeft(amount, resets_in)
