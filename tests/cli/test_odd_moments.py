"""Commands in odd moments: at a terminal that agrees, files that cannot be changed, plug-ins that fail, no output."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.command_line import Run
from lee_llm_router.cli import commands, found_models, starting_file
from lee_llm_router.cli.findings_table import github_commands, render_results
from lee_llm_router.cli.found_models import FoundModel
from lee_llm_router.cli.provider_list import listed_providers
from lee_llm_router.cli.setup_commands import _env_file_beside
from lee_llm_router.cli.signals import EndedBySignalError
from lee_llm_router.cli.starting_file import starting_text, write_starting_file
from lee_llm_router.cli.trace.content import ContentStyle, shown_text
from lee_llm_router.cli.trace.screen import takes_marks
from lee_llm_router.cli.warnings import show_warnings
from lee_llm_router.doctor import CheckResult, fixes
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import Provider, ProviderConfig
from lee_llm_router.providers.registry import PROVIDERS
from lee_llm_router.response import LLMRequest, LLMResponse

RESULT = CheckResult(id="LLR104", level="error", section="file", subject="s", message="m", file="c.yaml")


# --- the doctor ---


class Priceless(Provider[ProviderConfig]):
    """A provider of which no price is known."""

    config_model = ProviderConfig

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        raise AssertionError("nobody has agreed")


def test_questions_are_asked_once_somebody_agrees(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by pressing Enter alone."""
    text = "llm:\n  providers: {p: {type: of_tests_priceless}}\n  roles: {r: {provider: p, model: m}}\n"
    registry.register("of_tests_priceless", Priceless, replace=True)
    (here / "lee-llm-router.yaml").write_text(text)
    asked: list[str] = []

    def confirm(text: str, *, default: bool, err: bool) -> bool:
        asked.append(text)
        assert not default and err
        return False

    monkeypatch.setattr("typer.confirm", confirm)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    out = run("doctor", "--live=call", terminal=True)[1]
    assert "LLR932" in out and asked == ["Ask them?"]


def test_a_file_that_cannot_be_repaired_is_told_and_the_others_are(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "t").mkdir(mode=0o755)
    (here / "lee-llm-router.yaml").write_text(
        "llm:\n  providers: {p: {type: mock}}\n  roles: {r: {provider: p, temperatur: 1}}\n  trace: {dir: t}\n"
    )

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(fixes, "replace_file", refuse)
    err = run("doctor", "--fix", "--yes")[2]
    assert "lee-llm-router.yaml is not changed: Read-only file system" in err
    assert (here / "t").stat().st_mode & 0o777 == 0o700


