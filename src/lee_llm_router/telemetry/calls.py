"""A traced call: the records of its attempts, and what they say together.

Every view of traces (table, waterfall, statistics, report) reads a call through `TracedCall`, so that all of them mean
the same by "answered", "saved by a fallback" or "what it cost".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal, TypeAlias, TypeVar

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.numbers import MAX_COUNT
from lee_llm_router.telemetry.records import TraceRecord

CallOutcome: TypeAlias = Literal["ok", "error", "cancelled", "unfinished"]
"""How a call ended. ``unfinished``: the process ended, or has not made the next attempt yet."""
CallStatus: TypeAlias = Literal["ok", "error", "fallback", "cut"]
"""Statuses to search calls by; see `TracedCall.has_status`."""

NumberT = TypeVar("NumberT", int, float)


@dataclass(frozen=True)
class TracedCall:
    """The records of one call, at least one, in the order they were written."""

    records: Sequence[TraceRecord]

    @property
    def request_id(self) -> str:
        """The id of the call."""
        return self.records[0].request_id

    @property
    def role(self) -> str:
        """The requested role."""
        return self.records[0].role

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The caller's notes on the call."""
        return self.records[0].metadata

    @property
    def stands_for(self) -> float:
        """How many calls it stands for, including itself: more than one if `sample` has dropped others like it."""
        return calls_behind(self.records[0].kept_share)

    @property
    def last(self) -> TraceRecord:
        """The last record, which says how the call ended."""
        return self.records[-1]

    @property
    def attempts(self) -> list[TraceRecord]:
        """The records of attempts that were made, without skipped targets and without an end outside of any attempt."""
        return [record for record in self.records if record.attempt is not None]

    @property
    def outcome(self) -> CallOutcome:
        """How the call ended."""
        if self.last.verdict in ("retry", "next"):
            return "unfinished"
        if self.last.outcome == "ok":
            return "ok"
        return "cancelled" if self.last.outcome == "cancelled" else "error"

    @property
    def tried(self) -> int:
        """How many targets were asked."""
        return len({(record.provider, record.model) for record in self.attempts})

    @property
    def answered_by(self) -> TraceRecord | None:
        """The record of the attempt that gave the answer; None if none did."""
        return self.last if self.outcome == "ok" else None

    @property
    def is_saved(self) -> bool:
        """Whether another target answered the call after its first target failed or was skipped.

        A target that was abandoned because a parallel attempt answered first has not failed.
        """
        first, last = next((record for record in self.records if not record.is_lost), self.last), self.last
        return self.outcome == "ok" and (first.provider, first.model) != (last.provider, last.model)

    @property
    def is_hedge_won(self) -> bool:
        """Whether the answer is from a hedge: an attempt made in parallel to a slow one."""
        return self.outcome == "ok" and self.last.hedge

    @property
    def is_cut(self) -> bool:
        """Whether the answer ended at its token limit."""
        return self.outcome == "ok" and self.last.finish_reason == "length"

    def has_status(self, status: CallStatus) -> bool:
        """Return whether the call has `status`.

        ``ok``: it was answered. ``error``: it was not (failed or cancelled). ``fallback``: as `is_saved`. ``cut``: as
        `is_cut`. A call may have several.
        """
        match status:
            case "ok":
                return self.outcome == "ok"
            case "error":
                return self.outcome in ("error", "cancelled")
            case "fallback":
                return self.is_saved
            case "cut":
                return self.is_cut

    def names(self, *fields: str) -> list[str | None]:
        """Return what each record has in `fields`, which contain names."""
        return [getattr(record, name) for record in self.records for name in fields]

    @cached_property
    def started(self) -> datetime | None:
        """When the call began, in UTC; None if its records do not say."""
        return parsed_time(self.records[0].started_at)

    @property
    def total_ms(self) -> float:
        """Milliseconds from the start of the call to the end of the last attempt, including waits.

        If its records do not say when it began: from the start of the first attempt.
        """
        first, last = self.started, parsed_time(self.last.started_at)
        took = believed(self.last.elapsed_ms)
        if self.last.attempt is not None and self.last.offset_ms is not None:
            return believed(self.last.offset_ms) + took
        if first is None or last is None:
            return sum(believed(record.elapsed_ms) + believed(record.wait_ms) for record in self.records)
        between = max(0.0, (last - first).total_seconds() * 1000)
        # A record outside of any attempt has the time of the end, and the duration of the whole call.
        return max(between, took) if self.last.attempt is None else between + took

    @property
    def first_token_ms(self) -> float | None:
        """Milliseconds from the start of the call to the first output of the answer; None if it was not streamed."""
        answer = self.answered_by
        if answer is None or answer.first_token_ms is None:
            return None
        return max(0.0, self.total_ms - believed(answer.elapsed_ms)) + believed(answer.first_token_ms)

    @property
    def tokens(self) -> int | None:
        """Tokens of all attempts, including failed ones; None if none reported any."""
        return _sum(r.usage.total_tokens for r in self.records if r.usage is not None)

    @property
    def input_tokens(self) -> int | None:
        """Input tokens of all attempts, including cached ones; None if none reported any."""
        return _sum(r.usage.prompt_tokens for r in self.records if r.usage is not None)

    @property
    def output_tokens(self) -> int | None:
        """Output tokens of all attempts, including reasoning; None if none reported any."""
        return _sum(r.usage.completion_tokens for r in self.records if r.usage is not None)

    @property
    def cost_usd(self) -> float | None:
        """US dollars of all attempts with a known cost, including failed ones; None if there are none. See
        `is_cost_whole`."""
        return _sum(record.cost_usd for record in self.records)

    @property
    def is_cost_whole(self) -> bool:
        """Whether every attempt that used tokens has a known cost."""
        return all(record.cost_usd is not None for record in self.records if record.usage is not None)


def calls_from(records: Iterable[TraceRecord]) -> list[TracedCall]:
    """Group `records` by the id of their call. Calls and records keep their order."""
    calls: dict[str, list[TraceRecord]] = {}
    for record in records:
        calls.setdefault(record.request_id, []).append(record)
    return [TracedCall(tuple(found)) for found in calls.values()]


def parsed_time(text: str) -> datetime | None:
    """Return the time that an ISO 8601 text names, in UTC; None if it is none."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def calls_behind(share: Any) -> float:
    """Return how many calls one kept by `share` stands for; 1 if the share is impossible."""
    return 1 / share if type(share) is float and 1 / MAX_COUNT <= share < 1 else 1


def believed(number: NumberT) -> NumberT | int:
    """Return `number` if it is plausible, otherwise 0. The store of daily files reads no others; another store may."""
    return number if 0 <= number <= MAX_COUNT else 0


def _sum(numbers: Iterable[NumberT | None]) -> NumberT | None:
    known = [believed(number) for number in numbers if number is not None]
    return sum(known) if known else None
