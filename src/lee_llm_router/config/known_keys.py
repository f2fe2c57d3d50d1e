"""The keys that a mapping in the file may have, read from the models."""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import Any

from pydantic import BaseModel

from lee_llm_router.config.policy_section import POLICIES
from lee_llm_router.config.tree import value_at
from lee_llm_router.errors import ConfigError
from lee_llm_router.health.shared.plugins import STATES
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.registry import PROVIDERS
from lee_llm_router.settings.late_model import LateModel
from lee_llm_router.settings.model import KeyPath, field_name
from lee_llm_router.settings.plugins import PluginRegistry, PluginSettings
from lee_llm_router.telemetry.plugins import SINKS, STORES


def known_keys(model: type[BaseModel], path: KeyPath, data: Any) -> list[str]:
    """Return the keys that the mapping at `path` of `data` may have; `model` is the model of `data` as a whole.

    Empty if the models do not tell.
    """
    current: Any = model
    for index, step in enumerate(path):
        if registry := _PLUGINS.get(_pattern(path[: index + 1])):
            current = _settings_model(registry, value_at(data, path[: index + 1]))
        elif _is_model(current):
            info = current.model_fields.get(field_name(current, step))
            current = _without_options(info.annotation) if info else None
        else:
            current = _model_inside(current)
    return [info.alias or name for name, info in current.model_fields.items()] if _is_model(current) else []


def home_hint(word: str) -> str:
    """Return `` (belongs in ...)`` if `word` is a key of another part of the file; empty if it is not a key at all."""
    home = _homes().get(word)
    return f" (belongs {home})" if home else ""


def sibling_hint(word: str, path: KeyPath) -> str:
    """Return `` (belongs in a state of type ...)`` if another type of the state at `path` has the key `word`."""
    if tuple(path) != ("state",):
        return ""
    kinds = [kind for kind in STATES.built_in_types if word in STATES.settings_model(kind).model_fields]
    return f" (belongs in a state of type {kinds[0]})" if kinds else ""


@cache
def _homes() -> dict[str, str]:
    """Return the place of each key of the file; if there are several, the one to suggest first."""
    from lee_llm_router.config.models import LLMConfig, RoleConfig  # noqa: PLC0415 - only mistakes need them

    places: list[tuple[str, type[BaseModel]]] = [
        ("in a role", RoleConfig),
        ("in a provider", ProviderConfig),
        ("directly under llm", LLMConfig),
    ]
    for holder, whose in ((RoleConfig, " of a role"), (LLMConfig, "")):
        for name, info in holder.model_fields.items():
            if _is_model(section := _without_options(info.annotation)):
                places.append((f"in {name}{whose}", section))
    built_in = dict.fromkeys(("http", "codex_cli", "mock", *PROVIDERS.built_in_types))
    places += [(f"in a provider of type {kind}", PROVIDERS.settings_model(kind)) for kind in built_in]
    homes: dict[str, str] = {}
    for place, model in places:
        for name, info in model.model_fields.items():
            homes.setdefault(info.alias or name, place)
    return homes


_PLUGINS: dict[tuple[str, ...], PluginRegistry[Any]] = {
    ("providers", "*"): PROVIDERS,
    ("policy",): POLICIES,
    ("trace", "store"): STORES,
    ("sinks", "*"): SINKS,
    ("state",): STATES,
}
"""Sections that name a plugin by `type`; a star stands for any name or index."""


def _pattern(path: KeyPath) -> tuple[str, ...]:
    named = path[0] in ("providers", "sinks")
    return tuple("*" if named and index else str(step) for index, step in enumerate(path))


def _settings_model(registry: PluginRegistry[Any], settings: Any) -> type[BaseModel]:
    try:
        return registry.settings_model(settings["type"])
    except (ConfigError, KeyError, TypeError):
        return ProviderConfig if registry is PROVIDERS else PluginSettings


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _without_options(annotation: Any) -> Any:
    """Return the part of `annotation` that holds a model: ``Model`` for ``Model | None``."""
    if isinstance(annotation, LateModel):
        return annotation.model()
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return next((part for part in map(_without_options, typing.get_args(annotation)) if _model_inside(part)), None)
    return annotation


def _model_inside(annotation: Any) -> Any:
    """Return the first model inside `annotation`: in a list, a mapping or a union; None if there is none."""
    if isinstance(annotation, LateModel):
        return annotation.model()
    if _is_model(annotation):
        return annotation
    found = (_model_inside(part) for part in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)
