"""The command `batch`: what it prints, how it ends, and what a signal does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from time import sleep

import pytest

from helpers.batch_support import lines, texts
from helpers.command_line import Run, command
from helpers.servers import Conversation, Script, Server, completion, eventually, json_answer
from helpers.terminal import Terminal
from lee_llm_router.batch.figures import BatchReport
from lee_llm_router.cli.batch_run import progress_text, summary


def rows_file(folder: Path, count: int = 20) -> Path:
    path = folder / "in.jsonl"
    path.write_text("".join(f'{{"id": {number}, "text": "row {number}"}}\n' for number in range(count)))
    return path


def test_each_row_is_answered_and_the_end_says_what_it_took(run: Run, here: Path) -> None:
    rows_file(here)
    code, out, err = run("batch", "in.jsonl", "-o", "out.jsonl", "--template", "say {text}")
    assert (code, out) == (0, "")
    assert err.startswith("out.jsonl: 20 answered, tokens 60 in, 60 out, in ")
    assert texts(here / "out.jsonl")["7"] == "say row 7"
    code, out, err = run("batch", "in.jsonl", "-o", "out.jsonl", "--template", "say {text}", "--ordered", "--json")
    assert (code, json.loads(out)["already_answered"]) == (0, 20)
    assert [line["id"] for line in lines(here / "out.jsonl")] == [str(number) for number in range(20)]


def test_failed_rows_are_told_and_make_the_exit_code_1(run: Run, here: Path) -> None:
    (here / "in.csv").write_text("id,prompt\n1,a\n2\n3,\n")
    code, _, err = run("batch", "in.csv", "-o", "out.jsonl")
    assert code == 1
    assert "1 answered" in err and "2 failed (BROKEN_ROW 2)" in err
    assert "out.errors.jsonl: the rows that failed; --retry-errors asks them again" in err
    assert "the first of them, line 3: BROKEN_ROW: it has 1 cells, but the header 2" in err
    code, _, err = run("batch", "in.csv", "-o", "out.jsonl")
    assert code == 1 and "2 failed before" in err
    (here / "in.csv").write_text("id,prompt\n1,a\n2,b\n3,c\n")
    code, _, err = run("batch", "in.csv", "-o", "out.jsonl", "--retry-errors")
    assert code == 0 and not (here / "out.errors.jsonl").exists()


def test_a_target_that_nobody_can_ask_stops_it_and_says_how_to_go_on(run: Run, here: Path) -> None:
    rows_file(here)
    code, _, err = run("batch", "in.jsonl", "-o", "out.jsonl", "--role", "dead", "--template", "{text}")
    assert code == 1
    assert "the batch has stopped after 0 rows" in err and "AUTH" in err
    assert "the same command continues where this one ended" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("missing.jsonl",), "missing.jsonl: cannot be read"),
        (("in.jsonl", "--role", "eho"), "no such role"),
        (("in.jsonl", "--template", "nothing.txt"), "there is no such file"),
        (("in.jsonl", "--engine", "liv"), "did you mean 'live'"),
        (("in.jsonl", "--format", "xml"), "no such format"),
        (("in.jsonl", "--option", "temprature=1"), "temprature"),
        (("in.jsonl", "--engine-option", "db"), "NAME=VALUE"),
        (("in.jsonl", "-c", "0"), "concurrency"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_asks_nobody(words: tuple[str, ...], message: str, run: Run, here: Path) -> None:
    rows_file(here)
    code, _, err = run("batch", *words, "-o", "out.jsonl")
    assert code == 2 and message in err
    assert not (here / "out.jsonl").exists()


def test_rows_come_from_standard_input_and_the_template_from_a_file(here: Path) -> None:
    (here / "prompt.txt").write_text("\ufeffsay {text} {{ok}}")
    line = command(
        "batch", "-", "-o", "out.jsonl", "--template", "prompt.txt", "--schema", "name", "--target", "mock/m"
    )
    done = subprocess.run(line, input=b'{"text": "a"}\n', capture_output=True, timeout=60, check=False, cwd=here)
    assert done.returncode in (0, 1), done.stderr
    found = lines(here / "out.jsonl") + lines(here / "out.errors.jsonl")
    assert len(found) == 1


def batch_line(folder: Path, server: Server) -> list[str]:
    rows_file(folder, 50)
    llm = {
        "default_role": "r",
        "providers": {"p": {"type": "http", "base_url": server.url}},
        "roles": {"r": {"provider": "p", "model": "m"}},
    }
    (folder / "c.json").write_text(json.dumps({"llm": llm}))
    return command("batch", "in.jsonl", "-o", "out.jsonl", "--template", "{text}", "--config", "c.json", "-c", "2")


def started(folder: Path, server: Server) -> subprocess.Popen[bytes]:
    line = batch_line(folder, server)
    return subprocess.Popen(line, cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)


def answers_then_waits(count: int, released: list[bool]) -> Script:
    """Answer the first `count` requests; keep the others waiting until they are released."""
    given = iter(range(count))

    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            if next(given, None) is None:
                eventually(lambda: bool(released) or conversation.server.closing.is_set(), 20)
            conversation.send(json_answer(completion("yes")))

    return script


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_rows_in_flight_and_the_same_command_goes_on(
    number: signal.Signals, tmp_path: Path
) -> None:
    released: list[bool] = []
    with Server(answers_then_waits(10, released)) as server:
        with started(tmp_path, server) as child:
            assert eventually(lambda: len(server.requests) == 12, 30)
            child.send_signal(number)
            if number == signal.SIGINT:
                assert said(child)
            else:
                sleep(0.3)  # nothing tells from outside that it has come
            released.append(True)
            _, err = child.communicate(timeout=30)
        assert child.returncode == (130 if number == signal.SIGINT else -number)
        assert b"the same command continues where this one ended" in err
        assert len(texts(tmp_path / "out.jsonl")) == 12
        if number == signal.SIGINT:
            with started(tmp_path, server) as child:
                child.communicate(timeout=30)
            assert child.returncode == 0 and len(server.requests) == 50


def said(child: subprocess.Popen[bytes]) -> bool:
    assert child.stderr is not None
    return b"waiting for 2 rows in flight" in os.read(child.stderr.fileno(), 1000)


def test_a_second_ctrl_c_gives_up_the_rows_in_flight(tmp_path: Path) -> None:
    with Server(answers_then_waits(10, [])) as server, started(tmp_path, server) as child:
        assert eventually(lambda: len(server.requests) == 12, 30)
        child.send_signal(signal.SIGINT)
        assert said(child)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)
        assert child.returncode == 130 and len(texts(tmp_path / "out.jsonl")) == 10


def test_the_line_of_progress_says_how_far_it_is_and_what_it_took(tmp_path: Path) -> None:
    figures = BatchReport(
        out=tmp_path / "o.jsonl", rows=60, answered=40, failed=2, failures={"TIMEOUT": 2}, already_answered=8,
        input_tokens=120_000, output_tokens=900, cost_usd=1.234, elapsed_seconds=10, total_rows=100,
    )  # fmt: skip
    assert progress_text(figures, bar=True) == (
        "[##########----------] 50%, 42 rows (8 before), 4.2/s, 11.9 s left, tokens 120k in, 900 out, $1.23,"
        " 2 failed (TIMEOUT 2)"
    )
    figures.waiting_for, figures.waiting_seconds = "OVERLOADED", 30.0
    assert "waiting: OVERLOADED, next try 30.0 s after the last" in progress_text(figures, bar=False)
    figures.total_rows = None
    figures.share_read = 0.5
    assert progress_text(figures, bar=True).startswith("[########------------] 42%")
    assert "40 answered, 8 before" in summary(figures)


def test_a_terminal_shows_a_bar_while_rows_are_asked(tmp_path: Path) -> None:
    released: list[bool] = []
    with Server(answers_then_waits(10, released)) as server:
        with Terminal(batch_line(tmp_path, server), tmp_path, columns=100) as terminal:
            terminal.wait_for("[####")
            assert "%, 10 rows, " in terminal.seen and "tokens 70 in, 30 out" in terminal.seen
            released.append(True)
            assert terminal.ends() == 0
        assert "[####" not in terminal.seen and "out.jsonl: 50 answered" in terminal.seen
