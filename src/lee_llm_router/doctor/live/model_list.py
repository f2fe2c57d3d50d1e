"""Reads lists of models, in the formats of vendors and local servers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote, urlencode

from pydantic_core import from_json

from lee_llm_router.providers.http.dialects.base import HTTPReply

MAX_PAGES = 20
_MAX_NAMES = 20_000
_MAX_NAME = 300


class NoListError(Exception):
    """The response is not a list of models."""


def names_in(reply: HTTPReply) -> tuple[set[str], str | None]:
    """Return the names in a list of models, and the query for its next page; None if there is none.

    Raises:
        NoListError: it is not such a list.
    """
    try:
        value = from_json(reply.body)
    except ValueError:
        raise NoListError("the answer is not JSON") from None
    rows = value
    if isinstance(value, dict):
        rows = next((value[key] for key in ("data", "models") if isinstance(value.get(key), list)), None)
    if not isinstance(rows, list):
        raise NoListError("the answer is JSON but holds no list of models")
    names: set[str] = set()
    for row in rows[:_MAX_NAMES]:
        names.update(_names_of(row))
    return names, _next_page(value)


def _names_of(row: Any) -> Iterator[str]:
    if isinstance(row, str):
        yield row[:_MAX_NAME]
    elif isinstance(row, dict):
        for key in ("id", "name", "model"):
            if isinstance(row.get(key), str) and row[key]:
                yield row[key][:_MAX_NAME].removeprefix("models/")
                break
        aliases = row.get("aliases")
        if isinstance(aliases, list):
            yield from (alias[:_MAX_NAME] for alias in aliases if isinstance(alias, str))


def _next_page(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    token, last = value.get("nextPageToken"), value.get("last_id")
    if isinstance(token, str) and token:
        return urlencode({"pageToken": token[:2000]})
    if value.get("has_more") is True and isinstance(last, str) and last:
        return urlencode({"after_id": last[:_MAX_NAME]})
    return None


def is_among(model: str, names: Collection[str]) -> bool:
    """Whether `model` is one of `names`: exactly, with the default tag, or without a variant."""
    bare = model.removeprefix("models/")
    return bare in names or f"{bare}:latest" in names or (":" in bare and bare.partition(":")[0] in names)


def path_of_model(list_path: str, model: str) -> str:
    """Return where the API describes `model`, based on where it lists all."""
    return f"{list_path.partition('?')[0]}/{quote(model.removeprefix('models/'), safe='/:@')}"


def near_names(model: str, names: Collection[str]) -> list[str]:
    """Return up to three of `names` that are close to `model`, the closest first."""
    bare = model.removeprefix("models/").lower()
    by_lower = {name.lower(): name for name in sorted(names)[:5000]}
    near = get_close_matches(bare[:_MAX_NAME], by_lower, 3)
    ends = [low for low in by_lower if low.endswith(f"/{bare}") or bare.endswith(f"/{low}")]
    return [by_lower[low] for low in dict.fromkeys((*ends[:2], *near))][:3]
