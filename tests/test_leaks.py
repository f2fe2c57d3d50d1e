"""After hard use nothing is left behind: no descriptor, thread, task, child, permit; and every call has its trace."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lee_llm_router import LeeLLMRouter, LLMRouterError, LocalFileTraceStore
from servers import Server, answering, completion, eventually, http, json_answer, open_descriptors
from support import Memory

GOOD = json_answer(completion("hello"))
BAD = http(400, b'{"error": {"message": "no"}}')


def _router(url: str, **options: Any) -> tuple[LeeLLMRouter, Memory]:
    memory = Memory()
    config = {
        "llm": {"providers": {"p": {"type": "http", "base_url": url}}, "roles": {"r": {"provider": "p", "model": "m"}}}
    }
    return LeeLLMRouter(config, trace_store=memory, **options), memory


@pytest.fixture
def server() -> Iterator[Server]:
    """Answers whole twice and refuses the third, on every connection."""
    with Server(answering(*[GOOD, GOOD, BAD] * 2000)) as running:
        yield running


def _nothing_left(router: LeeLLMRouter, descriptors: set[str], threads: int) -> None:
    assert eventually(lambda: open_descriptors() <= descriptors)
    assert eventually(lambda: threading.active_count() <= threads)
    assert all((h.in_flight, h.waiting) == (0, 0) for h in router.health().values())


def test_sixty_four_threads_leave_nothing(server: Server) -> None:
    threads_before = threading.active_count()
    descriptors = open_descriptors()
    router, memory = _router(server.url)
    ends: list[str] = []

    def work() -> None:
        for _ in range(6):
            try:
                ends.append(router.complete("r", "hi").text)
            except LLMRouterError as error:
                ends.append(error.failure_type)

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ends) == len(memory.records) == 64 * 6
    assert set(ends) == {"hello", "INVALID_REQUEST"}
    router.close()
    server.__exit__(None, None, None)
    _nothing_left(router, descriptors, threads_before)


def test_a_thousand_tasks_leave_nothing(server: Server) -> None:
    threads_before = threading.active_count()
    descriptors = open_descriptors()
    router, memory = _router(server.url)

    async def main() -> list[Any]:
        calls = [router.complete_async("r", "hi") for _ in range(1000)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert len(asyncio.all_tasks()) == 1
        await router.aclose()
        return results

    results = asyncio.run(main())
    assert len(results) == len(memory.records) == 1000
    server.__exit__(None, None, None)
    _nothing_left(router, descriptors, threads_before)


def test_one_router_outlives_many_event_loops(server: Server) -> None:
    """No client is tied to a closed loop; streams and calls, one loop after the other."""
    descriptors = open_descriptors()
    router, memory = _router(server.url)

    async def call() -> str:
        return (await router.complete_async("r", "hi")).text

    for _ in range(20):
        assert asyncio.run(call()) == "hello"
    assert len(memory.records) == 20
    router.close()
    assert eventually(lambda: len(open_descriptors() - descriptors) <= server.connections)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_and_its_parent_both_go_on(server: Server, tmp_path: Path) -> None:
    """Each on connections of its own, both into the same trace files."""
    router, _ = _router(server.url)
    store = LocalFileTraceStore(trace_dir=tmp_path)
    router = LeeLLMRouter(router.config, trace_store=store)
    assert router.complete("r", "hi").text == "hello"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if router.complete("r", "hi").text == "hello" else 2
        finally:
            os._exit(code)
    assert router.complete("r", "hi").text == "hello"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [record.outcome for record in store.last(10)] == ["ok"] * 3
    assert server.connections == 2
    router.close()


STUCK = """
import sys, threading
from lee_llm_router import LeeLLMRouter

router = LeeLLMRouter({"llm": {
    "providers": {"p": {"type": "http", "base_url": sys.argv[1]}},
    "roles": {"r": {"provider": "p", "model": "m", "timeout": 60}},
    "trace": {"dir": sys.argv[2]},
}})
"""


def _run(code: str, folder: Path, calls: int, *, interrupt: bool = False) -> tuple[int, str]:
    """Exit code and standard error of a program that makes `calls` to a server which never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ExitStack() as open_ones:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-X", "dev", "-W", "error", "-c", STUCK + code, url, str(folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            for _ in range(calls):
                open_ones.enter_context(silent.accept()[0]).recv(10)
            if interrupt:
                child.send_signal(signal.SIGINT)
            _, errors = child.communicate("go on\n", timeout=60)
            return child.returncode, errors


def test_an_interpreter_that_ends_with_calls_in_flight_ends_quietly(tmp_path: Path) -> None:
    """Threads hang in sync calls; the program is done: no hang, nothing printed, exit code 0."""
    code = """
for _ in range(5):
    threading.Thread(target=router.complete, args=("r", "hi"), daemon=True).start()
sys.stdin.readline()
"""
    assert _run(code, tmp_path, 5) == (0, "")


def test_ctrl_c_in_a_sync_call_is_traced_and_raised(tmp_path: Path) -> None:
    """A real SIGINT: KeyboardInterrupt comes through unchanged, and the trace file has the attempt as cancelled."""
    code = """
try:
    router.complete("r", "hi")
except KeyboardInterrupt:
    sys.exit(7)
"""
    assert _run(code, tmp_path, 1, interrupt=True) == (7, "")
    assert [record.outcome for record in LocalFileTraceStore(trace_dir=tmp_path).last(1)] == ["cancelled"]


def test_a_call_can_be_cancelled_at_every_await_point(server: Server) -> None:
    """After n turns of the loop, for n = 0, 1, 2 ... until it is through: cancelled and traced, or done."""
    router, memory = _router(server.url)

    async def cancelled_after(turns: int) -> bool:
        before = len(memory.records)
        task = asyncio.create_task(router.complete_async("r", "hi"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            assert [r.outcome for r in memory.records[before:]] == (["cancelled"] if turns else [])
            return True
        except LLMRouterError:
            pass
        return False

    async def main() -> int:
        turns = 0
        while await cancelled_after(turns):
            turns += 1
            assert turns < 100_000
        assert len(asyncio.all_tasks()) == 1
        await router.aclose()
        return turns

    assert asyncio.run(main()) > 1
    assert all((h.in_flight, h.waiting) == (0, 0) for h in router.health().values())
