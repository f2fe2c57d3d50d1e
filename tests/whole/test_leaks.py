"""After hard use nothing is left behind: no descriptor, thread, task, child, permit; and every call has its trace."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
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
    open_descriptors,
)
from helpers.stream_servers import EVENTS, HEAD, framed, streaming
from helpers.support import Memory
from lee_llm_router import LeeLLMRouter, LLMRouterError, LocalFileTraceStore

GOOD = json_answer(completion("hello"))
BAD = http(400, b'{"error": {"message": "no"}}')
NEVER_OPEN = {"failures_in_a_row": 1_000_000, "minimum_requests": 1_000_000, "retry_burst": 1_000_000}
"""A health that lets every call through, so that each is one attempt or more."""


def _router(url: str, **settings: Any) -> tuple[LeeLLMRouter, Memory]:
    """A router with one target; `settings` are the role's, but for `max_concurrency`, the provider's."""
    memory = Memory()
    provider = {"type": "http", "base_url": url, "max_concurrency": settings.pop("max_concurrency", None)}
    config = {
        "llm": {
            "providers": {"p": provider},
            "roles": {"r": {"provider": "p", "model": "m", **settings}},
            "health": NEVER_OPEN,
        }
    }
    return LeeLLMRouter(config, trace_store=memory), memory


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(answering(GOOD)) as running:
        yield running


def _failing_often(told: Counter[str]) -> Script:
    """Of six requests three are answered, one is refused, one breaks, one is cut off; notes in `told` what it did."""
    turns, lock = count(), threading.Lock()
    plays = ["", "INVALID_REQUEST", "", "PROVIDER_ERROR", "", "cut"]

    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            with lock:
                play = plays[next(turns) % len(plays)]
                told["PROVIDER_ERROR" if play == "cut" else play] += 1
            if play == "cut":
                conversation.send(GOOD[:-9])
                return
            conversation.send({"": GOOD, "INVALID_REQUEST": BAD, "PROVIDER_ERROR": http(500)}[play])

    return script


def _children() -> set[str]:
    """The child processes of this one."""
    children: set[str] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError):  # a thread that has just ended
            children.update(path.read_text().split())
    return children


@pytest.fixture
def leaks() -> Iterator[list[LeeLLMRouter]]:
    """Takes the routers of a test; once it and its servers are through, nothing of them may be left."""
    threads, descriptors, children = set(threading.enumerate()), open_descriptors(), _children()
    routers: list[LeeLLMRouter] = []
    yield routers
    for router in routers:
        assert router.health(), "it was asked"
        assert all((h.in_flight, h.waiting) == (0, 0) for h in router.health().values())
    assert eventually(lambda: open_descriptors() <= descriptors)
    assert eventually(lambda: set(threading.enumerate()) <= threads)
    assert _children() <= children


def test_sixty_four_threads_leave_nothing(leaks: list[LeeLLMRouter]) -> None:
    told: Counter[str] = Counter()
    ends: list[str] = []

    def work() -> None:
        for _ in range(6):
            try:
                ends.append(router.complete("r", "hi").text)
            except LLMRouterError as error:
                ends.append(error.failure_type)

    with Server(_failing_often(told)) as server:
        router, memory = _router(server.url, retry={"attempts": 1})
        leaks.append(router)
        threads = [threading.Thread(target=work) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        router.close()
    assert len(ends) == len({record.request_id for record in memory.records}) == 64 * 6
    assert Counter(record.failure_type or "" for record in memory.records) == told
    assert ends.count("hello") == told[""] and len(told) == 3


def test_a_thousand_tasks_leave_nothing(leaks: list[LeeLLMRouter]) -> None:
    """At once, half of them failing, some for good and some until they are asked again."""
    told: Counter[str] = Counter()

    async def main() -> list[Any]:
        calls = [router.complete_async("r", "hi") for _ in range(1000)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert len(asyncio.all_tasks()) == 1
        await router.aclose()
        return results

    with Server(_failing_often(told)) as server:
        router, memory = _router(server.url, retry={"attempts": 2, "backoff": 0.01})
        leaks.append(router)
        results = asyncio.run(main())
    failed = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(error, LLMRouterError) for error in failed)
    assert 0 < len(failed) < 1000 == len({record.request_id for record in memory.records})
    met = Counter(record.failure_type or "" for record in memory.records)
    # A busy machine may turn away some of a thousand connections before the server hears of them.
    assert met - told <= Counter(PROVIDER_ERROR=50) and not told - met
    assert len(results) - len(failed) == told[""]


def test_one_router_outlives_many_event_loops(leaks: list[LeeLLMRouter]) -> None:
    """No client is tied to a closed loop; each loop ends with a call under way and a stream half read."""

    def script(conversation: Conversation) -> None:
        while (request := conversation.receive()) is not None:
            if request.json["messages"][0]["content"] == "never":
                conversation.stall()
            elif request.json.get("stream"):
                conversation.send(HEAD + b"".join(map(framed, EVENTS[:2])))
                conversation.stall()
            else:
                conversation.send(GOOD)

    async def main() -> str:
        asyncio.create_task(router.complete_async("r", "never"))  # noqa: RUF006 - left to its fate
        async for _ in (stream := router.stream_async("r", "hi")):
            break
        text = (await router.complete_async("r", "hi")).text
        await stream.aclose()
        return text

    with Server(script) as server:
        router, memory = _router(server.url)
        leaks.append(router)
        assert [asyncio.run(main()) for _ in range(20)] == ["hello"] * 20
        router.close()
        assert eventually(lambda: server.open == 0)
    assert Counter(record.outcome for record in memory.records) == {"ok": 20, "cancelled": 40}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_and_its_parent_both_go_on(server: Server, tmp_path: Path) -> None:
    """Each on connections of its own, both into the same trace files."""
    store = LocalFileTraceStore(trace_dir=tmp_path)
    plain, _ = _router(server.url)
    router = LeeLLMRouter(plain.config, trace_store=store)

    async def call() -> str:
        return (await router.complete_async("r", "hi")).text

    assert [router.complete("r", "hi").text, asyncio.run(call())] == ["hello"] * 2
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if [router.complete("r", "hi").text, asyncio.run(call())] == ["hello"] * 2 else 2
        finally:
            os._exit(code)
    assert [router.complete("r", "hi").text, asyncio.run(call())] == ["hello"] * 2
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [record.outcome for record in store.last(10)] == ["ok"] * 6
    assert all((h.in_flight, h.successes) == (0, 4) for h in router.health().values())
    assert server.connections == 5, "one for each loop, one for the threads of each process"
    router.close()


STUCK = """
import asyncio, sys, threading
from lee_llm_router import LeeLLMRouter

