"""Replaces a target whose provider has several keys with one target for each key.

How this works
--------------
A key is part of a target: it has its own breaker, vendor gate, limits and rest. So if one key is unavailable, the
others serve by the same rules as fallbacks. A call gets all keys that are set, in an order that advances by one with
each call, so that all keys come first equally often. The order of the keys behind the first also changes, so that all
others share the overflow of one key. A key that is not set is passed over. If none is set, the target is called as it
is, and its error names all variables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lee_llm_router.engine.plan import Target
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.keys import KeyedConfig

_MOST_KEPT = 256
"""The most targets whose per-key targets are kept."""


class KeySpread:
    """The keys of one configuration's providers.

    Args:
        providers: Settings of the providers.
    """

    def __init__(self, providers: Mapping[str, ProviderConfig]) -> None:
        self._configs = {
            name: one for name, one in providers.items() if isinstance(one, KeyedConfig) and one.several_keys
        }
        self.is_needed = bool(self._configs)
        """Whether any provider has several keys."""
        self._turn = 0
        """The turn of the next call. It does no harm if two threads take the same one."""
        self._made: dict[int, tuple[Target, dict[str, Target]]] = {}
        """By target identity: the target (held so that its identity stays unique), and one target for each key."""

    def spread(self, targets: Iterable[Target], *, kept: bool = True) -> tuple[Target, ...]:
        """Return `targets`, with one target for each key of a provider that has several, in the order of the next turn.

        Args:
            targets: The chain of a call.
            kept: Whether the same targets are likely to come again.
        """
        turn = self._turn
        self._turn = turn + 1
        return tuple(keyed for target in targets for keyed in self._keyed(target, turn, kept=kept))

    def keyed(self, target: Target) -> tuple[Target, ...]:
        """Same as `spread` for one target, but without taking a turn: what the next call would get."""
        return self._keyed(target, self._turn, kept=False)

    def _keyed(self, target: Target, turn: int, *, kept: bool) -> tuple[Target, ...]:
        variables = self._variables(target)
        if not variables:
            return (target,)
        made = self._kept(target) if kept else {}
        return tuple(
            made.get(name) or made.setdefault(name, target.with_key(name)) for name in in_turn(variables, turn)
        )

    def _variables(self, target: Target) -> tuple[str, ...]:
        """Return the variables of the keys of `target` that are set; empty if it does not have several keys."""
        config = self._configs.get(target.provider)
        if config is None:
            return ()
        if target.provider_overrides and any(name in target.provider_overrides for name in (_KEY, _FILE)):
            return ()  # the policy has named the key
        variable = config.origin.variable
        return tuple(name for name in config.several_keys if (variable(name) or "").strip())

    def _kept(self, target: Target) -> dict[str, Target]:
        known = self._made.get(id(target))
        if known is None:
            if len(self._made) >= _MOST_KEPT:
                self._made.clear()
            known = self._made[id(target)] = (target, {})
        return known[1]


_KEY, _FILE = "api_key_env", "api_key_file"


def in_turn(names: tuple[str, ...], turn: int) -> tuple[str, ...]:
    """Return `names` in the order of a turn: each comes first equally often, and follows each other equally often."""
    if len(names) < 2:
        return names
    rounds, first = divmod(turn, len(names))
    rest = names[first + 1 :] + names[:first]
    second = rounds % len(rest)
    return (names[first], *rest[second:], *rest[:second])
