"""The caches of a router: one for each place where answers are kept, even if several roles share it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lee_llm_router._util.clock import Clock
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.engine.call_cache import AnswerCache, RoleCache
from lee_llm_router.providers.cache.opening import open_store, place_of

if TYPE_CHECKING:
    from lee_llm_router.providers.cache.settings import CacheConfig


class AnswerCaches:
    """The caches of one configuration, each opened when a role first needs it.

    Args:
        config: The configuration.
        clock: Tells when a kept answer is too old.
        before: The caches of the previous configuration; answers in places that are still used are kept.
    """

    def __init__(self, config: LLMConfig, clock: Clock, before: AnswerCaches | None = None) -> None:
        self._config = config
        self._clock = clock
        self._caches: dict[tuple[str, ...], AnswerCache] = {} if before is None else before._caches

    def of_role(self, role: str) -> RoleCache | None:
        """Return the cache of `role`; None if it has none."""
        settings = self._config.cache_of(role)
        if settings is None:
            return None
        return RoleCache(
            self._cache(settings), settings.ttl, any_temperature=settings.any_temperature,
            except_tools=settings.except_tools,
        )  # fmt: skip

    def clear(self) -> int:
        """Forget all answers of all roles; return the number forgotten."""
        places = {
            place_of(settings): settings for role in self._config.roles if (settings := self._config.cache_of(role))
        }
        return sum(self._cache(settings).store.clear() for settings in places.values())

    def close(self) -> None:
        """Release files and connections. Answers in memory are lost with the router."""
        for cache in [*self._caches.values()]:
            cache.store.close()

    def _cache(self, settings: CacheConfig) -> AnswerCache:
        place = place_of(settings)
        cache = self._caches.get(place)
        if cache is None:
            cache = self._caches.setdefault(place, AnswerCache(open_store(settings, self._clock)))
        return cache
