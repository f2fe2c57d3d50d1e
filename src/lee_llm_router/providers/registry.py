"""Which provider types exist. Holds dotted paths, so that a provider and its libraries load when first used."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers.base import Provider

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "lee_llm_router.providers"

_lock = ForkLock()
_types: dict[str, str | type[Provider[Any]]] = {
    "mock": "lee_llm_router.providers.mock:MockProvider",
    "http": "lee_llm_router.providers.http:HTTPProvider",
    "codex_cli": "lee_llm_router.providers.codex_cli:CodexCLIProvider",
}
BUILTIN_TYPES = tuple(_types)
_aliases: dict[str, tuple[str, Mapping[str, Any]]] = {
    "openai_http": ("http", {
        "api": "openai-chat", "base_url": "https://api.openai.com/v1", "api_key_env": "OPENAI_API_KEY",
    }),
    "openrouter_http": ("http", {
        "api": "openai-chat", "base_url": "https://openrouter.ai/api/v1", "api_key_env": "OPENROUTER_API_KEY",
    }),
}  # fmt: skip
BUILTIN_NAMES = (*_types, *_aliases)
"""Built-in types and aliases."""


def register(name: str, provider: str | type[Provider[Any]], *, replace: bool = False) -> None:
    """Make the type `name` known, for every router of this process.

    Args:
        name: What a configuration writes under `type`.
        provider: The class, or its dotted path ``package.module:Class``, imported when first used.
        replace: Allow taking the place of a known type.

    Raises:
        ValueError: the name is taken, or the path has no colon.
    """
    if isinstance(provider, str) and ":" not in provider:
        raise ValueError(f"write the provider's path as package.module:Class, not {provider!r}")
    with _lock:
        if not replace and (name in _types or name in _aliases):
            raise ValueError(f"provider type {name!r} is registered already")
        _aliases.pop(name, None)
        _types[name] = provider


def register_alias(name: str, type_name: str, defaults: Mapping[str, Any], *, replace: bool = False) -> None:
    """Make `name` stand for the type `type_name` with `defaults` for settings that a configuration leaves out.

    Raises:
        ValueError: the name is taken.
    """
    with _lock:
        if not replace and (name in _types or name in _aliases):
            raise ValueError(f"provider type {name!r} is registered already")
        _aliases[name] = (type_name, dict(defaults))


def resolve(name: str) -> tuple[str, Mapping[str, Any]]:
    """The real type behind `name`, and the defaults that come with it (empty unless `name` is an alias)."""
    return _aliases.get(name, (name, {}))


def get(name: str) -> type[Provider[Any]]:
    """The provider class for the type or alias `name`, imported if need be.

    Raises:
        ConfigError: no such type, or its module cannot be imported.
    """
    type_name, _ = resolve(name)
    known: str | type | EntryPoint | None = _types.get(type_name) or _entry_points().get(type_name)
    if known is None:
        raise ConfigError(f"unknown provider type {name!r}")
    try:
        loaded = known if isinstance(known, type) else _load(known)
    except Exception as error:
        raise ConfigError(f"provider type {name!r} cannot be loaded: {error}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Provider)):
        raise ConfigError(f"provider type {name!r} is not a Provider class: {loaded!r}")
    with _lock:
        _types[type_name] = loaded
    return loaded


def available() -> tuple[str, ...]:
    """Names of all types and aliases, installed ones included, sorted."""
    return tuple(sorted({*_types, *_aliases, *_entry_points()}))


def _load(path: str | EntryPoint) -> Any:
    if not isinstance(path, str):
        return path.load()
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


def _entry_points() -> dict[str, EntryPoint]:
    return _entry_points_on(tuple(sys.path))


@lru_cache(maxsize=1)
def _entry_points_on(path: tuple[str, ...]) -> dict[str, EntryPoint]:  # noqa: ARG001 - looking again costs milliseconds
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and the built-in types need it not

    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
