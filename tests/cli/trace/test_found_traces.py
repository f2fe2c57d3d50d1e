"""`trace` finds the calls where the configuration puts them, and shows what can be read of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.command_line import CONFIG, Run
from helpers.records import make
from lee_llm_router.telemetry import TraceRecord
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore


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
    assert (code, err) == (0, "unreadable lines skipped: 1\n")
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
    assert err == "unreadable lines skipped: 1\n"


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
