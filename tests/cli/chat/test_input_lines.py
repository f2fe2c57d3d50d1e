"""What a person types in a chat: remembered over chats, edited by readline where there is one, pasted without marks."""

from __future__ import annotations

import io
import os
import pty
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from helpers.command_line import Keyboard
from lee_llm_router.cli.chat.input_lines import InputLines, TypedLines

# --- what was typed before ---


def test_what_is_typed_is_there_in_the_next_chat_oldest_first(tmp_path: Path) -> None:
    typed = TypedLines(tmp_path / "chats" / "typed.history")
    for text in ("one", "two\nlines", "drei é"):
        typed.add(text)
    assert TypedLines(tmp_path / "chats" / "typed.history").read() == ["one", "two\nlines", "drei é"]


def test_without_a_file_nothing_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    typed = TypedLines(None)
    typed.add("one")
    assert typed.read() == [] and list(folder.iterdir()) == []


def test_damage_in_the_file_costs_no_other_line(tmp_path: Path) -> None:
    path = tmp_path / "typed"
    path.write_bytes(b'"one"\n{"half\n7\n["list"]\n"  "\n' + b"[" * 200_000 + b'\n\xff\n"two"\n')
    assert TypedLines(path).read() == ["one", "two"]


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    """Only the latest messages are kept of one that is too large, for its owner alone as before."""
    path = tmp_path / "chats" / "typed"
    path.parent.mkdir()
    path.write_bytes(b"".join(b'"%s %d"\n' % (b"x" * 300, number) for number in range(14_000)))
    TypedLines(path).add("the last one")
    found = TypedLines(path).read()
    assert found[-2:] == ["x" * 300 + " 13999", "the last one"] and len(found) == 500
    assert path.stat().st_size < 200_000 and path.stat().st_mode & 0o077 == 0
    assert list(path.parent.iterdir()) == [path]


# --- at a terminal, with readline ---


class Readline(ModuleType):
    """The module that edits lines, in tests."""

    def __init__(self, doc: str = "Importing this module enables command line editing using GNU readline.") -> None:
        super().__init__("readline", doc)
        self.history: list[str] = []
        self.bound: list[str] = []
        self.line = ""
        self.completer: Callable[[str, int], str | None] = lambda *_: None

    def add_history(self, text: str) -> None:
        self.history.append(text)

    def get_line_buffer(self) -> str:
        return self.line

    def set_completer(self, completer: Any) -> None:
        self.completer = completer

    def set_completer_delims(self, delims: str) -> None:
        assert delims == "", "a role's name may have any character"

    def set_auto_history(self, on: bool) -> None:
        assert not on, "a message of several lines would be remembered as several"

    def parse_and_bind(self, text: str) -> None:
        self.bound.append(text)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def readline(monkeypatch: pytest.MonkeyPatch) -> Readline:
    found = Readline()
    monkeypatch.setitem(sys.modules, "readline", found)
    return found


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Screen]:
    """Let somebody type at a terminal that shows standard output too."""

    def typed(text: str) -> Screen:
        screen = Screen()
        monkeypatch.setattr(sys, "stdin", Keyboard(text))
        monkeypatch.setattr(sys, "stdout", screen)
        return screen

    return typed


def test_messages_of_this_chat_and_of_those_before_are_at_hand(
    tmp_path: Path, readline: Readline, at_terminal: Callable[[str], Screen]
) -> None:
    """A message of several lines is one; an empty one is none."""
    typed = TypedLines(tmp_path / "typed")
    typed.add("before")
    screen = at_terminal("one\\\ntwo\n\n")
    lines = InputLines(typed)
    assert (lines.read("r\x1b> "), lines.read("r> ")) == ("one\ntwo", "")
    assert readline.history == ["before", "one\ntwo"] and typed.read() == ["before", "one\ntwo"]
    assert screen.getvalue() == "r\\x1b> ... r> "


def test_tab_completes_the_whole_line(readline: Readline, at_terminal: Callable[[str], Screen]) -> None:
    at_terminal("")
    lines = InputLines(TypedLines(None))
    readline.line = "/ro"
    assert readline.completer("/ro", 0) is None
    lines.completer = lambda line: [f"{line}le one", f"{line}le two"]
    assert [readline.completer("ignored", state) for state in range(3)] == ["/role one", "/role two", None]


@pytest.mark.parametrize(
    ("doc", "bound"),
    [
        ("using GNU readline.", ["tab: complete", "set enable-bracketed-paste on"]),
        ("using libedit", ["bind ^I rl_complete"]),
    ],
)
def test_keys_are_bound_in_the_words_of_the_library(
    doc: str, bound: list[str], monkeypatch: pytest.MonkeyPatch, at_terminal: Callable[[str], Screen]
) -> None:
    found = Readline(doc)
    monkeypatch.setitem(sys.modules, "readline", found)
    at_terminal("one\n")
    assert InputLines(TypedLines(None)).read("> ") == "one"
    assert found.bound == bound


def test_a_python_without_readline_reads_lines_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_terminal: Callable[[str], Screen]
) -> None:
    monkeypatch.setitem(sys.modules, "readline", None)
    at_terminal("one\n")
    assert InputLines(TypedLines(tmp_path / "typed")).read("> ") == "one"
    assert TypedLines(tmp_path / "typed").read() == ["one"]


# --- at a terminal, while standard output goes elsewhere ---


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal that standard input reads; yields where its keys are pressed."""
    keys, there = pty.openpty()
    with os.fdopen(there) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield keys
    os.close(keys)


def test_lines_that_came_with_the_first_are_one_message(keyboard: int, capsys: pytest.CaptureFixture[str]) -> None:
    """As a paste that no terminal marked. The prompt goes to standard error: the other is for answers."""
    os.write(keyboard, b"one\ntwo\nthree\n")
    lines = InputLines(TypedLines(None))
    assert lines.read("r> ") == "one\ntwo\nthree"
    os.write(keyboard, b"four\n")
    assert lines.read("r> ") == "four"
    out, err = capsys.readouterr()
    assert out == "" and err == "r> ... ... r> "


def test_where_a_terminal_cannot_be_asked_each_line_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Keyboard("one\ntwo\n"))
    lines = InputLines(TypedLines(None))
    assert [lines.read("> "), lines.read("> ")] == ["one", "two"]
    with pytest.raises(EOFError):
        lines.read("> ")


@pytest.mark.parametrize("text", ["one\\\ntwo\\\n", "one\\\ntwo\\"])
def test_an_end_in_the_middle_of_a_message_loses_nothing_of_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert InputLines(TypedLines(None)).read("> ") == "one\ntwo"


def test_what_the_systems_encoding_could_not_read_is_read_as_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python keeps such bytes as half characters, which no provider could be sent."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("caf\udcc3\udca9 \udcff\n"))
    assert InputLines(TypedLines(None)).read("> ") == "café �"
