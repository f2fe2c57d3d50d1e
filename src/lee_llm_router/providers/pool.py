"""Keeps providers: each built once for its settings, and closed when nobody needs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.log import logger
from lee_llm_router.errors import ConfigError, RouterClosedError
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import Provider, ProviderConfig

MAX_VARIANTS = 16
"""Idle providers kept with settings that a policy changed; past it the one longest unused is closed."""

_Key = tuple[str, bytes]


class _Variant:
    __slots__ = ("leases", "provider")

    def __init__(self, provider: Provider[Any]) -> None:
        self.provider = provider
        self.leases = 0


class ProviderPool:
    """Providers by name, built when first opened, with room for a few variants with other settings."""

    def __init__(self, configs: Mapping[str, ProviderConfig], clock: Clock) -> None:
        self._configs = configs
        self._clock = clock
        self._lock = ForkLock(reentrant=True)
        self._providers: dict[str, Provider[Any]] = {}
        self._variants: dict[_Key, _Variant] = {}
        self.is_closed = False
        """Whether it has been closed: then it builds nothing any more."""

    def open(self, name: str, overrides: Mapping[str, Any]) -> Provider[Any]:
        """The provider `name`, with `overrides` in place of its settings of those names. Pair with `release`.

        Raises:
            ConfigError: its type cannot be loaded, or the overrides are wrong.
            RouterClosedError: the pool is closed.
        """
        provider = None if overrides else self._providers.get(name)
        if provider is not None:
            return provider
        with self._lock:
            if self.is_closed:  # nobody would ever close what was built now
                raise RouterClosedError("the router is closed", sent=False)
            if not overrides:
                return self._providers.get(name) or self._providers.setdefault(name, self._build(name))
            key = _key(name, overrides)
            variant = self._variants.pop(key, None) or _Variant(self._build(name, overrides))
            variant.leases += 1
            self._variants[key] = variant
            return variant.provider

    def release(self, name: str, overrides: Mapping[str, Any]) -> None:
        """The caller of `open` is done with it."""
        if not overrides:
            return
        with self._lock:
            variant = self._variants.get(_key(name, overrides))
            if variant is not None:
                variant.leases -= 1
            idle = [key for key, variant in list(self._variants.items()) if variant.leases <= 0]
            dropped = [self._variants.pop(key).provider for key in idle[: max(0, len(idle) - MAX_VARIANTS)]]
        _close_all(dropped)

    def close(self) -> None:
        """Close every provider. One that raises is logged, and the others are closed all the same."""
        _close_all(self._taken())

    async def aclose(self) -> None:
        """As `close`, with what belongs to the running event loop."""
        providers = self._taken()
        try:
            for provider in providers:
                try:
                    await provider.aclose()
                except Exception as error:  # noqa: BLE001 - it must not keep the others open
                    _note_unclosed(provider, error)
        finally:  # a cancelled task still closes the rest
            _close_all(providers)

    def _taken(self) -> Iterator[Provider[Any]]:
        with self._lock:
            self.is_closed = True
            providers = [*self._providers.values(), *(variant.provider for variant in self._variants.values())]
            self._providers.clear()
            self._variants.clear()
        return iter(providers)

    def _build(self, name: str, overrides: Mapping[str, Any] | None = None) -> Provider[Any]:
        config = self._configs[name]
        if overrides:
            try:
                config = config.changed(overrides)
            except ValidationError as error:
                problems = error.errors(include_url=False, include_input=False, include_context=False)
                text = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems)
                raise ConfigError(f"provider_overrides for {name!r}: {text}") from None
        return registry.get(config.type)(name, config, self._clock)


def _close_all(providers: Iterable[Provider[Any]]) -> None:
    for provider in providers:
        try:
            provider.close()
        except Exception as error:  # noqa: BLE001 - it must not keep the others open
            _note_unclosed(provider, error)


def _note_unclosed(provider: Provider[Any], error: Exception) -> None:
    # Without the words of the error, which may hold a key.
    logger.error("closing provider %r raised %s", provider.name, type(error).__name__)


def _key(name: str, overrides: Mapping[str, Any]) -> _Key:
    return name, to_json(dict(sorted(overrides.items())), fallback=repr)
