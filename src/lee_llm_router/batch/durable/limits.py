"""How fast rows are taken off a queue, from the limits of the target that the role asks first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.batch.target_limits import limits_of_target

if TYPE_CHECKING:
    from dbos._queue import QueueRateLimit

    from lee_llm_router.router import LeeLLMRouter

_MINUTE = 60.0
_WINDOWS = 10
"""Windows to a minute: what a minute allows is not taken all at once. A limit below it has a longer window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """The limits of one queue. All workers keep them together, since the database counts."""

    each_worker: int
    """Rows that one worker asks at once."""
    all_workers: int | None = None
    """Rows that all workers ask at once; None: no limit."""
    starts: int | None = None
    """Rows that are begun in each window of `period` seconds; None: no limit."""
    period: float = 0.0

    @property
    def limiter(self) -> QueueRateLimit | None:
        """The limit of starts, as DBOS takes it."""
        return None if self.starts is None else {"limit": self.starts, "period": self.period}


def limits_of(router: LeeLLMRouter, role: str, concurrency: int) -> QueueLimits:
    """Return the limits for rows of `role`.

    They are those of the first target of its chain: what it takes is what the rows are meant for, and the rest of the
    chain is there for when it fails. Routers that share their state (`state`) hold all limits by it, each try of a call
    counted, so the queue adds none.
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
