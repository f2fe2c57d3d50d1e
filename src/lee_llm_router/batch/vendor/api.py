"""The engine's interface to a vendor's batch API: a few requests, and the limits of one batch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.batch.vendor.door import Door

MB = 1_000_000
GONE = frozenset({404, 410})
"""HTTP statuses of something that does not exist, or no longer does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How much one batch may hold."""

    rows: int
    size: int
    """Bytes of the upload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A batch to send."""

    token: str
    """Our own name for it, by which it can be found at the vendor."""
    path: str
    """The path, after the base URL, to which each of its requests would go on its own."""
    rows: int
    created: float
    """When it was first about to be sent: seconds since 1970."""
    lines: Sequence[bytes] = ()
    """Its requests, as `BatchApi.line` wrote them; empty if only its entry in the ledger is left."""
    file_id: str | None = None
    """The uploaded file, if the vendor requires one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """The progress of a batch."""

    state: str
    """The vendor's own word."""
    is_ended: bool
    done: int = 0
    """Requests that have ended."""
    is_wanted_later: bool = False
    """Whether the vendor has accepted none of it, for lack of capacity: the same batch may be sent later."""
    reason: str | None = None
    """Why the batch as a whole has failed, in the vendor's words."""
    results: Any = None
    """The data that `BatchApi.results` needs."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of one request."""

    custom_id: str | None
    """The id that we gave it; None if the vendor returns none."""
    status: int
    """The HTTP status it would have had; 0 if it was not made: cancelled or expired."""
    body: bytes = b""


class BatchApi(Protocol):
    """One vendor's batch API. It holds no state. Each method may raise an `LLMRouterError`."""

    limits: BatchLimits
    needs_file: bool
    """Whether requests are uploaded as a file before the batch is created from it."""

    def line(self, custom_id: str, path: str, body: Mapping[str, Any]) -> bytes:
        """Return one request in the form of a batch."""
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
        """Return the id of a batch that was sent but whose id was never received; None if there is none.

        Args:
            door: Leads to the vendor.
            batch: The batch.
            known: Ids of other batches.
        """
        ...

    async def status(self, door: Door, batch_id: str) -> BatchStatus:
        """Return the progress of a batch."""
        ...

    def results(self, door: Door, batch_id: str, status: BatchStatus) -> AsyncIterator[BatchResult]:
        """Yield the results of a batch that has ended, in any order.

        Raises:
            InvalidResponseError: the file breaks off. The results before that are good.
            LLMRouterError: it cannot be fetched; its status is in `GONE` if it no longer exists.
        """
        ...

    async def cancel(self, door: Door, batch_id: str) -> None:
        """Ask the vendor to end a batch."""
        ...
