"""The command line: what it prints, where, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import CONFIG, Run, run_child
from helpers.records import make
from helpers.servers import Conversation, Server, eventually
from helpers.stream_servers import EVENTS, HEL, LAST, ROLE, framed, streaming
from lee_llm_router import __version__
from lee_llm_router.config import load_config
from lee_llm_router.doctor import CONFIG_VARIABLE
from lee_llm_router.providers.base import SingleChunkStream
from lee_llm_router.providers.mock import MockProvider
from lee_llm_router.response import LLMResponse
from lee_llm_router.telemetry import TraceRecord
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

# --- complete ---


def test_the_answer_alone_is_on_standard_output(run: Run) -> None:
    """Only the answer is printed, so that it can be piped; failed attempts are not mentioned."""
    assert run("complete", "hello there") == (0, "hello there\n", "")
    code, out, _ = run("complete", "--role", "chain", "hi")
    assert (code, out) == (0, "hi\n")


@pytest.mark.parametrize("args", [(), ("-",)])
def test_the_prompt_may_come_on_standard_input(run: Run, args: tuple[str, ...]) -> None:
    """The newline that the shell appends is removed."""
    assert run("complete", *args, stdin="zwei\nZeilen é\n".encode())[:2] == (0, "zwei\nZeilen é\n")


def test_no_prompt_at_a_terminal_is_wrong_usage(run: Run) -> None:
    """At a terminal, a missing prompt is an error instead of a silent wait."""
    code, out, err = run("complete", terminal=True)
    assert (code, out) == (2, "")
    assert "no prompt" in err


def test_binary_standard_input_is_wrong_usage(run: Run) -> None:
    """Input that is not text is refused, and nothing is sent."""
    code, out, err = run("complete", stdin=b"\xff\xfe")
    assert (code, out) == (2, "")
    assert "not UTF-8" in err


def test_the_answer_as_json(run: Run) -> None:
    """The JSON has what the router made of the answer and both ids, but not the vendor's own body and headers."""
    code, out, _ = run("complete", "--json", "--role", "odd", "hi")
    answer = json.loads(out)
    assert code == 0
    assert answer["text"] == "aé"
    assert (answer["provider"], answer["model"], answer["usage"]["prompt_tokens"]) == ("odd", "m", 1)
    assert len(answer["request_id"]) == 36
    assert answer["provider_request_id"] is None
    assert "raw" not in answer and "headers" not in answer


def test_an_answer_that_no_terminal_can_show_is_escaped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lone surrogate breaks neither the text nor the JSON."""
    answer = LLMResponse(text="a\ud800", raw=object())
    monkeypatch.setattr(MockProvider, "complete", lambda *_: answer)
    monkeypatch.setattr(MockProvider, "stream", lambda *_: SingleChunkStream(answer))
    assert run("complete", "hi") == (0, "a\\ud800\n", "")
    assert json.loads(run("complete", "--json", "hi")[1])["text"] == "a\\ud800"


PIECES = """
llm:
  default_role: served
  providers:
    cut: {type: mock, script: [{chunks: [one, " two", " three"], error: PROVIDER_ERROR, message: gone, fail_after: 2}]}
    good: {type: mock, response_text: "whole"}
    served: {type: http, base_url: "http://127.0.0.1:1"}
  roles:
    cut: {provider: cut, retry: {attempts: 1}, fallback_providers: [good]}
    anew: {provider: cut, retry: {attempts: 1}, fallback_providers: [good], stream: {on_break: restart}}
    served: {provider: served, model: m}
