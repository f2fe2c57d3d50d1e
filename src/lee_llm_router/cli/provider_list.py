"""The possible values of a provider's `type` here: each with its address, and whether its key is set. Never the key."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers.registry import PROVIDERS
from lee_llm_router.providers.vendors import vendors

_HEAD = ("type", "speaks", "key", "set", "address")
_INDENT = "  "
_MIN_WIDTH = 20
_MAX_CELL = 200


@dataclass(frozen=True, slots=True)
class ListedProvider:
    """One type or alias."""

    name: str
    type: str
    """The type behind an alias; for a type, its own name."""
    source: Literal["built in", "vendor", "installed", "registered"]
    about: str | None
    base_url: str | None
    """Its address; None if it has none, or if the file must give it."""
    keys: tuple[str, ...]
    """Variables that may hold its key."""
    key_set: str | None
    """The variable that its key currently comes from; None if none is set."""
    command: str | None
    """The program that it runs; None if it runs none, or if the file must name it."""
    model: str | None
    """A model to begin with."""
    problem: str | None = None
    """Why it cannot be used."""


def listed_providers(environment: Mapping[str, str]) -> list[ListedProvider]:
    """Return all types and aliases, sorted by name.

    Args:
        environment: Where to check whether keys are set.
    """
    return [_listed(name, environment) for name in PROVIDERS.available()]


def _listed(name: str, environment: Mapping[str, str]) -> ListedProvider:
    type_name, defaults = PROVIDERS.resolve(name)
    vendor = vendors().get(name)
    if vendor is not None and (vendor.type, vendor.defaults()) != (type_name, defaults):
        vendor = None  # the application has replaced it
    values, problem = _values(name, defaults)
    named = (values.get("api_key_env"), *(values.get("other_api_key_envs") or ()))
    keys = tuple(key for key in named if isinstance(key, str))
    return ListedProvider(
        name=name,
        type=type_name,
        source=_source(name, is_vendor=vendor is not None),
        about=vendor.about if vendor else None,
        base_url=vendor.base_url if vendor else _text(values.get("base_url")),
        keys=keys,
        key_set=next((key for key in keys if environment.get(key, "").strip()), None),
        command=_text(values.get("command")),
        model=vendor.model if vendor else None,
        problem=problem,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _values(name: str, defaults: Mapping[str, Any]) -> tuple[Mapping[str, Any], str | None]:
    """Return the default settings of `name`, and why it cannot be used."""
    try:
        fields = PROVIDERS.settings_model(name).model_fields
        return {**{key: field.default for key, field in fields.items()}, **defaults}, None
    except ConfigError as error:
        return defaults, error.message
    except Exception as error:  # noqa: BLE001 - a type from a plug-in may hold anything
        return defaults, f"its settings cannot be read: {type(error).__name__}"


def _source(name: str, *, is_vendor: bool) -> Literal["built in", "vendor", "installed", "registered"]:
    if is_vendor:
        return "vendor"
    if name in PROVIDERS.built_in_types:
        return "built in"
    return "installed" if name in PROVIDERS.installed() else "registered"


def render_providers(listed: Sequence[ListedProvider], width: int | None = None) -> str:
    """Return the list as a table. No newline at the end.

    Args:
        listed: What to show, in order.
        width: Columns of a line; longer ones are wrapped between words. None: one line for each.
    """
    rows = [_HEAD, *map(_cells, listed)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    lines = ["  ".join([*(cell.ljust(size) for cell, size in zip(row, widths, strict=False)), row[-1]]) for row in rows]
    if width is not None:
        lines = [part for line in lines for part in _wrapped(line.rstrip(), max(width, _MIN_WIDTH))]
    return "\n".join(line.rstrip() for line in lines)


def _cells(one: ListedProvider) -> tuple[str, str, str, str, str]:
    speaks = "" if one.type == one.name else one.type
    key = " or ".join(one.keys) or "-"
    is_set = "yes" if one.key_set else ("no" if one.keys else "-")
    told = one.base_url or (f"runs {one.command}" if one.command else "-")
    if one.problem is not None:
        told = f"cannot be used: {one.problem}"
    elif one.name in PROVIDERS.hidden():
        told += " (replaces an installed type of that name)"
    name, speaks, key, told = (bounded(text, _MAX_CELL) for text in (one.name, speaks, key, told))
    return name, speaks, key, is_set, told


def _wrapped(line: str, width: int) -> Iterator[str]:
    yield from textwrap.wrap(
        line, width, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
    ) or [""]
