"""The files of a batch survive whatever is done to them, and hold one answer a row all the same."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers.batch_support import Asked, texts
from lee_llm_router import ConfigError, ContentFilterError
from lee_llm_router.batch.engine import BatchStoppedError
from lee_llm_router.batch.output import BatchOutput

ROWS = [f"row {number}" for number in range(30)]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.fixture
def asked(out: Path) -> Asked:
    """A batch that has answered its first twenty rows, but for one that was refused."""
    asked = Asked(lambda prompt: ContentFilterError("no") if prompt == "row 3" else prompt.upper())
    with asked.router() as router:
        router.batch(ROWS[:20], out=out)
    asked.prompts.clear()
    return asked


def torn(out: Path) -> None:
    with out.open("ab") as file:
        file.write(b'{"id":"0123","text":"ROW')


def torn_before_newline(out: Path) -> None:
    out.write_bytes(out.read_bytes()[:-1])


def torn_failures(out: Path) -> None:
    with out.with_name("out.errors.jsonl").open("ab") as file:
        file.write(b'{"id":"01')


def no_ledger(out: Path) -> None:
    out.with_name("out.jsonl.ledger").unlink()


def no_ledger_and_torn(out: Path) -> None:
    no_ledger(out)
    torn(out)


def broken_ledger(out: Path) -> None:
    ledger = out.with_name("out.jsonl.ledger")
    ledger.write_bytes(b"not a database" * 1000)


def broken_inside(out: Path) -> None:
    with out.with_name("out.jsonl.ledger").open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(4000))


def older_ledger(out: Path) -> None:
    """As if the process had been killed before the ledger was told of most rows."""
    ledger = sqlite3.connect(out.with_name("out.jsonl.ledger"))
    file = out.read_bytes()
    ledger.execute("DELETE FROM rows")
    ledger.execute("DELETE FROM facts WHERE name <> 'batch'")
    ledger.commit()
    ledger.close()
    assert out.read_bytes() == file


def left_over(out: Path) -> None:
    """As if the process had been killed while it put the output in order."""
    out.with_name("out.jsonl.new").write_bytes(b"half")


@pytest.mark.parametrize(
    "harm",
    [
        torn,
        torn_before_newline,
        torn_failures,
        no_ledger,
        no_ledger_and_torn,
        broken_ledger,
        broken_inside,
        older_ledger,
        left_over,
    ],
)
def test_what_a_killed_process_or_a_lost_ledger_leaves_costs_no_row(
    harm: Callable[[Path], None], asked: Asked, out: Path
) -> None:
    harm(out)
    with asked.router() as router:
        report = router.batch(ROWS, out=out)
    assert sorted(asked.prompts) == sorted(ROWS[20:])
    assert (report.answered, report.already_answered, report.already_failed) == (10, 19, 1)
    assert sorted(texts(out).values()) == sorted(row.upper() for row in ROWS if row != "row 3")
    assert [path.name for path in sorted(out.parent.iterdir())] == ["out.errors.jsonl", "out.jsonl", "out.jsonl.ledger"]


def test_wherever_the_files_are_cut_each_row_has_one_answer(asked: Asked, out: Path) -> None:
    """By a process killed in a write, or by a machine that lost what was written last; with any state of the ledger."""
    failures, ledger = out.with_name("out.errors.jsonl"), out.with_name("out.jsonl.ledger")
    whole, failed, told = out.read_bytes(), failures.read_bytes(), ledger.read_bytes()
    last_line = len(whole[:-1].rpartition(b"\n")[0])
    with asked.router() as router:
        for cut in [0, *range(last_line - 2, len(whole) + 1, 9), len(whole) - 1]:
            out.write_bytes(whole[:cut])
            failures.write_bytes(failed[: cut % (len(failed) + 1)])
            ledger.write_bytes(told)
            asked.prompts.clear()
            report = router.batch(ROWS, out=out)
            assert report.is_complete, cut
            assert sorted(texts(out).values()) == sorted(row.upper() for row in ROWS if row != "row 3"), cut
            assert len(asked.prompts) <= 31 and len(asked.prompts) == len(set(asked.prompts)), cut
            assert failures.read_bytes().count(b"\n") == 1, cut


def test_an_output_whose_reading_was_broken_off_is_read_again_from_its_beginning(out: Path) -> None:
    """A ledger that was told of its first lines alone does not believe that it knows them all."""
    asked = Asked()
    rows = [f"row {number}" for number in range(1200)]
    with asked.router() as router:
        router.batch(rows, out=out, concurrency=64)
        older_ledger(out)
        whole = out.read_bytes()
        at = whole[: len(whole) * 9 // 10].rindex(b"\n") + 1
        out.write_bytes(whole[:at] + b"x" + whole[at + 1 :])
        with pytest.raises(ConfigError, match="is not an answer of a batch"):
            router.batch(rows, out=out)
        out.write_bytes(whole)
        asked.prompts.clear()
        assert router.batch(rows, out=out).already_answered == 1200
    assert not asked.prompts and out.read_bytes() == whole


def test_an_output_that_was_edited_is_read_again(asked: Asked, out: Path) -> None:
    """Answers that were taken out are asked again."""
    kept = out.read_bytes().splitlines(keepends=True)[5:]
    out.write_bytes(b"".join(kept))
    with asked.router() as router:
        router.batch(ROWS[:20], out=out)
    assert len(asked.prompts) == 5 and len(texts(out)) == 19


@pytest.mark.parametrize(
    "content",
    [
        b'{"id":"a","prompt":"x"}\n',
        b'{"id":"a","prompt":"x"}',
        b'{"id":"a","pro',
        b"some text\n",
        b'{"id":1,"text":"","request_id":""}\n',
    ],
)
def test_somebody_elses_file_is_left_as_it_is(content: bytes, out: Path) -> None:
    out.write_bytes(content)
    with Asked().router() as router, pytest.raises(ConfigError, match="not an answer of a batch"):
        router.batch(["a"], out=out)
    assert out.read_bytes() == content and list(out.parent.iterdir()) == [out]


def test_the_input_cannot_be_the_output(tmp_path: Path) -> None:
    rows = tmp_path / "rows.errors.jsonl"
    rows.write_text('"a"\n')
    with Asked().router() as router:
        for out in (rows, tmp_path / "rows.jsonl"):
            with pytest.raises(ConfigError, match="this is the input"):
                router.batch(rows, out=out)
    assert rows.read_text() == '"a"\n'


def test_two_batches_at_once_do_not_share_an_output(out: Path) -> None:
    async def main() -> None:
        may_answer = asyncio.Event()

        async def answer(prompt: str) -> str:
            await may_answer.wait()
            return prompt

        async with Asked(answer).router() as router:
            both = [asyncio.ensure_future(router.batch_async(ROWS, out=out)) for _ in range(2)]
            (refused,), (other,) = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            with pytest.raises(ConfigError, match="another batch is writing it"):
                refused.result()
            may_answer.set()
            await other

    asyncio.run(main())
    assert len(texts(out)) == 30


def test_a_batch_that_is_refused_leaves_the_ledger_that_the_other_one_has_just_made(out: Path) -> None:
    class NotSeenYet(type(Path())):  # type: ignore[misc]
        """A file that is made right after somebody has looked for it."""

        def exists(self) -> bool:
            return False

    paths = out, out.with_name("out.errors.jsonl"), out.with_name("out.jsonl.ledger")
    first = BatchOutput(*paths)
    with pytest.raises(ConfigError, match="another batch is writing it"):
        BatchOutput(*paths[:2], NotSeenYet(paths[2]))
    assert paths[2].exists()
    first.close()


@pytest.mark.parametrize("what", ["folder", "fifo", "missing folder", "ledger"])
def test_an_output_that_can_be_none_is_said(what: str, out: Path) -> None:
    if what == "folder":
        out.mkdir()
    elif what == "fifo":
        os.mkfifo(out)
    elif what == "ledger":
        out.with_name("out.jsonl.ledger").mkdir()
    else:
        out = out.parent / "missing" / "out.jsonl"
    with Asked().router() as router, pytest.raises(ConfigError, match=r"out\.jsonl: cannot be used"):
        router.batch(["a"], out=out)


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Refuse to let a file grow beyond `size` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [2_500, 17_000])
def test_a_full_disk_stops_the_batch_and_loses_nothing(size: int, out: Path) -> None:
    """Be it the output's or the ledger's line that does not fit."""
    rows = [f"{number} " + "x" * (900 if size > 10_000 else 20) for number in range(30)]
    asked = Asked()
    with asked.router() as router:
        with files_up_to(size), pytest.raises((BatchStoppedError, ConfigError)) as stopped:
            router.batch(rows, out=out, concurrency=4)
        assert "written" in str(stopped.value) or "cannot be used" in str(stopped.value)
        before = len(texts(out))
        assert router.batch(rows, out=out).is_complete
    assert len(texts(out)) == 30
    assert len(asked.prompts) <= 30 + 4, "those in flight alone are asked twice"
    assert before or size < 10_000


@pytest.mark.parametrize("out", [".", "..", "/"])
def test_a_folder_in_place_of_an_output_is_said(out: str) -> None:
    with Asked().router() as router, pytest.raises(ConfigError, match="cannot be used"):
        router.batch(["a"], out=out)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"concurrency": "8"}, "concurrency must be a whole number of at least 1"),
        ({"concurrency": 2.5}, "concurrency must be a whole number"),
        ({"concurrency": 0}, "at least 1"),
        ({"max_failures": -1}, "at least 0"),
        ({"give_up_after": "1h"}, "give_up_after must be a number of seconds"),
        ({"give_up_after": float("nan")}, "give_up_after must be a number of seconds"),
        ({"engine_options": {"db": "sqlite:///rows.db"}}, "the usual engine has no option 'db'"),
    ],
)
def test_a_setting_of_a_batch_that_cannot_be_is_told_before_a_row_is_asked(
    setting: dict[str, Any], words: str, out: Path
) -> None:
    asked = Asked()
    with asked.router() as router, pytest.raises(ConfigError, match=words):
        router.batch(["a"], out=out, **setting)
    assert not asked.prompts and not out.exists()
