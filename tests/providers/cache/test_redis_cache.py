"""A cache in a real Redis: shared by routers, forgotten in time, and never in the way when it is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import pytest

from helpers.cache_support import cached_router, flushed
from helpers.redis_server import RedisServer, free_port
from lee_llm_router import ConfigError, LeeLLMRouter
from lee_llm_router._util.clock import SYSTEM_CLOCK

pytest_plugins = ["helpers.redis_fixtures"]


def _section(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "redis", "url": url, **more}


def _until(condition: Callable[[], bool]) -> None:
    end = monotonic() + 20
    while not condition():
        assert monotonic() < end
        sleep(0.02)


@pytest.mark.parametrize("url", ["http://u:pa55@x", "redis://u:pa55/word@x", "redis://u:pa55@[x", "redis://x?pa55=1"])
def test_an_address_that_is_none_is_a_finding_that_does_not_quote_it(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CACHE", url)
    with pytest.raises(ConfigError, match="address") as caught, cached_router(_section("${CACHE}")) as (router, _):
        router.complete("r", "hi")
    assert "pa55" not in str(caught.value) + caplog.text


def test_without_a_server_calls_are_answered_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    section = _section(f"redis://127.0.0.1:{free_port()}/0")
    with cached_router(section, clock=SYSTEM_CLOCK) as (router, asked), caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert not router.complete("r", "hi").cached
            flushed(router)
        assert asked.count == 5
    assert len([record for record in caplog.records if "Redis" in record.message]) == 1


@pytest.fixture
def without_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls wait for the server as long as it takes: on a busy machine one that is quick may be late."""
    for name in ("redis._ANSWER_SECONDS", "redis._FIRST_SECONDS"):
        monkeypatch.setattr(f"lee_llm_router.providers.cache.{name}", 20.0)
    monkeypatch.setattr("lee_llm_router.engine.cached_call._STORE_SECONDS", 20.0)


@pytest.mark.redis
@pytest.mark.usefixtures("without_haste")
def test_routers_share_what_is_kept_by_namespace(redis_server: RedisServer) -> None:
    with cached_router(_section(redis_server.url), clock=SYSTEM_CLOCK) as (router, _):
        router.complete("r", "hi")
        assert router.complete("r", "hi").cached
    with cached_router(_section(redis_server.url), clock=SYSTEM_CLOCK) as (router, _):
        assert router.complete("r", "hi").cached
        assert asyncio.run(_asked(router)).cached
    with cached_router(_section(redis_server.url, namespace="other"), clock=SYSTEM_CLOCK) as (router, _):
        assert not router.complete("r", "hi").cached
    client = redis_server.client()
    assert all(0 < client.pttl(key) <= 86_400_000 for key in client.keys("*:cache:*"))


async def _asked(router: LeeLLMRouter) -> Any:
    return await router.complete_async("r", "hi")


@pytest.mark.redis
def test_a_server_that_is_killed_stopped_or_new_loses_no_call(redis_server: RedisServer) -> None:
    with cached_router(_section(redis_server.url, namespace="outage"), clock=SYSTEM_CLOCK) as (router, _):
        _until(lambda: router.complete("r", "hi").cached)
        redis_server.stop()
        for number in range(20):
            assert not router.complete("r", f"stopped {number}").cached
        redis_server.resume()
        _until(lambda: router.complete("r", "hi").cached)
        redis_server.kill()
        for number in range(20):
            assert not router.complete("r", f"killed {number}").cached
        redis_server.start()
        _until(lambda: router.complete("r", "hi").cached)
