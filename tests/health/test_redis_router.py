"""Whole routers over a real Redis: what they share, what they keep there, and what a broken Redis costs them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from helpers.redis_server import RedisServer
from helpers.servers import Server, answering, json_answer
from lee_llm_router import BudgetExceededError, ConfigError, LeeLLMRouter
from sharing.scenes import LEASE, breaker_is_passed_on, outages, permits_come_back

pytestmark = pytest.mark.redis

HANG = 30.0
"""Seconds after which something counts as hanging; nothing comes near."""
ANSWER = {
    "model": "m", "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0},
    "choices": [{"message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}],
}  # fmt: skip
SEVERAL = pytest.mark.skipif(not os.environ.get("LEE_REDIS"), reason="make test-state runs this: several processes")


def _config(server: Server, redis: RedisServer, namespace: str, **more: Any) -> dict[str, Any]:
    provider = {"type": "http", "base_url": server.url, "api_key_env": "SECRET_KEY", "rpm": 100, "tpm": 10**9}
    return {
        "llm": {
            "state": {"type": "redis", "url": redis.url, "namespace": namespace, "timeout": 5, "patience": 1},
            "providers": {"p": provider},
            "roles": {"r": {"provider": "p", "model": "m", "retry": {"attempts": 1, "patience": 0}}},
            **more,
        }
    }


def _until(holds: Callable[[], bool]) -> None:
    until = monotonic() + HANG
    while not holds():
        assert monotonic() < until
        sleep(0.01)


def test_budgets_are_one_over_all_routers_and_nothing_secret_is_stored(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one spends is spent for the other, also for one that is built later; and after a restart of Redis."""
    monkeypatch.setenv("SECRET_KEY", "sk-very-secret")
    with Server(answering(json_answer(ANSWER))) as server:
        config = _config(
            server, redis_server, "budget", budget={"usd": 2, "per": "total"},
            pricing={"models": {"p/m": {"input": 1, "output": 1}}},
        )  # fmt: skip
        with LeeLLMRouter(config, trace_store=False) as one, LeeLLMRouter(config, trace_store=False) as other:
            one.complete("r", "zebra")
            _until(lambda: other.budgets()[0].spent_usd == 1)
            other.complete("r", "zebra")
            _until(lambda: one.budgets()[0].is_spent)
            with pytest.raises(BudgetExceededError):
                one.complete("r", "zebra")
        with LeeLLMRouter(config, trace_store=False) as later, pytest.raises(BudgetExceededError):
            later.complete("r", "zebra")
    with redis_server.client() as client:
        stored = str([(key, client.dump(key)) for key in client.keys("{budget:*")])
    assert "}:limits:" in stored and "all calls|total" in stored
    assert "sk-very" not in stored and "zebra" not in stored


def test_a_redis_that_is_gone_is_one_warning_and_no_lost_call(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is gone from the start. The router joins it when it is there."""
    caplog.set_level("INFO")
    monkeypatch.setenv("SECRET_KEY", "sk")
    with Server(answering(json_answer(ANSWER))) as server:
        redis_server.kill()
        with LeeLLMRouter(_config(server, redis_server, "gone"), trace_store=False) as router:
            for _ in range(20):
                assert router.complete("r", "hi").text == "whole"
            redis_server.start()
            _until(lambda: any("state.joined" in record.message for record in caplog.records))
            assert router.complete("r", "hi").text == "whole"
            with redis_server.client() as client:
                _until(lambda: bool(client.keys("{gone:p}:limits:*")))
    warned = [record for record in caplog.records if record.levelname == "WARNING" and "state" in record.message]
    assert len(warned) == 1


def test_an_address_that_is_none_or_has_a_password_written_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is quoted. In a variable it may stand."""
    monkeypatch.setenv("STATE", "http://user:pa55@host")
    for url, says in (("redis://user:pa55@host", r"put \$\{NAME\} instead"), ("${STATE}", "Redis address")):
        config = {
            "llm": {
                "state": {"type": "redis", "url": url},
                "providers": {"p": {"type": "mock"}},
                "roles": {"r": {"provider": "p"}},
            }
        }
        with pytest.raises(ConfigError, match=says) as caught:
            LeeLLMRouter(config)
        assert "pa55" not in str(caught.value)


@SEVERAL
def test_a_breaker_that_one_process_opens_is_open_in_the_others(redis_server: RedisServer) -> None:
    (opened,) = breaker_is_passed_on({"type": "redis", "url": redis_server.url}, 1)
    assert opened.value < HANG * 1000


@SEVERAL
def test_places_of_a_killed_process_come_back(redis_server: RedisServer) -> None:
    early, back, failed = permits_come_back({"type": "redis", "url": redis_server.url})
    assert (early.value, failed.value) == (0, 0)
    assert back.value < LEASE + HANG


@SEVERAL
def test_no_call_is_lost_whatever_happens_to_redis(tmp_path: Path) -> None:
    for measured in outages(tmp_path, 20, 3, only=("killed", "stopped", "slow by 500 ms")):
        assert "lost" not in measured.what or measured.holds, measured
