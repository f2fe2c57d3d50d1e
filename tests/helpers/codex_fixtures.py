"""Fixtures for the tests of the provider `codex_cli`: a user with a login and a key, and a fake codex."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.codex_support import KEY, TOKEN
from helpers.fake_codex import FakeCodex


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the home of a user with a login and a key. The folder for temporary files must be empty in the end."""
    home, temp = tmp_path / "home", tmp_path / "temp"
    (home / ".codex").mkdir(parents=True)
    (home / ".codex/auth.json").write_text(json.dumps({"tokens": {"access_token": TOKEN}, "last_refresh": "2026"}))
    (home / ".codex/AGENTS.md").write_text("not for completions")
    temp.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temp))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LEE_TEST_KEY", KEY)
    monkeypatch.delenv("CODEX_HOME", raising=False)
    yield home
    assert list(temp.iterdir()) == []
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture(scope="session")
def lasting_codex(tmp_path_factory: pytest.TempPathFactory) -> FakeCodex:
    """One program for all tests, so that its flags are looked up only once."""
    return FakeCodex(tmp_path_factory.mktemp("codex"))


@pytest.fixture
def codex(lasting_codex: FakeCodex, machine: Path) -> FakeCodex:
    """A fake codex for that user, whose flags may be known already."""
    lasting_codex.forget()
    return lasting_codex


@pytest.fixture
def new_codex(tmp_path: Path, machine: Path) -> FakeCodex:
    """A fake codex that was never called before."""
    (tmp_path / "bin").mkdir()
    return FakeCodex(tmp_path / "bin")
