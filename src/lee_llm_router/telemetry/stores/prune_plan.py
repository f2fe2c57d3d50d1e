"""What would be deleted from a store, and the protocol for deleting it."""

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
    """What is counted, and deleted as a whole."""
    gone: int
    gone_bytes: int
    kept: int
    kept_bytes: int
    first: str | None = None
    """The oldest item to delete, by its name or its time."""
    last: str | None = None
    what: Any = ()
    """What the pruner that made this plan will delete."""


@runtime_checkable
class TracePruner(Protocol):
    """Deletes from one store. A third-party store may have a method ``pruners()`` that returns some."""

    def plan(self, before: float | None = None, keep_bytes: float | None = None) -> PrunePlan:
        """Return what would be deleted.

        Args:
            before: Seconds since 1970: delete what was written earlier. Infinity means everything.
            keep_bytes: The total size of the newest to keep; delete the rest.

        Raises:
            OSError: the store cannot be read.
        """
        ...

    def carry_out(self, plan: PrunePlan) -> int:
        """Delete what `plan` names, and return how many items were deleted.

        Raises:
            OSError: an item could not be deleted; earlier ones are gone.
        """
        ...
