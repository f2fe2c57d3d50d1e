"""The line of progress: shown at a terminal while work takes long, and gone when it is done."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from helpers.terminal import Terminal
from lee_llm_router.cli.progress import ProgressLine

WORK = """
import sys
from lee_llm_router.cli.output import say
from lee_llm_router.cli.progress import ProgressLine

with ProgressLine({text!r}, total={total}) as line:
    for step in range(3):
        line.advance()
        if (word := input()) == "say":
            say("a message")
        elif word == "hide":
            line.hide()
            print("half a line", end="", flush=True)
            input()
print("done")
"""


def at_work(folder: Path, text: str = "reading traces", total: int | None = None, columns: int = 80) -> Terminal:
    command = [sys.executable, "-W", "error", "-c", WORK.format(text=text, total=total)]
    return Terminal(command, folder, columns=columns, echo=False)


def test_slow_work_says_what_it_does_and_how_far_it_is_and_leaves_nothing(tmp_path: Path) -> None:
    with at_work(tmp_path, total=3) as terminal:
        terminal.wait_for("reading traces, 1 of 3")
        terminal.press("\n")
        terminal.wait_for("reading traces, 2 of 3")
        terminal.press("\n\n")
        assert terminal.ends() == 0
        assert terminal.seen.endswith("done")
        assert "reading" not in terminal.seen


def test_the_seconds_are_shown_once_there_are_any(tmp_path: Path) -> None:
    with at_work(tmp_path) as terminal:
        terminal.wait_for("reading traces, 1, 1 s")


def test_a_line_that_was_told_nothing_yet_shows_no_seconds_of_nothing(tmp_path: Path) -> None:
    with at_work(tmp_path, text="") as terminal:
        terminal.press("\n\n\n")
        assert terminal.ends() == 0
        assert "⠋" not in terminal.received.decode()


def test_a_message_takes_the_place_of_the_line(tmp_path: Path) -> None:
    """It stands alone on its line, and the line of progress below it."""
    with at_work(tmp_path) as terminal:
        terminal.wait_for("reading traces, 1")
        terminal.press("say\n")
        lines = terminal.wait_for("reading traces, 2").splitlines()
        assert "a message" in lines


def test_a_hidden_line_leaves_its_place_to_standard_output(tmp_path: Path) -> None:
    with at_work(tmp_path) as terminal:
        terminal.wait_for("reading traces")
        terminal.press("hide\n")
        assert terminal.wait_for("half a line").splitlines()[-1] == "half a line"


def test_a_line_that_is_too_long_is_cut_and_not_wrapped(tmp_path: Path) -> None:
    """A line that wraps could not be erased. Wide characters take two columns."""
    with at_work(tmp_path, "読" * 100, columns=40) as terminal:
        terminal.wait_for("読" * 18)
        terminal.press("\n\n\n")
        assert terminal.ends() == 0
        assert "読" not in terminal.seen


def test_what_a_terminal_would_obey_is_escaped(tmp_path: Path) -> None:
    with at_work(tmp_path, "a\x1b]0;title\x07b\nc") as terminal:
        terminal.wait_for("a\\x1b]0;title\\x07b c")


@pytest.mark.parametrize("kind", ["dumb", "unknown"])
def test_a_terminal_that_cannot_erase_shows_none(tmp_path: Path, kind: str) -> None:
    command = [sys.executable, "-c", WORK.format(text="reading", total=None)]
    with Terminal(command, tmp_path, environment={"TERM": kind}) as terminal:
        terminal.press("\n\n\n")
        assert terminal.ends() == 0
        assert b"reading" not in terminal.received and b"\x1b" not in terminal.received


def test_without_a_terminal_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    """And no thread is started."""
    with ProgressLine("reading", total=3) as line:
        line.tell("writing")
        line.advance(2)
        line.show()
        line.hide()
        assert line._thread is None
    assert capfd.readouterr() == ("", "")
    assert sys.stderr is not None
