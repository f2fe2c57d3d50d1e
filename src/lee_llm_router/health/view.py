"""What is known of targets, looked up one by one: for a policy, which needs a few of them in every call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager

from lee_llm_router._util.clock import Clock
from lee_llm_router.health.states import TargetHealth, TargetState
from lee_llm_router.health.waiting import TargetKey


class HealthView(Mapping[TargetKey, TargetHealth]):
    """The targets that were asked, by their keys. Each is as it stands when it is looked up.

    Args:
        targets: What is known of each target.
        lock: The lock over them.
        clock: Tells the time.
    """

    __slots__ = ("_clock", "_lock", "_targets")

    def __init__(
        self, targets: Mapping[TargetKey, TargetState], lock: AbstractContextManager[object], clock: Clock
    ) -> None:
        self._targets = targets
        self._lock = lock
        self._clock = clock

    def __getitem__(self, key: TargetKey) -> TargetHealth:
        with self._lock:
            return self._targets[key].snapshot(self._clock.monotonic())

    def get(self, key: TargetKey, default: TargetHealth | None = None) -> TargetHealth | None:  # type: ignore[override]
        """Return what is known of the target `key`, else `default`."""
        with self._lock:
            target = self._targets.get(key)
            return default if target is None else target.snapshot(self._clock.monotonic())

    def __contains__(self, key: object) -> bool:
        return key in self._targets

    def __iter__(self) -> Iterator[TargetKey]:
        with self._lock:
            return iter(tuple(self._targets))

    def __len__(self) -> int:
        return len(self._targets)
