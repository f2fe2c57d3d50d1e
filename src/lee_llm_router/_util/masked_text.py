"""Text that shows `***` in place of itself wherever Python shows values, and is itself where it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from lee_llm_router._util.scrubbing import MASK


class MaskedText(str):
    """A text that came from the environment, and may be a secret. `repr` masks it; sent or joined, it is the text.

    It keeps its mask in whatever holds it: a request, a target, a dump of the configuration, a copy, a pickle.
    """

    used: tuple[str, ...]
    """The values of the variables that it was made with."""

    def __new__(cls, text: str, used: tuple[str, ...] = ()) -> Self:
        self = super().__new__(cls, text)
        self.used = used
        return self

    def __repr__(self) -> str:
        return repr(MASK)


def masked_paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], MaskedText]]:
    """Yield each masked text within plain data, with the keys and indexes that lead to it."""
    if isinstance(value, MaskedText):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, (MaskedText, Mapping, list, tuple)):
                yield from masked_paths(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            if isinstance(item, (MaskedText, Mapping, list, tuple)):
                yield from masked_paths(item, (*path, index))


def values_used(value: Any) -> Iterator[str]:
    """Yield the values of variables that texts within plain data were made with."""
    for _, text in masked_paths(value):
        yield from text.used
