"""Asks what an attempt says of its limits. A router without limits loads no more of it than this."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypedDict

from lee_llm_router.engine.operation import Operation
from lee_llm_router.errors import LLMRouterError

if TYPE_CHECKING:
    from lee_llm_router.health.minute_window import LimitsLeft


class Heard(TypedDict, total=False):
    """The arguments of `Health.release` for what an attempt says of its limits."""

    tokens: int | None
    left: LimitsLeft | None


NOTHING_HEARD = Heard()


def heard(operation: Operation, said: Any, now: float) -> Heard:
    """Return the tokens that an attempt used, and what its vendor has left, as far as it says so.

    Args:
        operation: What was asked.
        said: The answer, or the error.
        now: Seconds since 1970.
    """
    from lee_llm_router.engine.limits_left import limits_left, tokens_used  # noqa: PLC0415 - few have limits

    with suppress(Exception):  # answers and headers of somebody else's
        headers = said.headers if isinstance(said, LLMRouterError) else operation.facts(said).headers
        return Heard(tokens=tokens_used(operation, said), left=limits_left(headers, now))
    return NOTHING_HEARD
