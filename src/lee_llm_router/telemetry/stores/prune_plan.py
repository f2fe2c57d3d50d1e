"""What would be deleted from a store, and the protocol of what deletes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from lee_llm_router._util.data_class import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What would be deleted from a store, and what would remain."""

    place: Path
    """The folder or the file."""
    unit: Literal["files", "records"]
    """What is counted, and deleted whole."""
    gone: int
    gone_bytes: int
    kept: int
    kept_bytes: int
    first: str | None = None
    """What is deleted, by its name or its time: the oldest."""
    last: str | None = None
    what: Any = ()
    """What the pruner that made this plan deletes."""


@runtime_checkable
class TracePruner(Protocol):
    """Deletes from one store. A store that is not of this library may have a method ``pruners()`` that returns some."""

    def plan(self, before: float | None = None, keep_bytes: float | None = None) -> PrunePlan:
        """Return what would go.

        Args:
            before: Seconds since 1970: what was written before. Infinity stands for everything.
            keep_bytes: The size that the newest may have together; the rest goes.

        Raises:
            OSError: the store cannot be read.
        """
        ...

    def carry_out(self, plan: PrunePlan) -> int:
        """Delete what `plan` names, and return how many of it were deleted.

        Raises:
            OSError: something could not be; what came before it is gone.
        """
        ...
