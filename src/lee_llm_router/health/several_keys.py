"""What is known of a target that is asked with several keys, as one: what its keys can do together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lee_llm_router.health.states import TargetHealth
from lee_llm_router.health.waiting import KeyedTarget, TargetKey


def as_whole_targets(known: Mapping[TargetKey, TargetHealth]) -> dict[TargetKey, TargetHealth]:
    """Return `known` with one entry for each target, that of one with several keys in place of those of its keys."""
    whole: dict[TargetKey, TargetHealth] = {}
    keys: dict[TargetKey, dict[str, TargetHealth]] = {}
    for key, health in known.items():
        if isinstance(key, KeyedTarget):
            keys.setdefault((key[0], key[1]), {})[key.variable] = health
        else:
            whole[key] = health
    return whole | {key: _whole(found) for key, found in keys.items()}


def _whole(keys: Mapping[str, TargetHealth]) -> TargetHealth:
    """Return the health of a target by that of each key."""
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
