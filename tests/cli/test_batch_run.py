"""A batch of the command line, run in this process: what it says on its way, and what a signal does."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from helpers.batch_support import Asked, texts
from lee_llm_router.batch.figures import BatchReport
from lee_llm_router.batch.running import BatchRun
from lee_llm_router.batch.settings import BatchSettings
from lee_llm_router.cli import batch_run
from lee_llm_router.cli.batch_run import progress_text, run_batch
from lee_llm_router.cli.signals import EndedBySignalError


@pytest.fixture
def rows(here: Path) -> str:
    (here / "in.txt").write_text("one\ntwo\nthree\n")
    return "in.txt"


def settings(here: Path, **more: Any) -> BatchSettings:
    return BatchSettings(role=None, out=here / "out.jsonl", concurrency=1, **more)


def test_a_batch_tells_its_figures_at_the_end(here: Path, rows: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_batch(Asked().router(), rows, settings(here), as_json=True)
    out, err = capsys.readouterr()
    assert (json.loads(out)["answered"], json.loads(out)["is_complete"]) == (3, True)
    assert "out.jsonl: 3 answered, tokens 6 in, 3 out, $1.50, in " in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "raised"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, EndedBySignalError), (signal.SIGHUP, EndedBySignalError)],
)
def test_a_signal_ends_it_in_good_order(
    number: signal.Signals, raised: type[BaseException], here: Path, rows: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is in flight is awaited and written, no further row is asked, and handlers are as they were before."""

    async def answer(prompt: str) -> str:
        signal.raise_signal(number)
        await asyncio.sleep(0.01)
        return prompt

    asked, before = Asked(answer), signal.getsignal(number)
    with pytest.raises(raised):
        run_batch(asked.router(), rows, settings(here), as_json=False)
    assert signal.getsignal(number) is before
    assert list(texts(here / "out.jsonl").values()) == asked.prompts == ["one"]
    err = capsys.readouterr().err
    assert "the same command continues where this one ended" in err
    assert ("waiting for 1 rows in flight; Ctrl-C again abandons them" in err) is (number == signal.SIGINT)
    asked.answer = str.upper
    assert run_batch(asked.router(), rows, settings(here), as_json=False)
    assert asked.prompts == ["one", "two", "three"]


def test_a_second_signal_gives_up_what_is_in_flight(here: Path, rows: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def answer(prompt: str) -> str:
        if prompt == "two":
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0)
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        return prompt

    with pytest.raises(KeyboardInterrupt):
        run_batch(Asked(answer).router(), rows, settings(here), as_json=False)
    assert list(texts(here / "out.jsonl").values()) == ["one"]
    assert "1 answered" in capsys.readouterr().err


def test_who_sends_another_signal_waits_no_longer_than_the_grace(
    here: Path, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL follows soon after SIGTERM: what is in flight is given up before that."""
    monkeypatch.setattr(batch_run, "_GRACE", 0.01)

    async def answer(prompt: str) -> str:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.Event().wait()
        return prompt

    with pytest.raises(EndedBySignalError):
        run_batch(Asked(answer).router(), rows, settings(here), as_json=False)


def test_a_batch_that_is_cancelled_by_its_own_program_says_so(here: Path, rows: str) -> None:
    """It is no signal: nobody may take the figures so far for those of a batch that has ended."""

    async def answer(prompt: str) -> str:
        for task in asyncio.all_tasks():
            task.cancel()
        return prompt

    with pytest.raises(asyncio.CancelledError):
        run_batch(Asked(answer).router(), rows, settings(here), as_json=False)


def test_a_batch_that_stops_by_itself_says_why_and_keeps_its_figures(
    here: Path, rows: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(prompt: str) -> Any:
        return prompt if prompt == "one" else ValueError("no")

    assert not run_batch(Asked(answer).router(), rows, settings(here, max_failures=0), as_json=True)
    out, err = capsys.readouterr()
    assert (json.loads(out)["answered"], json.loads(out)["failed"]) == (1, 1)
    assert (
        "the batch has stopped: 1 rows have failed" in err and "the same command continues where this one ended" in err
    )


def test_where_no_terminal_shows_it_a_slow_batch_says_a_line_now_and_then(
    here: Path, rows: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first after ten seconds, then one each minute."""
    now = 0.0
    told: list[float] = []
    monkeypatch.setattr(batch_run, "monotonic", lambda: now)
    monkeypatch.setattr(batch_run, "say", lambda _: told.append(now))

    async def run(self: BatchRun) -> BatchReport:
        nonlocal now
        for now in (9.9, 10.1, 50.0, 70.2, 130.3):  # noqa: B007 - the clock
            self._settings.progress(self.figures)  # type: ignore[misc]
        told.append(-1.0)
        return self.figures

    monkeypatch.setattr(BatchRun, "run", run)
    run_batch(Asked().router(), rows, settings(here), as_json=False)
    assert told[: told.index(-1.0)] == [10.1, 70.2, 130.3]


def test_a_share_that_is_not_known_is_not_guessed(tmp_path: Path) -> None:
    figures = BatchReport(out=tmp_path / "o", errors=tmp_path / "e", answered=3)
    assert progress_text(figures, bar=True).startswith("3 rows, ")
