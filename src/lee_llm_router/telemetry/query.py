"""Which calls a view of traces shows: filters over a call's records, and words for times and durations."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, fields
from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Protocol

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.response.types import LLMUsage
from lee_llm_router.telemetry.calls import CallStatus, TracedCall
from lee_llm_router.telemetry.record_json import json_text
from lee_llm_router.telemetry.records import TraceRecord

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h|d|w)\s*")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_LONGEST = 100 * 366 * 86_400.0
"""Seconds of the longest accepted time: a hundred years."""
_LONGEST_MOMENT = 64
"""Characters; Python's parser accepts any number of digits, which takes time."""
_MAX_DEPTH = 100


class CallFacts(Protocol):
    """What a filter needs to know of a call: of a `TracedCall`, or of a `RawCall` without built records."""

    @property
    def role(self) -> str:
        """The requested role."""
        ...

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata of its first record."""
        ...

    @property
    def total_ms(self) -> float:
        """As `TracedCall.total_ms`."""
        ...

    def has_status(self, status: CallStatus) -> bool:
        """As `TracedCall.has_status`."""
        ...

    def names(self, *fields: str) -> Sequence[str | None]:
        """Return what its records have in `fields`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """Conditions on calls. All given conditions must hold; without any, every call passes.

    In the name of a role, provider or model, and in the value of a metadata entry, ``*`` matches any text.
    """

    role: str | None = None
    """The requested role."""
    provider: str | None = None
    """The provider of any attempt, or of a target that was skipped."""
    model: str | None = None
    """As `provider`: the requested model, or the one that served."""
    status: CallStatus | None = None
    """See `TracedCall.has_status`."""
    failure: str | None = None
    """Failure type of any attempt, in any case: ``RATE_LIMIT``."""
    since: float | None = None
    """Seconds since 1970: the call began then or later."""
    until: float | None = None
    """Seconds since 1970: the call began earlier."""
    slower_than: float | None = None
    """The whole call took at least this many seconds."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Entries of the call's metadata, compared as text; a dot in a name leads into a nested mapping."""
    grep: str | None = None
    """A text in any value of any of the call's records, in any case."""

    @property
    def is_open(self) -> bool:
        """Whether every call passes."""
        return self == CallFilter()

    def matches(self, call: TracedCall) -> bool:
        """Return whether all conditions hold for `call`."""
        return self._is_in_time(call) and self.fits(call) and (self.grep is None or _holds(call, self.grep.casefold()))

    def fits(self, call: CallFacts) -> bool:
        """Return whether all conditions hold except those on its time and on all its texts (`since`, `until`,
        `grep`)."""
        return (
            (self.role is None or _is_like(call.role, self.role))
            and (self.provider is None or _is_any_like(call.names("provider"), self.provider))
            and (self.model is None or _is_any_like(call.names("model", "served_model"), self.model))
            and (self.status is None or call.has_status(self.status))
            and (self.failure is None or self.failure.upper() in call.names("failure_type"))
            and (self.slower_than is None or call.total_ms >= self.slower_than * 1000)
            and (not self.metadata or self._has_entries(call.metadata))
        )

    def _has_entries(self, metadata: Mapping[str, Any]) -> bool:
        return all(_is_like(entry_text(metadata, name), value) for name, value in self.metadata.items())

    def _is_in_time(self, call: TracedCall) -> bool:
        if self.since is None and self.until is None:
            return True
        if call.started is None:
            return False
        began = call.started.timestamp()
        return (self.since is None or began >= self.since) and (self.until is None or began < self.until)


def entry_text(metadata: Mapping[str, Any], name: str) -> str | None:
    """Return an entry of a record's metadata as text: a text unchanged, anything else as JSON; None if there is none.

    A name with a dot that is not an entry itself leads into a nested mapping: ``user.id``.
    """
    value = _entry(metadata, name)
    return value if value is None or isinstance(value, str) else json_text(value).decode()


def seconds_of(text: str, *, bare: bool = False) -> float | None:
    """Return the seconds of a duration: ``800ms``, ``1.5s``, ``2h``, ``1h30m``, ``3d``, ``2w``.

    Args:
        text: The words.
        bare: Whether a number without a unit counts as seconds.

    Returns:
        The seconds; None if it is no duration, or more than a hundred years.
    """
    text, total, end = text.strip().lower(), 0.0, 0
    if bare and _NUMBER.fullmatch(text):
        total = float(text)
    else:
        while (part := _PART.match(text, end)) is not None:
            total, end = total + float(part[1]) * _UNITS[part[2]], part.end()
        if not text or end != len(text):
            return None
    return total if math.isfinite(total) and total <= _LONGEST else None


def moment_of(text: str, now: float) -> float | None:
    """Return the time that `text` names, in seconds since 1970; None if it names none.

    Args:
        text: A duration, which counts back from `now` (``2h``); a date, a time of today or both in ISO 8601, in UTC
            unless it has an offset; ``now``, ``today`` or ``yesterday``.
        now: The current time, in seconds since 1970.
    """
    text = text.strip()
    ago = seconds_of(text)
    if ago is not None:
        return now - ago
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    words = {"now": now, "today": today.timestamp(), "yesterday": (today - timedelta(days=1)).timestamp()}
    if text.lower() in words:
        return words[text.lower()]
    try:
        named = _iso_moment(text[: _LONGEST_MOMENT + 1], today)
        return (named if named.tzinfo else named.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _iso_moment(text: str, today: datetime) -> datetime:
    """Return the time in ISO 8601; a time without a date is one of `today`. Raises ValueError if there is none."""
    if len(text) > _LONGEST_MOMENT:
        raise ValueError("no time is that long")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        if ":" not in text:
            raise
        return datetime.combine(today.date(), time.fromisoformat(text))


def _is_any_like(names: Sequence[str | None], wanted: str) -> bool:
    return wanted in names if "*" not in wanted else any(_is_like(name, wanted) for name in names)


def _is_like(name: str | None, wanted: str) -> bool:
    if name is None or "*" not in wanted:
        return name == wanted
    return fnmatchcase(name, _pattern(wanted))


@lru_cache(maxsize=64)
def _pattern(wanted: str) -> str:
    """Return a pattern for `wanted` in which only stars are special."""
    return re.sub(r"[\[\]?]", lambda found: f"[{found[0]}]", wanted)


def _entry(metadata: Mapping[str, Any], name: str) -> Any:
    if name in metadata:
        return metadata[name]
    first, dot, rest = name.partition(".")
    inner = metadata.get(first) if dot else None
    return _entry(inner, rest) if isinstance(inner, Mapping) else None


def _holds(call: TracedCall, needle: str) -> bool:
    return any(needle in text.casefold() for record in call.records for text in _texts(record, 0))


def _texts(value: Any, depth: int) -> Iterator[str]:
    """Yield every text and number in a record, and the names in its mappings, but not the record's own field names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, TraceRecord | LLMUsage):
        for one in fields(value):
            yield from _texts(getattr(value, one.name), depth + 1)
    elif isinstance(value, Mapping) and depth < _MAX_DEPTH:
        for name, item in value.items():
            yield str(name)
            yield from _texts(item, depth + 1)
    elif isinstance(value, list | tuple) and depth < _MAX_DEPTH:
        for item in value:
            yield from _texts(item, depth + 1)
    elif value is not None:
        yield json_text(value).decode(errors="replace")
