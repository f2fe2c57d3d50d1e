"""One answer a row in the output: in one run, in several, with failures asked again, and in order if that is asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from helpers.batch_support import Asked, lines, texts
from lee_llm_router import AuthenticationError, BatchStoppedError, ConfigError, ContentFilterError
from lee_llm_router.response import LLMResponse, LLMUsage, ToolCall

ROWS = [f"row {number}" for number in range(40)]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def refuse(*prompts: str) -> Any:
    return lambda prompt: ContentFilterError("not this one") if prompt in prompts else prompt.upper()


def test_each_row_has_one_line_and_the_report_says_what_it_took(out: Path) -> None:
    asked = Asked(refuse("row 7"))
    with asked.router() as router:
        report = router.batch(iter(ROWS), out=out)
    assert sorted(texts(out).values()) == sorted(row.upper() for row in ROWS if row != "row 7")
    (failure,) = lines(report.errors)
    assert (failure["error"], failure["line"], report.failures) == ("CONTENT_FILTER", 8, {"CONTENT_FILTER": 1})
    assert (report.rows, report.answered, report.failed, report.is_complete) == (40, 39, 1, True)
    assert (report.input_tokens, report.output_tokens, report.cost_usd) == (78, 39, 19.5)
    assert report.out == out and report.batch_id


def test_a_line_has_the_answer_and_what_is_known_of_it(out: Path) -> None:
    answer = LLMResponse(
        text='{"name":"Rex","age":3}', tool_calls=(ToolCall(id="c", name="bark", arguments='{"loud":true}'),),
        finish_reason="stop", model="served",
    )  # fmt: skip

    class Dog(BaseModel):
        name: str
        age: int

    with Asked(lambda _: answer).router() as router:
        router.batch([{"id": "a", "prompt": "dog"}], out=out, schema=Dog)
    (line,) = lines(out)
    assert line.pop("request_id")
    assert line == {
        "id": "a", "text": answer.text, "parsed": {"name": "Rex", "age": 3},
        "tool_calls": [{"id": "c", "name": "bark", "arguments": '{"loud":true}'}], "finish_reason": "stop",
        "provider": "p", "model": "served", "usage": None, "cost_usd": None,
    }  # fmt: skip


def test_a_line_has_all_tokens_that_were_reported_and_no_others(out: Path) -> None:
    whole = LLMUsage(**{one.name: number for number, one in enumerate(fields(LLMUsage))})
    usages = [whole, LLMUsage(completion_tokens=0), replace(whole, total_tokens=None)]
    answers = iter([LLMResponse(text="x", usage=usage) for usage in usages])
    with Asked(lambda _: next(answers)).router() as router:
        router.batch(ROWS[:3], out=out, concurrency=1)
    reported = [{name: value for name, value in asdict(whole).items() if value is not None}]
    reported += [{"completion_tokens": 0}, {name: value for name, value in reported[0].items() if name[:5] != "total"}]
    assert [line["usage"] for line in lines(out)] == reported


def test_a_row_that_comes_again_long_after_its_answer_is_known(out: Path) -> None:
    def rows() -> Iterator[Any]:
        yield {"id": "a", "prompt": "first"}
        yield from (f"row {number}" for number in range(600))
        yield {"id": "a", "prompt": "second"}
        yield "row 3"

    asked = Asked()
    with asked.router() as router:
        report = router.batch(rows(), out=out, concurrency=2)
        assert (report.answered, report.failures) == (602, {"BROKEN_ROW": 1})
        assert router.batch(rows(), out=out).already_answered == 602
    assert asked.prompts.count("row 3") == 2 and "second" not in asked.prompts


def test_the_same_call_again_asks_what_has_no_outcome_and_nothing_else(out: Path) -> None:
    asked = Asked(refuse("row 7"))
    with asked.router() as router:
        router.batch(ROWS[:30], out=out)
        report = router.batch(ROWS, out=out)
        assert asked.prompts == list(dict.fromkeys(asked.prompts)) and len(asked.prompts) == 40
        assert (report.answered, report.already_answered, report.already_failed) == (10, 29, 1)
        assert router.batch(ROWS, out=out).batch_id == report.batch_id
    assert len(texts(out)) == 39 and len(asked.prompts) == 40


def test_failed_rows_are_asked_again_when_that_is_wanted(out: Path) -> None:
    """The errors file then holds what still fails, and is gone once nothing does."""
    asked = Asked(refuse("row 7", "row 8"))
    with asked.router() as router:
        report = router.batch([*ROWS, {"broken": 1}], out=out)
        asked.answer = refuse("row 8")
        report = router.batch([*ROWS, {"broken": 1}], out=out, retry_errors=True)
        assert (report.answered, report.failed) == (1, 2)
        failures = {line["line"]: line["error"] for line in lines(report.errors)}
        assert failures == {9: "CONTENT_FILTER", 41: "BROKEN_ROW"} and len(lines(report.errors)) == 2
        asked.answer = str.upper
        report = router.batch([*ROWS, "mended"], out=out, retry_errors=True)
    assert report.is_complete and not report.errors.exists() and len(texts(out)) == 41


def test_the_output_is_in_the_order_of_the_rows_if_that_is_wanted(out: Path) -> None:
    """Also where rows of another run, or asked again, were answered last."""

    async def late(prompt: str) -> Any:
        await asyncio.sleep(0.02 if prompt in ("row 0", "row 11") else 0)
        return refuse("row 5")(prompt)

    asked = Asked(late)
    with asked.router() as router:
        router.batch(ROWS, out=out, ordered=True)
        assert [line["text"] for line in lines(out)] == [row.upper() for row in ROWS if row != "row 5"]
        asked.answer = str.upper
        router.batch(ROWS, out=out, ordered=True, retry_errors=True)
        router.batch(["before", *ROWS], out=out, ordered=True)
        assert [line["text"] for line in lines(out)] == ["BEFORE", *(row.upper() for row in ROWS)]
        router.batch(["before", *ROWS], out=out, ordered=True)
    assert len(asked.prompts) == 42 and len(texts(out)) == 41


@pytest.mark.parametrize("other", [{"system": "x"}, {"template": "say {a}"}, {"temperature": 1}, {"role": "s"}])
def test_another_batch_does_not_go_into_the_same_output_unseen(other: dict[str, Any], out: Path) -> None:
    llm = {"roles": {name: {"provider": "p"} for name in "rs"}}
    asked = Asked()
    with asked.router(llm=llm) as router:
        router.batch(["one"], out=out)
        what = "options" if "temperature" in other else next(iter(other))
        with pytest.raises(ConfigError, match=rf"another batch \(other {what}"):
            router.batch([{"a": "b", "prompt": "two"}], out=out, **other)
        assert len(lines(out)) == 1
        router.batch([{"a": "b", "prompt": "two"}], out=out, append=True, **other)
    assert len(lines(out)) == 2


def test_an_output_without_a_row_belongs_to_no_batch_yet(out: Path) -> None:
    """The first try had the wrong settings, and asked nobody."""
    with Asked(lambda _: AuthenticationError("no key")).router() as router, pytest.raises(BatchStoppedError):
        router.batch(ROWS, out=out, system="wrong")
    with Asked().router() as router:
        assert router.batch(ROWS, out=out, system="right").answered == 40


def test_another_file_or_another_row_under_a_known_id_is_refused(tmp_path: Path, out: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    first.write_text('{"id": 1, "prompt": "a"}\n')
    second.write_text('{"id": 1, "prompt": "b"}\n{"id": 2, "prompt": "c"}\n')
    with Asked().router() as router:
        router.batch(first, out=out)
        with pytest.raises(ConfigError, match="other input"):
            router.batch(second, out=out)
        first.write_bytes(second.read_bytes())
        with pytest.raises(ConfigError, match="line 1 has the id '1', and the output holds the answer to another row"):
            router.batch(first, out=out)
        router.batch(second, out=out, append=True)
    assert texts(out) == {"1": "A", "2": "C"}


def test_a_failed_row_that_was_changed_is_asked_again(tmp_path: Path, out: Path) -> None:
    rows = tmp_path / "in.jsonl"
    rows.write_text('{"id": 1, "prompt": "bad"}\n')
    with Asked(refuse("bad")).router() as router:
        assert router.batch(rows, out=out).failed == 1
        rows.write_text('{"id": 1, "prompt": "good"}\n')
        assert router.batch(rows, out=out).answered == 1


def test_an_async_iterable_is_asked_as_it_comes(out: Path) -> None:
    answered = asyncio.Event()

    def answer(prompt: str) -> str:
        answered.set()
        return prompt.upper()

    async def rows() -> AsyncIterator[str]:
        yield "one"
        await answered.wait()  # or it would wait for ever
        yield "two"

    async def main() -> None:
        async with Asked(answer).router() as router:
            report = await router.batch_async(rows(), out=out)
            assert report.answered == 2

    asyncio.run(main())


def test_no_more_rows_are_asked_at_once_than_wanted_and_none_is_read_long_before(out: Path) -> None:
    """Memory holds a window of rows, whatever the number: a slow answer does not let the intake run away."""
    now = most = read = 0

    async def answer(prompt: str) -> str:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        assert read - len(asked.prompts) < 1000
        return prompt

    def rows() -> Iterator[str]:
        nonlocal read
        for number in range(3000):
            read += 1
            yield f"row {number}"

    asked = Asked(answer)
    with asked.router() as router:
        router.batch(rows(), out=out, concurrency=5)
    assert most == 5 and len(texts(out)) == 3000


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, 16), ({"max_concurrency": 3}, 3), ({"rpm": 60}, 6), ({"rpm": 600, "max_concurrency": 9}, 9)],
)
def test_as_many_rows_are_asked_at_once_as_the_limits_allow(settings: dict[str, Any], expected: int, out: Path) -> None:
    now = most = 0

    async def answer(prompt: str) -> str:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return prompt

    llm = {"providers": {"p": {"type": "mock", **settings}}}
    with Asked(answer).router(llm=llm) as router:
        router.batch(ROWS[: expected + 2], out=out)
    assert most == expected


def test_a_sync_batch_runs_where_an_event_loop_runs_already(out: Path) -> None:
    """In a notebook, say."""

    async def main() -> None:
        with Asked().router() as router:
            assert router.batch(ROWS, out=out).answered == 40

    asyncio.run(main())


def test_an_iterable_is_read_in_the_callers_thread_and_its_error_is_raised(out: Path) -> None:
    """A database's cursor may be used in no other."""
    threads: set[str] = set()

    def rows() -> Iterator[str]:
        threads.add(threading.current_thread().name)
        yield from ROWS
        raise RuntimeError("cursor closed")

    with Asked().router() as router, pytest.raises(RuntimeError, match="cursor closed"):
        router.batch(rows(), out=out)
    assert threads == {threading.current_thread().name}
    assert len(texts(out)) == 40


