"""Fixtures for the tests of the provider `claude_cli`: a user with a login and a key, and a fake claude."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.agent_machine import home_with
from helpers.claude_support import login
from helpers.fake_claude import FakeClaude


@pytest.fixture
def claude_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the home of a user with a login and a key. The folder for temporary files must be empty in the end."""
    files = {".claude/.credentials.json": login(), ".claude/CLAUDE.md": "not for completions"}
    unset = ("CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY")
    with home_with(files, tmp_path, monkeypatch, *unset) as home:
        yield home


@pytest.fixture(scope="session")
def lasting_claude(tmp_path_factory: pytest.TempPathFactory) -> FakeClaude:
    """One program for all tests, so that its flags are looked up only once."""
    return FakeClaude(tmp_path_factory.mktemp("claude"))


@pytest.fixture
def claude(lasting_claude: FakeClaude, claude_machine: Path) -> FakeClaude:
    """A fake claude for that user, whose flags may be known already."""
    lasting_claude.forget()
    return lasting_claude


@pytest.fixture
def new_claude(tmp_path: Path, claude_machine: Path) -> FakeClaude:
    """A fake claude that was never called before."""
    (tmp_path / "bin").mkdir()
    return FakeClaude(tmp_path / "bin")
