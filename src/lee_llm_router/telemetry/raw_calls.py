"""A call as raw records from `TraceScanner.scan`, and which calls pass a filter.

How this works. A filter needs a call's role, its metadata, its time, its ending and names in its records (`CallFacts`).
A raw record has all of that, so nothing is built for any such condition. Only a search in all texts (`grep`) needs
whole records. They are built only for calls whose values contain that text in their raw form.
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
    """What a filter needs to know of a call, from raw records that each pass `is_record`."""

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
    """Return a function that tells which calls pass `wanted`; None if all do.

    If the filter has a start time, a call whose beginning was not read does not pass; see `began_within`.
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
    """Return a function that tells which calls contain `text`, as `CallFilter.grep` means it."""
    whole, needle = CallFilter(grep=text), json_text(text.casefold()).decode()[1:-1]

    def holds(records: Sequence[RawRecord]) -> bool:
        if not any(_may_hold(record, needle) for record in records):
            return False
        return whole.matches(TracedCall(tuple(TraceRecord.from_mapping(record) for record in records)))

    return holds


def _may_hold(record: RawRecord, needle: str) -> bool:
    """Return whether the JSON of its values contains `needle`, at a fifth of the cost of building it. Only False is
    certain."""
    try:
        return needle in to_json([*record.values()], inf_nan_mode="null").decode().casefold()
    except ValueError:  # for example, half of a character
        return True
