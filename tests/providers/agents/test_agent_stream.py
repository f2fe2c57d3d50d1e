"""The streamed answer of an agent: it comes as it is printed, is whole or an error, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from helpers import fake_claude as fc
from helpers.agent_calls import FOREVER, HANG, ask, complete
from helpers.agent_calls import ask as ask_codex
from helpers.claude_support import provider
from helpers.codex_support import provider as codex_provider
from helpers.fake_claude import FakeClaude
from helpers.fake_codex import FakeCodex
from lee_llm_router import LeeLLMRouter, LLMRouterError
from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers.agents import stream as agent_stream
from lee_llm_router.providers.agents.base import AgentProvider
from lee_llm_router.providers.streams import ChunkStream
from lee_llm_router.response import StreamChunk

# The fake waits for this file before it goes on.
WAIT = "while not os.path.exists(os.path.dirname(sys.argv[0]) + '/part-go'): time.sleep(0.01)"


def go_on(claude: FakeClaude) -> None:
    (claude.folder / "part-go").touch()


def read(
    subject: AgentProvider[Any], face: str, each: Callable[[StreamChunk], None] = lambda _: None
) -> list[StreamChunk]:
    """Return the chunks of a streamed answer, read in one of two ways."""
    chunks: list[StreamChunk] = []

    def take(chunk: StreamChunk) -> None:
        chunks.append(chunk)
        each(chunk)

    def sync() -> None:
        stream = subject.stream(ask(), HANG)
        try:
            while (chunk := stream.buffered() or stream.pull(HANG)) is not None:
                take(chunk)
        finally:
            stream.close()

    async def main() -> None:
        stream = await subject.stream_async(ask(), HANG)
        try:
            while (chunk := stream.buffered() or await stream.pull_async(HANG)) is not None:
                take(chunk)
        finally:
            await stream.aclose()

    sync() if face == "sync" else asyncio.run(main())
    return chunks


both = pytest.mark.parametrize("face", ["sync", "async"])


@both
def test_each_piece_comes_when_it_is_printed(claude: FakeClaude, face: str) -> None:
    """The program waits until the first piece has been taken; the last chunk tells how it ended."""
    first, *rest = fc.text_message("hel", "lo")[1:]
    lines = "".join(json.dumps(line) + "\n" for line in [*rest, fc.result("hello")])
    claude.script([fc.INIT, fc.message_start(), first], after=f"{WAIT}\nsys.stdout.write({lines!r})")
    chunks = read(provider(claude), face, lambda _: go_on(claude))
    assert [chunk.text for chunk in chunks] == ["hel", "lo", ""]
    assert [chunk.finish_reason for chunk in chunks] == [None, None, "stop"]
    last = chunks[-1]
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.cost_usd, last.model) == (108, 0.0125, "claude-some-served")
    assert last.details is not None
    assert last.details.id == "6fd0a9d8-session"


@both
def test_an_answer_without_pieces_comes_at_once(claude: FakeClaude, face: str) -> None:
    claude.script(
        [fc.INIT, fc.block(type="thinking", thinking="hm"), fc.block(type="text", text="hi"), fc.result("hi")]
    )
    [chunk] = read(provider(claude), face)
    assert (chunk.text, chunk.reasoning, chunk.finish_reason) == ("hi", "hm", "stop")


@both
def test_pieces_of_reasoning_are_streamed_as_such_and_not_told_twice(claude: FakeClaude, face: str) -> None:
    thought = fc.piece("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"})
    claude.script([fc.INIT, fc.message_start(), thought, fc.block(type="thinking", thinking="hm"),
                   *fc.answer("hi")[3:]])  # fmt: skip
    chunks = read(provider(claude), face)
    assert "".join(chunk.reasoning for chunk in chunks) == "hm"
    assert "".join(chunk.text for chunk in chunks) == "hi"


@both
def test_a_stream_that_breaks_is_an_error_and_never_an_end(claude: FakeClaude, face: str) -> None:
    claude.script([fc.INIT, fc.message_start(), fc.text_piece("hal"), *fc.failure("API Error: Overloaded")[2:]], exit=1)
    with pytest.raises(LLMRouterError) as caught:
        read(provider(claude), face)
    assert (caught.value.failure_type, caught.value.provider, caught.value.sent) == (F.OVERLOADED, "claude", True)
    assert caught.value.response is not None
    assert caught.value.response.text == "hal"


@both
def test_a_failure_before_the_first_piece_is_raised_when_the_stream_is_opened(claude: FakeClaude, face: str) -> None:
    """So the router can go to the next target unseen."""
    claude.script(fc.failure("Credit balance is too low", "billing_error", 400), exit=1)
    opened: list[ChunkStream] = []

    async def open_async() -> None:
        opened.append(await provider(claude).stream_async(ask(), HANG))

    with pytest.raises(LLMRouterError) as caught:
        opened.append(provider(claude).stream(ask(), HANG)) if face == "sync" else asyncio.run(open_async())
    assert caught.value.failure_type is F.QUOTA
    assert not opened


@both
def test_an_answer_other_than_the_streamed_one_is_an_error(claude: FakeClaude, face: str) -> None:
    """What was handed on cannot be taken back."""
    claude.script([fc.INIT, fc.message_start(), fc.text_piece("one"), fc.block(type="text", text="two"),
                   *fc.message_end(), fc.result("two")])  # fmt: skip
    with pytest.raises(LLMRouterError, match="differs from the one that it streamed"):
        read(provider(claude), face)


@both
def test_a_stream_that_does_not_begin_in_time_is_a_timeout(claude: FakeClaude, face: str) -> None:
    complete(provider(claude))  # the flags are known from here on
    claude.script([fc.INIT], after=FOREVER)

    async def open_async() -> None:
        await provider(claude).stream_async(ask(), 1)

    with pytest.raises(LLMRouterError) as caught:
        provider(claude).stream(ask(), 1) if face == "sync" else asyncio.run(open_async())
    assert (caught.value.failure_type, caught.value.sent, caught.value.model) == (F.TIMEOUT, True, "m")


@both
def test_a_pull_keeps_its_timeout_and_closing_ends_the_program(claude: FakeClaude, face: str, tmp_path: Path) -> None:
    claude.script(
        [fc.INIT, fc.message_start(), fc.text_piece("x")], after=f"signal.signal(15, signal.SIG_IGN)\n{FOREVER}"
    )

    def sync() -> None:
        stream = provider(claude).stream(ask(), HANG)
        assert stream.pull(HANG) is not None
        with pytest.raises(TimeoutError):
            stream.pull(0.05)
        stream.close()

    async def main() -> None:
        stream = await provider(claude).stream_async(ask(), HANG)
        assert await stream.pull_async(HANG) is not None
        with pytest.raises(TimeoutError):
            await stream.pull_async(0.05)
        await stream.aclose()

    sync() if face == "sync" else asyncio.run(main())
    assert list((tmp_path / "temp").iterdir()) == []


def test_cancelling_while_it_opens_or_pulls_leaves_nothing(claude: FakeClaude, tmp_path: Path) -> None:
    async def cancelled(lines: list[Any], *, opened: bool) -> None:
        claude.script(lines, after=f"signal.signal(15, signal.SIG_IGN)\n{FOREVER}")
        pulled = asyncio.Event()

        async def use() -> None:
            stream = await provider(claude).stream_async(ask(), HANG)
            try:
                assert await stream.pull_async(HANG) is not None
                pulled.set()
                await stream.pull_async(HANG)
            finally:
                await stream.aclose()

        task = asyncio.create_task(use())
        before = len(claude.runs)
        while not (pulled.is_set() if opened else len(claude.runs) > before):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list((tmp_path / "temp").iterdir()) == []

    asyncio.run(cancelled([fc.INIT], opened=False))
    asyncio.run(cancelled([fc.INIT, fc.message_start(), fc.text_piece("x")], opened=True))


def test_no_thread_stays(claude: FakeClaude) -> None:
    before = set(threading.enumerate())
    read(provider(claude), "sync")
    until = monotonic() + HANG
    while set(threading.enumerate()) - before and monotonic() < until:
        pass
    assert not set(threading.enumerate()) - before


def test_a_stream_has_no_limit_of_its_own_once_it_is_open(claude: FakeClaude, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its timeout is for the beginning alone; claude is told of no shorter one either."""
    claude.script(fc.answer("x"))
    stream = provider(claude).stream(ask(), HANG)
    stream.close()
    assert int(claude.run["env"]["API_TIMEOUT_MS"]) > 3_600_000
    assert agent_stream.AgentStream.pull is not ChunkStream.pull


