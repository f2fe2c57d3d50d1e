"""What any process writes to a store from now on: records as they come, and calls as they end."""

from __future__ import annotations

from typing import Any, NamedTuple

from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.telemetry.joining import CallJoiner
from lee_llm_router.telemetry.records import TraceRecord
from lee_llm_router.telemetry.scanning import TraceScanner


class TailRead(NamedTuple):
    """What has come since the last look."""

    records: list[TraceRecord]
    calls: list[TracedCall]
    """The calls that have ended, each once. A failed one comes with the next look: the targets that it could not ask
    are written after its end."""


class TraceTail:
    """Reads what is written after its creation.

    Args:
        store: The store. It need not exist yet.

    Raises:
        OSError: the store cannot be read.
    """

    def __init__(self, store: TraceScanner) -> None:
        self._store = store
        self._joiner: CallJoiner[TraceRecord] = CallJoiner()
        self._position: Any = store.poll(None)[1]

    def read(self) -> TailRead:
        """Return what has been written since the last look.

        Raises:
            OSError: the store cannot be read now; the next look returns what this one would have.
        """
        records, self._position = self._store.poll(self._position)
        ended = [call for record in records for call in self._joiner.add(record.request_id, record.verdict, record)]
        return TailRead(records, [self._whole(call) for call in [*ended, *self._joiner.turn()]])

    def _whole(self, records: list[TraceRecord]) -> TracedCall:
        """Return the call, with its records from before the first look."""
        if records[0].attempt:
            found = self._store.find(records[0].request_id)
            if len(found) > len(records):
                records = found
        return TracedCall(tuple(records))
