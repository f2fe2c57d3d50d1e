"""What the line of progress says, at what takes itself for a terminal. `test_progress.py` has it at a real one."""

from __future__ import annotations

import io
import os
import pty
import sys
import termios
from collections.abc import Callable, Iterator

import pytest

from helpers.servers import eventually
from lee_llm_router.cli import progress
from lee_llm_router.cli.output import ERASED_LINE, say
from lee_llm_router.cli.progress import ProgressLine


class Screen(io.TextIOWrapper):
    """Standard error at a terminal; `terminal` is its file descriptor, if it has one."""

    def __init__(self, encoding: str = "utf-8", terminal: int | None = None) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="backslashreplace", newline="\n", write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return super().fileno() if self._terminal is None else self._terminal

    @property
    def received(self) -> str:
        held = self.buffer
        assert isinstance(held, io.BytesIO)
        return held.getvalue().decode(self.encoding)

    @property
    def drawn(self) -> list[str]:
        """What was drawn, one after the other, without the sign that turns."""
        return [frame[2:] for frame in self.received.split(ERASED_LINE) if frame]

    def waits_for(self, text: str) -> None:
        assert eventually(lambda: text in self.drawn, 20), self.received


class Watch:
    """The clock that the line reads."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    found = Watch()
    monkeypatch.setattr(progress, "monotonic", found.monotonic)
    monkeypatch.setattr(progress, "_FRAME_SECONDS", 0.001)
    return found


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Screen]:
    def shown(**options: object) -> Screen:
        made = Screen(**options)  # type: ignore[arg-type]
        monkeypatch.setattr(sys, "stderr", made)
        monkeypatch.setenv("TERM", "xterm")
        return made

    return shown


@pytest.fixture
def narrow() -> Iterator[int]:
    """A terminal of 20 columns."""
    keys, there = pty.openpty()
    termios.tcsetwinsize(there, (24, 20))
    yield there
    os.close(keys)
    os.close(there)


def test_it_counts_the_steps_and_the_seconds_once_work_is_slow(screen: Callable[..., Screen], watch: Watch) -> None:
    """Nothing is left of it at the end."""
    seen = screen()
    with ProgressLine("reading", total=1200) as line:
        watch.now = 0.6
        seen.waits_for("reading, 0 of 1,200")
        line.advance(1100)
        seen.waits_for("reading, 1,100 of 1,200")
        line.advance(500)
        watch.now = 61.4
        seen.waits_for("reading, 1,200 of 1,200, 61 s")
    assert seen.received.endswith(ERASED_LINE)


def test_without_a_total_it_counts_what_is_done(screen: Callable[..., Screen], watch: Watch) -> None:
    seen = screen()
    with ProgressLine() as line:
        watch.now = 5.0
        line.tell("reading")
        seen.waits_for("reading")
        line.advance(3)
        seen.waits_for("reading, 3")
    assert all(frame.startswith("reading") for frame in seen.drawn)


def test_what_is_shown_stays_in_its_line_and_is_not_obeyed(screen: Callable[..., Screen], watch: Watch) -> None:
    seen = screen()
    with ProgressLine("one\ntwo\x1b[2J") as line:
        watch.now = 0.6
        seen.waits_for("one two\\x1b[2J")
        line.tell(lambda: "a\x1b\nfunction")
        seen.waits_for("a\\x1b function")


def test_a_message_stands_where_the_line_was(screen: Callable[..., Screen], watch: Watch) -> None:
    seen = screen()
    with ProgressLine("reading"):
        watch.now = 0.6
        seen.waits_for("reading")
        say("a message")
        before, _, after = seen.received.partition("a message\n")
        assert before.endswith(ERASED_LINE)
        assert eventually(lambda: "reading" in seen.received.partition("a message\n")[2], 20), after
    say("the end")
    assert seen.received.endswith(f"{ERASED_LINE}the end\n")


def test_a_hidden_line_comes_back_half_a_second_after_it_is_wanted(screen: Callable[..., Screen], watch: Watch) -> None:
    seen = screen()
    with ProgressLine("reading") as line:
        watch.now = 0.6
        seen.waits_for("reading")
        line.hide()
        hidden = seen.received
        line.tell("writing")
        line.show()
        watch.now = 1.0
        assert seen.received == hidden
        watch.now = 1.2
        seen.waits_for("writing")


@pytest.mark.parametrize(("encoding", "sign", "end"), [("utf-8", "⠋", "…"), ("ascii", "-", "")])
def test_it_fits_the_terminal_in_characters_that_this_has(
    encoding: str, sign: str, end: str, screen: Callable[..., Screen], watch: Watch, narrow: int
) -> None:
    """A line that wraps could not be erased."""
    seen = screen(encoding=encoding, terminal=narrow)
    with ProgressLine("reading the traces of a year"):
        watch.now = 0.6
        assert eventually(lambda: f"{ERASED_LINE}{sign} reading" in seen.received, 20)
    assert {len(frame) + 2 for frame in seen.drawn} == {19 if end else 18}
    assert all(frame.endswith(end) for frame in seen.drawn)
    assert "\\u" not in seen.received


def test_an_encoding_that_nobody_knows_has_plain_characters(screen: Callable[..., Screen], watch: Watch) -> None:
    class Odd(Screen):
        encoding = "x-unheard-of"

        @property
        def received(self) -> str:
            held = self.buffer
            assert isinstance(held, io.BytesIO)
            return held.getvalue().decode()

    screen()
    sys.stderr = seen = Odd()
    with ProgressLine("reading"):
        watch.now = 0.6
        seen.waits_for("reading")
    assert seen.received.startswith(f"{ERASED_LINE}- reading")


def test_a_terminal_that_obeys_nothing_shows_no_line(
    screen: Callable[..., Screen], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = screen()
    monkeypatch.setenv("TERM", "dumb")
    with ProgressLine("reading") as line:
        watch.now = 9.0
        line.advance()
    assert seen.received == ""
