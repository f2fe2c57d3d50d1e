"""What the command is given: options of a call, prompts from anywhere, roles and files that are not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.command_line import CONFIG, Run, command, run_child
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

ASCII = {"PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONUTF8": "0"}

FULL = CONFIG + "    größe: {provider: echo, model: m}\n  trace: {capture: full}\n"


# --- options of a call ---


def test_a_call_may_be_asked_differently_for_once(run: Run, here: Path) -> None:
    """Model, instructions and bounds of one call, by long and short names."""
    (here / "lee-llm-router.yaml").write_text(FULL)
    long = ("--role", "größe", "--model", "x/y:z", "--system", "Be\nbrief.", "--temperature", "0", "--max-tokens", "7")
    short = ("-r", "größe", "-m", "x/y:z", "-s", "Be\nbrief.", "-t", "0", "--max-tokens", "7")
    for options in (long, short):
        assert run("complete", *options, "hi")[0] == 0
        (record,) = LocalFileTraceStore().last()
        assert (record.role, record.model) == ("größe", "x/y:z")
        assert record.messages is not None
        assert [message["content"] for message in record.messages] == ["Be\nbrief.", "hi"]


@pytest.mark.parametrize(
    "options",
    [
        ("--temperature", "warm"),
        ("--temperature", "-1"),
        ("--max-tokens", "0"),
        ("--max-tokens", "1.5"),
        ("--modle", "x"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_wrong_usage(run: Run, options: tuple[str, ...]) -> None:
    code, out, err = run("complete", *options, "hi")
    assert (code, out) == (2, "")
    assert options[0] in err


@pytest.mark.parametrize("options", [("--temperature", "inf"), ("--model", "")])
def test_what_the_router_refuses_is_told_without_a_traceback(run: Run, options: tuple[str, ...]) -> None:
    code, out, err = run("complete", *options, "hi")
    assert (code, out) == (1, "")
    assert options[0].removeprefix("--") in err and "Traceback" not in err


@pytest.mark.parametrize("place", [("-h",), ("complete", "-h"), ("doctor", "-h"), ("trace", "-h"), ("schema", "-h")])
def test_h_is_help(run: Run, place: tuple[str, ...]) -> None:
    assert run(*place) == run(*place[:-1], "--help")


# --- roles ---


@pytest.mark.parametrize(
    ("role", "meant"), [("chian", "chain"), ("Echo", "echo"), ("od", "odd"), ("zzzz", None), ("", None)]
)
def test_a_role_that_is_not_there_is_an_error_with_a_suggestion(run: Run, role: str, meant: str | None) -> None:
    """Nothing is asked of the default role in its place."""
    code, out, err = run("complete", "--role", role, "hi")
    assert (code, out) == (2, "")
    assert (f"did you mean '{meant}'?" in " ".join(err.split())) == (meant is not None)
    assert "chain, dead, echo, odd" in " ".join(err.split())
    assert LocalFileTraceStore().last() == []


# --- the prompt ---


@pytest.mark.parametrize(
    ("data", "prompt"),
    [
        (b"\xef\xbb\xbfhi\n", "hi"),
        (b"\xef\xbb\xbf\xef\xbb\xbfhi", "\ufeffhi"),
        ("h\ufeffi\r\n".encode(), "h\ufeffi"),
        (b"two\n\n", "two\n"),
        (b"\0nul", "\0nul"),
    ],
)
def test_standard_input_is_taken_without_its_mark_and_last_newline(run: Run, data: bytes, prompt: str) -> None:
    """A byte order mark is how a file says what it is, and no part of what was asked."""
    assert run("complete", stdin=data)[1] == prompt + "\n"


@pytest.mark.parametrize("data", [b"", b"\n", b"  \n\t\n", b"\xef\xbb\xbf\n"])
def test_an_empty_prompt_is_wrong_usage(run: Run, data: bytes) -> None:
    """A file that was not there, or a command that printed nothing, is not sent to a vendor."""
    code, _, err = run("complete", stdin=data)
    assert (code, "no prompt" in err) == (2, True)
    assert run("complete", data.decode())[0] == 2


@pytest.mark.parametrize("data", ["hi".encode("utf-16"), "é".encode("latin-1"), b"a\x80"])
def test_other_encodings_are_refused(run: Run, data: bytes) -> None:
    code, _, err = run("complete", stdin=data)
    assert (code, "not UTF-8" in err) == (2, True)


@pytest.mark.parametrize("where", ["<&-", "</dev/null"])
def test_a_standard_input_that_gives_nothing_is_wrong_usage(here: Path, where: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$@" {where}', "sh", *command("complete")], capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Traceback" not in done.stderr


# --- odd surroundings ---


def test_words_of_another_script_arrive_in_an_ascii_locale(here: Path) -> None:
    """Role, model, instructions and prompt, as arguments and on standard input."""
    (here / "lee-llm-router.yaml").write_text(FULL, encoding="utf-8")
    env = {**os.environ, **ASCII}
    done = run_child("complete", "-r", "größe", "-m", "mödel", "-s", "kürz", "--json", "wie groß? 漢", env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["text"] == "wie groß? 漢"
    (record,) = LocalFileTraceStore().last()
    assert (record.role, record.model) == ("größe", "mödel")
    assert record.messages is not None and record.messages[0]["content"] == "kürz"
    assert run_child("complete", "--json", env=env, input="schön".encode()).returncode == 0
    for args in (("doctor", "--role", "größe"), ("trace",), ("complete", "-r", "grösse", "x")):
        done = run_child(*args, env=env)
        assert b"Traceback" not in done.stderr
        assert done.stdout.isascii()


def test_files_of_another_script_are_found_in_an_ascii_locale(here: Path) -> None:
    """A path is taken byte for byte."""
    (here / "größe.yaml").write_text(FULL, encoding="utf-8")
    env = {**os.environ, **ASCII}
    done = run_child("complete", "--config", "größe.yaml", "x", env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"x\n", b"")
    assert run_child("doctor", "--config", "größe.yaml", env=env).returncode == 0
    assert run_child("doctor", "--config", "größer.yaml", env=env).returncode == 2


def in_a_folder_that_is_gone(*args: str) -> subprocess.CompletedProcess[bytes]:
    code = (
        "import os, sys, tempfile\nfolder = tempfile.mkdtemp()\nos.chdir(folder)\nos.rmdir(folder)\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    env = {name: value for name, value in os.environ.items() if name != "LEE_LLM_ROUTER_CONFIG"}
    return subprocess.run(
        [sys.executable, "-c", code, *command(*args)], capture_output=True, check=False, timeout=60, env=env
    )


@pytest.mark.parametrize("args", [("complete", "hi"), ("doctor",)])
def test_a_current_folder_that_is_gone_is_no_configuration(args: tuple[str, ...]) -> None:
    done = in_a_folder_that_is_gone(*args)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith("lee-llm-router: no configuration: ")
    assert b"--config" in done.stderr


def test_in_a_folder_that_is_gone_a_named_file_still_answers(here: Path) -> None:
    done = in_a_folder_that_is_gone("complete", "--config", str(here / "lee-llm-router.yaml"), "hi")
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    assert in_a_folder_that_is_gone("template").returncode == 0
    for args in (("trace",), ("trace", "--config", str(here / "lee-llm-router.yaml"))):
        assert b"Traceback" not in in_a_folder_that_is_gone(*args).stderr


def test_without_a_configuration_the_way_to_one_is_named(run: Run, here: Path) -> None:
    """The sentence holds a command that can be copied, and what it makes works."""
    (here / "lee-llm-router.yaml").unlink()
    code, _, err = run("complete", "hi")
    assert (code, "`lee-llm-router init` writes one" in err) == (2, True)
    (here / "lee-llm-router.yaml").write_text(run("template")[1])
    assert run("complete", "hi")[0] == 0


def test_traces_of_another_configuration_are_found_by_its_name(run: Run, here: Path) -> None:
    """As `complete --config` wrote them; a file that cannot be used is an error when it was named."""
    (here / "other.yaml").write_text(CONFIG + f"  trace: {{dir: '{here}/elsewhere'}}\n")
    assert run("complete", "--config", "other.yaml", "hi")[0] == 0
    assert run("trace")[1].startswith("no calls traced in ")
    assert " echo " in run("trace", "--config", "other.yaml")[1]
    assert " echo " in run("trace", "--config", "other.yaml", "--dir", "elsewhere")[1]
    (here / "broken.yaml").write_text("llm: 3")
    for name in ("broken.yaml", "nope.yaml"):
        code, out, err = run("trace", "--config", name)
        assert (code, out, name in err) == (2, "", True)


# --- completion ---


Completed = Callable[[str], list[str]]


def _asked_by_shell(words: str) -> dict[str, str]:
    """What a shell has in its environment when it asks how `words` go on, the last of which is begun."""
    return {"_LEE_LLM_ROUTER_COMPLETE": "complete_bash", "COMP_WORDS": f"lee-llm-router {words}",
            "COMP_CWORD": str(len(words.split(" ")))}  # fmt: skip


@pytest.fixture
def completed(run: Run, monkeypatch: pytest.MonkeyPatch) -> Completed:
    """Returns what a shell is told for some words."""

    def asked(words: str) -> list[str]:
        with monkeypatch.context() as patch:
            for name, value in _asked_by_shell(words).items():
                patch.setenv(name, value)
            code, out, err = run()
        assert (code, err) == (0, "")
        return out.split()

    return asked


def test_a_shell_gets_its_words_from_a_process(here: Path) -> None:
    done = run_child(env={**os.environ, **_asked_by_shell("complete --role ")})
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().split() == ["echo", "chain", "dead", "odd"]


def test_a_shell_completes_commands_options_and_roles(completed: Completed, here: Path) -> None:
    """Roles come from the file: the one named on the line, else the one that `complete` would use."""
    assert completed("com") == ["complete"]
    assert "--max-tokens" in completed("complete --m")
    assert completed("complete --role ") == ["echo", "chain", "dead", "odd"]
    assert completed("doctor --role de") == ["dead"]
    (here / "other.yaml").write_text(CONFIG.replace("    dead: {provider", "    debug: {provider"))
    assert completed("complete --config other.yaml --role de") == ["debug"]


def test_a_shell_completes_the_ids_of_traced_calls(run: Run, completed: Completed, here: Path) -> None:
    """The newest first; those of the folder that the line names. Without any there is nothing, and no message."""
    assert completed("trace show ") == []
    for _ in range(2):
        run("complete", "hi")
    ids = [record.request_id for record in LocalFileTraceStore().last(2)]
    assert completed("trace show ") == ids[::-1]
    assert completed(f"trace replay {ids[1][:-1]}") == ids[1:]
    (here / "empty").mkdir()
    assert completed("trace show --dir empty ") == completed("trace --dir empty show ") == []
    (here / "lee-llm-router.yaml").write_text("llm: 3")
    assert completed("trace show ") == ids[::-1]


@pytest.mark.parametrize("text", ["", "llm: 3", "llm: {roles: [a]}", "{", "llm: {providers: {a: {type: nope}}}"])
def test_a_file_with_mistakes_completes_nothing_and_is_quiet(completed: Completed, here: Path, text: str) -> None:
    (here / "lee-llm-router.yaml").write_text(text)
    assert completed("complete --role ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_shown(here: Path, shell: str) -> None:
    done = run_child(
        "--show-completion", shell, env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"_LEE_LLM_ROUTER_COMPLETE" in done.stdout
