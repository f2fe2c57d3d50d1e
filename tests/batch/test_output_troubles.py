"""The files of a batch in trouble: a full disk, a damaged ledger, outcomes that come twice, an order given up."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.batch_support import Asked, lines, texts
from lee_llm_router import ConfigError
from lee_llm_router._util.short_waits import outcome as outcome_of
from lee_llm_router.batch import ledger, output, running
from lee_llm_router.batch.answers import RowOutcome
from lee_llm_router.batch.engine import BatchStoppedError
from lee_llm_router.batch.ledger import ANSWERED, BatchLedger
from lee_llm_router.batch.line_file import LineFile
from lee_llm_router.batch.output import BatchOutput, OutputFailedError
from lee_llm_router.batch.rows import key_of

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def opened(out: Path) -> BatchOutput:
    return BatchOutput(out, out.with_name("out.errors.jsonl"), out.with_name("out.jsonl.ledger"))


def outcome(name: str, **more: Any) -> RowOutcome:
    return RowOutcome(name, "error" not in more, {"id": name, "text": "t", "request_id": "q", "line": 1, **more})


def expect(files: BatchOutput, *names: str) -> None:
    files.expect([(key_of(name), 1, place, None, True) for place, name in enumerate(names)])


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_the_second_outcome_of_a_row_is_dropped(out: Path) -> None:
    """Whether the ledger was told of the first, or holds it still."""
    files = opened(out)
    expect(files, "a", "b")
    assert files.put(key_of("a"), outcome("a"))
    assert not files.put(key_of("a"), outcome("a", text="another"))
    files.ledger.tell()
    assert not files.put(key_of("a"), outcome("a", text="another"))
    assert files.put(key_of("b"), outcome("b", error="TIMEOUT", message="m"))
    assert not files.put(key_of("b"), outcome("b"))
    files.close()
    assert [line["text"] for line in lines(out)] == ["t"]


def test_rows_beyond_those_that_an_engine_has_in_hand_are_in_the_ledger(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_MOST_OPEN", 2)
    files = opened(out)
    expect(files, "a", "b", "c", "d")
    assert [files.ledger.was_read(key_of(name)) for name in "abcd"] == [False, False, True, True]
    assert all(files.put(key_of(name), outcome(name)) for name in "dcba")
    assert files.recount({key_of("z"): 2}) == [(key_of("z"), 2, None, None, False)]
    expect(files, "e")
    assert files.recount({key_of("e"): 3}) == [] and files.expected([key_of("e")]) == {key_of("e"): 3}
    files.close()


def test_what_ends_between_two_writes_of_the_ledger_is_known(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_UNCOMMITTED", 1)
    monkeypatch.setattr(ledger, "_UNTOLD", 1)
    files = opened(out)
    expect(files, "a")
    files.put(key_of("a"), outcome("a"))
    files.ledger.end(key_of("x"), 5)
    assert (files.ledger.state(key_of("a")), files.ledger.state(key_of("x"))) == (ANSWERED, 5)
    files.ledger.tell_if_many()
    files.close()


def test_a_ledger_of_another_version_is_made_anew_from_the_output(out: Path) -> None:
    asked = Asked()
    with asked.router() as router:
        router.batch(["a", "b"], out=out)
        with sqlite3.connect(out.with_name("out.jsonl.ledger")) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
        assert router.batch(["a", "b"], out=out).already_answered == 2
    assert asked.prompts == ["a", "b"]


LEDGER_FULL = sqlite3.OperationalError("database or disk is full")


ACTS: dict[str, tuple[str, Callable[[BatchOutput], Any]]] = {
    "expect": ("see", lambda files: files.expect([(key_of(str(n)), 1, n, None, True) for n in range(10_001)])),
    "tidy": ("tell", lambda files: files.tidy_failures()),
    "order": ("tell", lambda files: files.put_in_order(lambda: False)),
    "put": ("end", lambda files: files.put(key_of("a"), outcome("a"))),
    "close": ("tell", lambda files: files.close()),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_ledger_that_cannot_be_written_is_named(act: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method, done = ACTS[act]
    files = opened(out)
    expect(files, "a", "b")
    files.put(key_of("b"), outcome("b", error="TIMEOUT", message="m"))
    with monkeypatch.context() as context:
        context.setattr(BatchLedger, method, failing(LEDGER_FULL))
        with pytest.raises(OutputFailedError, match="database or disk is full"):
            done(files)
    if act != "close":
        files.close()


def test_an_order_that_is_given_up_leaves_the_output_as_it_is(out: Path) -> None:
    files = opened(out)
    expect(files, "a", "b", "c")
    for name in "cab":
        files.put(key_of(name), outcome(name))
    before = out.read_bytes()
    asked = iter([False, True])
    files.put_in_order(lambda: next(asked))
    assert out.read_bytes() == before
    files.put_in_order(lambda: False)
    assert [line["id"] for line in lines(out)] == ["a", "b", "c"]
    files.close()
    assert {path.name for path in out.parent.iterdir()} == {"out.jsonl", "out.jsonl.ledger"}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "there is no more "),
        (sqlite3.OperationalError("database is locked"), "another batch is writing it"),
        (OSError("odd"), "odd"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_batch_that_cannot_begin_says_why(
    error: Exception, told: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(error, sqlite3.OperationalError):
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    monkeypatch.setattr(BatchLedger, "_opened", failing(error))
    with pytest.raises(ConfigError, match=f"cannot be used: {told}"):
        opened(out)


# --- lines ---


def test_a_line_is_in_the_file_whole_or_not_at_all(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write may take a part of it."""
    file, real = LineFile(out), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:4]))
    assert file.append(b'{"id":"one"}\n') == 0
    parts = iter([4, 4])

    def fills(descriptor: int, data: bytes) -> int:
        if (size := next(parts, 0)) == 0:
            raise FULL
        return real(descriptor, data[:size])

    monkeypatch.setattr(os, "write", fills)
    with pytest.raises(OSError, match="No space left"):
        file.append(b'{"id":"two"}\n')
    monkeypatch.undo()
    assert out.read_bytes() == b'{"id":"one"}\n'
    file.close()


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()])
def test_a_new_content_that_cannot_be_written_changes_nothing(error: BaseException, out: Path) -> None:
    file = LineFile(out)
    file.append(b"old\n")

    def content() -> Iterator[bytes]:
        yield b"new\n"
        raise error

    with pytest.raises(type(error)):
        file.replaced(content())
    assert [path.name for path in out.parent.iterdir()] == ["out.jsonl"] and out.read_bytes() == b"old\n"
    file.close()


