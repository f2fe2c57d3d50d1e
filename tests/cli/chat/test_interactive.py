"""A chat with somebody at a terminal, in this process: Ctrl-C, what is shown when it begins, and a second chat."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import Keyboard
from lee_llm_router import LeeLLMRouter
from lee_llm_router._util.file_lock import FileLock
from lee_llm_router.cli import main
from lee_llm_router.cli.asking.call_progress import CallProgress
from lee_llm_router.cli.chat.history import Conversation
from lee_llm_router.cli.chat.input_lines import InputLines, TypedLines
from lee_llm_router.cli.chat.session import ChatSession
from lee_llm_router.cli.progress import ProgressLine

CHATS = Path(".lee-llm-router", "chats")
CTRL_C = "^C\n"


class Keys(Keyboard):
    """What is typed; a line ``^C`` is that key."""

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        line = super().readline(-1 if size is None else size)
        if line == CTRL_C:
            raise KeyboardInterrupt
        return line


class Screen(io.StringIO):
    """Standard output at a terminal. Somebody presses Ctrl-C when `stop_at` is written, once."""

    def __init__(self, stop_at: str | None = None) -> None:
        super().__init__()
        self._stop_at = stop_at

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        written = super().write(text)
        if self._stop_at is not None and self._stop_at in text:
            self._stop_at = None
            raise KeyboardInterrupt
        return written


Talk = Callable[..., tuple[int, str, str]]


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Talk:
    """Run a chat at a terminal: what is typed, its arguments; returns the exit code, what was printed, and said."""
    monkeypatch.setitem(sys.modules, "readline", None)
    monkeypatch.setenv("TERM", "dumb")

    def talked(typed: str, *args: str, stop_at: str | None = None) -> tuple[int, str, str]:
        screen = Screen(stop_at)
        monkeypatch.setattr(sys, "argv", ["lee-llm-router", "chat", *args])
        monkeypatch.setattr(sys, "stdin", Keys(typed))
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), screen.getvalue(), capfd.readouterr().err

    return talked


def kept() -> list[dict[str, Any]]:
    """What the only conversation on disk says, but for its times and ids."""
    (path,) = CHATS.glob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def turns() -> list[list[str]]:
    return [[one["content"] for one in event["messages"]] for event in kept() if event["event"] == "turn"]


def test_it_says_how_it_goes_and_ends_by_ctrl_d(talk: Talk) -> None:
    code, out, err = talk("hello\n")
    assert (code, out) == (0, "echo> hello\necho> ")
    (path,) = CHATS.glob("*.jsonl")
    assert err == f"chat {path.stem}: /help shows the commands, Ctrl-D ends\n\n"


def test_without_history_it_has_no_name(talk: Talk) -> None:
    assert talk("", "--no-history")[2].startswith("chat: /help")


def test_ctrl_c_at_the_prompt_does_not_end_it(talk: Talk) -> None:
    code, _, err = talk(f"{CTRL_C}hello\n")
    assert code == 0 and "\nCtrl-D or /exit ends the chat\n" in err
    assert turns() == [["hello", "hello"]]


def test_what_came_of_an_answer_before_ctrl_c_is_kept(talk: Talk) -> None:
    """What is said next may refer to it; the file says that it is a part."""
    code, _, err = talk("one STOP\ntwo\n", stop_at="STOP")
    assert code == 0
    assert "stopped: the part of the answer that arrived is kept, and /retry asks again" in err
    assert turns() == [["one STOP", "one STOP"], ["two", "two"]]
    assert [event.get("cut", False) for event in kept() if event["event"] == "turn"] == [True, False]


def test_a_question_stopped_before_its_answer_can_be_asked_again(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    begins = CallProgress.answer_begins
    presses = iter([True])

    def stopped(self: CallProgress, characters: int = 0) -> None:
        if next(presses, False):
            raise KeyboardInterrupt
        begins(self, characters)

    monkeypatch.setattr(CallProgress, "answer_begins", stopped)
    code, _, err = talk("one\n/retry\n")
    assert code == 0 and "\nstopped: /retry asks again\n" in err
    assert turns() == [["one", "one"]]


def test_a_failed_question_can_be_asked_again(talk: Talk) -> None:
    err = talk("one\n", "-r", "dead")[2]
    assert "no key" in err and "/retry asks again" in err


def test_who_goes_on_sees_the_last_turn_and_how_many_there_were(talk: Talk) -> None:
    talk("one\ntwo\x1b[2J\n")
    _, out, err = talk("", "--continue")
    assert out == "> two\\x1b[2J\ntwo\\x1b[2J\necho> "
    assert "continuing after 2 turns: /help" in err


def test_a_conversation_that_another_chat_has_open_is_gone_on_with_in_a_copy(talk: Talk) -> None:
    """Two chats never write to one file. The copy has the role and the instructions too."""
    talk("/role odd\none\n", "--system", "Be brief.")
    (first,) = CHATS.glob("*.jsonl")
    before = first.read_bytes()
    with FileLock(first):
        _, _, err = talk("two\n", "--continue")
        assert f"the conversation {first.stem} is open in another chat: this one continues in a copy" in err
        assert talk("three\n", "--continue", first.stem, "--no-history")[0] == 0
    assert first.read_bytes() == before
    first.unlink()
    assert turns() == [["one", "aé"], ["two", "aé"]]
    assert {"event": "system", "text": "Be brief."} in kept() and {"event": "role", "name": "odd"} in kept()


# --- the session ---


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, here: Path) -> Callable[[str], ChatSession]:
    """A chat whose standard input is no terminal."""

    def made(typed: str) -> ChatSession:
        monkeypatch.setattr(sys, "stdin", type("Pipe", (Keys,), {"isatty": lambda _: False})(typed))
        router = LeeLLMRouter.from_file(here / "lee-llm-router.yaml", trace_store=False)
        progress = CallProgress(ProgressLine())
        return ChatSession(router, InputLines(TypedLines(None)), Conversation(), None, progress, options={})

    return made


def test_in_a_pipe_ctrl_c_ends_the_program(
    session: Callable[[str], ChatSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        session(CTRL_C).run()
    monkeypatch.setattr(sys, "stdout", Screen("STOP"))
    with pytest.raises(KeyboardInterrupt):
        session("STOP\n").run()


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("/r", ["/role", "/retry"]),
        ("/role ", ["/role echo", "/role chain", "/role dead", "/role odd"]),
        ("/role d", ["/role dead"]),
        ("/save e", []),
        ("r", []),
        ("", []),
    ],
)
def test_commands_and_roles_are_completed(
    line: str, completed: list[str], session: Callable[[str], ChatSession]
) -> None:
    assert session("").complete(line) == completed
