"""Which calls a view of traces shows: filters over a call's records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lee_llm_router.telemetry.calls import CallStatus, TracedCall
from lee_llm_router.telemetry.record_json import json_text


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """What calls must be like. Conditions that are given must all hold; without any, every call passes."""

    role: str | None = None
    provider: str | None = None
    """Of any attempt, or of a target that was skipped."""
    model: str | None = None
    """As `provider`: the model that was asked, or the one that served."""
    status: CallStatus | None = None
    failure: str | None = None
    """Type of the failure of any attempt, in any case: ``RATE_LIMIT``."""
    since: float | None = None
    """Seconds since 1970: the call began then or later."""
    until: float | None = None
    """Seconds since 1970: the call began before."""
    slower_than: float | None = None
    """Seconds that the whole call took, at least."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Entries that the call's metadata has, compared as text."""
    grep: str | None = None
    """A text that a record of the call holds anywhere, in any case."""

    @property
    def is_open(self) -> bool:
        """Whether every call passes."""
        return self == CallFilter()

    def matches(self, call: TracedCall) -> bool:
        """Return whether all conditions hold for `call`."""
        records = call.records
        checks = (
            self.role is None or call.role == self.role,
            self.provider is None or any(record.provider == self.provider for record in records),
            self.model is None or any(self.model in (record.model, record.served_model) for record in records),
            self.status is None or call.has_status(self.status),
            self.failure is None or any(record.failure_type == self.failure.upper() for record in records),
            self._is_in_time(call),
            self.slower_than is None or call.total_ms >= self.slower_than * 1000,
            all(_as_text(records[0].metadata.get(name)) == value for name, value in self.metadata.items()),
        )
        return all(checks) and (self.grep is None or _holds(call, self.grep))

    def _is_in_time(self, call: TracedCall) -> bool:
        if self.since is None and self.until is None:
            return True
        if call.started is None:
            return False
        began = call.started.timestamp()
        return (self.since is None or began >= self.since) and (self.until is None or began < self.until)


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json_text(value).decode()


def _holds(call: TracedCall, text: str) -> bool:
    needle = text.casefold()
    return any(needle in _texts(record.to_json().decode(errors="replace")) for record in call.records)


def _texts(line: str) -> str:
    return line.casefold()
