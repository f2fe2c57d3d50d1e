"""The table of the doctor's checks: `catalogue.json`. Each row has a permanent id, a cause and a cure.

The hundreds of an id are its section; ``LLR100``, ``LLR200`` and so on report what is fine there. ``docs/checks.md`` is
generated from the table, and a test compares them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Literal, TypeAlias

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.errors import ConfigError

Level: TypeAlias = Literal["ok", "info", "warning", "error"]
Section: TypeAlias = Literal[
    "file", "environment", "keys", "network", "policy", "provider", "role", "model", "traces", "live"
]

_FILE = "catalogue.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckKind:
    """One row of the table."""

    id: str
    level: Level
    """The default severity."""
    section: Section
    title: str
    cause: str
    cure: str


@cache
def catalogue() -> Mapping[str, CheckKind]:
    """Return the rows by id, sorted."""
    from pkgutil import get_data  # noqa: PLC0415 - only the doctor needs it

    rows = json.loads(get_data(__package__, _FILE) or b"[]")
    return {row["id"]: CheckKind(**row) for row in rows}


def check_ids(words: Iterable[str]) -> tuple[str, ...]:
    """Return `words`, ids or prefixes of ids, in the form of the table.

    Raises:
        ConfigError: no id begins like one of them; the message names similar ones.
    """
    found = []
    for word in words:
        plain = word.strip().upper()
        if not plain.startswith("LLR") or not any(known.startswith(plain) for known in catalogue()):
            near = max(catalogue(), key=lambda known: _shared_beginning(known, plain))
            hint = f" (did you mean {near!r}?)" if _shared_beginning(near, plain) > len("LLR") else ""
            what = f"there is no check {word.strip()!r}{hint}"
            raise ConfigError(f"{what}; an id is LLR and three digits, and LLR3 stands for all that begin so")
        found.append(plain)
    return tuple(found)


def _shared_beginning(one: str, other: str) -> int:
    """Return the length of their common prefix."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (left, right) in pairs if left != right), min(len(one), len(other)))


def explanation(word: str) -> str:
    """Return the page of one check, or of all whose ids begin with `word`, as text.

    Raises:
        ConfigError: there is none.
    """
    (beginning,) = check_ids([word])
    kinds = [kind for kind in catalogue().values() if kind.id.startswith(beginning)]
    return "\n\n".join(
        f"{kind.id}  {kind.title}  ({kind.section}, {kind.level})\n\n  cause  {kind.cause}\n  cure   {kind.cure}"
        for kind in kinds
    )