def test_findings_have_colours_at_a_terminal_that_shows_them(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\x1b[" in run("doctor")[1]


def test_a_finding_about_a_whole_file_names_no_line() -> None:
    assert github_commands([RESULT]).startswith("::error file=c.yaml,title=LLR104 s::m")


def test_where_the_current_folder_is_gone_paths_are_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "getcwd", gone)
    assert "c.yaml" in render_results([RESULT], 100, False)


# --- the program ---


def test_a_closed_standard_output_is_told(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["lee-llm-router", "roles"])
    monkeypatch.setattr(commands, "prepare_streams", lambda: False)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code and "standard output cannot be written: it is closed" in capfd.readouterr().err


def test_a_signal_ends_the_program_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """So whoever sent it sees that it was obeyed. Where it is blocked, the exit code is that of a shell."""
    steps: list[Any] = []
    monkeypatch.setattr("signal.signal", lambda number, action: steps.append((number, action.name)))
    monkeypatch.setattr(os, "kill", lambda process, number: steps.append((process, number)))
    monkeypatch.setattr(os, "_exit", steps.append)

    def end(**_: object) -> None:
        raise EndedBySignalError(15)

    monkeypatch.setattr(sys, "argv", ["lee-llm-router"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(commands, "app", end)
    monkeypatch.setattr(commands, "signals_as_errors", NoSignals)
    commands.main()
    assert steps == [(15, "SIG_DFL"), (os.getpid(), 15), 128 + 15]


class NoSignals:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_warnings_are_said_as_messages_and_break_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    show_warnings()
    (handler,) = root.handlers
    warning = logging.makeLogRecord({"msg": "a %s", "args": ("w\x1barning",), "levelno": logging.WARNING})
    handler.handle(warning)
    handler.handle(logging.makeLogRecord({"msg": "an event", "llm_event": "llm.complete.error"}))
    assert capfd.readouterr().err == "a w\\x1barning\n"
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("encoding", "takes"), [("utf-8", True), ("ascii", False), ("x-unheard-of", False)])
def test_drawings_have_marks_that_the_terminal_has(encoding: str, takes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(encoding=encoding))
    assert takes_marks() is takes


def test_of_a_very_long_text_the_beginning_is_shown_and_the_rest_counted() -> None:
    """Nothing is done with the rest of it."""
    text = "[" + "1," * 5_000_000
    shown = shown_text(text, ContentStyle(plain=True, full=False, rule="-"))
    head, _, note = shown.rpartition("\n")
    assert head == text[: len(head)] and note.endswith("more characters; --full shows all")
    assert len(shown) < 100_000


# --- what there is to choose from ---


def test_a_provider_that_cannot_be_used_is_none_that_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("its package is not installed", sent=False)

    monkeypatch.setattr(PROVIDERS, "get", refuse)
    assert not found_models._can_be_used("openai")
    assert found_models._agent_problem("codex_cli") == "its package is not installed"
    monkeypatch.setattr(PROVIDERS, "settings_model", refuse)
    assert found_models._program_of("codex_cli") is None


def test_only_so_many_files_of_a_folder_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no folders."""
    monkeypatch.setattr(found_models, "_MAX_FILES", 2)
    for name in "abc":
        (tmp_path / f"{name}.gguf").touch()
    (tmp_path / "d.gguf").mkdir()
    found = found_models._files(tmp_path, "*.gguf")
    assert len(found) == 2 and all(path.is_file() for path in found)


def test_a_type_of_somebody_else_s_is_listed_with_what_is_wrong_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a vendor's name that an application gave to something else is that."""
    real_model, real_resolve = PROVIDERS.settings_model, PROVIDERS.resolve

    def settings_model(name: str) -> Any:
        if name == "mock":
            raise ZeroDivisionError
        return real_model(name)

    def resolve(name: str) -> Any:
        return ("mock", {}) if name == "groq" else real_resolve(name)

    monkeypatch.setattr(PROVIDERS, "settings_model", settings_model)
    monkeypatch.setattr(PROVIDERS, "resolve", resolve)
    listed = {one.name: one for one in listed_providers({})}
    assert listed["mock"].problem == "its settings cannot be read: ZeroDivisionError"
    assert (listed["groq"].source != "vendor", listed["groq"].about) == (True, None)


def test_a_long_chain_has_an_attempt_for_each_of_its_targets() -> None:
    models = [FoundModel(name=f"m{number}", settings={"type": "mock"}, found="x") for number in range(30)]
    assert "retry: {max_attempts: 30}" in starting_text(models)


def test_a_file_that_appears_while_another_is_written_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.yaml"
    real = starting_file._put_where_nothing_is

    def put(temporary: Path, place: Path) -> None:
        place.write_text("another's")
        real(temporary, place)

    monkeypatch.setattr(starting_file, "_put_where_nothing_is", put)
    with pytest.raises(ConfigError, match="already exists"):
        write_starting_file(path, "llm:", replace=False)
    assert path.read_text() == "another's" and not list(tmp_path.glob(".c.yaml*"))


def test_without_a_current_folder_there_is_no_env_file_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> str:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    assert _env_file_beside(Path("c.yaml")) == {}
