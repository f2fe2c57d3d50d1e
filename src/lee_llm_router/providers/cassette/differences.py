"""Describes how a request differs from the nearest recorded one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lee_llm_router._util.scrubbing import bounded

_MOST_SHOWN = 4
_AROUND = 24
"""Characters to show before and after the first difference of two texts."""
_ABSENT = object()


def nearest(asked: Mapping[str, Any], recorded: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the element of `recorded` nearest to `asked`, which differs in the fewest places; None if there is
    none."""
    best, least = None, 0.0
    for number, one in enumerate(recorded):
        found = list(_places(one, asked))
        weight = len(found) + 0.5 * sum(_share_that_differs(*values) for _, *values in found)
        if best is None or weight < least:
            best, least = number, weight
    return best


def differences(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Return the differences, place by place."""
    found = [f"{path}: {_in_words(old, new)}" for path, old, new in _places(recorded, asked)]
    more = len(found) - _MOST_SHOWN
    return "; ".join(found[:_MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _places(recorded: Any, asked: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(recorded, Mapping) and isinstance(asked, Mapping):
        for name in dict.fromkeys((*recorded, *asked)):
            place = f"{path}.{name}" if path else str(name)
            yield from _places(recorded.get(name, _ABSENT), asked.get(name, _ABSENT), place)
    elif isinstance(recorded, list) and isinstance(asked, list):
        for index in range(max(len(recorded), len(asked))):
            old = recorded[index] if index < len(recorded) else _ABSENT
            new = asked[index] if index < len(asked) else _ABSENT
            yield from _places(old, new, f"{path}[{index}]")
    elif recorded is _ABSENT or asked is _ABSENT or recorded != asked:
        yield path, recorded, asked


def _share_that_differs(old: Any, new: Any) -> float:
    if not isinstance(old, str) or not isinstance(new, str):
        return 1.0
    return 1.0 - _common(old, new) / max(len(old), len(new), 1)


def _common(old: str, new: str) -> int:
    """Return the length of the common prefix."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[:middle] == new[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _in_words(old: Any, new: Any) -> str:
    if old is _ABSENT:
        return f"not recorded, now {_shown(new)}"
    if new is _ABSENT:
        return f"recorded {_shown(old)}, now missing"
    if isinstance(old, str) and isinstance(new, str):
        start = _common(old, new)
        return f"recorded {_around(old, start)}, now {_around(new, start)}"
    return f"recorded {_shown(old)}, now {_shown(new)}"


def _around(text: str, place: int) -> str:
    start, end = max(0, place - _AROUND), place + _AROUND
    return repr(("…" if start else "") + text[start:end] + ("…" if end < len(text) else ""))


def _shown(value: Any) -> str:
    return bounded(repr(value), 60)
