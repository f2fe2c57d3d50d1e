"""The connection to Redis by what a server answers, without one: keys that move, scripts refused, channels lost."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from lee_llm_router.settings import redis_connection
from lee_llm_router.settings.redis_connection import LuaScript, RedisConnection, RedisProblem, ScriptCall

SCRIPT = LuaScript("return 1")


# By the names of redis-py's errors, which is what the connection goes by: it imports redis-py late.
class ResponseError(Exception): ...


class NoScriptError(ResponseError): ...


class AskError(ResponseError):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.host, self.port = text.split()[1].split(":")


class MovedError(AskError): ...


class Client:
    """Answers commands in turn, for itself and for the nodes that it is asked to be; keeps what was sent."""

    sent: list[tuple[int, tuple[Any, ...]]]
    answers: list[Any]

    def __init__(self, connection_pool: Any = None) -> None:
        self.connection_pool = connection_pool or Pool()

    def pipeline(self, transaction: bool) -> Client:
        return self

    def execute_command(self, *words: Any) -> None:
        type(self).sent.append((self.connection_pool.port, words))

    def execute(self, raise_on_error: bool) -> list[Any]:
        return type(self).answers.pop(0)  # type: ignore[no-any-return]

    def close(self) -> None:
        pass


class Pool:
    def __init__(self, connection_class: object = object, host: str = "here", port: int = 1) -> None:
        self.connection_class, self.port = connection_class, port
        self.connection_kwargs = {"host": host, "port": port}

    def disconnect(self) -> None:
        pass


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[..., RedisConnection]:
    def made(*answers: list[Any]) -> RedisConnection:
        Client.sent, Client.answers = [], list(answers)
        monkeypatch.setattr(redis_connection, "redis_client", lambda *_, **__: Client())
        return RedisConnection("redis://127.0.0.1:1/0")

    return made


def call(key: str = "{a}") -> ScriptCall:
    return ScriptCall(SCRIPT, [key], [])


def words() -> list[tuple[int, str]]:
    """What was sent: to which port, and the first word."""
    return [(port, str(sent[0])) for port, sent in Client.sent]


def test_keys_that_are_on_their_way_are_asked_for_at_the_other_node_this_time_alone(
    answering: Callable[..., RedisConnection],
) -> None:
    """It is told ASKING before each command, and the next call goes where it went before."""
    connection = answering([AskError("5 there:7")], ["OK", 3], [4])
    assert connection.run([call()]) == [3]
    assert connection.run([call()]) == [4]
    assert words() == [(1, "EVALSHA"), (7, "ASKING"), (7, "EVALSHA"), (1, "EVALSHA")]


def test_keys_that_have_moved_are_asked_for_there_from_then_on(
    answering: Callable[..., RedisConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of very many keys the places are forgotten, and found anew."""
    monkeypatch.setattr(redis_connection, "_MOST_HOMES", 1)
    connection = answering([MovedError("5 there:7")], [1], [2], [MovedError("5 there:8")], [3], [4])
    assert [connection.run([call(key)]) for key in ("{a}", "{a}", "{b}", "{a}")] == [[1], [2], [3], [4]]
    assert [port for port, _ in words()] == [1, 7, 7, 1, 8, 1]


def test_a_script_that_the_server_does_not_take_is_a_problem(answering: Callable[..., RedisConnection]) -> None:
    connection = answering([NoScriptError("none")], [ResponseError("no permission"), NoScriptError("none")])
    with pytest.raises(RedisProblem, match="ResponseError: no permission"):
        connection.run([call()])
    assert words() == [(1, "EVALSHA"), (1, "SCRIPT LOAD"), (1, "EVALSHA")]


def test_keys_that_move_on_and_on_are_given_up(answering: Callable[..., RedisConnection]) -> None:
    connection = answering(*[[MovedError(f"5 there:{port}")] for port in range(2, 9)])
    with pytest.raises(RedisProblem, match="MovedError"):
        connection.run([call()])
    assert len(Client.sent) == 4


def test_a_command_that_is_refused_is_a_problem(answering: Callable[..., RedisConnection]) -> None:
    with pytest.raises(RedisProblem, match="ResponseError: unknown command"):
        answering([ResponseError("unknown command")]).command("NONSENSE")


def test_a_forked_child_has_clients_of_its_own(answering: Callable[..., RedisConnection]) -> None:
    """Those of the parent are neither used nor closed: its sockets are the same ones."""
    connection = answering([MovedError("5 there:7")], [1], [2], [3])
    connection.run([call()])
    before, nodes = connection._client, dict(connection._node_clients)
    connection._fork_lock.renew()  # what the child does after a fork
    connection.run([call("{c}")])
    assert connection._client is not before and not connection._node_clients and nodes
    assert redis_connection._of_parents[-2:] == [None, *nodes.values()]


# --- subscriptions ---


class Subscription:
    """What redis-py gives of a channel: messages in turn, each with a byte on a real socket."""

    def __init__(self, *messages: Any) -> None:
        self.messages = list(messages)
        self.near, self.far = socket.socketpair()
        self.connection = SimpleNamespace(_sock=self.near, can_read=lambda timeout: bool(self.messages))

    def subscribe(self, channel: str) -> None:
        pass

    def get_message(self, timeout: float) -> Any:
        return self.messages.pop(0) if self.messages else None

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def subscribed(answering: Callable[..., RedisConnection]) -> Iterator[Callable[..., RedisConnection]]:
    made: list[Subscription] = []

    def listening(*messages: Any) -> RedisConnection:
        connection = answering()
        made.append(Subscription(*messages))
        connection._make_client = lambda: SimpleNamespace(  # type: ignore[method-assign]
            pubsub=lambda ignore_subscribe_messages: made[0], connection_pool=Pool()
        )
        return connection

    yield listening
    for one in made:
        one.close()


def test_a_server_that_does_not_answer_a_subscription_is_a_problem(
    subscribed: Callable[..., RedisConnection],
) -> None:
    with pytest.raises(RedisProblem, match="no answer in time to SUBSCRIBE"):
        subscribed().listen("channel", 0)
    with pytest.raises(RedisProblem, match="no answer in time to SUBSCRIBE"):
        subscribed({"type": "pong"}).listen("channel", 0)


def test_what_came_before_an_interruption_is_not_taken_for_all(subscribed: Callable[..., RedisConnection]) -> None:
    """redis-py connects anew by itself, and what was published meanwhile is lost: whoever listens must know."""
    begun, message = {"type": "subscribe"}, {"type": "message", "data": "one"}
    connection = subscribed(begun, message, begun)
    assert connection.listen("channel", 0) is None
    with pytest.raises(RedisProblem, match="was interrupted"):
        connection.listen("channel", 0)


def test_half_a_message_is_waited_for_no_longer_than_it_may_take(subscribed: Callable[..., RedisConnection]) -> None:
    connection = subscribed({"type": "subscribe"}, {"type": "message", "data": "one"}, None)
    assert connection.listen("channel", 0) is None
    assert connection.listen("channel", 0) == ["one"]
    connection.close()
