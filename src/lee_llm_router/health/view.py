"""The health of targets, looked up one by one: for a policy, which needs a few of them in every call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace

from lee_llm_router._util.clock import Clock
from lee_llm_router.health.states import TargetHealth, TargetState
from lee_llm_router.health.waiting import KeyedTarget, TargetKey


class HealthView(Mapping[TargetKey, TargetHealth]):
    """The health of the known targets, by provider and model. Each is as of the moment of access.

    Args:
        targets: The state of each target.
        keyed: The targets with several keys: for each, the states by key variable.
        lock: The lock over them.
        clock: Tells the time.
    """

    __slots__ = ("_clock", "_keyed", "_lock", "_targets")

    def __init__(
        self,
        targets: Mapping[TargetKey, TargetState],
        keyed: Mapping[TargetKey, Mapping[str, TargetState]],
        lock: AbstractContextManager[object],
        clock: Clock,
    ) -> None:
        self._targets = targets
        self._keyed = keyed
        self._lock = lock
        self._clock = clock

    def __getitem__(self, key: TargetKey) -> TargetHealth:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: TargetKey, default: TargetHealth | None = None) -> TargetHealth | None:  # type: ignore[override]
        """Return the health of the target `key`, else `default`."""
        with self._lock:
            target, now = self._targets.get(key), self._clock.monotonic()
            if target is not None:
                return target.snapshot(now)
            keys = self._keyed.get(key)
            return whole_health({name: one.snapshot(now) for name, one in keys.items()}) if keys else default

    def __contains__(self, key: object) -> bool:
        return key in self._targets or bool(self._keyed.get(key))  # type: ignore[call-overload]

    def __iter__(self) -> Iterator[TargetKey]:
        with self._lock:
            plain = [key for key in self._targets if not isinstance(key, KeyedTarget)] if self._keyed else self._targets
            return iter((*plain, *(key for key, keys in self._keyed.items() if keys)))

    def __len__(self) -> int:
        return len(tuple(iter(self))) if self._keyed else len(self._targets)


def whole_health(keys: Mapping[str, TargetHealth]) -> TargetHealth:
    """Return the health of a target with several keys: what they can do together.

    Args:
        keys: The health with each key, by its variable.
    """
    best = min(keys.values(), key=lambda one: (not one.available, one.retry_after, one.failures_in_a_row))
    failed = next((one.last_failure for one in keys.values() if one.last_failure is not None), None)
    return replace(
        best,
        successes=sum(one.successes for one in keys.values()),
        failures=sum(one.failures for one in keys.values()),
        last_failure=best.last_failure or failed,
        in_flight=sum(one.in_flight for one in keys.values()),
        waiting=sum(one.waiting for one in keys.values()),
        keys=keys,
    )
