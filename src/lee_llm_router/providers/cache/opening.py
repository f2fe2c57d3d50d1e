"""Opens the store that a section `cache` names."""

from __future__ import annotations

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.home_paths import NoHomeError
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers.cache.contract import AnswerStore
from lee_llm_router.providers.cache.settings import CacheConfig

MEGABYTE = 1_000_000


def place_of(settings: CacheConfig) -> tuple[str, ...]:
    """Return where a section keeps answers: sections that name the same place share one store.

    Raises:
        ConfigError: there is no such place.
    """
    if settings.type == "memory":
        return (settings.type, str(settings.max_mb))
    if settings.type == "redis":
        return (settings.type, settings.url or "", settings.namespace)
    try:
        return (settings.type, str(settings.file))
    except NoHomeError as error:
        raise ConfigError(f"cache.path: {error.strerror}", sent=False) from None


def open_store(settings: CacheConfig, clock: Clock) -> AnswerStore:
    """Return the store; its file or connection is opened on first use.

    Raises:
        ConfigError: as `place_of`.
    """
    if settings.type == "memory":
        from lee_llm_router.providers.cache.memory import MemoryStore  # noqa: PLC0415 - each of them alone

        return MemoryStore(settings.max_mb * MEGABYTE, clock)
    from lee_llm_router.providers.cache.background import BackgroundStore  # noqa: PLC0415 - as above

    if settings.type == "sqlite":
        from lee_llm_router.providers.cache.sqlite import SqliteStore  # noqa: PLC0415 - as above

        return BackgroundStore(SqliteStore(place_of(settings)[1], int(settings.max_mb * MEGABYTE), clock), finds=False)
    from lee_llm_router.providers.cache.redis import RedisStore  # noqa: PLC0415 - as above

    return BackgroundStore(RedisStore(settings.url, settings.namespace, clock), finds=True)
