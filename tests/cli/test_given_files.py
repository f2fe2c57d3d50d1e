"""What the command line is given that cannot be used: files of other kinds, too large ones, and what is no text."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import typer

from helpers.command_line import Run
from lee_llm_router.cli.arguments import read_prompt, text_of
from lee_llm_router.response.content import MAX_MEDIA_BYTES


@pytest.mark.parametrize(
    ("words", "data", "told"),
    [
        (("complete", "hi", "--tool", "{file}"), b"\xff\xfe\xff", "given.py is not UTF-8 text"),
        (("complete", "hi", "--tool", "{file}"), b"#" * 1_000_001, "given.py is larger than 1,000,000 bytes"),
        (("complete", "hi", "--schema", "{file}"), b"\xff\xff", "given.py is not UTF-8 text"),
        (("batch", "in.txt", "-o", "out.jsonl", "--template", "{file}"), b"\xff\xff", "it is not UTF-8 text"),
        (("complete", "hi", "--schema", "a b " * 100), b"", "is not a field: NAME, NAME TYPE"),  # longer than any name
    ],
)
def test_a_file_that_cannot_be_used_is_wrong_usage(
    words: tuple[str, ...], data: bytes, told: str, run: Run, here: Path
) -> None:
    """Nobody is asked, and no output is begun."""
    (here / "given.py").write_bytes(data)
    (here / "in.txt").write_text("a row\n")
    code, out, err = run(*(word.format(file="given.py") for word in words))
    assert (code, out) == (2, "") and told in " ".join(err.replace("│", " ").split())
    assert not (here / "out.jsonl").exists() and not (here / ".lee-llm-router").exists()


def test_a_template_may_stand_in_a_file(run: Run, here: Path) -> None:
    (here / "prompt.txt").write_text("\ufeffsay {prompt} {{ok}}")
    (here / "in.txt").write_text("a row\n")
    assert run("batch", "in.txt", "-o", "out.jsonl", "--template", "prompt.txt")[0] == 0
    assert '"text":"say a row {ok}"' in (here / "out.jsonl").read_text().replace('": "', '":"')


def test_rows_that_fail_make_the_exit_code_1(run: Run, here: Path) -> None:
    (here / "in.csv").write_text("id,prompt\n1,a\n2\n")
    assert run("batch", "in.csv", "-o", "out.jsonl")[0] == 1


def test_a_file_larger_than_any_request_is_not_sent(run: Run, here: Path) -> None:
    with (here / "large.bin").open("wb") as file:
        file.truncate(MAX_MEDIA_BYTES + 1)
    code, _, err = run("complete", "hi", "--file", "large.bin")
    assert code == 2 and "larger than 104,857,600 bytes" in " ".join(err.replace("│", " ").split())


def test_arguments_are_text_whatever_the_systems_encoding_made_of_them() -> None:
    """Python keeps bytes that it cannot read as half characters, which no provider could be sent."""
    assert text_of("caf\udcc3\udca9", "PROMPT") == "café"
    with pytest.raises(typer.BadParameter, match="not UTF-8 text"):
        text_of("\udcff", "PROMPT")
    with pytest.raises(typer.BadParameter, match="not UTF-8 text"):
        text_of("\ud800", "PROMPT")


def test_a_standard_input_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    """As a folder in its place."""

    class Folder:
        buffer = property(lambda self: self)

        def isatty(self) -> bool:
            return False

        def read(self) -> bytes:
            raise IsADirectoryError(21, "Is a directory")

    monkeypatch.setattr(sys, "stdin", Folder())
    with pytest.raises(typer.BadParameter, match="standard input cannot be read: Is a directory"):
        read_prompt("-")
