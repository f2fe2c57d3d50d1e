"""Makes the ids of calls."""

from __future__ import annotations

import os
from random import Random
from struct import Struct

_random = Random()  # noqa: S311 - ids must differ, not be secret; it is seeded by the system
_getrandbits = _random.getrandbits
_pack = Struct(">QQ").pack
if hasattr(os, "register_at_fork"):
    # Otherwise parent and child would go on with the same random numbers.
    os.register_at_fork(after_in_child=_random.seed)


def new_request_id(now: float) -> str:
    """Return a UUIDv7 for the moment `now` (seconds since 1970 UTC). Such ids sort by time.

    See RFC 9562, section 5.7. The 12 bits after the milliseconds hold a fraction of a millisecond (section 6.2,
    method 3), so ids made within the same millisecond sort by time as well.
    """
    ticks = max(0, int(now * 4_096_000))  # 1/4096 ms
    high = (ticks & 0x0FFF_FFFF_FFFF_F000) << 4 | 0x7000 | ticks & 0xFFF
    fours = _pack(high, 0x8000_0000_0000_0000 | _getrandbits(62)).hex("-", 2)
    return fours[:4] + fours[5:29] + fours[30:34] + fours[35:]
