"""Says how many there are of something."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """Return `number` with what is counted, by its plain plural: ``1 call``, ``0 calls``, ``12,000 calls``."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
