"""The answer of a model alone is on standard output, as it comes; what else there is to say is on standard error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from helpers.command_line import Run, run_child
from helpers.servers import Conversation, Server, eventually
from helpers.stream_servers import EVENTS, HEL, LAST, ROLE, framed, streaming
from lee_llm_router.providers.base import SingleChunkStream
from lee_llm_router.providers.mock import MockProvider
from lee_llm_router.response import LLMResponse
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore


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
        0, "one two\nwhole\n", "lee-llm-router: the answer broke off and starts again\n",
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
