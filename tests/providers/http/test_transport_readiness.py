"""How connections learn under asyncio that there is something to read, and when their time is up."""

from __future__ import annotations

import asyncio
import gc
import select
import socket
import threading
from contextlib import ExitStack, closing, nullcontext
from contextvars import ContextVar
from typing import Any
from weakref import ref

import pytest

from helpers.servers import (
    Conversation,
    Server,
    answering,
    completion,
    eventually,
    json_answer,
    once,
    open_descriptors,
)
from helpers.transports import transport_to
from lee_llm_router.errors import LLMTimeoutError
from lee_llm_router.providers.http.transport.api import WireRequest
from lee_llm_router.providers.http.transport.readiness import EpollReadiness

OK = json_answer(completion())
has_epoll = pytest.mark.skipif(not hasattr(select, "epoll"), reason="the system has no epoll")


def _wire(server: Server) -> WireRequest:
    return WireRequest(f"{server.url}/chat", (), b"{}")


@pytest.mark.usefixtures("each_transport")
@has_epoll
def test_a_warm_connection_registers_nothing_with_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with Server(answering(OK)) as server, closing(transport_to(server.url)) as transport:
            await transport.send_async(_wire(server), 5)
            registered: list[int] = []
            loop: Any = asyncio.get_running_loop()
            for method in ("add_reader", "_add_reader"):
                monkeypatch.setattr(loop, method, lambda descriptor, *_: registered.append(descriptor))
            for _ in range(3):
                assert (await transport.send_async(_wire(server), 5)).status == 200
            assert server.connections == 1
            assert registered == []

    asyncio.run(main())


@pytest.mark.usefixtures("each_transport")
def test_many_calls_at_once_need_no_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS has none."""
    monkeypatch.delattr(select, "epoll", raising=False)

    async def main() -> None:
        with Server(answering(OK)) as server, closing(transport_to(server.url)) as transport:
            for _ in range(2):
                answers = await asyncio.gather(*(transport.send_async(_wire(server), 5) for _ in range(8)))
                assert [answer.status for answer in answers] == [200] * 8

    asyncio.run(main())


@pytest.mark.usefixtures("each_transport")
def test_a_shorter_time_than_the_last_calls_holds_on_a_warm_connection() -> None:
    """The timer of the connection is still set to the time of the call before."""

    async def main() -> None:
        with Server(once(OK, Conversation.stall)) as server, closing(transport_to(server.url)) as transport:
            await transport.send_async(_wire(server), 1000)
            with pytest.raises(LLMTimeoutError):
                await transport.send_async(_wire(server), 0.05)

    asyncio.run(main())


@pytest.mark.usefixtures("each_transport")
def test_whoever_keeps_an_error_keeps_no_descriptor_of_its_event_loop() -> None:
    """A traceback keeps the variables of its functions, and it may stand in a circle that is collected late."""
    errors: list[asyncio.CancelledError] = []

    async def main(transport: Any, url: str) -> None:
        sending = asyncio.ensure_future(transport.send_async(WireRequest(f"{url}/chat", (), b"{}"), 60))
        await asyncio.to_thread(asked.wait)
        await asyncio.sleep(0)
        sending.cancel()
        try:
            await sending
        except asyncio.CancelledError as error:
            errors.append(error)

    def stall(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            asked.set()
            conversation.stall()

    asked = threading.Event()
    with Server(stall) as server, closing(transport_to(server.url)) as transport:
        asyncio.run(main(transport, server.url))
        before = open_descriptors()
        for _ in range(5):
            asked.clear()
            asyncio.run(main(transport, server.url))
        assert eventually(lambda: open_descriptors() <= before)
    assert len(errors) == 6


@pytest.mark.usefixtures("each_transport")
def test_a_transport_keeps_no_event_loop_that_has_ended_nor_its_connections() -> None:
    """A program may need asyncio once, and go on without it. A call that was cancelled changes nothing of that."""

    async def main(transport: Any) -> ref[asyncio.AbstractEventLoop]:
        await asyncio.gather(*(transport.send_async(_wire(server), 60) for _ in range(3)))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await transport.send_async(WireRequest(f"{server.url}/stall", (), b"{}"), 60)
        return ref(asyncio.get_running_loop())

    def script(conversation: Conversation) -> None:
        while (received := conversation.receive()) is not None:
            if "/stall" in received.line:
                conversation.stall()
            conversation.send(OK)

    with Server(script) as server, closing(transport_to(server.url)) as transport:
        loop = asyncio.run(main(transport))
        gc.collect()
        assert loop() is None
        assert eventually(lambda: server.open == 0)


@pytest.mark.usefixtures("each_transport")
def test_a_connection_keeps_nothing_of_the_context_of_the_call_that_opened_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A web server has its request there, and the connection and the event loop serve others after it."""

    class Request:
        pass

    async def first(transport: Any, server: Server) -> ref[Request]:
        request = Request()
        current.set(request)
        await transport.send_async(_wire(server), 1000)
        return ref(request)

    async def main() -> None:
        with Server(answering(OK)) as server, closing(transport_to(server.url)) as transport:
            request = await asyncio.create_task(first(transport, server))
            await asyncio.sleep(0)
            gc.collect()
            assert request() is None
            await transport.send_async(_wire(server), 1000)
            assert server.connections == 1

    monkeypatch.setattr(asyncio, "timeout", lambda _: nullcontext())  # keeps the context until its time
    current: ContextVar[Request] = ContextVar("current")
    asyncio.run(main())


@pytest.mark.usefixtures("each_transport")
def test_only_the_thread_of_an_event_loop_touches_its_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of uvloop are changed without the lock of Python while its loop runs."""
    threads: set[int] = set()
    cancel = asyncio.TimerHandle.cancel

    def noted(handle: asyncio.TimerHandle) -> None:
        threads.add(threading.get_ident())
        cancel(handle)

    async def main() -> None:
        with Server(answering(OK)) as server, closing(transport_to(server.url)) as transport:
            await asyncio.gather(*(transport.send_async(_wire(server), 60) for _ in range(3)))
            await asyncio.to_thread(transport.close)
            assert await asyncio.to_thread(eventually, lambda: server.open == 0)

    monkeypatch.setattr(asyncio.TimerHandle, "cancel", noted)
    asyncio.run(main())
    assert threads <= {threading.get_ident()}


@has_epoll
def test_what_comes_while_nobody_waits_ends_the_next_wait() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            readiness = EpollReadiness(asyncio.get_running_loop())
            readiness.add(ours.fileno())
            theirs.send(b"x")
            for _ in range(3):
                await asyncio.sleep(0)
            assert readiness.wait(ours.fileno()).done()

    asyncio.run(main())


@has_epoll
def test_an_interruption_of_the_event_loop_loses_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C may come between two reports, and the system makes each of them only once."""

    class Interrupted(asyncio.Future[None]):
        times = 0

        def set_result(self, result: None, /) -> None:
            Interrupted.times += 1
            if Interrupted.times == 1:
                raise KeyboardInterrupt
            super().set_result(result)

    loop = asyncio.new_event_loop()
    readiness = EpollReadiness(loop)
    monkeypatch.setattr(asyncio, "Future", Interrupted)
    waits = []
    with closing(loop), ExitStack() as opened:
        for _ in range(3):
            ours, theirs = map(opened.enter_context, socket.socketpair())
            readiness.add(ours.fileno())
            waits.append(readiness.wait(ours.fileno()))
            theirs.send(b"x")
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(loop.create_future())
        assert all(wait.done() for wait in waits)
