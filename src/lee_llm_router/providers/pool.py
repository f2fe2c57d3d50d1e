"""Keeps providers: each built once for its settings, and closed when nobody needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from lee_llm_router._clock import Clock
from lee_llm_router._locks import ForkLock
from lee_llm_router.errors import ConfigError
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

    def open(self, name: str, overrides: Mapping[str, Any]) -> Provider[Any]:
        """The provider `name`, with `overrides` in place of its settings of those names. Pair with `release`.

        Raises:
            ConfigError: its type cannot be loaded, or the overrides are wrong.
        """
        provider = None if overrides else self._providers.get(name)
        if provider is not None:
            return provider
        with self._lock:
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
        for provider in dropped:
            provider.close()

    def close(self) -> None:
        """Close every provider."""
        for provider in self._taken():
            provider.close()

    async def aclose(self) -> None:
        """Close every provider, with what belongs to the running event loop."""
        for provider in self._taken():
            await provider.aclose()

    def _taken(self) -> Iterator[Provider[Any]]:
        with self._lock:
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


def _key(name: str, overrides: Mapping[str, Any]) -> _Key:
    return name, to_json(dict(sorted(overrides.items())), fallback=repr)
