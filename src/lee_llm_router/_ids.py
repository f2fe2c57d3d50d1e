"""Call ids."""

from __future__ import annotations

import os
from random import Random

_random = Random()  # noqa: S311 - ids must differ, not be secret; it is seeded by the system
_getrandbits = _random.getrandbits
if hasattr(os, "register_at_fork"):
    # Parent and child would go on with the same numbers.
    os.register_at_fork(after_in_child=_random.seed)


def new_request_id(now: float) -> str:
    """A UUIDv7 for the moment `now` (seconds since 1970 UTC): sorts by time.

    RFC 9562, section 5.7; the 12 bits after the milliseconds hold their fraction (section 6.2, method 3), so that ids
    made within one millisecond sort by time too.
    """
    ticks = max(0, int(now * 4_096_000))  # 1/4096 ms
    random = _getrandbits(62)
    return "%08x-%04x-7%03x-%04x-%012x" % (  # noqa: UP031 - half the time of an f-string
        ticks >> 28 & 0xFFFF_FFFF,
        ticks >> 12 & 0xFFFF,
        ticks & 0xFFF,
        0x8000 | random >> 48,
        random & 0xFFFF_FFFF_FFFF,
    )
