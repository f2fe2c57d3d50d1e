"""Recognizes keys that come for the first time, in little memory however many there are."""

from __future__ import annotations

from collections.abc import Iterable

_BYTES = 1 << 18
"""256 kB: one in twenty of 200,000 keys is looked up in vain, one in five of a million. More takes time to allocate."""


class MetKeys:
    """The keys so far: it says whether a key is new, or may have come before.

    It keeps a bit for each key, at a place that the key determines; two keys may share one. Keys are hashes.
    """

    def __init__(self) -> None:
        self._bits = bytearray(_BYTES)

    def maybe_met(self, keys: Iterable[bytes]) -> list[bytes]:
        """Return those of `keys` that may have come before, and record all of them."""
        bits = self._bits
        found: list[bytes] = []
        for key in keys:
            number = int.from_bytes(key[:4], "big")
            place, bit = number >> 3 & _BYTES - 1, 1 << (number & 7)
            if bits[place] & bit:
                found.append(key)
            else:
                bits[place] |= bit
        return found
