"""Measured values, and the arithmetic on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TypeAlias

Key: TypeAlias = tuple[str, str]
"""What was measured, and how: ("httpx", "async-1")."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value. `order` counts all samples of a run: neighbours were measured back to back."""

    order: int
    key: Key
    value: float
    """CPU microseconds per call, unless the key says otherwise."""
    wall: float = 0.0
    """Wall-clock microseconds per call, where it was taken."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and its quartiles."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one value."""
        found = sorted(values)
        if len(found) == 1:
            return cls(found[0], found[0], found[0])
        low, _, high = quantiles(found, n=4, method="inclusive")
        return cls(median(found), low, high)


class Samples:
    """All samples of a run."""

    def __init__(self) -> None:
        self._of: defaultdict[Key, list[Sample]] = defaultdict(list)
        self._count = 0

    def add(self, key: Key, value: float, wall: float = 0.0) -> None:
        """Note one value, taken right after the one noted before."""
        self._of[key].append(Sample(self._count, key, value, wall))
        self._count += 1

    def measured(self) -> list[Key]:
        """What has been measured, in the order of first appearance."""
        return [key for key, samples in self._of.items() if samples]

    def spread(self, key: Key) -> Spread | None:
        """Median and quartiles; None if it was not measured."""
        return Spread.of(sample.value for sample in self._of[key]) if self._of.get(key) else None

    def wall(self, key: Key) -> Spread | None:
        """As `spread`, of the wall clock."""
        return Spread.of(sample.wall for sample in self._of[key]) if self._of.get(key) else None

    def ratio(self, over: Key, under: Key) -> Spread | None:
        """The ratios of each sample of the rarer key to the sample of the other that was taken nearest to it.

        Neighbours share the machine's mood, so their ratio is steadier than that of two medians. Of two as near, the
        one before counts: a subject is measured right after what it is compared with.
        """
        above, below = self._of.get(over), self._of.get(under)
        if not above or not below:
            return None
        if len(above) <= len(below):
            pairs = [(sample, _nearest(sample, below)) for sample in above]
        else:
            pairs = [(_nearest(sample, above), sample) for sample in below]
        return Spread.of(a.value / b.value for a, b in pairs)


def _nearest(sample: Sample, others: list[Sample]) -> Sample:
    return min(others, key=lambda other: abs(other.order - sample.order))
