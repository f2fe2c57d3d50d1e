"""The connection to Redis: scripts known or not, a server that refuses, messages, forks, and addresses of all kinds."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from helpers.redis_server import START_SECONDS, RedisServer, SlowWay, free_port
from helpers.servers import make_certificate
from lee_llm_router.errors import ConfigError
from lee_llm_router.settings.redis_connection import LuaScript, RedisConnection, RedisProblem, ScriptCall

ADD = LuaScript("return redis.call('INCRBY', KEYS[1], ARGV[1])")
PUBLISH = LuaScript("for _, word in ipairs(ARGV) do redis.call('PUBLISH', KEYS[1], word) end")
ECHO = LuaScript("return ARGV[1]")


def _add(key: str, number: int) -> ScriptCall:
    return ScriptCall(ADD, [key], [number])


@pytest.mark.parametrize(
    "url", ["localhost:6379", "http://h:1", "redis://h:port", "redis://h:6379/0?max_connections=x"]
)
def test_what_is_no_address_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigError, match="Redis address") as caught:
        RedisConnection(url)
    assert url not in str(caught.value)


def test_without_redis_py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"pip install \"lee-llm-router\[redis\]\""):
        RedisConnection("redis://127.0.0.1:1/0")


@pytest.mark.redis
def test_a_script_that_the_server_does_not_know_runs_once_all_the_same(redis_server: RedisServer) -> None:
    """Also beside one that it knows, and after SCRIPT FLUSH."""
    connection = RedisConnection(redis_server.url, timeout=5)
    assert connection.run([_add("{once}", 1)]) == [1]
    connection.command("SCRIPT FLUSH")
    assert connection.run([_add("{once}", 1), ScriptCall(ECHO, [], ["here"]), _add("{once}", 1)]) == [2, "here", 3]
    assert connection.run([ScriptCall(LuaScript("return 7"), [], []), _add("{once}", 1)]) == [7, 4]
    connection.close()
    assert connection.command("GET", "{once}") == "4"
    connection.close()


@pytest.mark.redis
@pytest.mark.parametrize(
    ("before", "says"),
    [
        (["CONFIG SET", "maxmemory", "1"], "OutOfMemoryError"),
        (["REPLICAOF", "127.0.0.1", "1"], "ReadOnlyError"),
        (["CONFIG SET", "requirepass", "s3cret"], "Authentication"),
    ],
    ids=["full", "replica", "password"],
)
def test_a_server_that_refuses_is_a_problem_in_words(redis_server: RedisServer, before: list[str], says: str) -> None:
    connection = RedisConnection(redis_server.url, timeout=5)
    connection.run([_add("{refused}", 1)])
    connection.command(*before)
    connection.close()
    with pytest.raises(RedisProblem, match=says) as caught:
        connection.run([_add("{refused}", 1)])
    connection.close()
    assert "s3cret" not in str(caught.value)
    redis_server.restart()
    assert connection.run([_add("{refused}", 1)]) == [1]
    connection.close()


@pytest.mark.redis
def test_a_wrong_password_or_one_that_is_right(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A password stands in the address; what goes wrong does not quote it. A Unix socket is an address too."""
    from helpers.redis_fixtures import redis_folder

    folder: Path = redis_folder(tmp_path_factory)
    with RedisServer(folder, "--requirepass", "right", unix_socket=True) as server:
        for url in (f"redis://:right@127.0.0.1:{server.port}/0", f"unix://:right@{server.socket_path}?db=0"):
            connection = RedisConnection(url, timeout=5)
            assert connection.command("PING") in ("PONG", True)
            connection.close()
        connection = RedisConnection(f"redis://:wr0ng@127.0.0.1:{server.port}/0")
        with pytest.raises(RedisProblem, match=r"Authentication|WRONGPASS") as caught:
            connection.run([_add("x", 1)])
        connection.close()
        assert "wr0ng" not in str(caught.value)


@pytest.mark.redis
def test_messages_come_and_a_lost_subscription_is_told(redis_server: RedisServer) -> None:
    """The first call subscribes. Closing ends the wait."""
    here, there = RedisConnection(redis_server.url, timeout=5), RedisConnection(redis_server.url, timeout=5)
    assert here.listen("news", 5) is None
    there.command("PUBLISH", "news", "one")
    there.command("PUBLISH", "news", "two")
    assert here.listen("news", 5) == ["one", "two"] or here.listen("news", 5) == ["two"]
    assert here.listen("news", 0) == []
    there.command("CLIENT KILL", "TYPE", "pubsub")
    with pytest.raises(RedisProblem):
        here.listen("news", 5)
    assert here.listen("news", 5) is None  # it has subscribed again
    there.command("PUBLISH", "news", "three")
    assert here.listen("news", 5) == ["three"]
    threading.Timer(0.05, here.close).start()
    with suppress(RedisProblem):
        assert here.listen("news", 60) == []
    with pytest.raises(RedisProblem, match="closed"):
        here.listen("news", 60)
    there.close()


