"""A ledger in Redis, shared by all hosts: a budget counts spending from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from uuid import uuid4

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.settings.redis_connection import LuaScript, RedisConnection, RedisProblem, ScriptCall

_DAY_MS = 86_400_000
_KEPT_MS = {"hour": 2 * _DAY_MS, "day": 3 * _DAY_MS, "week": 15 * _DAY_MS, "month": 63 * _DAY_MS}
"""Milliseconds to keep the sum of a period after the last addition: longer than any such period."""
_TOTAL_KEPT_MS = 400 * _DAY_MS
"""The same for ``total``, which has no end: a budget not used for over a year is forgotten."""
_MARKER_MS = 3_600_000
"""Milliseconds to remember an addition: a failed call of the ledger is repeated within seconds."""
_MOST_KNOWN = 10_000

# Amounts are text, and INCRBYFLOAT adds them: Lua numbers would lose digits on the way back.
ADD_AMOUNTS = LuaScript("""
-- KEYS: the marker of this addition, then the sums.
-- ARGV: milliseconds to keep the marker, then for each sum: the amount, the least that the sum is known to have been,
-- milliseconds to keep it.
local is_made, sums, adds = redis.call('EXISTS', KEYS[1]) == 1, {}, false
for i = 2, #KEYS do
  local amount, least, kept = ARGV[i * 3 - 4], ARGV[i * 3 - 3], ARGV[i * 3 - 2]
  local sum = redis.call('GET', KEYS[i])
  if tonumber(least) > tonumber(sum or '0') then
    redis.call('SET', KEYS[i], least)
    sum = least
  end
  if tonumber(amount) > 0 and not is_made then
    adds = true
    sum = redis.call('INCRBYFLOAT', KEYS[i], amount)
  end
  if sum then redis.call('PEXPIRE', KEYS[i], kept) end
  sums[i - 1] = sum or '0'
end
if adds then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
return sums
""")


class RedisLedger:
    """Records spending as one number for each account, ``{namespace:budgets}:all calls|day|2026-11-26``.

    An addition that may or may not have arrived is not made twice: each leaves a marker. If Redis has lost its data,
    living processes restore the sums that they know, since a sum only grows.

    Args:
        url: The address of Redis.
        namespace: Shared by all routers that share these budgets.
        timeout: Seconds that Redis may take to respond.

    Raises:
        ConfigError: redis-py is not installed, or the URL is invalid.
    """

    def __init__(self, url: str, namespace: str, *, timeout: float) -> None:
        self._tag = f"{{{namespace}:budgets}}"
        self._connection = RedisConnection(url, timeout=timeout)
        self._known: dict[str, float] = {}
        """The last known sums."""
        self._unsure: tuple[str, Mapping[str, float]] | None = None
        """The name and the amounts of a failed addition, which may have been made all the same."""
        self._made: dict[str, float] = {}
        """Amounts that were added although the caller was told of a failure, and will offer them again."""
        self._fork_lock = ForkLock(in_child=self._forget_offers)

    def add(self, amounts: Mapping[str, float]) -> Mapping[str, float]:
        """As `BudgetLedger.add`.

        Raises:
            RedisProblem: Redis did not respond.
        """
        if self._unsure is not None:
            name, unsure = self._unsure
            self._run(name, unsure)
            for account, usd in unsure.items():
                self._made[account] = self._made.get(account, 0.0) + usd
            self._unsure = None
        name = uuid4().hex
        rest = {account: max(0.0, usd - self._made.get(account, 0.0)) for account, usd in amounts.items()}
        try:
            sums = self._run(name, rest)
        except RedisProblem:
            if any(rest.values()):
                self._unsure = name, rest
            raise
        self._made = {}
        return sums

    def _run(self, name: str, amounts: Mapping[str, float]) -> Mapping[str, float]:
        """Add `amounts` unless that was already done under this name, and return the sums."""
        words: list[str | int | float] = [_MARKER_MS]
        for account, usd in amounts.items():
            words += [_text(usd), _text(self._known.get(account, 0.0)), kept_ms(account)]
        keys = [f"{self._tag}:added:{name}", *(f"{self._tag}:{account}" for account in amounts)]
        (found,) = self._connection.run([ScriptCall(ADD_AMOUNTS, keys, words)])
        sums = {account: float(text) for account, text in zip(amounts, found, strict=True)}
        for account, usd in sums.items():
            self._known.pop(account, None)
            if isfinite(usd):
                self._known[account] = usd
        while len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return sums

    def close(self) -> None:
        """Close the connection. The next addition opens a new one."""
        self._connection.close()

    def _forget_offers(self) -> None:
        """In a forked child, forget offers: the parent repeats its own."""
        self._unsure, self._made = None, {}


def kept_ms(account: str) -> int:
    """Return the milliseconds to keep an account's sum after it was last read or added to."""
    per = account.split("|")[-2:-1]
    return _KEPT_MS.get(per[0], _TOTAL_KEPT_MS) if per else _TOTAL_KEPT_MS


def _text(usd: float) -> str:
    """Return a number in a form that INCRBYFLOAT reads: no exponent, no more digits than US dollars need."""
    return f"{usd:.15f}".rstrip("0").rstrip(".") or "0"
