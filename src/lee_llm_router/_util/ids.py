"""Makes the ids of calls."""

from __future__ import annotations

import os
from random import Random
from struct import Struct

_random = Random()  # noqa: S311 - ids must differ, not be secret; it is seeded by the system
_getrandbits = _random.getrandbits
_pack = Struct(">Q").pack
if hasattr(os, "register_at_fork"):
    # Otherwise parent and child would continue with the same random numbers.
    os.register_at_fork(after_in_child=_random.seed)


def new_request_id(now: float) -> str:
    """Return a UUIDv7 for the time `now` (seconds since 1970 UTC). Such ids sort by time.

    See RFC 9562, section 5.7. The 12 bits after the milliseconds hold a fraction of a millisecond (section 6.2, method
    3), so ids made within the same millisecond sort by time as well.
    """
    ticks = int(now * 4_096_000) if now > 0 else 0  # 1/4096 ms
    moment = _pack((ticks & 0x0FFF_FFFF_FFFF_F000) << 4 | 0x7000 | ticks & 0xFFF)
    chance = _pack(0x8000_0000_0000_0000 | _getrandbits(62))
    # There is a dash after every four digits; the first one is one too many.
    return f"{moment.hex('-', 2).replace('-', '', 1)}-{chance.hex('-', 6)}"
