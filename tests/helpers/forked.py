"""What a fork does in the child, done to some objects in this process: so it is seen, and costs no process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lee_llm_router._util.fork_lock import ForkLock


def become_child(*owners: object) -> None:
    """Renew the locks of `owners`, as a forked child does before anything else runs there."""
    for owner in owners:
        for lock in _locks_of(owner):
            lock.renew()


def _locks_of(owner: object) -> Iterator[ForkLock]:
    names = {name for kind in type(owner).__mro__ for name in getattr(kind, "__slots__", ())}
    values: dict[str, Any] = {**getattr(owner, "__dict__", {}), **{name: getattr(owner, name, None) for name in names}}
    found = [value for value in values.values() if isinstance(value, ForkLock)]
    assert found, f"{type(owner).__name__} has no lock that a fork renews"
    yield from found
