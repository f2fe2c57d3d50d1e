"""Text that Python shows as `***`, but that is itself when used."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Self

from lee_llm_router._util.scrubbing import MASK, SHORTEST_SECRET


class MaskedText(str):
    """A text from the environment that may be a secret. `repr` masks it; sent or joined, it is the text.

    It keeps its mask in any container: a request, a target, a dump of the configuration, a copy, a pickle.
    """

    used: tuple[str, ...]
    """The values of the variables from which it was made."""

    def __new__(cls, text: str, used: tuple[str, ...] = ()) -> Self:
        self = super().__new__(cls, text)
        self.used = used
        return self

    def __repr__(self) -> str:
        return repr(MASK)


LEAF_TYPES = frozenset({str, int, float, bool, type(None)})
"""Types of most values, which contain no others.

Checked first: asking about an abstract type such as `Mapping` takes ten times as long.
"""


def masked_paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], MaskedText]]:
    """Yield each masked text within plain data, with its path of keys and indexes."""
    if isinstance(value, MaskedText):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if type(item) not in LEAF_TYPES and isinstance(item, (MaskedText, Mapping, list, tuple)):
                yield from masked_paths(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            if type(item) not in LEAF_TYPES and isinstance(item, (MaskedText, Mapping, list, tuple)):
                yield from masked_paths(item, (*path, index))


def masked_again(value: Any, secrets: Collection[str]) -> Any:
    """Return plain data with a mask on each text that contains one of `secrets`; the same object if there is none.

    Texts made from a masked one (``f"Bearer {token}"``) and validated texts have lost their mask.
    """
    if isinstance(value, str):
        used = (
            ()
            if isinstance(value, MaskedText)
            else tuple(one for one in secrets if len(one) >= SHORTEST_SECRET and one in value)
        )
        return MaskedText(value, used) if used else value
    if isinstance(value, Mapping):
        fields = {name: masked_again(item, secrets) for name, item in value.items()}
        return fields if any(fields[name] is not item for name, item in value.items()) else value
    if type(value) in (list, tuple):
        items = [masked_again(item, secrets) for item in value]
        return type(value)(items) if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


def values_used(value: Any) -> Iterator[str]:
    """Yield the values of variables from which texts within plain data were made."""
    for _, text in masked_paths(value):
        yield from text.used
