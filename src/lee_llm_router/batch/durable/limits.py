"""How fast rows are taken off a queue, from the limits of the provider that the role asks first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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

    They are those of the first provider of its chain: what it takes is what the rows are meant for, and the rest of the
    chain is there for when it fails. Routers that share their state (`state`) hold all limits by it, each try of a call
    counted, so the queue adds none.
    """
    if getattr(router.config, "state", None) is not None:
        return QueueLimits(each_worker=concurrency)
    provider = router.config.providers[router.explain(role).targets[0].provider]
    # Each of several keys has the limits for itself.
    keys = len(getattr(provider, "several_keys", ())) or 1
    most, rpm = (None if limit is None else limit * keys for limit in (provider.max_concurrency, provider.rpm))
    starts = None if rpm is None else max(1, rpm // _WINDOWS)
    return QueueLimits(
        each_worker=concurrency if most is None else min(concurrency, most),
        all_workers=most,
        starts=starts,
        period=0.0 if starts is None or rpm is None else _MINUTE * starts / rpm,
    )
