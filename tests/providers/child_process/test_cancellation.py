"""Runs that are ended from outside: by a switch, or by the cancellation of the task that waits for them."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import threading
from time import monotonic, sleep
from typing import Any

import pytest

from helpers.child_support import FOREVER, HANG, IGNORES_TERM, alive, descriptors, no_thread, run
from lee_llm_router import ProviderError
from lee_llm_router.providers.child_process.cancellation import CancelSwitch, ChildCancelledError, cancellable

pytestmark = pytest.mark.usefixtures("nothing_stays")


def test_a_switch_set_before_the_start_ends_the_run() -> None:
    switch = CancelSwitch()
    switch.set()
    with pytest.raises(ChildCancelledError):
        run(FOREVER, cancel=switch)
    switch.close()


def test_a_switch_may_be_set_and_closed_again_after_its_end() -> None:
    """Its descriptors may be another's by then, and are neither closed nor written to."""
    switch = CancelSwitch()
    switch.close()
    read, write = os.pipe()
    switch.set()
    switch.close()
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.close(read)
    os.close(write)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_ends_no_run_of_its_parent() -> None:
    """It inherits open switches, and may set them while it cleans up after tasks that it will not finish."""
    switch = CancelSwitch()
    forked = os.fork()
    if forked == 0:
        switch.set()
        switch.close()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 7
    assert select.select([switch], [], [], 0) == ([], [], [])
    switch.set()
    assert select.select([switch], [], [], 0)[0] == [switch]
    switch.close()


def awaitable(code: str, ready: threading.Event, pids: list[int]) -> Any:
    def note(line: bytes) -> None:
        if not pids:
            pids.append(int(line))
            ready.set()

    code = f"import os; print(os.getpid(), flush=True)\n{code}"
    return cancellable(lambda switch: run(code, on_line=note, cancel=switch)[0])


@pytest.mark.parametrize("cancellations", [1, 3])
def test_a_cancelled_await_returns_when_everything_is_cleaned_up(cancellations: int) -> None:
    """The child has ended before CancelledError is raised, even if it ignores SIGTERM or is cancelled repeatedly."""
    ready, pids = threading.Event(), []  # type: ignore[var-annotated]

    async def main() -> None:
        task = asyncio.create_task(awaitable(IGNORES_TERM, ready, pids))
        while not ready.is_set():
            await asyncio.sleep(0.01)
        for _ in range(cancellations):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not alive(pids[0])

    asyncio.run(main())


def test_an_await_cancelled_before_the_start_starts_nothing_that_stays() -> None:
    ready, pids = threading.Event(), []  # type: ignore[var-annotated]

    async def main() -> None:
        task = asyncio.create_task(awaitable(FOREVER, ready, pids))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_an_await_without_a_thread_left_is_a_provider_error_that_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was started, and the descriptors are closed (`nothing_stays` checks that)."""
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    before = descriptors()

    async def main() -> None:
        for _ in range(5):
            with pytest.raises(ProviderError, match="no thread can be started") as caught:
                await cancellable(lambda switch: run("pass", cancel=switch))
            assert (caught.value.sent, caught.value.final) == (False, False)

    asyncio.run(main())
    assert len(descriptors() - before) <= 1


def test_an_await_without_a_descriptor_left_is_a_provider_error_that_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def main() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(os, "pipe", full)
            with pytest.raises(ProviderError, match=os.strerror(errno.EMFILE)) as caught:
                await cancellable(lambda switch: run("pass", cancel=switch))
        assert (caught.value.sent, caught.value.final) == (False, False)

    asyncio.run(main())


def test_tasks_left_at_the_end_of_the_loop_leave_no_child() -> None:
    """asyncio.run cancels tasks that still run, and waits for them."""
    ready, pids = threading.Event(), []  # type: ignore[var-annotated]
    kept = []

    async def main() -> None:
        kept.append(asyncio.create_task(awaitable(FOREVER, ready, pids)))
        while not ready.is_set():
            await asyncio.sleep(0.01)

    asyncio.run(main())
    assert not alive(pids[0])


def test_a_coroutine_dropped_with_its_loop_leaves_no_child() -> None:
    ready, pids = threading.Event(), []  # type: ignore[var-annotated]
    loop = asyncio.new_event_loop()
    coroutine = awaitable(FOREVER, ready, pids)

    async def main() -> None:
        # Started by hand, up to its first wait: it belongs to no task, so nothing cancels it.
        coroutine.send(None)
        while not ready.is_set():
            await asyncio.sleep(0.01)

    loop.run_until_complete(main())
    coroutine.close()
    loop.close()
    until = monotonic() + HANG
    while alive(pids[0]) and monotonic() < until:
        sleep(0.01)
    assert not alive(pids[0])


def test_results_and_errors_come_through_the_await() -> None:
    async def main() -> tuple[int, BaseException | None]:
        value = await cancellable(lambda _: 5)
        failed = asyncio.ensure_future(cancellable(lambda _: 1 // 0))
        await asyncio.wait([failed])
        return value, failed.exception()

    value, error = asyncio.run(main())
    assert value == 5
    assert isinstance(error, ZeroDivisionError)


def test_many_children_run_at_once() -> None:
    async def main() -> list[list[bytes]]:
        def one(number: int) -> list[bytes]:
            return run(f"print({number})")[1]

        return await asyncio.gather(*(cancellable(lambda _, n=n: one(n)) for n in range(12)))  # type: ignore[misc]

    assert asyncio.run(main()) == [[str(number).encode()] for number in range(12)]