router = LeeLLMRouter({"llm": {
    "providers": {"p": {"type": "http", "base_url": sys.argv[1]}},
    "roles": {"r": {"provider": "p", "model": "m", "timeout": 60}},
    "trace": {"dir": sys.argv[2]},
}})

def ask():
    WAY
"""

# Debug mode, which -X dev turns on, would tell of the first call that it took long to import the HTTP library.
WAYS = {
    "sync": 'router.complete("r", "hi")',
    "stream": 'list(router.stream("r", "hi"))',
    "async": 'asyncio.run(router.complete_async("r", "hi"), debug=False)',
}
ways = pytest.mark.parametrize("way", WAYS)


def _run(way: str, code: str, folder: Path, calls: int, *, interrupt: bool = False) -> tuple[int, str]:
    """Exit code and standard error of a program that makes `calls` to a server which never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ExitStack() as open_ones:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-X", "dev", "-W", "error", "-c", STUCK.replace("WAY", WAYS[way]) + code]
        command += [url, str(folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            for _ in range(calls):
                open_ones.enter_context(silent.accept()[0]).recv(10)
            if interrupt:
                child.send_signal(signal.SIGINT)
            _, errors = child.communicate("go on\n", timeout=60)
            return child.returncode, errors


@ways
def test_an_interpreter_that_ends_with_calls_in_flight_ends_quietly(way: str, tmp_path: Path) -> None:
    """Threads hang in calls; the program is done: no hang, nothing printed, exit code 0."""
    code = """
for _ in range(5):
    threading.Thread(target=ask, daemon=True).start()
sys.stdin.readline()
"""
    assert _run(way, code, tmp_path, 5) == (0, "")


@ways
def test_ctrl_c_in_a_call_is_traced_and_raised(way: str, tmp_path: Path) -> None:
    """A real SIGINT: KeyboardInterrupt comes through unchanged, and the trace file has the attempt as cancelled."""
    code = """
try:
    ask()
except KeyboardInterrupt:
    sys.exit(7)
"""
    assert _run(way, code, tmp_path, 1, interrupt=True) == (7, "")
    assert [record.outcome for record in LocalFileTraceStore(trace_dir=tmp_path).last(1)] == ["cancelled"]


async def _call(router: LeeLLMRouter) -> None:
    await router.complete_async("r", "hi")


async def _stream(router: LeeLLMRouter) -> None:
    assert [chunk.text async for chunk in router.stream_async("r", "hi") if chunk.text] == ["hel", "lo"]


async def _queued(router: LeeLLMRouter) -> None:
    """Behind another call, where only one at once is allowed."""
    first = asyncio.create_task(router.complete_async("r", "hi"))
    try:
        await asyncio.sleep(0)
        await router.complete_async("r", "hi")
    finally:
        await first


@pytest.mark.parametrize(
    ("ask", "script", "settings"),
    [
        (_call, answering(GOOD), {}),
        (_stream, streaming(*EVENTS), {}),
        (_call, answering(http(500), GOOD), {"retry": {"attempts": 2, "backoff": 0.0002}}),
        (_queued, answering(GOOD), {"max_concurrency": 1, "deadline": 20}),
    ],
    ids=["call", "stream", "retried", "queued"],
)
def test_a_call_can_be_cancelled_at_every_await_point(
    ask: Callable[[LeeLLMRouter], Coroutine[Any, Any, None]],
    script: Script,
    settings: dict[str, Any],
    leaks: list[LeeLLMRouter],
) -> None:
    """After n turns of the loop, for n = 0, 1, 2 ... until it is through: cancelled and traced, or done."""

    async def cancelled_after(turns: int) -> bool:
        task = asyncio.create_task(ask(router))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return task.cancelled()

    async def main() -> int:
        turns = 0
        while await cancelled_after(turns):
            assert len(asyncio.all_tasks()) == 1
            last = {record.request_id: record.outcome for record in memory.records}
            assert "error" not in last.values(), "a failure that was retried is not the end of its call"
            assert list(last.values()).count("cancelled") >= turns - (ask is _queued)
            turns += 1
            assert turns < 100_000
        await router.aclose()
        return turns

    with Server(script) as server:
        router, memory = _router(server.url, **settings)
        leaks.append(router)
        assert asyncio.run(main()) > 1
    assert memory.records[-1].outcome == "ok"
