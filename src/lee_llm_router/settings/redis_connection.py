"""A connection to Redis or Valkey for state that routers share: short waits, no retries, one Lua script per decision.

How this works
--------------
redis-py is imported when a connection is first used, so only users of Redis pay for it. The URL gives everything that
the connection needs: ``redis://``, ``rediss://`` (TLS) or ``unix://``, user and password, database number. redis-py's
own retries are off: the caller knows better what to do meanwhile.

`run` sends all scripts at once as EVALSHA. If the server does not know a script (after a restart or SCRIPT FLUSH), the
script has not run, so it is loaded and run again. It is also run again if a node of a cluster says that another node
has the keys. `listen` subscribes to a channel over a socket of its own.

A forked child makes its own connections, and leaves its parent's alone.
"""

from __future__ import annotations

import hashlib
import re
import select
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import field
from socket import SHUT_RDWR
from time import monotonic
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.errors import ConfigError

DEFAULT_TIMEOUT = 0.25
"""Seconds that Redis may take to answer; within one data centre it takes one or two thousandths of a second."""
PING_SECONDS = 5.0
"""Seconds of silence after which a subscription is pinged."""
_MOST_ROUNDS = 4
"""The most round trips for a script: another node that must first load it while the keys are moving."""
_MOST_HOMES = 10_000
_SCHEMES = ("redis://", "rediss://", "unix://")
_of_parents: list[Any] = []
"""Clients that were open during a fork; the child neither uses nor closes them."""


Node: TypeAlias = tuple[str, int]
"""Host and port of a cluster node; an empty host means the host of the address."""


class RedisProblem(Exception):
    """Redis did not do what was asked: it is gone, slow, full, read-only, or refuses. The text contains no secret."""


@dataclass(frozen=True, slots=True)
class LuaScript:
    """A script that the server runs as one step."""

    text: str
    sha: str = field(init=False)
    """The server's name for the script."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One run of a script. All its keys share one hash tag."""

    script: LuaScript
    keys: Sequence[str]
    arguments: Sequence[str | int | float]

    @property
    def tag(self) -> str:
        """The hash tag."""
        return self.keys[0].partition("}")[0] if self.keys else ""