"""


def test_an_answer_that_breaks_off_is_exit_1_after_what_came(run: Run, here: Path) -> None:
    """The error begins on a new line below what was printed of the answer."""
    (here / "lee-llm-router.yaml").write_text(PIECES)
    code, out, err = run("complete", "--role", "cut", "hi")
    assert (code, out) == (1, "one two\n")
    assert "gone" in err and "1. cut" in err


def test_an_answer_that_starts_anew_says_so_on_standard_error(run: Run, here: Path) -> None:
    (here / "lee-llm-router.yaml").write_text(PIECES)
    assert run("complete", "--role", "anew", "hi") == (
        0, "one two\nwhole\n", "lee-llm-router: the answer broke off, and starts anew\n",
    )  # fmt: skip


def test_as_json_the_whole_answer_comes_from_an_unstreamed_call(run: Run, here: Path) -> None:
    (here / "lee-llm-router.yaml").write_text(PIECES)
    code, out, _ = run("complete", "--json", "--role", "cut", "hi")
    assert (code, json.loads(out)["text"]) == (0, "whole")
    assert not LocalFileTraceStore().last()[0].stream


def test_a_cut_answer_is_printed_and_told_of(run: Run, here: Path) -> None:
    """By `complete` on standard error, by `trace` beside the outcome, in JSON by its field."""
    (here / "lee-llm-router.yaml").write_text(
        "llm:\n  providers: {a: {type: mock, script: [{text: Once upon, finish_reason: length}]}}\n"
        "  roles: {r: {provider: a}}\n"
    )
    code, out, err = run("complete", "A story")
    assert (code, out) == (0, "Once upon\n")
    assert "cut off" in err
    assert run("trace")[1].count("ok (length)") == 1
    code, out, err = run("complete", "--json", "A story")
    assert (code, json.loads(out)["finish_reason"], err) == (0, "length", "")


def _start(here: Path, server: Server) -> subprocess.Popen[bytes]:
    """Start the command in a new process that asks `server`, with its output piped."""
    (here / "lee-llm-router.yaml").write_text(PIECES.replace("http://127.0.0.1:1", server.url))
    command = [sys.executable, "-W", "error", "-m", "lee_llm_router", "complete", "--role", "served", "hi"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_pieces_are_printed_as_they_come_through_a_pipe(here: Path) -> None:
    """Each piece is printed as it arrives: the server sends more only after the first was printed."""
    seen = threading.Event()

    def go_on(conversation: Conversation) -> None:
        assert seen.wait(30)
        conversation.send(b"".join(map(framed, EVENTS[2:])) + LAST)

    with Server(streaming(ROLE, HEL, then=go_on)) as server, _start(here, server) as child:
        assert child.stdout is not None
        assert child.stdout.read(3) == b"hel"
        seen.set()
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (0, b"lo\n", b"")


def test_ctrl_c_in_the_middle_of_an_answer_is_exit_130(here: Path) -> None:
    """An interrupt closes the connection and traces the attempt as cancelled, with the part received."""
    with Server(streaming(ROLE, HEL, then=Conversation.stall)) as server, _start(here, server) as child:
        assert child.stdout is not None
        assert child.stdout.read(3) == b"hel"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
        assert eventually(lambda: server.open == 0)
    assert (child.returncode, out, err) == (130, b"\n", b"")
    (record,) = LocalFileTraceStore().last()
    assert (record.outcome, record.stream, record.response_chars) == ("cancelled", True, 3)


def test_a_failed_call_tells_of_every_attempt_on_standard_error(run: Run) -> None:
    """Exit code 1, and no traceback."""
    code, out, err = run("complete", "--role", "dead", "hi")
    assert (code, out) == (1, "")
    assert "AUTH" in err
    assert "1. dead" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("named", ["nope.yaml", "broken.yaml", "."])
def test_an_unusable_configuration_is_exit_2(run: Run, here: Path, named: str) -> None:
    """With a missing or wrong file, every mistake is printed on standard error."""
    (here / "broken.yaml").write_text("llm:\n  providers: {a: {type: nope}}\n")
    for command in ("complete", "doctor"):
        code, out, err = run(command, "--config", named, *(["hi"] if command == "complete" else []))
        if (command, named) == ("doctor", "broken.yaml"):
            assert (code, "broken.yaml:2:" in out) == (1, True)
        else:
            assert (code, out) == (2, "")
            assert named in err


def test_the_configuration_may_be_named_by_the_environment(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LEE_LLM_ROUTER_CONFIG wins over a file in the current folder; without either, the error says what to do."""
    (here / "lee-llm-router.yaml").rename(here / "other.yaml")
    code, _, err = run("complete", "hi")
    assert (code, "LEE_LLM_ROUTER_CONFIG" in err) == (2, True)
    monkeypatch.setenv(CONFIG_VARIABLE, "other.yaml")
    assert run("complete", "hi")[:2] == (0, "hi\n")


def test_ctrl_c_is_exit_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt ends the call without a traceback; the call is traced."""
    monkeypatch.setattr(MockProvider, "stream", lambda *_: signal.raise_signal(signal.SIGINT))
    code, out, err = run("complete", "hi")
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert LocalFileTraceStore().last()[0].outcome == "cancelled"


def test_ctrl_c_outside_a_command_is_exit_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt outside of the command-line parser ends the program quietly too."""
    monkeypatch.setattr("lee_llm_router.cli.commands.app", lambda **_: signal.raise_signal(signal.SIGINT))
    assert run("complete", "hi")[0] == 130


# --- doctor ---


