"""The policy `sticky`: sends calls with the same metadata value to the same target."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from lee_llm_router.policy.contract import RoutingContext
from lee_llm_router.policy.spreading import AmongSettings, Spread, SpreadPolicy
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.records import target_name

if TYPE_CHECKING:
    from hashlib import blake2b as Hash


_LONG_VALUE = 256
"""A value longer than this many bytes is hashed once, instead of again for each target."""


class StickySettings(AmongSettings):
    """Settings of the policy `sticky`."""

    by: str = Field("user_id", min_length=1, description="Key in the metadata of a call whose value decides.")


class StickyPolicy(SpreadPolicy):
    """Orders the targets by a hash of a metadata value and their own names alone.

    So every process and host agrees on the order. If a target is added or removed, only its own calls move: rendezvous
    hashing (Thaler and Ravishankar, A name-based mapping scheme for rendezvous, 1996). While the first target is shut,
    each value goes to its own second target.

    Args:
        settings: The key of the metadata value.
    """

    config_model: ClassVar[type[PluginSettings]] = StickySettings

    def __init__(self, settings: StickySettings) -> None:
        super().__init__(settings)
        self._by = settings.by
        self._hashes: dict[str, tuple[Spread, list[tuple[Hash, int]]]] = {}
        """The hashes of the target names in the latest chains, by role."""

    def ordered(self, spread: Spread, context: RoutingContext) -> tuple[Sequence[int], str]:
        """See `SpreadPolicy.ordered`."""
        value = context.metadata.get(self._by)
        if value is None:
            return spread.places, f"the call has no {self._by}"
        kept = self._hashes.get(spread.role)
        if kept is None or kept[0] is not spread:
            kept = self._hashes[spread.role] = (spread, [(_hash_of(spread, place), place) for place in spread.places])
        word = _bytes_of(value)
        scores: list[tuple[bytes, int]] = []
        for started, place in kept[1]:
            hashed = started.copy()
            hashed.update(word)
            scores.append((hashed.digest(), place))
        scores.sort(reverse=True)
        return [place for _, place in scores], f"it serves this {self._by}"


def _hash_of(spread: Spread, place: int) -> Hash:
    name = target_name(*spread.targets[place].names)
    return blake2b(name.encode("utf-8", "surrogatepass") + b"\0", digest_size=8)


def _bytes_of(value: Any) -> bytes:
    """Return the bytes to hash for a metadata value: short, and equal for equal text."""
    word = str(value).encode("utf-8", "surrogatepass")
    return word if len(word) <= _LONG_VALUE else blake2b(word, digest_size=32).digest()
