"""Connections of streams: pieces handed on at once, hung up when left, given back at the end."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from helpers.servers import Conversation, Server, eventually, make_certificate, once
from helpers.stream_servers import DONE, EVENTS, HEAD, HEL, LAST, LO, ROLE, STOP, delta, event, framed, streaming
from helpers.stream_support import IDLE, READERS, Read, is_hello, reader, router_to
from helpers.support import Memory
from lee_llm_router import LeeLLMRouter
from lee_llm_router.response import LLMRequest

pytestmark = pytest.mark.usefixtures("no_leak")

# Connections and time


def test_pieces_are_handed_on_as_they_come(read: Read) -> None:
    """The server sends the next one only when the last was seen."""
    seen = threading.Event()

    def script(conversation: Conversation) -> None:
        if conversation.receive():
            conversation.send(HEAD + framed(ROLE) + framed(HEL))
            assert seen.wait(5)
            conversation.send(b"".join(map(framed, EVENTS[2:])) + LAST)

    with Server(script) as server:
        router = router_to(server.url, role={"stream": {"idle_timeout": 5}})
        stream = router.stream("r", "hi")
        assert next(stream).text == "hel"
        seen.set()
        assert "".join(chunk.text for chunk in stream) == "lo"

        async def main() -> str:
            seen.clear()
            stream = router.stream_async("r", "hi")
            assert (await anext(stream)).text == "hel"
            seen.set()
            text = "".join([chunk.text async for chunk in stream])
            await router.aclose()
            return text

        assert asyncio.run(main()) == "lo"
        router.close()


@pytest.mark.parametrize("forms", [EVENTS, [*EVENTS, HEL]], ids=["plain", "more after the end mark"])
def test_after_its_end_a_stream_gives_its_connection_back(forms: list[bytes]) -> None:
    with Server(streaming(*forms)) as server:
        router = router_to(server.url)
        for _ in range(3):
            assert "".join(chunk.text for chunk in router.stream("r", "hi")) == "hello"
        assert server.connections == 1

        async def main() -> None:
            for _ in range(3):
                assert "".join([chunk.text async for chunk in router.stream_async("r", "hi")]) == "hello"
            assert server.connections == 2
            await router.aclose()

        asyncio.run(main())
        router.close()


def test_leaving_a_stream_hangs_up_at_once() -> None:
    """By `close`, by dropping it, sync and async; and the server can tell while the router lives."""
    with Server(streaming(ROLE, HEL, then=Conversation.stall)) as server:
        router = router_to(server.url)
        stream = router.stream("r", "hi")
        next(stream)
        stream.close()
        assert eventually(lambda: server.open == 0)
        next(router.stream("r", "hi"))
        gc.collect()
        assert eventually(lambda: server.open == 0)

        async def main() -> None:
            async with router.stream_async("r", "hi") as stream:
                await anext(stream)
            await asyncio.sleep(0)
            assert eventually(lambda: server.open == 0)
            await anext(router.stream_async("r", "hi"))
            gc.collect()
            await asyncio.sleep(0.01)
            assert eventually(lambda: server.open == 0)
            await router.aclose()

        asyncio.run(main())
        assert server.connections == 4
        router.close()


def test_a_cancelled_stream_hangs_up_and_is_traced() -> None:
    """At the wait for headers and at the wait for a piece; the cancellation passes through unchanged."""
    for script in (once(Conversation.stall), streaming(ROLE, HEL, then=Conversation.stall)):
        with Server(script) as server:
            memory = Memory()
            router = router_to(server.url, memory=memory, role={"stream": {"idle_timeout": 5}})

            async def main(router: LeeLLMRouter = router, server: Server = server) -> None:
                async def reading() -> None:
                    async for _ in router.stream_async("r", "hi"):
                        pass

                task = asyncio.create_task(reading())
                while not server.requests:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert eventually(lambda: server.open == 0)
                await router.aclose()

            asyncio.run(main())
            router.close()
        assert [record.outcome for record in memory.records] == ["cancelled"]


def test_an_outer_timeout_is_the_callers_own() -> None:
    with Server(streaming(ROLE, HEL, then=Conversation.stall)) as server:
        router = router_to(server.url, role={"stream": {"idle_timeout": 5}})

        async def main() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    async for _ in router.stream_async("r", "hi"):
                        pass
            await router.aclose()

        asyncio.run(main())
        router.close()


def test_time_in_the_caller_is_not_idle_time() -> None:
    """A slow reader of a quick server loses nothing, however its pauses fall."""

    def go_on_later(conversation: Conversation) -> None:
        conversation.server.closing.wait(0.05)
        conversation.send(framed(LO) + framed(STOP) + framed(DONE) + LAST)

    slow = streaming(ROLE, *[HEL] * 3, then=go_on_later)
    with Server(slow) as server:
        router = router_to(server.url, role={"stream": {"idle_timeout": IDLE}})
        pauses = threading.Event()
        stream = router.stream("r", "hi")
        for _ in stream:
            pauses.wait(IDLE * 1.5)
        assert stream.response.text == "helhelhello"

        async def main() -> str:
            stream = router.stream_async("r", "hi")
            async for _ in stream:
                await asyncio.sleep(IDLE * 1.5)
            await router.aclose()
            return stream.response.text

        assert asyncio.run(main()) == "helhelhello"
        router.close()


def test_a_stream_of_a_dead_event_loop_leaves_nothing() -> None:
    """The loop is closed with a stream half read, which is dropped after it."""
    with Server(streaming(ROLE, HEL, then=Conversation.stall)) as server:
        router = router_to(server.url)
        provider = router._parts.pool.open("p0", {})
        loop = asyncio.new_event_loop()
        request = LLMRequest(messages=({"role": "user", "content": "hi"},))
        stream = loop.run_until_complete(provider.stream_async(request, 5))
        assert loop.run_until_complete(stream.pull_async(5)) is not None
        loop.close()
        del stream
        gc.collect()
        assert eventually(lambda: server.open == 0)
        router.close()


def test_a_stream_of_an_event_loop_is_not_for_threads() -> None:
    with Server(streaming(*EVENTS)) as server:
        router = router_to(server.url)
        provider = router._parts.pool.open("p0", {})

        async def main() -> None:
            stream = await provider.stream_async(LLMRequest(messages=({"role": "user", "content": "hi"},)), 5)
            with pytest.raises(RuntimeError, match="pull_async"):
                stream.pull(1)
            await stream.aclose()
            await router.aclose()

        asyncio.run(main())
        router.close()


def test_many_streams_at_once_keep_their_pieces_apart() -> None:
    """64 tasks, then 16 threads, on one router."""

    def script(conversation: Conversation) -> None:
        while (received := conversation.receive()) is not None:
            asked = received.json["messages"][0]["content"]
            pieces = [event(delta(content=word)) for word in [asked] * 5]
            conversation.send(HEAD)
            for piece in [*pieces, STOP, DONE]:
                conversation.send(framed(piece))
            conversation.send(LAST)

    with Server(script) as server:
        router = router_to(server.url, role={"stream": {"idle_timeout": 5}})

        async def one(number: int) -> str:
            return "".join([chunk.text async for chunk in router.stream_async("r", f"<{number}>")])

        async def main() -> list[str]:
            return list(await asyncio.gather(*map(one, range(64))))

        assert asyncio.run(main()) == [f"<{number}>" * 5 for number in range(64)]
        texts: dict[int, str] = {}

        def work(number: int) -> None:
            texts[number] = "".join(chunk.text for chunk in router.stream("r", f"<{number}>"))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert texts == {number: f"<{number}>" * 5 for number in range(16)}
        router.close()


def test_streams_over_tls_are_whole_or_end_in_time(tmp_path: Path) -> None:
    """Sync and async: the same bounds, though what the wire gives is not what the stream is made of."""
    authority, context = make_certificate(tmp_path)
    for name in READERS:
        with Server(streaming(*EVENTS), tls=context) as server:
            is_hello(reader(name)(router_to(server.url, ca_file=str(authority))))
        with Server(streaming(ROLE, HEL, then=Conversation.stall), tls=context) as server:
            role = {"stream": {"idle_timeout": IDLE}}
            ended = reader(name)(router_to(server.url, ca_file=str(authority), role=role))
            assert eventually(lambda server=server: server.open == 0)  # type: ignore[misc]
        assert (ended.ends, ended.text) == ("TIMEOUT", "hel")


FORKING = """
import os, sys
from lee_llm_router import LeeLLMRouter
providers = {"p": {"type": "http", "base_url": sys.argv[1]}}
roles = {"r": {"provider": "p", "model": "m"}}
router = LeeLLMRouter({"llm": {"providers": providers, "roles": roles, "trace": {"enabled": False}}})
stream = router.stream("r", "hi")
print(next(stream).text, flush=True)
if os.fork() == 0:
    stream.close()
    router.close()
    sys.exit(0)
os.wait()
sys.stdin.readline()
print("".join(chunk.text for chunk in stream))
router.close()
"""


def test_a_forked_child_that_drops_a_stream_leaves_it_to_its_parent() -> None:
    def script(conversation: Conversation) -> None:
        if conversation.receive():
            conversation.send(HEAD + framed(ROLE) + framed(HEL))
            assert going_on.wait(30)
            conversation.send(b"".join(map(framed, EVENTS[2:])) + LAST)

    going_on = threading.Event()
    with Server(script) as server:
        command = [sys.executable, "-W", "error", "-c", FORKING, server.url]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            assert parent.stdout.readline() == "hel\n"
            going_on.set()
            out, _ = parent.communicate("go on\n", timeout=30)
    assert (parent.returncode, out) == (0, "lo\n")
