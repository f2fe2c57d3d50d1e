"""Answers cached in Redis or Valkey, for any number of hosts: one key each, which the server expires.

How this works
--------------
A `BackgroundStore` uses it, so that no call waits for more than a moment. Another thread finds out whether there is a
server: until that has answered a PING, every answer counts as missing at once. A command may take `_ANSWER_SECONDS`;
the first failure is an outage, which logs one warning. After that, a thread looks again when calls come, at intervals
that double up to `_LONGEST_PAUSE`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.log import logger
from lee_llm_router._util.threads import start_in_thread
from lee_llm_router.providers.cache.contract import AnswerStore, KeptValue
from lee_llm_router.providers.cache.settings import DEFAULT_URL
from lee_llm_router.settings.redis_connection import problem_in_words, redis_client

ResultT = TypeVar("ResultT")

_ANSWER_SECONDS = 0.02
"""The longest wait for a response, and again for a connection: together they delay no call by more than 50 ms."""
_FIRST_SECONDS = 0.04
"""The longest time that the first call waits for the connection."""
_PROBE_SECONDS = 1.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
_LONGEST_VALUE = 64_000_000
"""Size in bytes of the largest value to send."""


class RedisStore(AnswerStore):
    """Keeps values in a Redis server.

    Args:
        url: The server's URL; None: `DEFAULT_URL`.
        namespace: The prefix of all keys.
        clock: Tells when to look again for a lost server.

    Raises:
        ConfigError: redis-py is not installed, or the URL is invalid.
    """

    def __init__(self, url: str | None, namespace: str, clock: Clock) -> None:
        self._url = url or DEFAULT_URL
        redis_client(self._url, _ANSWER_SECONDS).close()
        self._prefix = f"{namespace}:cache:".encode()
        self._clock = clock
        self._lock = ForkLock(in_child=self._forget)
        self._client: Any = None
        """The client of a server that has responded; None if there is none."""
        self._probe: Future[Any] | None = None
        self._is_first = True
        self._pause = _SHORTEST_PAUSE
        self._again_at = 0.0
        self._was_warned = False

    def find(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `AnswerStore.find`."""
        names = [self._prefix + key.hex().encode() for key in keys]
        found: list[Any] = self._done(lambda client: client.mget(names), [None] * len(keys))
        return [value if isinstance(value, bytes) else None for value in found]

    def keep(self, values: Sequence[KeptValue]) -> None:
        """As `AnswerStore.keep`, in one round trip."""

        def keep(client: Any) -> None:
            pipeline = client.pipeline(transaction=False)
            for key, value, seconds in values:
                if len(value) <= _LONGEST_VALUE:
                    pipeline.set(self._prefix + key.hex().encode(), value, px=max(1, round(seconds * 1000)))
            pipeline.execute()

        self._done(keep, None)

    def clear(self) -> int:
        """As `AnswerStore.clear`, for this namespace."""

        def clear(client: Any) -> int:
            names = list(client.scan_iter(match=self._prefix + b"*", count=1000))
            for start in range(0, len(names), 500):
                client.unlink(*names[start : start + 500])
            return len(names)

        return self._done(clear, 0)

    def close(self) -> None:
        """As `AnswerStore.close`."""
        with self._lock:
            client, self._client = self._client, None
        _disconnect(client)

    def _done(self, work: Callable[[Any], ResultT], otherwise: ResultT) -> ResultT:
        """Return the result of `work`; `otherwise` if there is no server."""
        client = self._client or self._found()
        if client is None:
            return otherwise
        try:
            return work(client)
        except Exception as error:  # noqa: BLE001 - whatever redis-py raises, the answer is missing
            self._gone(client, error)
            return otherwise

    def _found(self) -> Any:
        """Return the client if there is one by now; have a thread look for the server if that is due."""
        with self._lock:
            if self._client is not None:
                return self._client
            if self._probe is None and self._clock.monotonic() >= self._again_at:
                with suppress(OSError):  # no thread can start
                    self._probe = start_in_thread(self._look)
            probe, waits, self._is_first = self._probe, self._is_first, False
        if probe is not None and waits:
            with suppress(Exception):
                probe.result(_FIRST_SECONDS)
        return self._client

    def _look(self) -> None:
        client, error = None, None
        try:
            client = redis_client(self._url, _PROBE_SECONDS)
            client.ping()
            _disconnect(client)
            client = redis_client(self._url, _ANSWER_SECONDS)
            client.ping()
        except Exception as caught:  # noqa: BLE001 - as above
            error = caught
        with self._lock:
            self._probe = None
            if error is None:
                self._client = client
                was_gone, self._was_warned, self._pause = self._was_warned, False, _SHORTEST_PAUSE
        if error is not None:
            _disconnect(client)
            self._gone(None, error)
        elif was_gone:
            logger.info("the cache of answers in Redis is back")

    def _gone(self, client: Any, error: Exception) -> None:
        """Do without the server for some time."""
        with self._lock:
            if self._client is not client:
                return  # another thread has noticed, or it is already back
            self._client = None
            self._again_at = self._clock.monotonic() + self._pause
            self._pause = min(_LONGEST_PAUSE, self._pause * 2)
            was_warned, self._was_warned = self._was_warned, True
        _disconnect(client)
        if not was_warned:
            reason = problem_in_words(error)
            logger.warning("the cache of answers in Redis cannot be used and is skipped for now: %s", reason)

    def _forget(self) -> None:
        """In a forked child, leave the parent's connections to the parent."""
        self._client, self._probe = None, None


def _disconnect(client: Any) -> None:
    with suppress(Exception):  # there is none, or it is in use
        client.connection_pool.disconnect()