# --- whole batches ---


@pytest.mark.parametrize("method", ["expect", "tidy_failures", "close"])
def test_a_disk_that_fills_up_stops_the_batch_with_its_figures(
    method: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same call goes on once there is room."""
    asked, real = Asked(), getattr(BatchOutput, method)

    def fail(files: BatchOutput, *args: Any) -> None:
        real(files, *args)
        raise OutputFailedError(f"{out} cannot be written: No space left on device")

    with asked.router() as router:
        with monkeypatch.context() as context:
            context.setattr(BatchOutput, method, fail)
            with pytest.raises((BatchStoppedError, OutputFailedError), match="No space left"):
                router.batch(["a", "b"], out=out)
        assert router.batch(["a", "b"], out=out).is_complete
    assert sorted(texts(out).values()) == ["A", "B"]


def test_tools_of_a_batch_may_be_functions(out: Path) -> None:
    """Another run with the same ones goes on; other ones are another batch."""

    def look(place: str) -> str:
        """Look."""
        return place

    def listen(place: str) -> str:
        """Listen."""
        return place

    with Asked().router() as router:
        router.batch(["a"], out=out, tools=[look])
        assert router.batch(["a"], out=out, tools=[look]).already_answered == 1
        with pytest.raises(ConfigError, match="other options"):
            router.batch(["a"], out=out, tools=[listen])


def test_a_batch_that_is_cancelled_while_its_output_is_put_in_order_stays_whole(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends once the files are closed, and the next run puts them in order."""
    real, task = BatchOutput.put_in_order, None

    async def main() -> None:
        nonlocal task
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        def slowly(files: BatchOutput, is_cancelled: Callable[[], bool]) -> None:
            loop.call_soon_threadsafe(begun.set)
            while not is_cancelled():
                pass
            real(files, is_cancelled)

        monkeypatch.setattr(BatchOutput, "put_in_order", slowly)
        with Asked().router() as router:
            task = asyncio.ensure_future(router.batch_async(["a", "b"], out=out, ordered=True))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    monkeypatch.undo()
    with Asked().router() as router:
        assert router.batch(["a", "b"], out=out, ordered=True).already_answered == 2


def test_a_batch_within_an_event_loop_is_cancelled_by_ctrl_c(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs in a thread of its own there; what was answered is written."""
    real = outcome_of
    presses = iter([True])

    def pressed(future: Any, *args: Any) -> Any:
        if next(presses):
            while not lines(out):
                pass
            raise KeyboardInterrupt
        return real(future, *args)

    async def answer(prompt: str) -> str:
        if prompt != "a":
            await asyncio.Event().wait()
        return prompt

    async def main() -> None:
        with Asked(answer).router() as router:
            monkeypatch.setattr(running, "outcome", pressed)
            with pytest.raises(KeyboardInterrupt):
                router.batch(["a", "b"], out=out, concurrency=2)

    asyncio.run(main())
    assert list(texts(out).values()) == ["a"]


def test_progress_is_told_while_the_batch_runs(out: Path) -> None:
    """Each time with the seconds so far; a hook that raises costs nothing."""
    told: list[float] = []

    def hook(figures: Any) -> None:
        told.append(figures.elapsed_seconds)
        raise ZeroDivisionError

    async def answer(prompt: str) -> str:
        while not told:
            await asyncio.sleep(0.01)
        return prompt

    with Asked(answer).router() as router:
        assert router.batch(["a"], out=out, progress=hook).is_complete
    assert told == sorted(told) and len(told) >= 2


def test_a_batch_that_is_cancelled_as_its_last_row_ends_is_cancelled(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while it waits for its progress to end: whoever cancels it waits for that."""

    async def main() -> None:
        class Engine:
            def __init__(self, job: object) -> None: ...

            async def run(self) -> None:
                asyncio.get_running_loop().call_soon(task.cancel)

        monkeypatch.setattr(running, "engine_named", lambda _: Engine)
        task = asyncio.ensure_future(Asked().router().batch_async([], out=out, progress=lambda _: None))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