def test_answers_that_come_at_once_leave_the_event_loop_to_others(out: Path) -> None:
    """So do rows that were answered before: a batch of millions can be stopped, and shows how far it is."""
    rows = [f"row {number}" for number in range(2000)]

    async def main() -> None:
        async with Asked().router() as router:
            for _ in range(2):
                turns = 0
                batch = asyncio.ensure_future(router.batch_async(rows, out=out, concurrency=1))
                while not batch.done():
                    turns += 1
                    await asyncio.sleep(0)
                assert turns > 7 + 5

    asyncio.run(main())


def test_progress_is_told_and_what_its_hook_raises_is_nobodys_trouble(out: Path) -> None:
    told: list[int] = []

    def hook(figures: Any) -> None:
        told.append(figures.answered)
        raise RuntimeError

    with Asked().router() as router:
        router.batch(ROWS, out=out, progress=hook)
    assert told[-1] == 40


def test_a_cancelled_batch_keeps_what_was_answered(out: Path) -> None:
    async def answer(prompt: str) -> str:
        if prompt == "row 20":
            await asyncio.Event().wait()
        return prompt

    async def main() -> None:
        async with asked.router() as router:
            batch = asyncio.ensure_future(router.batch_async(ROWS, out=out, concurrency=1))
            while "row 20" not in asked.prompts:
                await asyncio.sleep(0)
            batch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await batch
            asked.answer = str.upper
            await router.batch_async(ROWS, out=out)

    asked = Asked(answer)
    asyncio.run(main())
    assert len(texts(out)) == 40
    assert len(asked.prompts) == 41, "the row in flight alone is asked twice"


