"""Where output goes: a terminal, a pipe, a full disk or nowhere."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from helpers.command_line import Run, command, run_child
from lee_llm_router.cli.output import AnswerWriter, escaped, say

OBEYED = {
    "clears the screen": "\x1b[2J",
    "sets the title": "\x1b]0;mine\x07",
    "one-byte CSI": "\x9b31m",
    "next line": "\x85",
    "backspace": "good\x08\x08\x08\x08evil",
    "over the line": "good\revil",
    "shift out": "\x0e",
    "delete": "\x7f",
    "turns the text": "\u202egnp.exe",
    "isolates": "\u2066x\u2069",
    "marks": "\u200e\u200f\u061c",
    "line separator": "a\u2028b",
    "old format": "\u206a",
}
HARMLESS = ["tab\tand\nnewline", "é ü 漢字 ﷽", "👩‍👩‍👧 🏴󠁧󠁢󠁳󠁣󠁴󠁿", "a\u00a0b\u3000c\u00ad", "می\u200cخواهم"]


def at_terminal(*args: str) -> str:
    """What a terminal gets of the command: its standard output and standard error, without the line of progress."""
    keyboard, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "dumb"}
    child = subprocess.Popen(command(*args), stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    shown = b""
    try:
        while data := os.read(keyboard, 65536):
            shown += data
    except OSError:  # nobody has it open any more
        pass
    os.close(keyboard)
    child.wait(60)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("text", OBEYED.values(), ids=OBEYED)
def test_what_a_terminal_may_obey_is_escaped(text: str) -> None:
    """Controls, separators of lines and what sets the direction of text."""
    assert re.sub(r"\\x..|\\u....|\\r", "", escaped(text)).isprintable()
    assert escaped(text) != text


@pytest.mark.parametrize("text", HARMLESS)
def test_what_people_write_is_shown_as_it_is(text: str) -> None:
    """Joiners, wide characters, flags and spaces of other scripts are none of it."""
    assert escaped(text) == text


def test_an_answer_at_a_terminal_is_shown_and_not_obeyed(here: Path) -> None:
    """A model, or whoever wrote what it repeats, cannot set the title, erase lines or turn the text around."""
    hostile = "".join(OBEYED.values()) + "end"
    shown = at_terminal("complete", hostile)
    assert all(c.isprintable() for c in shown.replace("\n", ""))
    assert "\\x1b]0;mine\\x07" in shown and shown.endswith("end\n")


def test_in_a_pipe_an_answer_is_what_the_model_wrote(here: Path) -> None:
    """What reads it may want every byte."""
    hostile = "".join(text for text in OBEYED.values() if "\x00" not in text) + "end"
    assert run_child("complete", hostile).stdout.decode() == hostile + "\n"


def test_json_has_no_such_character_and_says_the_same(here: Path, run: Run) -> None:
    """Escaped as JSON escapes, wherever it goes: answers, records, findings."""
    hostile = "".join(OBEYED.values())
    _, answer, _ = run("complete", "--json", hostile)
    assert all(c.isprintable() for c in answer.replace("\n", ""))
    assert json.loads(answer)["text"] == hostile
    (here / "lee-llm-router.yaml").write_text(
        (here / "lee-llm-router.yaml").read_text().replace("message: no key", 'message: "\\e]0;x\\a\\x9b1m\\u202e"')
    )
    assert run("complete", "--role", "dead", "hi")[0] == 1
    for args in (("trace", "--json"), ("doctor", "--json", "--role", "\u202e\x9b")):
        out = run(*args)[1]
        assert all(c.isprintable() for c in out.replace("\n", "")), args


def test_messages_are_escaped_wherever_they_go(here: Path) -> None:
    """Standard error is read by people, also in a log: names from the command line and the file among them."""
    for args in (("--model", "m\x1b]0;x\x07\x9b2J\u202e"), ("--config", "no\x1b[2J.yaml"), ("--role", "r\u202e\x9b")):
        done = run_child("complete", "--role", "dead", "hi", *args)
        assert done.returncode in (1, 2)
        assert all(c.isprintable() for c in done.stderr.decode().replace("\n", "")), args


def test_a_newline_in_two_pieces_is_a_newline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A carriage return is shown as one only when no newline follows it, whatever the pieces are."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for pieces in (["a\r\nb\rc\r"], ["a\r", "\nb", "\r", "c", "\r"], list("a\r\nb\rc\r")):
        writer = AnswerWriter()
        for piece in pieces:
            writer.write(piece)
        writer.end_line()
        assert capsys.readouterr().out == "a\nb\\rc\\r\n"


def test_a_message_at_a_terminal_begins_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It ends the line of an answer that it interrupts, and no empty line follows the answer's end."""
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    for pieces, shown in ((["an answer"], "an answer\n"), (["an ", "answer\n"], "an answer\n\n"), ([], "\n")):
        writer = AnswerWriter()
        for piece in pieces:
            writer.write(piece)
        say("a warning")
        writer.end_line()
        assert capfd.readouterr() == (shown, "a warning\n")
    writer = AnswerWriter()
    writer.write("an ")
    say("a warning")
    writer.write("answer")
    writer.end_line()
    assert capfd.readouterr().out == "an \nanswer\n"


COMMANDS = [
    ("complete", "hi"), ("complete", "--json", "hi"), ("doctor",), ("doctor", "--json"), ("trace",),
    ("trace", "--json"), ("template",), ("schema",), ("--version",), ("--help",), ("complete", "-h"),
]  # fmt: skip


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_a_full_disk_is_one_sentence(args: tuple[str, ...], here: Path, run: Run) -> None:
    """Exit code 1, and no second message from the interpreter."""
    assert run("complete", "hi")[0] == 0
    with Path("/dev/full").open("wb") as full:
        done = run_child(*args, stdout=full)
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, len(lines)) == (1, 1), lines
    assert "No space left on device" in lines[0]


def through_shell(redirected: str, *args: str) -> subprocess.CompletedProcess[bytes]:
    shell = ["sh", "-c", f'"$@" {redirected}', "sh", *command(*args)]
    return subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_a_closed_standard_output_is_one_sentence(args: tuple[str, ...], here: Path) -> None:
    """Nothing is asked whose answer nobody can get, and no file gets what was meant for standard output."""
    done = through_shell(">&-", *args)
    assert (done.returncode, done.stderr) == (1, b"lee-llm-router: standard output cannot be written: it is closed\n")
    assert list(here.iterdir()) == [here / "lee-llm-router.yaml"]


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "2>&- <&-"])
def test_without_standard_error_the_exit_code_still_tells(where: str, here: Path) -> None:
    """A message that cannot be written goes nowhere: not to standard output, nor into a file opened meanwhile."""
    for args, expected in ((("complete", "hi"), (0, b"hi\n")), (("complete", "--role", "dead", "hi"), (1, b""))):
        done = through_shell(where, *args)
        assert (done.returncode, done.stdout) == expected
    (traces,) = (here / ".lee-llm-router/traces").glob("*.jsonl")
    assert [json.loads(line)["role"] for line in traces.read_text().splitlines()] == ["echo", "dead"]


@pytest.mark.parametrize("command_line", [("trace", "show", "@1"), ("trace",), ("doctor", "-v"), ("providers",)])
def test_a_terminal_of_a_million_columns_is_drawn_on_in_part(
    command_line: tuple[str, ...], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COLUMNS may hold any number, and each column of a drawing costs time and memory."""
    at_terminal("complete", "hi")
    monkeypatch.setenv("COLUMNS", "1000000")
    assert max(map(len, at_terminal(*command_line).splitlines())) <= 1000
