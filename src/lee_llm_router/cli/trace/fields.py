"""The option `--fields`: which fields or columns a command prints."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any

import typer

from lee_llm_router.cli.arguments import text_of

FieldsOption = Annotated[
    str | None,
    typer.Option(
        "--fields", metavar="A,B,C", help="Print only these fields, in this order; a dot selects a part: metadata.job"
    ),
]
_MOST = 100


def checked_fields(given: str | None, known: Collection[str]) -> list[str] | None:
    """Return the names in `given`, separated by commas; None if it was not given.

    Args:
        given: The value of the option. If a name has a dot, the part before it must be known.
        known: Possible names.

    Raises:
        typer.BadParameter: there is none, or one is unknown; the message names similar ones, or all.
    """
    if given is None:
        return None
    names = [name.strip() for name in str(text_of(given, "--fields")).split(",")]
    names = list(dict.fromkeys(name for name in names if name))
    if not 0 < len(names) <= _MOST:
        raise typer.BadParameter("names separated by commas: id,role,cost", param_hint="--fields")
    for name in names:
        if name not in known and (name.partition(".")[0] not in known or name.endswith(".")):
            raise typer.BadParameter(_unknown(name, known), param_hint="--fields")
    return names


def picked(value: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the entries `names` of `value`, in that order; null for missing ones."""
    return {name: entry_at(value, name) for name in names}


def entry_at(value: Any, name: str) -> Any:
    """Return the entry `name` of `value`; if there is none, the dots in it lead inside. None if it is missing."""
    if not isinstance(value, Mapping):
        return None
    if name in value:
        return value[name]
    first, dot, rest = name.partition(".")
    return entry_at(value.get(first), rest) if dot else None


def _unknown(name: str, known: Collection[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only mistakes need it

    near = get_close_matches(name.lower()[:64], sorted(known), 3, 0.55)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known)}"
    return f"no field {name!r}; {hint}"
