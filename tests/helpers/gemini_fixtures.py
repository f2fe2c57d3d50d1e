"""Fixtures for the tests of the provider `gemini_cli`: a user with a login and a key, and a fake gemini."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.fake_gemini import FakeGemini
from helpers.gemini_support import KEY, TOKEN


@pytest.fixture
def gemini_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the home of a user with a login and a key. The folder for temporary files must be empty in the end."""
    home, temp = tmp_path / "home", tmp_path / "temp"
    (home / ".gemini").mkdir(parents=True)
    login = {"access_token": TOKEN, "refresh_token": f"refresh-{TOKEN}", "expiry_date": 1}
    (home / ".gemini/oauth_creds.json").write_text(json.dumps(login))
    (home / ".gemini/google_accounts.json").write_text('{"active": "me@example.org"}')
    (home / ".gemini/GEMINI.md").write_text("not for completions")
    temp.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temp))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LEE_TEST_KEY", KEY)
    for name in ("GEMINI_CLI_HOME", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    yield home
    assert list(temp.iterdir()) == []
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture(scope="session")
def lasting_gemini(tmp_path_factory: pytest.TempPathFactory) -> FakeGemini:
    """One program for all tests, so that its flags are looked up only once."""
    return FakeGemini(tmp_path_factory.mktemp("gemini"))


@pytest.fixture
def gemini(lasting_gemini: FakeGemini, gemini_machine: Path) -> FakeGemini:
    """A fake gemini for that user, whose flags may be known already."""
    lasting_gemini.forget()
    return lasting_gemini


@pytest.fixture
def new_gemini(tmp_path: Path, gemini_machine: Path) -> FakeGemini:
    """A fake gemini that was never called before."""
    (tmp_path / "bin").mkdir()
    return FakeGemini(tmp_path / "bin")
