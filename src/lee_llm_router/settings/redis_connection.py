"""A connection to Redis or Valkey for what routers share: short waits, no retries, one Lua script a decision.

How this works
--------------
redis-py is imported when a connection is first used, so nobody pays for it who does not name Redis. The connection is
made by the URL, which says all there is to say: ``redis://``, ``rediss://`` (TLS) or ``unix://``, user and password,
number of the database. redis-py's own retries are off: whoever calls knows better what to do meanwhile.

`run` sends scripts as EVALSHA, all in one go. Where the server does not know one (it was restarted, or somebody called
SCRIPT FLUSH), it has not run, so it is loaded and run again. `listen` subscribes to a channel over a socket of its own.

A forked child makes connections of its own, and leaves those of its parent alone.
"""

from __future__ import annotations

import hashlib
import select
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from socket import SHUT_RDWR
from time import monotonic
from typing import Any

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.errors import ConfigError

DEFAULT_TIMEOUT = 0.25
"""Seconds that Redis may take for an answer; in one data centre it takes one or two thousandths of a second."""
PING_SECONDS = 5.0
"""Seconds of silence after which a subscription is asked whether it is still there."""
_SCHEMES = ("redis://", "rediss://", "unix://")
_of_parents: list[Any] = []
"""Clients that were open during a fork; in the child they are neither used nor closed."""


class RedisProblem(Exception):
    """Redis did not do what was asked: it is gone, slow, full, read-only, or refuses. The text has no secret."""


@dataclass(frozen=True, slots=True)
class LuaScript:
    """A script that the server runs as one step."""

    text: str
    sha: str = field(init=False)
    """What the server calls it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One run of a script. All keys have one hash tag."""

    script: LuaScript
    keys: Sequence[str]
    arguments: Sequence[str | int | float]


