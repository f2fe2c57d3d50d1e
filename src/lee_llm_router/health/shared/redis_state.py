"""The shared state of routers on many hosts, in Redis 7 or Valkey.

How this works
--------------
Each report is one run of a script, which decides by the server's clock: `redis_limits.lua`, `redis_door.lua`. All keys
of a scope have one hash tag, ``{namespace:scope}``, so they are on one node of a cluster. Each key expires ten minutes
after it was last written (a door's key not before its waits and rests are over). An exchange sends all its scripts at
once.

A door that has changed is published on the channel ``namespace:doors``, over a connection of its own.

Keys and values contain names of providers, of models and of key variables, random names of members, and numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.printable import encodable
from lee_llm_router.errors import ConfigError
from lee_llm_router.health.shared.contract import DoorReport, DoorView, Exchange, LimitsReport, LimitsView, Rest
from lee_llm_router.health.shared.settings import StateSettings
from lee_llm_router.settings.mistakes import Mistake, validation_error
from lee_llm_router.settings.redis_connection import LuaScript, RedisConnection, ScriptCall, check_redis_url
from lee_llm_router.telemetry.pricing.contract import BudgetLedger
from lee_llm_router.telemetry.pricing.ledger_redis import RedisLedger

IS_ALIVE = LuaScript("redis.call('SET', KEYS[1], '1', 'PX', 60000) return 1")
"""Checks that scripts run, and may write."""
_WORDS = ("closed", "led", "rested", "forgets", "wants_pass", "despite_time", "keeps_pass", "drops_pass")


class RedisSettings(StateSettings):
    """Settings of the shared state in Redis."""

    url: str = Field(
        min_length=1,
        description="Address: redis://, rediss:// (TLS) or unix://, with user and password. Best as ${REDIS_URL}.",
    )

    @model_validator(mode="after")
    def _check_address(self) -> Self:
        try:
            check_redis_url(self.url)
        except ConfigError as error:
            raise validation_error("wanted_url", [Mistake(("url",), error.message)]) from None
        return self


class RedisState:
    """Shares across all hosts that reach one Redis.

    Args:
        settings: The section `state`.
        now: Milliseconds since 1970, instead of the server's clock; for tests.

    Raises:
        ConfigError: redis-py is not installed, or the URL is not valid.
    """

    config_model = RedisSettings

    def __init__(self, settings: RedisSettings, now: Any = None) -> None:
        self._settings = settings
        self._namespace = settings.namespace
        self._ledger: RedisLedger | None = None
        self._now = now
        self._channel = f"{settings.namespace}:doors"
        self._connection = RedisConnection(settings.url, timeout=settings.timeout)
        self._news = RedisConnection(settings.url, timeout=settings.timeout)

    @classmethod
    def from_settings(cls, settings: RedisSettings, *, clock: Clock) -> RedisState:  # noqa: ARG003
        """Return the state for a router; it uses the server's clock, not the router's."""
        return cls(settings)

    def exchange(self, limits: Sequence[LimitsReport], doors: Sequence[DoorReport]) -> Exchange:
        """Same as `SharedState.exchange`.

        Raises:
            RedisProblem: Redis did not do all of it, or it is not known whether it did.
        """
        now = "" if self._now is None else self._now()
        calls = [self._limits_call(report, now) for report in limits]
        calls += [self._door_call(report, now) for report in doors]
        if not calls:
            self._connection.run([ScriptCall(IS_ALIVE, [self._tag("alive")], [])])
        found = self._connection.run(calls) if calls else []
        return Exchange(
            [_limits_view(answer) for answer in found[: len(limits)]],
            [_door_view(answer) for answer in found[len(limits) :]],
        )

    def wait_for_changes(self, seconds: float) -> Collection[str] | None:
        """Same as `SharedState.wait_for_changes`.

        Raises:
            RedisProblem: there is no connection.
        """
        found = self._news.listen(self._channel, seconds)
        return None if found is None else set(found)

    def budget_ledger(self) -> BudgetLedger:
        """Return the ledger that also keeps the budgets of routers in Redis; the same one each time."""
        if self._ledger is None:
            self._ledger = RedisLedger(self._settings.url, self._namespace, timeout=self._settings.timeout)
        return self._ledger

    def close(self) -> None:
        """See `SharedState.close`."""
        self._news.close()
        self._connection.close()
        if self._ledger is not None:
            self._ledger.close()

    def _tag(self, scope: str) -> str:
        """Return the prefix of the keys of `scope`: a hash tag, which a brace inside the name would end."""
        return f"{{{_without_braces(self._namespace)}:{_without_braces(scope)}}}"

    def _limits_call(self, report: LimitsReport, now: str | float) -> ScriptCall:
        tag = f"{self._tag(report.scope)}:limits"
        words: list[str | int | float] = [
            now, report.member, _ms(report.lease),
            *(-1 if limit is None else limit for limit in (report.rpm, report.tpm, report.max_concurrency)),
            report.starts_held, report.tokens_held, report.in_flight,
            report.starts_wanted, report.tokens_wanted, report.slots_wanted, report.tokens_needed,
            report.retries_spent, report.retries_earned, report.retry_burst, int(report.leaves),
        ]  # fmt: skip
        for use in report.used:
            words += [_ms(use.seconds_ago), use.starts, use.tokens]
        keys = [f"{tag}:{part}" for part in ("sums", "held", "leases", "ticks", "line")]
        return ScriptCall(_script("redis_limits.lua"), keys, words)

    def _door_call(self, report: DoorReport, now: str | float) -> ScriptCall:
        tag = f"{self._tag(report.scope)}:door"
        rest = report.rest
        words: list[str | int | float] = [
            now, report.member, _ms(report.lease),
            *("" if one is None else _ms(one) for one in (report.opened_for, report.reopened_for, report.waits_for)),
            *(("", "", "") if rest is None else (_ms(rest.seconds), _ms(rest.length), rest.reason)),
            " ".join(word for word in _WORDS if getattr(report, word)), self._channel, encodable(report.scope),
        ]  # fmt: skip
        return ScriptCall(_script("redis_door.lua"), [tag, f"{tag}:members"], words)


def _limits_view(answer: Any) -> LimitsView:
    starts, tokens, slots, next_in, is_contended, retries = answer
    next_in = float(next_in)
    return LimitsView(
        starts=starts, tokens=tokens, slots=slots, next_in=None if next_in < 0 else next_in / 1000,
        is_contended=bool(is_contended), retries=float(retries),
    )  # fmt: skip


def _door_view(answer: Any) -> DoorView:
    version, probe_in, waits_for, is_led, rest_for, rest_length, reason, has_pass, is_passed, others = answer
    length = float(rest_length) / 1000
    return DoorView(
        version=version, is_open=probe_in != "", probe_in=float(probe_in or 0) / 1000,
        waits_for=float(waits_for) / 1000, is_led=bool(is_led),
        rest=Rest(float(rest_for) / 1000, length, reason) if length else None,
        has_pass=bool(has_pass), is_passed=bool(is_passed), others=others,
    )  # fmt: skip


@cache
def _script(name: str) -> LuaScript:
    return LuaScript(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _without_braces(name: str) -> str:
    return encodable(name).replace("%", "%25").replace("{", "%7B").replace("}", "%7D")


def _ms(seconds: float) -> float:
    return seconds * 1000