@pytest.mark.redis
def test_a_slow_server_is_left_after_the_timeout(redis_server: RedisServer) -> None:
    """And its late answer is not taken for that to another question."""
    with SlowWay(redis_server.port) as way:
        connection = RedisConnection(way.url, timeout=0.5)
        connection.command("PING")
        way.delay = 0.8
        with pytest.raises(RedisProblem, match="no answer in time"):
            connection.run([ScriptCall(ECHO, [], ["first"])])
        way.delay = 0
        assert connection.run([ScriptCall(ECHO, [], ["second"])]) == ["second"]
        connection.close()


@pytest.mark.redis
def test_a_forked_child_has_connections_of_its_own(redis_server: RedisServer) -> None:
    connection = RedisConnection(redis_server.url, timeout=5)
    connection.listen("forked", 0)
    own = connection.command("CLIENT ID")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            others = connection.command("CLIENT ID")
            connection.listen("forked", 0)
            connection.close()
            status = 0 if others != own else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert connection.command("CLIENT ID") == own
    connection.command("PUBLISH", "forked", "hello")
    assert connection.listen("forked", 5) == ["hello"]
    connection.close()


@pytest.mark.redis
def test_the_nodes_of_a_cluster_are_found_by_what_each_says(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Scripts of one go run where their keys are, and a subscription hears what any node was told."""
    from helpers.redis_fixtures import redis_folder

    buses = free_port(), free_port()
    options = [("--cluster-enabled", "yes", "--cluster-port", str(bus)) for bus in buses]
    folders = redis_folder(tmp_path_factory), redis_folder(tmp_path_factory)
    with RedisServer(folders[0], *options[0]) as one, RedisServer(folders[1], *options[1]) as other:
        for server, slots in ((one, (0, 8191)), (other, (8192, 16383))):
            with server.client() as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", *slots)
        until = monotonic() + START_SECONDS
        with one.client() as here, other.client() as there:
            here.execute_command("CLUSTER MEET", "127.0.0.1", other.port, buses[1])
            while any(client.execute_command("CLUSTER INFO")["cluster_state"] != "ok" for client in (here, there)):
                assert monotonic() < until
                sleep(0.05)
        connection = RedisConnection(one.url, timeout=5)
        tags = [f"{{tag{n}}}" for n in range(20)]
        for times in (1, 2):
            assert connection.run([_add(tag, 1) for tag in tags]) == [times] * 20
        with one.client() as here, other.client() as there:
            assert (here.dbsize() > 0, there.dbsize() > 0, here.dbsize() + there.dbsize()) == (True, True, 20)
            assert connection.listen("news", 5) is None
            there.publish("news", "from there")
            assert connection.listen("news", 5) == ["from there"]
        connection.close()


@pytest.mark.redis
def test_over_tls_scripts_run_and_messages_come(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """Also several messages in one record of TLS. A certificate that is not trusted is a problem in words."""
    from helpers.redis_fixtures import redis_folder

    folder, (certificate, _) = redis_folder(tmp_path_factory), make_certificate(tmp_path)
    port = free_port()
    options = [
        "--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(tmp_path / "key.pem"),
        "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no",
    ]  # fmt: skip
    with RedisServer(folder, *options):
        connection = RedisConnection(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}", timeout=5)
        assert connection.run([_add("tls", 1)]) == [1]
        assert connection.listen("news", 5) is None
        told = [f"{number} {'x' * 5000}" for number in range(30)]
        connection.run([ScriptCall(PUBLISH, ["news"], told)])
        heard: list[str] = []
        while len(heard) < len(told):
            found = connection.listen("news", 20)
            assert found
            heard += found
        assert heard == told
        connection.close()
        stranger = RedisConnection(f"rediss://127.0.0.1:{port}/0", timeout=5)
        with pytest.raises(RedisProblem, match="certificate"):
            stranger.run([_add("tls", 1)])
        stranger.close()


@pytest.mark.redis
def test_a_subscription_whose_other_end_is_gone_is_found_out(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing ever comes from a host that has vanished, so a silent one is asked."""
    monkeypatch.setattr("lee_llm_router.settings.redis_connection.PING_SECONDS", 0.1)
    with SlowWay(redis_server.port) as way:
        connection = RedisConnection(way.url, timeout=5)
        assert connection.listen("news", 5) is None
        assert connection.listen("news", 0.5) == []
        way.delay = 20
        with pytest.raises(RedisProblem, match="silent"):
            connection.listen("news", 20)
        connection.close()
