"""Keeps the providers of one router: builds each once per set of settings, and closes them with the router."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import to_json

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.log import logger
from lee_llm_router.errors import ConfigError, RouterClosedError
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import Provider, ProviderConfig

_KEY = "api_key_env"
"""The setting that names a provider's keys."""
MAX_VARIANTS = 16
"""Idle providers kept that have settings overridden by a policy; beyond that the least recently used one is closed."""

Wrap: TypeAlias = Callable[[Provider[Any]], Provider[Any]]
"""Puts a provider around a provider, or returns it unchanged; see `wrapper.py`."""

_Key = tuple[str, bytes]


class _Variant:
    __slots__ = ("leases", "provider")

    def __init__(self, provider: Provider[Any]) -> None:
        self.provider = provider
        self.leases = 0


class ProviderPool:
    """Providers by name, built when first opened, and a few variants of them with other settings.

    Args:
        configs: Settings of the providers, by name.
        clock: Given to every provider.
        wrap: Called once with each provider, when it is built. None: providers are used unchanged.
    """

    def __init__(self, configs: Mapping[str, ProviderConfig], clock: Clock, wrap: Wrap | None = None) -> None:
        self._configs = configs
        self._clock = clock
        self._wrap = wrap
        self._lock = ForkLock(reentrant=True)
        self._providers: dict[str, Provider[Any]] = {}
        self._by_key: dict[tuple[str, str], Provider[Any]] = {}
        """Providers with several keys: one for each key, by name and variable."""
        self._bare: dict[str, Provider[Any]] = {}
        """What those are made from: providers that nothing is wrapped around."""
        self._variants: dict[_Key, _Variant] = {}
        self.is_closed = False
        """Whether the pool is closed; a closed pool builds nothing."""

    def open(self, name: str, overrides: Mapping[str, Any], key_variable: str | None = None) -> Provider[Any]:
        """Return the provider `name`, with `overrides` replacing its settings of those names. Pair with `release`.

        Args:
            name: Its name.
            overrides: Settings that replace its own.
            key_variable: The variable of the key to use, if it has several keys.

        Raises:
            ConfigError: its type cannot be loaded, or the overrides are invalid.
            RouterClosedError: the pool is closed.
        """
        if key_variable is not None:
            if not overrides:
                return self._by_key.get((name, key_variable)) or self._open_for_key(name, key_variable)
            overrides = {**overrides, _KEY: key_variable}
        provider = None if overrides else self._providers.get(name)
        if provider is not None:
            return provider
        with self._lock:
            if self.is_closed:  # nothing would ever close a provider built now
                raise RouterClosedError("the router is closed", sent=False)
            if not overrides:
                return self._providers.get(name) or self._providers.setdefault(name, self._build(name))
            key = _key(name, overrides)
            variant = self._variants.pop(key, None) or _Variant(self._build(name, overrides))
            variant.leases += 1
            self._variants[key] = variant
            return variant.provider

    def settings(self, name: str, overrides: Mapping[str, Any]) -> ProviderConfig:
        """Return the settings that `open` builds a provider with, without building it.

        Raises:
            ConfigError: the overrides are invalid.
        """
        config = self._configs[name]
        if overrides:
            try:
                config = config.changed(overrides)
            except ValidationError as error:
                problems = error.errors(include_url=False, include_input=False, include_context=False)
                text = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems)
                raise ConfigError(f"provider_overrides for {name!r}: {text}") from None
        return config

    def prepare(self, before: ProviderPool) -> None:
        """Build what `before` has built with the same settings, so that shared resources (a model) stay loaded."""
        for name in tuple(before._providers):
            if self._configs.get(name) == before._configs[name]:
                with suppress(Exception):  # whoever opens it gets the error
                    self.open(name, {})

    def release(self, name: str, overrides: Mapping[str, Any], key_variable: str | None = None) -> None:
        """Give back what `open` returned for the same arguments."""
        if not overrides:
            return
        if key_variable is not None:
            overrides = {**overrides, _KEY: key_variable}
        with self._lock:
            variant = self._variants.get(_key(name, overrides))
            if variant is not None:
                variant.leases -= 1
            idle = [key for key, variant in list(self._variants.items()) if variant.leases <= 0]
            dropped = [self._variants.pop(key).provider for key in idle[: max(0, len(idle) - MAX_VARIANTS)]]
        _close_all(dropped)

    def close(self) -> None:
        """Close every provider. An error of one is logged, and the others are still closed."""
        _close_all(self._taken())

    async def aclose(self) -> None:
        """As `close`, for the running event loop."""
        providers = self._taken()
        try:
            for provider in providers:
                try:
                    await provider.aclose()
                except Exception as error:  # noqa: BLE001 - the others must still be closed
                    _note_unclosed(provider, error)
        finally:  # closes the rest even if the task is cancelled
            _close_all(providers)

    def _taken(self) -> Iterator[Provider[Any]]:
        with self._lock:
            self.is_closed = True
            variants = (variant.provider for variant in self._variants.values())
            providers = [*self._providers.values(), *self._by_key.values(), *self._bare.values(), *variants]
            self._providers.clear()
            self._by_key.clear()
            self._bare.clear()
            self._variants.clear()
        return iter(providers)

    def _open_for_key(self, name: str, key_variable: str) -> Provider[Any]:
        """Return the provider that uses one of several keys. Providers of all keys share what they can."""
        with self._lock:
            if self.is_closed:
                raise RouterClosedError("the router is closed", sent=False)
            known = self._by_key.get((name, key_variable))
            if known is None:
                config = self._configs[name]
                bare = self._bare.get(name)
                if bare is None:
                    bare = self._bare[name] = registry.get(config.type)(name, config, self._clock)
                known = self._checked(bare.with_settings(config.changed({_KEY: key_variable})), name)
                self._by_key[name, key_variable] = known
            return known

    def _build(self, name: str, overrides: Mapping[str, Any] | None = None) -> Provider[Any]:
        config = self.settings(name, overrides or {})
        return self._checked(registry.get(config.type)(name, config, self._clock), name)

    def _checked(self, built: Any, name: str) -> Provider[Any]:
        """Return what was built for `name`, wrapped as calls use it, after checking that it is a provider."""
        provider = built
        if self._wrap is not None:
            provider = self._wrap(provider)
        if not isinstance(provider, Provider):
            raise ConfigError(f"what was built for {name!r} is a {type(provider).__name__}, not a Provider")
        return provider


def _close_all(providers: Iterable[Provider[Any]]) -> None:
    for provider in providers:
        try:
            provider.close()
        except Exception as error:  # noqa: BLE001 - the others must still be closed
            _note_unclosed(provider, error)


def _note_unclosed(provider: Provider[Any], error: Exception) -> None:
    # Not the error's text: it may hold a key.
    logger.error("closing provider %r raised %s", provider.name, type(error).__name__)


def _key(name: str, overrides: Mapping[str, Any]) -> _Key:
    return name, to_json(dict(sorted(overrides.items())), fallback=repr)
