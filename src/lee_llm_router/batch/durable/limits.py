"""How fast rows are taken from a queue, by the limits of the role's first target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.batch.target_limits import limits_of_target

if TYPE_CHECKING:
    from dbos._queue import QueueRateLimit

    from lee_llm_router.router import LeeLLMRouter

_MINUTE = 60.0
_WINDOWS = 10
"""Windows per minute, so that a minute's allowance is not taken all at once. A limit below this has a longer window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """The limits of one queue. They apply to all workers together, since the database counts."""

    each_worker: int
    """Concurrent rows of one worker."""
    all_workers: int | None = None
    """Concurrent rows of all workers; None: no limit."""
    starts: int | None = None
    """Rows started in each window of `period` seconds; None: no limit."""
    period: float = 0.0

    @property
    def limiter(self) -> QueueRateLimit | None:
        """The limit of starts, in the form that DBOS takes."""
        return None if self.starts is None else {"limit": self.starts, "period": self.period}


def limits_of(router: LeeLLMRouter, role: str, concurrency: int) -> QueueLimits:
    """Return the limits for rows of `role`.

    They are those of the first target of its chain: the rows are meant for that target, and the rest of the chain is
    for its failures. Routers with a shared state (`state`) enforce all limits through it, counting each attempt, so the
    queue adds none.
    """
    if router.config.state is not None:
        return QueueLimits(each_worker=concurrency)
    limits = limits_of_target(router.config, router.resolve(role)[0])
    most, rpm = (None if limit is None else limit * limits.keys for limit in (limits.max_concurrency, limits.rpm))
    starts = None if rpm is None else max(1, rpm // _WINDOWS)
    return QueueLimits(
        each_worker=concurrency if most is None else min(concurrency, most),
        all_workers=most,
        starts=starts,
        period=0.0 if starts is None or rpm is None else _MINUTE * starts / rpm,
    )