@pytest.mark.parametrize(
    "option", [{"concurrency": 0}, {"give_up_after": -1}, {"engine": "liv"}, {"row_format": "xml"}, {"temprature": 1}]
)
def test_a_wrong_option_is_said_before_anything_is_asked(option: dict[str, Any], out: Path) -> None:
    asked = Asked()
    rows = out.with_name("in.jsonl")
    rows.write_text('"a"\n')
    with asked.router() as router, pytest.raises(ConfigError):
        router.batch(rows, out=out, **option)
    assert not asked.prompts


def test_traces_know_the_batch_and_the_row(tmp_path: Path, out: Path) -> None:
    with Asked().router(trace_store=None, trace_dir=tmp_path / "traces") as router:
        report = router.batch([{"id": "a", "prompt": "x"}], out=out)
        (record,) = router.trace_store.last(5)  # type: ignore[union-attr]
    assert record.metadata == {"batch": report.batch_id, "row": "a"}
    assert record.request_id == lines(out)[0]["request_id"]


def test_more_failures_than_allowed_stop_the_batch(out: Path) -> None:
    """Rows that could not be read count too; the next run goes on."""
    asked = Asked(lambda _: ContentFilterError("no"))
    with asked.router() as router:
        with pytest.raises(BatchStoppedError, match="4 rows have failed"):
            router.batch([{}, *ROWS], out=out, max_failures=3, concurrency=1)
        assert len(asked.prompts) == 3 and len(lines(out.with_name("out.errors.jsonl"))) == 4
        with pytest.raises(BatchStoppedError, match=r"2 rows have failed \(BROKEN_ROW 2"):
            router.batch([{}, *ROWS, {}], out=out.with_name("other.jsonl"), max_failures=1)
        assert len(asked.prompts) == 3
        asked.answer = str.upper
        assert router.batch([{}, *ROWS], out=out, max_failures=0).answered == 37


def test_an_output_behind_a_link_is_put_in_order_where_it_is(tmp_path: Path, out: Path) -> None:
    (tmp_path / "disk").mkdir()
    real = tmp_path / "disk" / "real.jsonl"
    out.symlink_to(real)
    with Asked().router() as router:
        router.batch(ROWS[1:], out=out, ordered=True)
        router.batch(ROWS, out=out, ordered=True)
    assert out.is_symlink() and [line["text"] for line in lines(real)] == [row.upper() for row in ROWS]
    assert [path.name for path in real.parent.iterdir()] == ["real.jsonl"]
