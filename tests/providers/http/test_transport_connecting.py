"""How a connection is made: to whichever address answers first; and what is said where this machine lacks something."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any

import pytest

from helpers.servers import Server, answering, completion, json_answer, open_descriptors
from helpers.transports import settings_under_test, transport_to
from lee_llm_router import LeeLLMRouter
from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.providers.http.transport.api import WireRequest, WireResponse

pytestmark = pytest.mark.usefixtures("each_transport")

OK = json_answer(completion())
HANG = 8.0
"""Seconds: far more than any call here may take, far less than for ever."""
Send = Callable[..., WireResponse]


@pytest.fixture(params=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Send:
    def call(url: str, timeout: float = 60.0) -> WireResponse:
        wire = WireRequest(url, (), b"{}")
        with closing(transport_to(url)) as transport:
            if request.param == "sync":
                return transport.send(wire, timeout)
            return asyncio.run(transport.send_async(wire, timeout))

    return call


@contextmanager
def _swallowing() -> Iterator[tuple[str, int]]:
    """An address that swallows attempts to connect to it: its queue is full."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        queue = [socket.socket() for _ in range(8)]
        try:
            for sock in queue:
                sock.setblocking(False)
                sock.connect_ex(full.getsockname())
            yield full.getsockname()
        finally:
            for sock in queue:
                sock.close()


def _refusing() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
        return address