class RedisConnection:
    """What this process has of one Redis. Use it from one thread at a time; `listen` may be at work in another.

    Args:
        url: Where it is, and as whom: ``rediss://user:password@host:6380/0``, ``unix:///run/redis.sock``.
        timeout: Seconds that it may take to connect, and for an answer.

    Raises:
        ConfigError: redis-py is not installed, or the URL is none.
    """

    def __init__(self, url: str, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._url = url
        self._timeout = timeout
        self._client: Any = None
        self._listener: Any = None
        self._heard_at = 0.0
        """When anything came over the subscription last."""
        self._has_pinged = False
        """Whether a PING was sent over it since."""
        self._is_closed = False
        self._fork_lock = ForkLock(reentrant=True, in_child=self._abandon)
        self._listening = ForkLock()
        """Held while `listen` is at work."""
        check_redis_url(url)
        self._make_client().close()

    def run(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run scripts in one round trip, or in two where the server must be told one first; return what they return.

        Raises:
            RedisProblem: one of them did not run, or it is not known whether it did.
        """
        found = self._send([("EVALSHA", one.script.sha, len(one.keys), *one.keys, *one.arguments) for one in calls])
        unknown = [at for at, one in enumerate(found) if type(one).__name__ == "NoScriptError"]
        if unknown:
            scripts = {calls[at].script.sha: calls[at].script for at in unknown}
            again = [calls[at] for at in unknown]
            answers = self._send(
                [("SCRIPT LOAD", script.text) for script in scripts.values()]
                + [("EVALSHA", one.script.sha, len(one.keys), *one.keys, *one.arguments) for one in again]
            )
            for at, answer in zip(unknown, answers[len(scripts) :], strict=True):
                found[at] = answer
            found += [one for one in answers[: len(scripts)] if isinstance(one, Exception)]
        for one in found:
            if isinstance(one, Exception):
                raise RedisProblem(problem_in_words(one)) from one
        return found[: len(calls)]

    def command(self, *words: str | int | float) -> Any:
        """Send one command, and return the answer.

        Raises:
            RedisProblem: it failed, or it is not known whether it did.
        """
        (answer,) = self._send([words])
        if isinstance(answer, Exception):
            raise RedisProblem(problem_in_words(answer)) from answer
        return answer

    def listen(self, channel: str, seconds: float) -> list[str] | None:
        """Wait at most `seconds` for messages of `channel`, and return those that came. Another thread may `close`.

        The first time it only subscribes, and returns None at once: what was published before is not known.

        Raises:
            RedisProblem: the subscription was lost, and messages with it; the next call subscribes again.
        """
        with self._listening:
            try:
                if self._is_closed:
                    raise RedisProblem("it is closed")
                if self._listener is None:
                    self._subscribe(channel)
                    return None
                return self._messages(seconds)
            except Exception as error:
                self._stop_listening()
                if isinstance(error, RedisProblem):
                    raise
                raise RedisProblem(problem_in_words(error)) from error

    def close(self) -> None:
        """Close all connections, and let `listen` return for good. `run` would make a new one."""
        self._is_closed = True
        with suppress(Exception):  # there is none, or it is being closed
            self._listener.connection._sock.shutdown(SHUT_RDWR)
        with self._listening:
            self._stop_listening()
        found, self._client = self._client, None
        if found is not None:
            with suppress(Exception):
                found.close()
                found.connection_pool.disconnect()

    def _stop_listening(self) -> None:
        found, self._listener = self._listener, None
        if found is not None:
            with suppress(Exception):
                found.close()

    def _send(self, commands: Sequence[Sequence[str | int | float]]) -> list[Any]:
        """Send all commands at once; return the answers, an exception in place of each that the server refused."""
        try:
            with self._fork_lock:
                client = self._client = self._client or self._make_client()
            pipeline = client.pipeline(transaction=False)
            for words in commands:
                pipeline.execute_command(*words)
            answers: list[Any] = pipeline.execute(raise_on_error=False)
        except Exception as error:
            raise RedisProblem(problem_in_words(error)) from error
        return answers

    def _make_client(self) -> Any:
        redis = import_redis()
        from redis.backoff import NoBackoff  # noqa: PLC0415 - as `import_redis`
        from redis.retry import Retry  # noqa: PLC0415 - as `import_redis`

        try:
            return redis.Redis.from_url(
                self._url, decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0), health_check_interval=0,
                socket_timeout=self._timeout, socket_connect_timeout=self._timeout,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - it parses the address, and says what is wrong by any error
            raise ConfigError(f"this is no address of Redis: {type(error).__name__}", sent=False) from None

    def _subscribe(self, channel: str) -> None:
        with self._fork_lock:
            client = self._client = self._client or self._make_client()
        self._listener = client.pubsub(ignore_subscribe_messages=False)
        self._listener.subscribe(channel)
        answer = self._listener.get_message(timeout=self._timeout)
        if answer is None or answer["type"] != "subscribe":
            raise RedisProblem("no answer in time to SUBSCRIBE")
        self._heard_at = monotonic()
        self._has_pinged = False

    def _messages(self, seconds: float) -> list[str]:
        until = monotonic() + seconds
        found: list[str] = []
        while not self._read_into(found) and not self._is_closed:
            self._ping_if_silent()
            left = min(until - monotonic(), PING_SECONDS)
            if left <= 0:
                break
            waiting = select.poll()
            waiting.register(self._listener.connection._sock, select.POLLIN)
            waiting.poll(left * 1000)
        return found

    def _read_into(self, found: list[str]) -> bool:
        """Add the messages that have come to `found`; return whether there were any."""
        before = len(found)
        while (message := self._listener.get_message(timeout=0)) is not None:
            self._heard_at = monotonic()
            self._has_pinged = False
            if message["type"] == "message":
                found.append(message["data"])
            elif message["type"] == "subscribe":  # redis-py has connected anew by itself
                raise RedisProblem("the subscription was interrupted")
        return len(found) > before

    def _ping_if_silent(self) -> None:
        """Find out whether the other end is still there: of a host that is gone nothing ever comes."""
        silent = monotonic() - self._heard_at
        if silent >= 2 * PING_SECONDS and self._has_pinged:
            raise RedisProblem("the subscription is silent")
        if silent >= PING_SECONDS and not self._has_pinged:
            self._has_pinged = True
            self._listener.ping()

    def _abandon(self) -> None:
        """Forget the connections in a forked child, without closing them: they are the parent's."""
        _of_parents.extend(one for one in (self._client, self._listener) if one is not None)
        self._client = self._listener = None


def check_redis_url(url: str) -> None:
    """Check what can be checked of an address without asking anybody.

    Raises:
        ConfigError: it is none. The text does not quote it, since there may be a password in it.
    """
    if not url.startswith(_SCHEMES):
        raise ConfigError(f"an address of Redis begins with {', '.join(_SCHEMES)}", sent=False)


def import_redis() -> Any:
    """Return redis-py.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import redis  # noqa: PLC0415 - most users have no Redis
    except ImportError:
        raise ConfigError('Redis needs the package redis: pip install "lee-llm-router[redis]"', sent=False) from None
    return redis


def problem_in_words(error: Exception) -> str:
    """Return what went wrong, for a log: bounded, in one line, and without an address."""
    name = type(error).__name__
    text = " ".join(str(error).split())[:200]
    if name in ("TimeoutError", "ConnectionError"):
        return "no answer in time" if name == "TimeoutError" else f"no connection: {text}"
    return f"{name}: {text}"
