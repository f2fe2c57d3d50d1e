"""Connections: kept, shared, and given back, over threads, event loops, forks, interruptions and closings."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from helpers.servers import (
    Conversation,
    Script,
    Server,
    answering,
    completion,
    eventually,
    http,
    json_answer,
    once,
    open_descriptors,
)
from helpers.transports import name_under_test, transport_to
from lee_llm_router.errors import InvalidResponseError, ProviderError
from lee_llm_router.providers.http.transport import idle_pool
from lee_llm_router.providers.http.transport.api import Transport, WireRequest, WireResponse

pytestmark = pytest.mark.usefixtures("each_transport")

OK = json_answer(completion())


@contextmanager
def _transport(server: Server) -> Iterator[Transport]:
    transport = transport_to(server.url)
    try:
        yield transport
    finally:
        transport.close()


def _wire(server: Server) -> WireRequest:
    return WireRequest(f"{server.url}/chat", [], b"{}")


def _sync(transport: Transport, server: Server, times: int) -> list[WireResponse]:
    return [transport.send(_wire(server), 5) for _ in range(times)]


def _async(transport: Transport, server: Server, times: int) -> list[WireResponse]:
    async def main() -> list[WireResponse]:
        return [await transport.send_async(_wire(server), 5) for _ in range(times)]

    return asyncio.run(main())


Sequence = Callable[[Transport, Server, int], list[WireResponse]]
both = pytest.mark.parametrize("calls", [_sync, _async])


@both
def test_calls_one_after_the_other_share_one_connection(calls: Sequence) -> None:
    with Server(answering(OK)) as server, _transport(server) as transport:
        answers = calls(transport, server, 5)
        assert [answer.status for answer in answers] == [200] * 5
        assert server.connections == 1


def _meeting(size: int) -> Script:
    """Answers when `size` connections have asked, so that so many are open at once; later ones at once."""
    barrier = threading.Barrier(size)
    met = threading.Event()

    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            if not met.is_set():
                barrier.wait(20)
                met.set()
            conversation.send(OK)

    return script


def test_64_threads_get_a_connection_each_and_keep_it() -> None:
    """As many connections as calls at once; the next wave opens none."""
    with Server(_meeting(64)) as server, _transport(server) as transport, ThreadPoolExecutor(64) as threads:
        for _ in range(2):
            answers = list(threads.map(lambda _: transport.send(_wire(server), 20), range(64)))
            assert {answer.status for answer in answers} == {200}
        assert server.connections == 64


def test_64_tasks_get_a_connection_each_and_keep_it() -> None:
    with Server(_meeting(64)) as server, _transport(server) as transport:

        async def main() -> None:
            for _ in range(2):
                answers = await asyncio.gather(*(transport.send_async(_wire(server), 20) for _ in range(64)))
                assert {answer.status for answer in answers} == {200}

        asyncio.run(main())
        assert server.connections == 64


@both
def test_a_connection_the_server_has_closed_is_not_used_again(calls: Sequence) -> None:
    """A server that hangs up between calls, without having said so, costs a new connection and no failure."""
    with Server(once(OK)) as server, _transport(server) as transport:
        assert calls(transport, server, 1)[0].status == 200
        assert eventually(lambda: server.open == 0)
        assert calls(transport, server, 1)[0].status == 200
        assert server.connections == 2


def test_a_connection_closed_by_the_server_is_replaced_within_one_loop() -> None:
    """Often, since an answer that is there at once is not waited for."""
    with Server(once(OK)) as server, _transport(server) as transport:

        async def main() -> None:
            for number in range(40):
                assert (await transport.send_async(_wire(server), 5)).status == 200
                assert eventually(lambda: server.open == 0)
                assert server.connections == number + 1

        asyncio.run(main())


@both
def test_connection_close_is_obeyed(calls: Sequence) -> None:
    script = answering(json_answer(completion(), 200, {"Connection": "close"}))
    with Server(script) as server, _transport(server) as transport:
        calls(transport, server, 3)
        assert server.connections == 3


@both
def test_a_connection_that_did_not_take_the_whole_request_is_not_used_again(
    calls: Sequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the answer was whole and promised more. What is written to it would be lost."""
    real = socket.socket.send

    def send(self: socket.socket, *args: Any) -> int:
        real(self, *args)
        raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr(socket.socket, "send", send)
    with Server(answering(OK)) as server, _transport(server) as transport:
        assert [answer.status for answer in calls(transport, server, 3)] == [200] * 3
        assert server.connections == 3


