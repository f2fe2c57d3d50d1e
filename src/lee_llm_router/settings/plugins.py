"""Plugins by name: the one way to find, check and build providers, policies, stores and sinks.

A plugin is a class. Its name comes from a built-in dotted path, from `PluginRegistry.register`, or from an entry point
of an installed package. It is imported when a configuration first names it. Its class attribute `config_model`, a
`PluginSettings`, defines its settings; the configuration checks a section with the model of its `type`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import Field, ValidationError

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.suggestions import current_suggester
from lee_llm_router.errors import ConfigError
from lee_llm_router.settings.mistakes import Mistake, validation_error
from lee_llm_router.settings.model import OriginSection

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

PluginT = TypeVar("PluginT")


class PluginSettings(OriginSection):
    """Settings every plugin has; a plugin adds its own by subclassing, and names the class in `config_model`."""

    type: str = Field(description="Name of the plugin.")

    @classmethod
    def with_defaults(cls, written: dict[str, object], defaults: dict[str, object]) -> dict[str, object]:
        """Return the settings `written`, completed with an alias's `defaults`."""
        return {**defaults, **written}


class PluginRegistry(Generic[PluginT]):
    """The plugins of one kind.

    Args:
        kind: The name of the kind in messages: ``provider type``.
        group: The entry-point group of installed plugins.
        built_in: Dotted paths ``package.module:Class`` by name.
        aliases: Returns other names of built-in plugins: the real name, and defaults for settings that are left out.
            Called when an alias is first looked up.
        problem: Returns what is wrong with a loaded plugin, as the end of a sentence; None if it is fine.
        hint: Returns what an unknown name probably meant, as the end of a finding; empty if it cannot tell. Its
            argument `near` is the closest known name.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        built_in: Mapping[str, str],
        *,
        aliases: Callable[[], Mapping[str, tuple[str, Mapping[str, Any]]]] = dict,
        problem: Callable[[object], str | None] = lambda plugin: None if isinstance(plugin, type) else "not a class",
        hint: Callable[[str, str | None], str] = lambda name, near: "",  # noqa: ARG005
    ) -> None:
        self.kind = kind
        self.group = group
        self.built_in_types = tuple(built_in)
        self._plugins: dict[str, str | type[PluginT]] = dict(built_in)
        self._built_in_aliases = aliases
        self._aliases: dict[str, tuple[str, Mapping[str, Any]]] | None = None
        self._problem = problem
        self.hint = hint
        self._lock = ForkLock()

    @property
    def built_in_names(self) -> tuple[str, ...]:
        """Built-in types and aliases."""
        return tuple(dict.fromkeys((*self.built_in_types, *self._built_in_aliases())))

    def register(self, name: str, plugin: str | type[PluginT], *, replace: bool = False) -> None:
        """Make `name` known to every router of this process.

        Args:
            name: The name that a configuration writes under `type`.
            plugin: The class, or its dotted path ``package.module:Class``, imported when first used.
            replace: Allow replacing a known plugin.

        Raises:
            ValueError: the name is taken, or the path has no colon.
        """
        if isinstance(plugin, str) and ":" not in plugin:
            raise ValueError(f"write the path of a {self.kind} as package.module:Class, not {plugin!r}")
        aliases = self._all_aliases()
        with self._lock:
            self._refuse_taken(name, replace)
            aliases.pop(name, None)
            self._plugins[name] = plugin

    def register_alias(self, name: str, type_name: str, defaults: Mapping[str, Any], *, replace: bool = False) -> None:
        """Make `name` stand for `type_name` with `defaults` for settings that a configuration leaves out.

        Raises:
            ValueError: the name is taken.
        """
        aliases = self._all_aliases()
        with self._lock:
            self._refuse_taken(name, replace)
            aliases[name] = (type_name, dict(defaults))

    def resolve(self, name: str) -> tuple[str, Mapping[str, Any]]:
        """Return the real name behind `name`, and the defaults of an alias (empty for all others)."""
        return self._all_aliases().get(name, (name, {}))

    def get(self, name: str) -> type[PluginT]:
        """Return the class of the plugin or alias `name`, importing it if necessary.

        Raises:
            ConfigError: there is no such plugin, or its module cannot be imported.
        """
        type_name, _ = self.resolve(name)
        known = self._plugins.get(type_name)
        installed = _entry_points(self.group).get(type_name) if known is None else None
        if known is None and installed is None:
            raise ConfigError(f"unknown {self.kind} {name!r}; there are: {', '.join(self.available())}")
        try:
            loaded: Any = known if installed is None else installed.load()
            if isinstance(known, str):
                loaded = _load(known)
        except Exception as error:
            raise ConfigError(f"{self.kind} {name!r} cannot be loaded: {error}") from error
        problem = self._problem(loaded)
        if problem is not None:
            raise ConfigError(f"{self.kind} {name!r} is {problem}: {loaded!r}")
        with self._lock:
            self._plugins[type_name] = loaded
        plugin: type[PluginT] = loaded
        return plugin

    def available(self) -> tuple[str, ...]:
        """Return the names of all plugins and aliases, installed ones included, sorted."""
        return tuple(sorted({*self._plugins, *self._all_aliases(), *_entry_points(self.group)}))

    def installed(self) -> frozenset[str]:
        """Return the names of the plugins that installed packages add."""
        return frozenset(_entry_points(self.group)) - self.hidden()

    def hidden(self) -> frozenset[str]:
        """Return the names of installed plugins that a built-in one or an alias hides."""
        return frozenset(_entry_points(self.group)) & {*self.built_in_types, *self._all_aliases()}

    def settings_model(self, name: str) -> type[PluginSettings]:
        """Return the settings model of `name`: its `config_model`, else a model that takes only a type.

        Raises:
            ConfigError: as `get`.
        """
        model: type[PluginSettings] = getattr(self.get(name), "config_model", PluginSettings)
        return model

    def build(self, settings: PluginSettings, **context: Any) -> PluginT:
        """Return the plugin that `settings` name.

        If the class has a class method `from_settings`, call that with `settings` and the `context` of this kind.
        Otherwise call the class with `settings` if it has a `config_model`, and without arguments if it has none.

        Raises:
            ConfigError: there is no such plugin, or building it raised.
        """
        plugin: Any = self.get(settings.type)
        try:
            if hasattr(plugin, "from_settings"):
                built: PluginT = plugin.from_settings(settings, **context)
            else:
                built = plugin(settings) if hasattr(plugin, "config_model") else plugin()
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"{self.kind} {settings.type!r} cannot be built: {error}") from error
        return built

    def _all_aliases(self) -> dict[str, tuple[str, Mapping[str, Any]]]:
        if self._aliases is None:
            with self._lock:
                if self._aliases is None:
                    self._aliases = dict(self._built_in_aliases())
        return self._aliases

    def _refuse_taken(self, name: str, replace: bool) -> None:
        if not replace and (name in self._plugins or name in self._all_aliases()):
            raise ValueError(f"{self.kind} {name!r} is already registered: use replace=True to replace it")


def check_plugin(registry: PluginRegistry[Any], value: Any, base: type[PluginSettings] = PluginSettings) -> Any:
    """Check a section that names a plugin with the settings model of its `type`, and fill in the defaults of an alias.

    The result has the real type instead of an alias. A value that is neither a mapping nor a settings model is returned
    unchanged, for pydantic to refuse.

    Args:
        registry: The plugins it may name.
        value: The section, not validated yet.
        base: The model that reports what is missing if there is no `type`.

    Raises:
        pydantic.ValidationError: the type is unknown, or the settings do not fit it.
    """
    if not isinstance(value, Mapping):
        return value
    name = value.get("type")
    if not isinstance(name, str):
        return base.model_validate({"type": name} if "type" in value else {})
    type_name, defaults = registry.resolve(name)
    try:
        model = registry.settings_model(name)
    except ConfigError as error:
        raise validation_error("unknown_type", [_unknown(registry, name, error)]) from error
    try:
        return model.model_validate(model.with_defaults(dict(value), dict(defaults)) | {"type": type_name})
    except ValidationError:
        raise
    except Exception as error:
        message = f"checking these settings raised {type(error).__name__}"
        raise validation_error("broken_settings", [Mistake((), message)]) from error


def check_named_plugin(registry: PluginRegistry[Any], value: Any) -> Any:
    """Same as `check_plugin`; a bare name stands for a section with only that type."""
    if not isinstance(value, str):
        return check_plugin(registry, value)
    try:
        registry.get(value)
    except ConfigError as error:
        raise validation_error("unknown_type", [_unknown(registry, value, error)._replace(path=())]) from error
    return check_plugin(registry, {"type": value})


def _unknown(registry: PluginRegistry[Any], name: str, error: ConfigError) -> Mistake:
    known = registry.available()
    if name in known:
        return Mistake(("type",), error.message, kind="unknown_type")  # installed, but it cannot be loaded
    hint = registry.hint(name, current_suggester().closest(name, known))
    return Mistake(("type",), f"unknown {registry.kind}", word=name, known=known, hint=hint, kind="unknown_type")


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


def _entry_points(group: str) -> dict[str, EntryPoint]:
    return _entry_points_on(group, tuple(sys.path))


@lru_cache(maxsize=8)
def _entry_points_on(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:  # noqa: ARG001 - searching again costs milliseconds
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and built-in plugins do not need it

    return {point.name: point for point in entry_points(group=group)}
