"""Rows that cannot be read: lines that are too long, text that is none, files and iterables that fail midway."""

from __future__ import annotations

import asyncio
import csv
import errno
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.batch_support import Asked, lines, texts
from helpers.servers import eventually
from lee_llm_router import ConfigError
from lee_llm_router.batch import row_files
from lee_llm_router.batch.row_files import FoundRow, RowFile
from lee_llm_router.batch.rows import BatchRow, BrokenRow, RowForm
from lee_llm_router.batch.settings import RowFormat
from lee_llm_router.batch.template import PromptTemplate


def read(folder: Path, data: bytes, kind: RowFormat) -> list[FoundRow]:
    path = folder / "rows"
    path.write_bytes(data)
    file = RowFile(path, RowForm(), None, kind)
    found: list[FoundRow] = []
    while rows := file.next_rows():
        found += rows
    file.close()
    return found


def told(rows: list[FoundRow]) -> list[tuple[int, str]]:
    return [(row.line, row.reason if isinstance(row, BrokenRow) else str(row.messages)) for row in rows]


@pytest.mark.parametrize(("kind", "good"), [("jsonl", b'"%s"\n'), ("text", b"%s\n")])
@pytest.mark.parametrize("end", [b"", b"x" * 150_000, b"x" * 300_000])
def test_a_line_that_is_too_long_is_told_and_costs_no_other(
    kind: RowFormat, good: bytes, end: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not held in memory; the last line of a file may be one too."""
    monkeypatch.setattr(row_files, "MAX_LINE", 120_000)
    data = good % b"one" + b"x" * 250_000 + b"\n" + good % b"two" + end
    found = told(read(tmp_path, data, kind))
    assert found[:3] == [(1, "one"), (2, "it is longer than 0 MB"), (3, "two")]
    assert found[3:] == ([(4, "it is longer than 0 MB")] if end else [])


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("text", b"one\nca\xff\ntwo\n"),
        ("jsonl", b'"one"\n"ca\xff"\n"two"\n'),
        ("csv", b"id,prompt\n1,one\n2,ca\xff\n3,two\n"),
    ],
)
def test_a_row_that_is_not_utf_8_is_told(kind: RowFormat, data: bytes, tmp_path: Path) -> None:
    found = told(read(tmp_path, data, kind))
    line = 3 if kind == "csv" else 2
    assert [text for _, text in found] == ["one", "it is not UTF-8 text", "two"] and found[1][0] == line


@pytest.mark.parametrize("row", ['2,"two"x', '2,"never ends\n'])
def test_a_row_of_a_table_with_odd_quotes_is_told(row: str, tmp_path: Path) -> None:
    found = told(read(tmp_path, f"id,prompt\n1,one\n{row}\n".encode(), "csv"))
    assert found[0] == (2, "one")
    assert found[1][0] == 3 and found[1][1].startswith("it cannot be read: ")


def test_other_readers_of_tables_keep_their_own_limit_or_a_larger_one(tmp_path: Path) -> None:
    """The limit is that of all readers in the process: it is never lowered."""
    before = csv.field_size_limit(row_files.MAX_LINE * 2)
    try:
        read(tmp_path, b"prompt\none\n", "csv")
        assert csv.field_size_limit() == row_files.MAX_LINE * 2
    finally:
        csv.field_size_limit(before)


def test_a_disk_that_fails_midway_is_told_and_what_came_before_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"row\n" * 20_000)
    reads, real = [0], os.read

    def failing(descriptor: int, size: int) -> bytes:
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            reads[0] += 1
            if reads[0] == 2:
                raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, size)

    file = RowFile(path, RowForm(), None, "text")
    monkeypatch.setattr(os, "read", failing)
    found = file.next_rows()
    with pytest.raises(ConfigError, match=r"in\.txt: cannot be read: Input/output error"):
        while rows := file.next_rows():
            found += rows
    assert len(found) > 1000
    file.close()
    file.close()  # does nothing


# --- values ---


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"prompt": "a", "system": 7}, "system is not text"),
        ({"prompt": "a", "metadata": [1]}, "metadata is not an object"),
        (7, "it is neither a text, nor messages, nor an object"),
    ],
)
def test_a_value_that_is_no_row_says_why(value: Any, reason: str) -> None:
    row = RowForm().row(value, 3)
    assert isinstance(row, BrokenRow) and reason in row.reason and row.line == 3


def test_a_template_needs_the_fields_it_names() -> None:
    row = RowForm(PromptTemplate("{a} and {b}")).row("a text", 1)
    assert isinstance(row, BrokenRow) and row.reason == "the template needs an object with its fields"


def test_a_row_that_is_one_already_stays_it() -> None:
    row = RowForm().row("a text", 1)
    assert isinstance(row, BatchRow) and RowForm().row(row, 9) is row


def test_instructions_stand_before_messages_that_have_none() -> None:
    talk = [{"role": "user", "content": "hi"}]
    own = [{"role": "system", "content": "own"}, *talk]
    found = [RowForm(system="Be brief.").row(messages, 1) for messages in (talk, own)]
    assert [row.messages for row in found if isinstance(row, BatchRow)] == [
        [{"role": "system", "content": "Be brief."}, *talk], own,
    ]  # fmt: skip


# --- whole batches ---


def test_an_iterable_that_fails_ends_the_batch_once_what_it_gave_is_answered(tmp_path: Path) -> None:
    def rows(number: int) -> Iterator[str]:
        yield from [f"row {one}" for one in range(number)]
        raise ZeroDivisionError

    for number in (0, 3):
        out = tmp_path / f"{number}.jsonl"
        with Asked().router() as router, pytest.raises(ZeroDivisionError):
            router.batch(rows(number), out=out)
        assert len(texts(out)) == number


def test_an_async_iterable_that_fails_does_so_too(tmp_path: Path) -> None:
    async def rows() -> AsyncIterator[str]:
        yield "one"
        raise ZeroDivisionError

    with Asked().router() as router, pytest.raises(ZeroDivisionError):
        asyncio.run(router.batch_async(rows(), out=tmp_path / "out.jsonl"))
    assert list(texts(tmp_path / "out.jsonl").values()) == ["ONE"]


def test_rows_of_a_pipe_are_answered_as_they_come(tmp_path: Path) -> None:
    """Whoever writes to it may wait for the first answers before the next rows."""
    fifo, out = tmp_path / "rows.txt", tmp_path / "out.jsonl"
    os.mkfifo(fifo)

    async def main() -> None:
        router = Asked().router()
        running = asyncio.ensure_future(asyncio.to_thread(router.batch, fifo, out=out))
        writer = await asyncio.to_thread(os.open, fifo, os.O_WRONLY)
        os.write(writer, b"one\n")
        assert await asyncio.to_thread(eventually, lambda: len(lines(out)) == 1, 20)
        os.write(writer, b"two\n")
        os.close(writer)
        assert (await running).answered == 2

    asyncio.run(main())
    assert sorted(texts(out).values()) == ["ONE", "TWO"]


def test_a_cancelled_batch_waits_for_no_row_that_never_comes(tmp_path: Path) -> None:
    async def rows() -> AsyncIterator[str]:
        yield "one"
        await asyncio.Event().wait()

    async def main() -> None:
        router = Asked().router()
        task = asyncio.ensure_future(router.batch_async(rows(), out=tmp_path / "out.jsonl"))
        while not lines(tmp_path / "out.jsonl"):
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert list(texts(tmp_path / "out.jsonl").values()) == ["ONE"]