@both
def test_bytes_after_an_answer_never_reach_the_next_call(calls: Sequence) -> None:
    """An answer longer than it claims does not leave its rest to be read as somebody else's answer."""
    fake = json_answer(completion("for somebody else"))
    with Server(answering(OK + fake, OK)) as server, _transport(server) as transport:
        answers = calls(transport, server, 3)
        assert all(b"somebody" not in answer.body for answer in answers)
        assert server.connections == 3


@both
def test_an_answer_without_a_body_keeps_the_connection(calls: Sequence) -> None:
    with Server(answering(b"HTTP/1.1 204 No Content\r\n\r\n")) as server, _transport(server) as transport:
        assert [answer.status for answer in calls(transport, server, 3)] == [204] * 3
        assert server.connections == 1


def test_idle_connections_are_closed_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has idled over 60 s is replaced; the ones that grow old below it are closed."""
    now = 1000.0
    monkeypatch.setattr(idle_pool, "monotonic", lambda: now)
    with Server(_meeting(3)) as server, _transport(server) as transport:
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(lambda _: transport.send(_wire(server), 5), range(3)))
        now += 59
        transport.send(_wire(server), 5)
        assert server.connections == 3
        now += 2
        transport.send(_wire(server), 5)
        assert eventually(lambda: server.open == 1)
        now += 61
        transport.send(_wire(server), 5)
        assert server.connections == 4
        assert eventually(lambda: server.open == 1)


def test_event_loops_one_after_the_other_leave_nothing_behind() -> None:
    """`asyncio.run` again and again with one transport: each loop has its own connection, closed without a warning."""
    with Server(answering(OK)) as server, _transport(server) as transport:
        _async(transport, server, 1)
        gc.collect()
        before = open_descriptors()
        for _ in range(10):
            _async(transport, server, 2)
        gc.collect()
        assert len(open_descriptors()) <= len(before) + 2  # the server's end of the last ones
        assert server.connections == 11
        assert eventually(lambda: server.open <= 1)


def test_a_loop_closed_by_hand_is_cleaned_up_by_the_next() -> None:
    """Without `asyncio.run` nothing tells of a loop's end; its connections are closed when the next loop calls."""
    with Server(answering(OK)) as server, _transport(server) as transport:
        loops = [asyncio.new_event_loop() for _ in range(2)]
        for loop in loops:
            loop.run_until_complete(transport.send_async(_wire(server), 5))
            loop.close()
        assert eventually(lambda: server.open == 1)


def test_event_loops_at_once_in_threads_do_not_share_connections() -> None:
    with Server(_meeting(8)) as server, _transport(server) as transport, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: _async(transport, server, 3), range(8)))
        assert all(answer.status == 200 for some in answers for answer in some)
        assert server.connections == 8


def test_asyncio_debug_mode_finds_no_fault() -> None:
    """Debug mode refuses blocking sockets and calls from other threads."""
    with Server(answering(OK)) as server, _transport(server) as transport:
        answer = asyncio.run(transport.send_async(_wire(server), 5), debug=True)
        assert answer.status == 200


FORK = """
import asyncio, gc, os, sys
from lee_llm_router.providers.http.transport.choice import LazyTransport
from lee_llm_router.providers.http.transport.api import WireRequest
name, url = sys.argv[1:]
transport = LazyTransport(name, url, ca_file=None, max_response_bytes=100000).get()
wire = WireRequest(url + "/chat", [], b"{}")
loop = asyncio.new_event_loop()
def call():
    assert transport.send(wire, 5).status == 200
call()
loop.run_until_complete(transport.send_async(wire, 5))
child = os.fork()
if child == 0:
    call()
    call()
    asyncio.run(transport.send_async(wire, 5))
    transport.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
call()
loop.run_until_complete(transport.send_async(wire, 5))
loop.close()
transport.close()
del transport
gc.collect()
"""