def test_the_doctor_is_content(run: Run) -> None:
    """The doctor prints a line for each section and the counts; exit code 0. With --verbose a line for each result."""
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "0 errors, 0 warnings"
    assert "ok       role      echo, chain, dead, odd\n" in out
    assert "ok       role      chain: busy, then echo\n" in run("doctor", "--verbose")[1]


def test_a_mistake_in_the_file_is_shown_with_its_place_once(run: Run, here: Path) -> None:
    """The path stands at the front of the finding, and not again in it; in JSON it is the subject alone."""
    (here / "wrong.yaml").write_text("llm:\n  providers: {a: {type: mock}}\n  roles: {r: {provider: b}}\n")
    code, out, _ = run("doctor", "--config", "wrong.yaml")
    assert code == 1
    assert out.startswith("error    LLR109 wrong.yaml:3:25: llm.roles.r.provider: no such provider")
    assert out.count("wrong.yaml") == 1
    (finding,) = json.loads(run("doctor", "--config", "wrong.yaml", "--json")[1])
    assert finding["subject"] == "wrong.yaml:3:25"
    assert "wrong.yaml" not in finding["message"]


def test_warnings_are_errors_only_if_strict(run: Run, here: Path) -> None:
    """A trace folder that others can read is a warning, and with --strict a failure."""
    folder = here / ".lee-llm-router" / "traces"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    code, out, _ = run("doctor", "--role", "echo")
    assert (code, out.splitlines()[-1]) == (0, "0 errors, 1 warning")
    assert run("doctor", "--strict")[0] == 1


def test_the_doctor_finds_errors_and_says_so_as_json(run: Run) -> None:
    """--json prints an array of results on standard output."""
    code, out, _ = run("doctor", "--role", "nope", "--json")
    (bad,) = [finding for finding in json.loads(out) if finding["level"] == "error"]
    assert code == 1
    assert (bad["id"], bad["section"], bad["subject"]) == ("LLR601", "role", "nope")


# --- trace ---


def test_a_call_is_seen_with_its_attempts(run: Run) -> None:
    """A row for each call; with --attempts, each attempt below it; without colours outside a terminal."""
    run("complete", "one")
    run("complete", "--role", "chain", "two")
    code, out, err = run("trace", "--last", "1", "--attempts")
    assert (code, err) == (0, "")
    assert "one" not in out
    rows = [line.split() for line in out.splitlines()]
    assert rows[1][1:5] == ["chain", "ok", "echo", "2"]
    assert rows[2][:4] == ["1", "busy", "RATE_LIMIT", "429"]
    assert rows[2][-2:] == ["slow", "down"]
    assert rows[3][:3] == ["2", "echo", "ok"]
    assert "\x1b" not in out
    assert [line.split()[1:4] for line in run("trace")[1].splitlines()[1:]] == [["echo", "ok", "echo"], rows[1][1:4]]


def test_records_as_json_lines(run: Run) -> None:
    """--json prints the records, one a line, oldest call first."""
    run("complete", "--role", "chain", "hi")
    code, out, _ = run("trace", "--last", "5", "--json")
    records = [TraceRecord.from_json(line) for line in out.splitlines()]
    assert code == 0
    assert records == LocalFileTraceStore().last(5)
    assert [record.provider for record in records] == ["busy", "echo"]