class _Errand:
    """A script run in progress."""

    __slots__ = ("answer", "asks", "call", "is_left", "is_moved", "loads", "node")

    def __init__(self, call: ScriptCall, node: Node | None) -> None:
        self.call = call
        self.node = node
        self.answer: Any = None
        self.is_left = True
        """Whether it has not run yet."""
        self.loads = self.asks = self.is_moved = False

    @property
    def command(self) -> Sequence[str | int | float]:
        call = self.call
        return ("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.arguments)

    def hear(self, answer: Any) -> None:
        """Take an answer. If it says why the script did not run, prepare another try."""
        self.answer, self.is_left, self.loads, self.asks = answer, False, False, False
        if not isinstance(answer, Exception):
            return
        name = type(answer).__name__
        if name == "NoScriptError":
            self.is_left = self.loads = True
        elif name in ("MovedError", "AskError"):
            found: Any = answer
            self.node = (str(found.host), int(found.port))
            self.is_left, self.asks, self.is_moved = True, name == "AskError", name == "MovedError"


class RedisConnection:
    """This process's connection to one Redis. Use it from one thread at a time; another thread may be in `listen`.

    Args:
        url: Address and login: ``rediss://user:password@host:6380/0``, ``unix:///run/redis.sock``.
        timeout: Seconds to wait for a connection, and for an answer.

    Raises:
        ConfigError: redis-py is not installed, or the URL is not valid.
    """

    def __init__(self, url: str, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._url = url
        self._timeout = timeout
        self._client: Any = None
        self._node_clients: dict[Node, Any] = {}
        self._homes: dict[str, Node | None] = {}
        """The cluster node of each hash tag, if it is not the node at the address."""
        self._listener: Any = None
        self._heard_at = 0.0
        """When the subscription last received anything."""
        self._has_pinged = False
        """Whether a PING was sent over it since then."""
        self._is_closed = False
        self._fork_lock = ForkLock(reentrant=True, in_child=self._abandon)
        self._listening = ForkLock()
        """Held while `listen` runs."""
        self._make_client().close()

    def run(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run scripts in one round trip, and return their results.

        It takes another round trip if a server does not have a script yet, or says that another node has the keys.

        Raises:
            RedisProblem: one of them did not run, or it is not known whether it ran.
        """
        errands = [_Errand(one, self._homes.get(one.tag)) for one in calls]
        for _ in range(_MOST_ROUNDS):
            left = [one for one in errands if one.is_left]
            for node in dict.fromkeys(one.node for one in left):
                self._run_at(node, [one for one in left if one.node == node])
        for one in errands:
            if one.is_moved:
                self._note_home(one)
            if isinstance(one.answer, Exception):
                raise RedisProblem(problem_in_words(one.answer)) from one.answer
        return [one.answer for one in errands]

    def _run_at(self, node: Node | None, errands: Sequence[_Errand]) -> None:
        """Run scripts at one node, loading them first if necessary; note the results."""
        texts = dict.fromkeys(one.call.script.text for one in errands if one.loads)
        commands: list[Sequence[str | int | float]] = [("SCRIPT LOAD", text) for text in texts]
        before = len(commands)
        for one in errands:
            if one.asks:
                commands.append(("ASKING",))
            commands.append(one.command)
        answers = self._send(commands, node)
        for answer in answers[:before]:
            if isinstance(answer, Exception):
                raise RedisProblem(problem_in_words(answer)) from answer
        found = iter(answers[before:])
        for one in errands:
            if one.asks:
                next(found)
            one.hear(next(found))

    def _note_home(self, errand: _Errand) -> None:
        if len(self._homes) >= _MOST_HOMES:
            self._homes.clear()
        self._homes[errand.call.tag] = errand.node

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

        The first call only subscribes and returns None at once: earlier messages are not known.

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
        """Close all connections and end `listen`. A later `run` would open a new connection."""
        self._is_closed = True
        with suppress(Exception):  # there is none, or it is being closed
            self._listener.connection._sock.shutdown(SHUT_RDWR)
        with self._listening:
            self._stop_listening()
        clients, self._client, self._node_clients = [self._client, *self._node_clients.values()], None, {}
        for client in clients:
            with suppress(Exception):  # there is none, or it is being used
                client.connection_pool.disconnect()

    def _stop_listening(self) -> None:
        found, self._listener = self._listener, None
        if found is not None:
            with suppress(Exception):
                found.close()

    def _send(self, commands: Sequence[Sequence[str | int | float]], node: Node | None = None) -> list[Any]:
        """Send all commands at once; return the answers, with an exception for each command that the server refused."""
        try:
            pipeline = self._client_of(node).pipeline(transaction=False)
            for words in commands:
                pipeline.execute_command(*words)
            answers: list[Any] = pipeline.execute(raise_on_error=False)
        except Exception as error:
            self._homes.clear()  # after a failover other nodes have the keys
            raise RedisProblem(problem_in_words(error)) from error
        return answers

    def _client_of(self, node: Node | None) -> Any:
        """Return the client of a cluster node; None means the server at the address."""
        with self._fork_lock:
            client = self._client = self._client or self._make_client()
            if node is None:
                return client
            if node not in self._node_clients:
                pool = client.connection_pool
                host, port = node
                where = {**pool.connection_kwargs, "port": port, **({"host": host} if host else {})}
                made = type(pool)(connection_class=pool.connection_class, **where)
                self._node_clients[node] = type(client)(connection_pool=made)
            return self._node_clients[node]

    def _make_client(self) -> Any:
        return redis_client(self._url, self._timeout, decode_responses=True)

    def _subscribe(self, channel: str) -> None:
        self._listener = self._client_of(None).pubsub(ignore_subscribe_messages=False)
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
        """Add the messages that have arrived to `found`; return whether there were any."""
        before = len(found)
        # Read only messages that have begun to arrive, and wait for each whole: redis-py drops a half-received one.
        while self._listener.connection.can_read(timeout=0):
            message = self._listener.get_message(timeout=self._timeout)
            if message is None:
                break
            self._heard_at = monotonic()
            self._has_pinged = False
            if message["type"] == "message":
                found.append(message["data"])
            elif message["type"] == "subscribe":  # redis-py has reconnected by itself
                raise RedisProblem("the subscription was interrupted")
        return len(found) > before

    def _ping_if_silent(self) -> None:
        """Check that the other end is still there: a host that is gone sends nothing."""
        silent = monotonic() - self._heard_at
        if silent >= 2 * PING_SECONDS and self._has_pinged:
            raise RedisProblem("the subscription is silent")
        if silent >= PING_SECONDS and not self._has_pinged:
            self._has_pinged = True
            self._listener.ping()

    def _abandon(self) -> None:
        """Forget the connections in a forked child without closing them: they are the parent's."""
        _of_parents.extend((self._client, self._listener, *self._node_clients.values()))
        self._client = self._listener = None
        self._node_clients = {}


def check_redis_url(url: str) -> None:
    """Check an address without any network access.

    Raises:
        ConfigError: it is not valid. The text does not quote it, since it may contain a password.
    """
    if not url.startswith(_SCHEMES):
        raise ConfigError(f"a Redis address must begin with {', '.join(_SCHEMES)}", sent=False)
    if url.startswith("unix://"):
        return
    try:
        parts = urlsplit(url)
        has_port = parts.port != 0
    except ValueError:
        has_port = False
    if not has_port:
        raise ConfigError("the port of a Redis address must be a number from 1 to 65535", sent=False)
    if not re.fullmatch(r"/?\d*", parts.path):  # redis-py would use database 0
        raise ConfigError("after the host, a Redis address has only the number of a database, or nothing", sent=False)


def redis_client(url: str, timeout: float, *, decode_responses: bool = False) -> Any:
    """Return a redis-py client that tries everything once. Nothing is sent yet.

    Args:
        url: Address of the server.
        timeout: Seconds to wait for a connection, and for an answer.
        decode_responses: Whether answers are texts; else they are bytes.

    Raises:
        ConfigError: redis-py is not installed, or the URL is not valid. The text does not quote the URL.
    """
    check_redis_url(url)
    redis = import_redis()
    from redis.backoff import NoBackoff  # noqa: PLC0415 - as `import_redis`
    from redis.retry import Retry  # noqa: PLC0415 - as `import_redis`

    try:
        client = redis.Redis.from_url(
            url, decode_responses=decode_responses, protocol=2, retry=Retry(NoBackoff(), 0), health_check_interval=0,
            socket_timeout=timeout, socket_connect_timeout=timeout,
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - it parses the address, and may raise any error
        raise ConfigError(f"this is not a Redis address: {type(error).__name__}", sent=False) from None
    try:
        # Create a connection without opening it, to find options in the address that redis-py does not know.
        client.connection_pool.make_connection()
    except (TypeError, ValueError):
        raise ConfigError("the Redis address has an option that redis-py does not know", sent=False) from None
    return client


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
    """Return what went wrong, for a log: bounded, on one line, and without an address."""
    name = type(error).__name__
    text = " ".join(str(error).split())[:200]
    if name in ("TimeoutError", "ConnectionError"):
        return "no answer in time" if name == "TimeoutError" else f"no connection: {text}"
    return f"{name}: {text}"