def test_a_forked_child_opens_its_own_connections_and_spoils_none_of_its_parents() -> None:
    """Parent: one sync, one async connection, good before and after. Child: one of each of its own."""
    with Server(answering(OK)) as server:
        command = [sys.executable, "-W", "error", "-c", FORK, name_under_test(), server.url]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert server.connections == 4
        assert len(server.requests) == 7


def test_a_child_that_was_forked_before_the_first_call_keeps_its_first_connection() -> None:
    """So does each worker of a web server that loads its application before it forks."""
    early = FORK.replace("call()\nloop.run_until_complete(transport.send_async(wire, 5))\nchild", "child")
    with Server(answering(OK)) as server:
        command = [sys.executable, "-W", "error", "-c", early, name_under_test(), server.url]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert server.connections == 4


def test_a_cancelled_call_ends_at_once_and_drops_its_connection() -> None:
    """CancelledError passes unchanged; the connection is closed and the next call gets a new one."""
    silent = threading.Event()

    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            if silent.is_set():
                conversation.stall()
                return
            conversation.send(OK)

    with Server(script) as server, _transport(server) as transport:

        async def main() -> None:
            await transport.send_async(_wire(server), 5)
            silent.set()
            before = open_descriptors()
            task = asyncio.create_task(transport.send_async(_wire(server), 60))
            await asyncio.to_thread(eventually, lambda: len(server.requests) == 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            silent.clear()
            assert await asyncio.to_thread(eventually, lambda: server.open == 0)
            assert len(open_descriptors()) < len(before)
            assert (await transport.send_async(_wire(server), 5)).status == 200

        asyncio.run(main())
        assert server.connections == 2


def test_an_outer_timeout_is_the_callers_own() -> None:
    """`asyncio.timeout` around a call raises TimeoutError in the caller, not this library's error."""
    with Server(once(Conversation.stall)) as server, _transport(server) as transport:

        async def main() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await transport.send_async(_wire(server), 60)

        asyncio.run(main())
        assert eventually(lambda: server.open == 0)


def test_an_interrupted_call_drops_its_connection() -> None:
    """KeyboardInterrupt in the middle of a blocking read passes unchanged, and the connection is closed."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Server(once(Conversation.stall)) as server, _transport(server) as transport:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                transport.send(_wire(server), 60)
            assert eventually(lambda: server.open == 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@both
def test_close_ends_idle_connections_at_once(calls: Sequence) -> None:
    with Server(answering(OK)) as server, _transport(server) as transport:
        calls(transport, server, 2)
        transport.close()
        assert eventually(lambda: server.open == 0)
        calls(transport, server, 1)
        assert eventually(lambda: server.open == 0)


def test_close_ends_busy_connections_when_they_come_back() -> None:
    """A call in flight gets its answer; its connection is not kept."""
    go = threading.Event()

    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            go.wait(10)
            conversation.send(OK)

    with Server(script) as server, _transport(server) as transport, ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(_sync, transport, server, 1), threads.submit(_async, transport, server, 1)]
        assert eventually(lambda: len(server.requests) == 2)
        transport.close()
        go.set()
        assert [call.result()[0].status for call in calls] == [200, 200]
        assert eventually(lambda: server.open == 0)


def test_a_transport_dropped_without_close_warns_of_nothing() -> None:
    """Its connections end with it; warnings are errors here."""
    with Server(answering(OK)) as server:
        transport = transport_to(server.url)
        _sync(transport, server, 1)
        _async(transport, server, 1)
        del transport
        gc.collect()
        assert eventually(lambda: server.open == 0)


@both
def test_failed_calls_leave_no_descriptor(calls: Sequence) -> None:
    """Whatever broke, the connection it broke on is closed."""
    faults = [once(), once(Conversation.reset), once(OK[:-5]), once(http(200, b"x" * 20_000_000))]
    for fault in faults:
        with Server(fault) as server, _transport(server) as transport:
            with pytest.raises((ProviderError, InvalidResponseError)):
                calls(transport, server, 1)
            assert eventually(lambda server=server: server.open == 0)  # type: ignore[misc]
