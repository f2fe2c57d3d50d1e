"""What a vendor's batch API is to the engine: a few questions, and the limits of one batch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.batch.vendor.door import Door

MB = 1_000_000
GONE = frozenset({404, 410})
"""Statuses of what is not there, or not any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How much one batch may hold."""

    rows: int
    size: int
    """Bytes of what is uploaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A batch as it is sent."""

    token: str
    """Our own name for it, by which it is found again at the vendor."""
    path: str
    """Where each of its requests would go by itself, after the base URL."""
    rows: int
    created: float
    """When it was first meant to be sent: seconds since 1970."""
    lines: Sequence[bytes] = ()
    """Its requests, as `BatchApi.line` wrote them; empty where only the ledger is left of it."""
    file_id: str | None = None
    """The uploaded file, where the vendor wants one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """How far a batch is."""

    state: str
    """In the vendor's own word."""
    is_ended: bool
    done: int = 0
    """Requests that have ended."""
    is_wanted_later: bool = False
    """Whether the vendor has taken none of it, for want of room: the same batch may be sent later."""
    reason: str | None = None
    """Why the batch as a whole has failed, in the vendor's words."""
    results: Any = None
    """What `BatchApi.results` needs of it."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What came of one request."""

    custom_id: str | None
    """The id that we gave it; None where the vendor names none."""
    status: int
    """The status that it would have come with; 0 where it was not asked: cancelled, or its time was up."""
    body: bytes = b""


class BatchApi(Protocol):
    """One vendor's batch API. It holds no state. Each question may raise an `LLMRouterError`."""

    limits: BatchLimits
    needs_file: bool
    """Whether requests are uploaded as a file, before the batch is made of that."""

    def line(self, custom_id: str, path: str, body: Mapping[str, Any]) -> bytes:
        """Return one request as its batch holds it."""
        ...

    async def upload(self, door: Door, batch: Submission) -> str:
        """Upload the requests of a batch, and return the id of the file."""
        ...

    async def find_upload(self, door: Door, batch: Submission) -> str | None:
        """Return the id of the file that was uploaded for a batch; None if there is none."""
        ...

    async def create(self, door: Door, batch: Submission) -> str:
        """Send a batch, and return the vendor's id of it."""
        ...

    async def find(self, door: Door, batch: Submission, known: frozenset[str]) -> str | None:
        """Return the id of a batch that was sent, though its id never came; None if there is none.

        Args:
            door: Leads to the vendor.
            batch: The batch.
            known: Ids of batches that are others.
        """
        ...

    async def status(self, door: Door, batch_id: str) -> BatchStatus:
        """Return how far a batch is."""
        ...

    def results(self, door: Door, batch_id: str, status: BatchStatus) -> AsyncIterator[BatchResult]:
        """Yield what came of the requests of a batch that has ended, in any order.

        Raises:
            InvalidResponseError: the file breaks off. What came before was good.
            LLMRouterError: it cannot be fetched; its status is one of `GONE` where it is there no more.
        """
        ...

    async def cancel(self, door: Door, batch_id: str) -> None:
        """Tell the vendor to end a batch."""
        ...
