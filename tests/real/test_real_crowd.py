"""32 real agents at once, a third of them killed at random moments: no process, folder or descriptor is left."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from helpers.agent_crowd import Leftovers, crowd
from lee_llm_router.providers.claude_cli import ClaudeCLIConfig, ClaudeCLIProvider
from lee_llm_router.providers.codex_cli import CodexCLIConfig, CodexCLIProvider
from real import messages_server as ms
from real import responses_server as rs

pytestmark = pytest.mark.real


@pytest.mark.parametrize("seed", range(2))
def test_of_a_crowd_that_is_killed_in_part_nothing_is_left(
    codex_path: str, claude_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Those that are not killed answer all the same."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = Leftovers()
    with rs.serve(rs.answer("hello")) as responses, rs.serve(ms.answer("hello")) as messages:
        codex = CodexCLIConfig(command=codex_path, base_url=responses.base_url)
        claude = ClaudeCLIConfig(command=claude_path, base_url=messages.base_url)
        agents = [
            CodexCLIProvider(f"codex-{number}", codex) if number % 2 else ClaudeCLIProvider(f"claude-{number}", claude)
            for number in range(32)
        ]
        ends = crowd(agents, seed, 10.0)
    assert ends["answer"] >= 21, ends
    assert set(ends) <= {"answer", "cancelled", "PROVIDER_ERROR", "INVALID_RESPONSE"}
    assert before.found(tmp_path) == []
