"""What runs in a context of its own sees and sets it, and nobody else does; awaiting it changes nothing else."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context

import pytest

from lee_llm_router._util.in_context import await_in_context, bound_to

_word: ContextVar[str] = ContextVar("word", default="outside")


def test_work_keeps_its_context_over_every_await_and_leaves_none_behind() -> None:
    seen: list[str] = []

    async def work() -> str:
        for _ in range(3):
            seen.append(_word.get())
            await asyncio.sleep(0)
        # A task that it starts is in the same context.
        seen.append(await asyncio.create_task(look()))
        _word.set("changed")
        return "done"

    async def look() -> str:
        return _word.get()

    async def program() -> None:
        context = copy_context()
        context.run(_word.set, "inside")
        assert await await_in_context(context, work()) == "done"
        assert _word.get() == "outside"
        assert context.run(_word.get) == "changed"

    asyncio.run(program())
    assert seen == ["inside"] * 4


def test_a_cancellation_reaches_the_work_and_what_it_raises_comes_out() -> None:
    reached: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            reached.append("cancelled")
            raise ValueError("instead") from None

    async def program() -> None:
        task = asyncio.ensure_future(_awaited(work))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(ValueError, match="instead"):
            await task

    asyncio.run(program())
    assert reached == ["cancelled"]


def test_a_time_limit_around_it_holds() -> None:
    async def program() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await _awaited(lambda: asyncio.sleep(3600))

    asyncio.run(program())


def test_work_that_is_dropped_is_closed() -> None:
    closed: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(_word.get())

    context = copy_context()
    context.run(_word.set, "inside")

    async def program() -> None:
        waiting = await_in_context(context, work())
        waiting.send(None)
        waiting.close()

    asyncio.run(program())
    assert closed == ["inside"]


def test_a_bound_function_is_called_in_its_context_and_one_without_is_itself() -> None:
    context = copy_context()
    context.run(_word.set, "inside")
    assert bound_to(context, _word.get)() == "inside"
    assert bound_to(None, _word.get) == _word.get


async def _awaited(work: object) -> None:
    await await_in_context(copy_context(), work())  # type: ignore[operator]