def _look_up_gives(monkeypatch: pytest.MonkeyPatch, *addresses: Any) -> None:
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "many.test" or kwargs.get("flags"):
            return real("" if host == "many.test" else host, *args, **kwargs)
        return [
            (socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


ORDERS = ["s", "ss", "sr", "rs", "rrs", "srs"]
"""Addresses before the one that answers: s swallows, r refuses."""


@pytest.mark.parametrize("order", ORDERS)
def test_an_address_that_swallows_everything_costs_next_to_nothing(
    send: Send, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _swallowing() as dead, Server(answering(OK)) as server:
        before = [{"s": dead, "r": _refusing()}[kind] for kind in order]
        _look_up_gives(monkeypatch, *before, ("127.0.0.1", server.port))
        started = monotonic()
        assert send(f"http://many.test:{server.port}").status == 200
        assert monotonic() - started < HANG


def test_those_that_lost_are_closed(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []
    real = socket.socket.connect

    def connect(sock: socket.socket, address: Any) -> None:
        made.append(sock)
        real(sock, address)

    with _swallowing() as dead, Server(answering(OK)) as server:
        monkeypatch.setattr(socket.socket, "connect", connect)
        _look_up_gives(monkeypatch, dead, dead, ("127.0.0.1", server.port))
        assert send(f"http://many.test:{server.port}").status == 200
        assert [sock.fileno() for sock in made] == [-1, -1, -1]


def test_where_every_address_swallows_the_timeout_holds(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    with _swallowing() as dead:
        _look_up_gives(monkeypatch, dead, dead, _refusing())
        with pytest.raises(LLMRouterError) as caught:
            send("http://many.test", timeout=0.7)
    assert (caught.value.failure_type, caught.value.sent) == (FailureType.TIMEOUT, False)


@pytest.mark.parametrize("addresses", [1, 2, 4])
def test_where_every_address_refuses_the_error_says_so(
    send: Send, addresses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _look_up_gives(monkeypatch, *[_refusing() for _ in range(addresses)])
    with pytest.raises(LLMRouterError, match=r"connection refused by many\.test:80") as caught:
        send("http://many.test")
    assert not caught.value.sent


def test_what_broke_a_connection_is_the_cause_of_its_error(send: Send) -> None:
    """The doctor tells by it a port that refuses from anything else; httpcore takes it off."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(LLMRouterError) as caught:
            send(f"http://127.0.0.1:{bound.getsockname()[1]}/v1")
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize(
    ("given", "tried"),
    [("6664", "6466"), ("4466", "4646"), ("6644", "6464"), ("4444", "4444"), ("64", "64"), ("46666", "46666")],
)
def test_families_take_turns(send: Send, given: str, tried: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first address decides who begins: a network that is dead has all its addresses in front."""
    order: list[str] = []

    def connect(sock: socket.socket, address: Any) -> None:
        order.append("6" if sock.family == socket.AF_INET6 else "4")
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    monkeypatch.setattr(socket.socket, "connect", connect)
    _look_up_gives(monkeypatch, *[("::1", 9, 0, 0) if kind == "6" else ("127.0.0.1", 9) for kind in given])
    with pytest.raises(LLMRouterError, match="network is unreachable"):
        send("http://many.test")
    assert "".join(order) == tried


def test_a_cancelled_attempt_to_connect_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = open_descriptors()
    with _swallowing() as dead:
        _look_up_gives(monkeypatch, dead, dead, dead)

        async def main() -> None:
            transport = transport_to("http://many.test")
            call = asyncio.create_task(transport.send_async(WireRequest("http://many.test", (), b"{}"), 60))
            await asyncio.sleep(0.35)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            transport.close()

        asyncio.run(main())
    assert open_descriptors() <= descriptors


# What this machine has run out of


SHORTAGES = {
    errno.EMFILE: "ulimit",
    errno.ENFILE: "file descriptors",
    errno.ENOBUFS: "buffers",
    errno.ENOMEM: "memory",
}


def _fail(number: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", SHORTAGES)
@pytest.mark.parametrize("place", ["a socket", "connecting", "a look-up"])
def test_a_shortage_of_this_machine_is_told_as_one(
    send: Send, number: int, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        if place == "a look-up":
            patched.setattr(socket, "getaddrinfo", _fail(number))
        else:
            patched.setattr(socket.socket, "__init__" if place == "a socket" else "connect", _fail(number))
        with pytest.raises(LLMRouterError, match="this machine has run out of") as caught:
            if place != "a socket":
                send("http://127.0.0.1:9")
            else:  # asyncio's own loop needs sockets too
                transport_to("http://127.0.0.1:9").send(WireRequest("http://127.0.0.1:9", (), b"{}"), 5)
    error = caught.value
    assert (error.failure_type, error.sent, error.local_shortage) == (FailureType.PROVIDER_ERROR, False, True)
    assert SHORTAGES[number] in error.message and "Errno" not in error.message


def test_a_name_that_cannot_be_looked_up_for_want_of_descriptors_is_such_a_shortage(
    send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system says that the name is not known, since it could open neither a file nor a socket."""

    def look_up(*_: Any, **__: Any) -> Any:
        monkeypatch.setattr(socket.socket, "__init__", _fail(errno.EMFILE))
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(LLMRouterError, match="ulimit") as caught:
        try:
            send("http://nowhere.test")
        finally:
            monkeypatch.undo()
    assert caught.value.local_shortage


@pytest.mark.parametrize(("address", "is_shortage"), [(("127.0.0.1", 9), True), (("::1", 9, 0, 0), False)])
def test_no_local_port_is_a_shortage_and_no_local_network_is_none(
    send: Send, address: Any, is_shortage: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket.socket, "connect", _fail(errno.EADDRNOTAVAIL))
    _look_up_gives(monkeypatch, address)
    with pytest.raises(LLMRouterError) as caught:
        send("http://many.test")
    assert caught.value.local_shortage is is_shortage
    assert ("local ports" in caught.value.message) is is_shortage


def test_no_thread_for_a_look_up_is_a_shortage(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(LLMRouterError, match="threads") as caught:
        send("http://nowhere.test")
    assert caught.value.local_shortage


def _router(url: str) -> LeeLLMRouter:
    provider = {"type": "http", "base_url": url, "model": "m", **settings_under_test()}
    return LeeLLMRouter(
        {
            "llm": {
                "providers": {"p": provider},
                "roles": {"r": {"provider": "p", "retry": {"patience": 0, "attempts": 1}}},
                "trace": {"enabled": False},
            }
        }
    )


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOBUFS])
def test_the_target_is_not_blamed(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(answering(OK)) as server, _router(server.url) as router:
        with monkeypatch.context() as patched:
            patched.setattr(socket.socket, "connect", _fail(number))
            for _ in range(20):
                with pytest.raises(LLMRouterError, match="this machine has run out of"):
                    router.complete("r", "hi")
        (health,) = router.health().values()
        assert (health.state, health.failures, health.available, health.in_flight) == ("closed", 0, True, 0)
        assert router.complete("r", "hi").text == "hello"


CROWD = """
import json, resource, sys, threading
from lee_llm_router import LeeLLMRouter
url, settings = sys.argv[1], json.loads(sys.argv[2])
provider = {"type": "http", "base_url": url, "model": "m", **settings}
router = LeeLLMRouter({"llm": {"providers": {"p": provider}, "roles": {"r": {"provider": "p"}},
                               "trace": {"enabled": False}}})
assert router.complete("r", "hi").text == "hello"
resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
found = []
def call():
    try:
        found.append(router.complete("r", "hi").text)
    except Exception as error:
        found.append(str(error))
threads = [threading.Thread(target=call) for _ in range(60)]
for thread in threads: thread.start()
for thread in threads: thread.join()
(health,) = router.health().values()
print(json.dumps([sorted(set(found)), health.state, health.failures]))
"""


def test_calls_wait_for_descriptors_and_all_are_answered() -> None:
    """Those that find none left try again, while others give theirs back."""

    def script(conversation: Any) -> None:
        while conversation.receive() is not None:
            conversation.server.closing.wait(0.1)
            conversation.send(OK)

    with Server(script) as server:
        command = [sys.executable, "-W", "error", "-c", CROWD, server.url, json.dumps(settings_under_test())]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert json.loads(done.stdout) == [["hello"], "closed", 0]
