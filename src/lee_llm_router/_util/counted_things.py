"""Formats counts of things."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """Return `number` with the plural of the things counted: ``1 call``, ``0 calls``, ``12,000 calls``."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