# Through the router


def config(claude: FakeClaude, **role: Any) -> dict[str, Any]:
    agent = {"type": "claude_cli", "command": str(claude.path), "base_url": "http://127.0.0.1:1", "model": "m"}
    providers = {"c": agent, "spare": {"type": "mock", "response_text": "spare"}}
    return {"llm": {"providers": providers, "roles": {"r": {"provider": "c", "retry": {"attempts": 1}, **role}}}}


def test_the_router_streams_an_agent_and_falls_back_before_its_first_word(claude: FakeClaude) -> None:
    claude.script(fc.answer("hel", "lo"))
    with LeeLLMRouter(config(claude, fallback_providers=["spare"])) as router:
        with router.stream("r", "hi") as stream:
            assert "".join(chunk.text for chunk in stream) == "hello"
        claude.script(fc.failure("boom", "server_error", 500), exit=1)
        with router.stream("r", "hi") as stream:
            assert "".join(chunk.text for chunk in stream) == "spare"


def test_the_router_says_that_a_stream_broke(claude: FakeClaude) -> None:
    claude.script([fc.INIT, fc.message_start(), fc.text_piece("hal"), *fc.failure("Overloaded")[2:]], exit=1)
    with LeeLLMRouter(config(claude)) as router, pytest.raises(LLMRouterError) as caught:
        for _ in router.stream("r", "hi"):
            pass
    assert (caught.value.failure_type, caught.value.attempts[-1].provider) == (F.OVERLOADED, "c")


