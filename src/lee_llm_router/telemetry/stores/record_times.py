"""When a record was written and when its call began, as far as the record and its id tell."""

from __future__ import annotations

import re
from math import inf

from lee_llm_router._util.late_pattern import late_pattern
from lee_llm_router.telemetry.calls import parsed_time
from lee_llm_router.telemetry.records import TraceRecord

SLACK = 1.0
"""Seconds that may pass between the end of an attempt and the writing of its record."""
OLDEST_CALL = 7 * 86_400.0
"""Seconds before an attempt at which its call may have begun, if its id is plausible."""
_LONGEST_CALL = 3600.0
"""Assumed maximum seconds of a call whose id does not say when it began."""
_UUID7 = re.compile(r"[0-9a-f]{12}7[0-9a-f]{19}")
_HEX = late_pattern(r"[0-9a-f]{1,12}")


def time_of_id(request_id: str) -> float | None:
    """Return when a UUIDv7 was made, in seconds since 1970; None for any other id.

    Its first 48 bits are milliseconds since 1970 (RFC 9562, section 5.7).
    """
    digits = request_id.replace("-", "")
    if not _UUID7.fullmatch(digits):
        return None
    return int(digits[:12], 16) / 1000


def times_of_prefix(prefix: str) -> tuple[float, float] | None:
    """Return the earliest and the latest time of a UUIDv7 that begins with `prefix`; None if there can be none."""
    digits = prefix.replace("-", "")[:12]
    if not _HEX.fullmatch(digits):
        return None
    return int(digits.ljust(12, "0"), 16) / 1000, int(digits.ljust(12, "f"), 16) / 1000


def started_at(record: TraceRecord) -> float:
    """Return when the attempt started, in seconds since 1970; infinity if the record does not say."""
    time = parsed_time(record.started_at)
    return inf if time is None else time.timestamp()


def began_at(record: TraceRecord, started: float) -> float:
    """Return the earliest time at which a record of the same call may have been written.

    Args:
        record: The record.
        started: Its `started_at`.
    """
    began = time_of_id(record.request_id)
    is_believed = began is not None and (started == inf or abs(started - began) <= OLDEST_CALL)
    return began if began is not None and is_believed else started - _LONGEST_CALL