def test_with_a_broken_configuration_found_above_its_traces_are_still_found(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lie beside the file, in whatever folder below it somebody asks for them."""
    run("complete", "hi")
    (here / "lee-llm-router.yaml").write_text("llm: {roles: 3}")
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    code, out, err = run("trace")
    assert code == 0 and " echo " in out
    assert f"looking in {here}/.lee-llm-router/traces" in err


def test_traces_are_looked_for_where_the_configuration_puts_them(run: Run, here: Path) -> None:
    """--dir wins; with a broken configuration it is the default folder, and a warning says so."""
    file = here / "lee-llm-router.yaml"
    file.write_text(CONFIG + "  trace: {dir: mine}\n")
    run("complete", "hi")
    assert run("trace")[1].count("echo") == 2
    assert run("trace", "--dir", "mine")[1].count("echo") == 2
    file.write_text("llm: 3")
    code, out, err = run("trace")
    assert (code, out) == (0, f"no calls traced in {here}/.lee-llm-router/traces\n")
    assert "looking in" in err
    file.unlink()
    assert run("trace") == (0, f"no calls traced in {here}/.lee-llm-router/traces\n", "")
    assert run("trace", "--dir", "nope")[0] == 2


def test_unreadable_lines_are_passed_over_and_counted(run: Run, here: Path) -> None:
    """A line cut by a kill does not hide the calls before it."""
    store = LocalFileTraceStore("t")
    store.write(make())
    store.close()
    with next((here / "t").glob("*.jsonl")).open("ab") as file:
        file.write(b'{"schema":1,"requ')
    code, out, err = run("trace", "--dir", "t")
    assert (code, err) == (0, "unreadable lines passed over: 1\n")
    assert "planner" in out


def test_colours_at_a_terminal_only_and_not_against_the_users_wish(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR and a dumb terminal are respected."""
    run("complete", "hi")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32mok" in run("trace")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run("trace")[1]


def test_a_folder_with_the_name_of_a_day_hides_no_calls(run: Run, here: Path) -> None:
    """It is passed over, and counted."""
    (here / "t" / "20270115.jsonl").mkdir(parents=True)
    code, out, err = run("trace", "--dir", "t")
    assert code == 0 and out.startswith("no calls traced")
    assert err == "unreadable lines passed over: 1\n"


def test_a_folder_that_cannot_be_read_is_an_error_without_a_traceback(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's error message is printed."""

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (here / "t").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    code, out, err = run("trace", "--dir", "t")
    assert (code, out) == (1, "")
    assert "PermissionError" in err
    assert "Traceback" not in err


# --- template, schema, help ---


def test_the_template_loads(run: Run, here: Path) -> None:
    """The printed template is a configuration that works."""
    code, out, _ = run("template")
    (here / "t.yaml").write_text(out)
    assert code == 0
    assert load_config(here / "t.yaml").roles


def test_the_schema_is_json_schema(run: Run) -> None:
    """The schema includes the settings of the providers."""
    code, out, _ = run("schema")
    assert code == 0
    assert json.loads(out)["$schema"].startswith("https://json-schema.org/")
    assert "response_text" in out


def test_the_version(run: Run) -> None:
    """--version prints the version of the package."""
    assert run("--version") == (0, f"lee-llm-router {__version__}\n", "")


@pytest.mark.parametrize("command", [(), ("complete",), ("doctor",), ("trace",), ("template",), ("schema",)])
def test_help_shows_an_example_that_parses(run: Run, command: tuple[str, ...]) -> None:
    """Each command's help has an example, and no line is wider than 80 columns."""
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert "Example: " in out
    assert " ".join(["lee-llm-router", *command]) in out.rpartition("Example:")[2]
    assert max(map(len, out.splitlines())) <= 80


def test_wrong_usage_is_exit_2(run: Run) -> None:
    """Wrong usage ends with exit code 2 and says what is wrong."""
    for args in (("nonsense",), ("trace", "--last", "0"), ("complete", "a", "b"), ("doctor", "--what")):
        code, out, err = run(*args)
        assert (code, out) == (2, "")
        assert "Error" in err


# --- as a process ---


def test_a_reader_that_went_away_is_no_traceback(here: Path) -> None:
    """`lee-llm-router schema | head -1` ends quietly."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        for args in (["schema"], ["complete", "hi"]):
            command = [sys.executable, "-m", "lee_llm_router", *args]
            done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, timeout=60, check=False)
            assert (done.returncode, done.stderr) == (1, b"")


def test_a_reader_that_goes_away_in_the_middle_is_quiet_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed pipe ends the program quietly, wherever it is noticed."""

    def gone(**_: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("lee_llm_router.cli.commands.app", gone)
    assert run("complete", "hi") == (1, "", "")


def test_a_terminal_that_knows_only_ascii_gets_escapes(here: Path) -> None:
    """Characters that the terminal cannot show are escaped in text; JSON stays UTF-8."""
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    assert run_child("complete", "é…", env=env).stdout == b"\\xe9\\u2026\n"
    assert json.loads(run_child("complete", "--json", "é", env=env).stdout)["text"] == "é"


def test_a_prompt_that_is_not_text_is_a_typed_error(here: Path) -> None:
    """Bytes on the command line that are not UTF-8 are refused before anything is sent."""
    done = run_child("complete", os.fsdecode(b"\xff"))
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Traceback" not in done.stderr
    assert b"not UTF-8" in done.stderr


def test_events_of_single_attempts_are_not_shown(here: Path) -> None:
    """A call that was answered says nothing on standard error."""
    done = run_child("complete", "--role", "chain", "hi")
    assert (done.stdout, done.stderr) == (b"hi\n", b"")


def test_help_loads_no_http_library_and_no_parser() -> None:
    """A command imports only what it needs."""
    code = (
        "import sys\nsys.argv = ['lee-llm-router', '--help']\n"
        "from lee_llm_router.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert not {"httpx", "httpcore", "anyio", "yaml", "jsonschema"} & loaded
