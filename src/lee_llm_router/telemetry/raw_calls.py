"""A call as the raw records that `TraceScanner.scan` yields, and which of them pass a filter.

How this works. A filter asks a call for its role, its metadata, its time, its ending and names in its records
(`CallFacts`). A raw record has all of that, so nothing is built, whatever is asked. Only a text that may stand anywhere
(`grep`) needs whole records, and they are built for the calls whose values hold that text as they were written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from lee_llm_router.telemetry.calls import CallStatus, TracedCall
from lee_llm_router.telemetry.counting import RawRecord, checked_text, ending_of, total_ms
from lee_llm_router.telemetry.joining import began_within
from lee_llm_router.telemetry.query import CallFilter
from lee_llm_router.telemetry.record_json import json_text
from lee_llm_router.telemetry.records import TraceRecord


class RawCall:
    """What a filter asks of a call, told by records of which each is one (`is_record`)."""

    __slots__ = ("records",)

    def __init__(self, records: Sequence[RawRecord]) -> None:
        self.records = records

    @property
    def role(self) -> str:
        """As `TracedCall.role`."""
        role: str = self.records[0]["role"]
        return role

    @property
    def metadata(self) -> Mapping[str, Any]:
        """As `TracedCall.metadata`."""
        entries = self.records[0].get("metadata")
        return entries if type(entries) is dict else {}

    @property
    def total_ms(self) -> float:
        """As `TracedCall.total_ms`."""
        return total_ms(self.records)

    def has_status(self, status: CallStatus) -> bool:
        """As `TracedCall.has_status`."""
        answered, saved, unfinished = ending_of(self.records)
        match status:
            case "ok":
                return answered
            case "error":
                return not answered and not unfinished
            case "fallback":
                return saved
            case "cut":
                return answered and self.records[-1].get("finish_reason") == "length"

    def names(self, *fields: str) -> list[str | None]:
        """As `TracedCall.names`."""
        return [checked_text(record.get(name)) for record in self.records for name in fields]


def passing(wanted: CallFilter) -> Callable[[Sequence[RawRecord]], bool] | None:
    """Return a function that says which calls `wanted` lets through; None if it lets all through.

    A call of which only the end was read does not pass where a beginning of the time is named; see `began_within`.
    """
    if wanted.is_open:
        return None
    since, until, is_timed = wanted.since, wanted.until, not (wanted.since is None and wanted.until is None)
    holds = None if wanted.grep is None else _holding(wanted.grep)

    def passes(records: Sequence[RawRecord]) -> bool:
        if is_timed and not began_within(records[0]["started_at"], records[0]["attempt"], since, until):
            return False
        return wanted.fits(RawCall(records)) and (holds is None or holds(records))

    return passes


def _holding(text: str) -> Callable[[Sequence[RawRecord]], bool]:
    """Return a function that says which calls hold `text`, as `CallFilter.grep` means it."""
    whole, needle = CallFilter(grep=text), json_text(text.casefold()).decode()[1:-1]

    def holds(records: Sequence[RawRecord]) -> bool:
        if not any(_may_hold(record, needle) for record in records):
            return False
        return whole.matches(TracedCall(tuple(TraceRecord.from_mapping(record) for record in records)))

    return holds


def _may_hold(record: RawRecord, needle: str) -> bool:
    """Return whether the JSON of its values has `needle`, which costs a fifth of building it. False is certain."""
    try:
        return needle in to_json([*record.values()], inf_nan_mode="null").decode().casefold()
    except ValueError:  # a lone half of a character, say
        return True
