"""Call ids."""

from __future__ import annotations

from random import SystemRandom

_getrandbits = SystemRandom().getrandbits


def new_request_id(now: float) -> str:
    """A UUIDv7 for the moment `now` (seconds since 1970 UTC): sorts by time.

    RFC 9562, section 5.7; the 12 bits after the milliseconds hold their fraction (section 6.2, method 3), so that ids
    made within one millisecond sort by time too.
    """
    ticks = max(0, int(now * 4_096_000))  # 1/4096 ms
    milliseconds, fraction = ticks >> 12 & 0xFFFF_FFFF_FFFF, ticks & 0xFFF
    value = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | _getrandbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
