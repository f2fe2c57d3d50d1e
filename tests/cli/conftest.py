from __future__ import annotations

import io
import sys
from functools import cache
from pathlib import Path

import pytest
import typer.main

from helpers.command_line import CONFIG, Keyboard, Run
from lee_llm_router.cli import main
from lee_llm_router.doctor import CONFIG_VARIABLE


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in a folder with a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / "lee-llm-router.yaml").write_text(CONFIG)
    return tmp_path


# A process runs one command; to make all of them anew for each run in this one takes 40 ms.
_command_of = cache(typer.main.get_command)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process; return its exit code, standard output and standard error."""

    def run_main(*args: str, stdin: bytes = b"", terminal: bool = False) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lee-llm-router", *args])
        monkeypatch.setattr(typer.main, "get_command", _command_of)
        monkeypatch.setattr(sys, "stdin", Keyboard() if terminal else io.TextIOWrapper(io.BytesIO(stdin)))
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run_main
