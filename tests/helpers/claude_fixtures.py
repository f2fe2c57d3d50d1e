"""Fixtures for the tests of the provider `claude_cli`: a user with a login and a key, and a fake claude."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.claude_support import KEY, login
from helpers.fake_claude import FakeClaude


@pytest.fixture
def claude_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the home of a user with a login and a key. The folder for temporary files must be empty in the end."""
    home, temp = tmp_path / "home", tmp_path / "temp"
    (home / ".claude").mkdir(parents=True)
    (home / ".claude/.credentials.json").write_text(login())
    (home / ".claude/CLAUDE.md").write_text("not for completions")
    temp.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temp))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LEE_TEST_KEY", KEY)
    for name in ("CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    yield home
    assert list(temp.iterdir()) == []
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


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