def test_a_stream_that_is_left_ends_its_agent(claude: FakeClaude, tmp_path: Path) -> None:
    claude.script([fc.INIT, fc.message_start(), fc.text_piece("hal")], after=FOREVER)
    with LeeLLMRouter(config(claude)) as router:
        with router.stream("r", "hi") as stream:
            next(iter(stream))
        assert list((tmp_path / "temp").iterdir()) == []


# Where only whole messages are answers


@both
def test_the_stream_of_an_agent_with_tools_holds_its_answer_alone(claude: FakeClaude, face: str) -> None:
    tool = {"type": "user", "message": {"role": "user", "content": []}, "parent_tool_use_id": None}
    claude.script([*fc.answer("I will look.")[:-1], tool, *fc.text_message("Found.", number=2), fc.result("Found.")])
    [chunk] = read(provider(claude, agent=True), face)
    assert (chunk.text, chunk.finish_reason) == ("Found.", "stop")


@pytest.fixture
def codex(tmp_path: Path, claude_machine: Path) -> FakeCodex:
    (tmp_path / "bin").mkdir()
    return FakeCodex(tmp_path / "bin")


def test_an_agent_that_prints_whole_messages_gives_one_chunk(codex: FakeCodex) -> None:
    stream = codex_provider(codex).stream(ask_codex(), HANG)
    chunk = stream.pull(HANG)
    assert chunk is not None
    assert (chunk.text, chunk.finish_reason, stream.pull(HANG)) == ("hello", "stop", None)
    stream.close()
