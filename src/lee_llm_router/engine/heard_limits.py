"""Reads the limits that an attempt reports. A router without limits loads only this module of that code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.engine.operation import Operation
from lee_llm_router.errors import LLMRouterError

if TYPE_CHECKING:
    from lee_llm_router.health.minute_window import LimitsLeft


@dataclass(frozen=True, slots=True)
class Heard:
    """The arguments of `Health.release` for the limits that an attempt reports."""

    tokens: int | None = None
    left: LimitsLeft | None = None


NOTHING_HEARD = Heard()


def heard(operation: Operation, said: Any, now: float) -> Heard:
    """Return the tokens that an attempt used and the limits its vendor has left, as far as it reports them.

    Args:
        operation: The operation of the call.
        said: The answer, or the error.
        now: Seconds since 1970.
    """
    try:
        return (_read or _loaded())(operation, said, now)
    except Exception:  # noqa: BLE001 - third-party answers and headers
        return NOTHING_HEARD


_read: Callable[[Operation, Any, float], Heard] | None = None


def _loaded() -> Callable[[Operation, Any, float], Heard]:
    global _read  # noqa: PLW0603 - an import statement costs a microsecond each time
    from lee_llm_router.engine.limits_left import limits_left, tokens_used  # noqa: PLC0415 - few have limits

    def read(operation: Operation, said: Any, now: float) -> Heard:
        headers = said.headers if isinstance(said, LLMRouterError) else operation.facts(said).headers
        return Heard(tokens_used(operation, said), limits_left(headers, now) if headers else None)

    _read = read
    return read
