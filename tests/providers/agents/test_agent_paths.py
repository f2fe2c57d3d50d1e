"""Where the relative paths of an agent's settings start."""

from __future__ import annotations

from pathlib import Path

import pytest

from lee_llm_router import LeeLLMRouter
from lee_llm_router.config.load import load_config
from lee_llm_router.providers.registry import PROVIDERS

AGENTS = {"claude_cli": "claude_home", "codex_cli": "codex_home", "gemini_cli": None, "command": None}


def _file(folder: Path, kind: str, more: str = "") -> Path:
    program = "argv: [bin/agent]" if kind == "command" else "command: bin/agent"
    file = folder / "llm.yaml"
    provider = f"{{type: {kind}, {program}, workspace: work{more}}}"
    file.write_text(f"llm:\n  providers:\n    p: {provider}\n  roles: {{r: {{provider: p}}}}\n")
    return file


@pytest.mark.parametrize("kind", AGENTS)
def test_they_start_at_the_folder_of_the_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As all relative paths in the file do, wherever the program that reads it was started."""
    home = AGENTS[kind]
    file = _file(tmp_path, kind, f", {home}: home" if home else "")
    for folder in ("bin", "work", "home", "elsewhere"):
        (tmp_path / folder).mkdir()
    agent = tmp_path / "bin" / "agent"
    agent.write_text("#!/bin/sh\necho 1.0\n")
    agent.chmod(0o755)
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = load_config(file).providers["p"]
    provider = PROVIDERS.get(kind)("p", settings)
    try:
        found = "\n".join(text for _, text in provider.check())
    finally:
        provider.close()
    assert "is not a folder" not in found and "not an executable file" not in found
    assert str(agent) in found


def test_a_program_beside_the_file_is_run_in_its_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _file(tmp_path, "command")
    for folder in ("bin", "work", "elsewhere"):
        (tmp_path / folder).mkdir()
    agent = tmp_path / "bin" / "agent"
    agent.write_text("#!/bin/sh\npwd\n")
    agent.chmod(0o755)
    monkeypatch.chdir(tmp_path / "elsewhere")
    with LeeLLMRouter.from_file(file, trace_store=False) as router:
        assert Path(router.complete("r", "hi").text.strip()).samefile(tmp_path / "work")
