"""Joins the records of calls: they come in the order they were written, with many calls interleaved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from lee_llm_router.telemetry.scanning import TraceScanner, is_within, scan_whole

RecordT = TypeVar("RecordT")

LONGEST_CALL = 3600.0
"""Assumed maximum seconds of a call: reading extends this far, so that calls at the ends of a time range are
complete."""
_MOST_OPEN = 100_000
"""Most open calls to hold: killed processes leave some."""
_MOST_ENDED = 1_000
"""Most calls to hold after their error, since the targets that were not asked are written after it."""
_MOST_RECORDS = 2_000
"""Most records to hold of one call: twice as many as a call can make attempts."""
_NOTHING = ()


class CallJoiner(Generic[RecordT]):
    """Returns calls as they end, each as the list of its records, and holds only those that have not ended.

    A call ends with a record whose verdict is ``return``, or with one that is ``raise`` once no more of its records
    come.
    """

    __slots__ = ("_ended", "_ended_before", "_open")

    def __init__(self) -> None:
        self._open: dict[str, list[RecordT]] = {}
        self._ended: dict[str, list[RecordT]] = {}
        self._ended_before: set[str] = set()

    def __contains__(self, request_id: str) -> bool:
        """Return whether it holds records of the call."""
        return request_id in self._open or request_id in self._ended

    def add(self, request_id: str, verdict: str, record: RecordT) -> Sequence[list[RecordT]]:
        """Take a record, and return the calls that it ends; often its own."""
        held = self._ended.get(request_id)
        if held is None:
            if verdict == "return" and request_id not in self._open:  # most calls have only one record
                return [[record]]
            held = self._open.pop(request_id, None) or []
            (self._open if verdict in ("retry", "next") else self._ended)[request_id] = held
        held.append(record)
        if verdict == "return" or len(held) >= _MOST_RECORDS:
            self._open.pop(request_id, None)
            self._ended.pop(request_id, None)
            return [held]
        if len(self._open) <= _MOST_OPEN and len(self._ended) <= _MOST_ENDED:
            return _NOTHING
        return [part.pop(next(iter(part))) for part, most in self._limits() if len(part) > most]

    def turn(self) -> list[list[RecordT]]:
        """Return the calls that had ended with an error at the previous call of this method: their remaining records
        have come."""
        due = [self._ended.pop(name) for name in self._ended_before if name in self._ended]
        self._ended_before = set(self._ended)
        return due

    def rest(self) -> Iterator[list[RecordT]]:
        """Yield the rest: calls that ended with an error, then unfinished ones."""
        for part, _ in self._limits():
            while part:
                yield part.pop(next(iter(part)))

    def _limits(self) -> tuple[tuple[dict[str, list[RecordT]], int], ...]:
        return (self._ended, _MOST_ENDED), (self._open, _MOST_OPEN)


def scan_around(
    scanner: TraceScanner, since: float | None, until: float | None, *, texts: bool = False
) -> Iterable[Mapping[str, Any]]:
    """Return the records of a time with all records of the calls that began in it, and some of others.

    With `texts`, those of ``capture: full`` are there.
    """
    before, after = None if since is None else since - LONGEST_CALL, None if until is None else until + LONGEST_CALL
    return scan_whole(scanner, before, after) if texts else scanner.scan(before, after)


def began_within(started_at: str, attempt: int | None, since: float | None, until: float | None) -> bool:
    """Return whether a call began in [since, until), according to its first record.

    If only the end of a call was read, it did not: its first record is not that of its first attempt.
    """
    return is_within(started_at, since, until) and (since is None or not attempt)
