"""The time of one attempt, and the switch that ends it early."""

from __future__ import annotations

import selectors
from time import monotonic, sleep

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.providers.child_process.cancellation import CancelSwitch, ChildCancelledError


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeBudget:
    """The time of one attempt, and the switch that ends it early."""

    total: float
    deadline: float
    cancel: CancelSwitch | None

    @property
    def left(self) -> float:
        """The seconds left; never negative."""
        return max(0.0, self.deadline - monotonic())

    def pause(self, seconds: float) -> None:
        """Wait, at most until the deadline.

        Raises:
            ChildCancelledError: the switch was set.
        """
        seconds = min(seconds, self.left)
        if self.cancel is None:
            sleep(seconds)
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self.cancel, selectors.EVENT_READ)
            if selector.select(seconds):
                raise ChildCancelledError
