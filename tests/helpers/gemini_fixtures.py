"""Fixtures for the tests of the provider `gemini_cli`: a user with a login and a key, and a fake gemini."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.agent_calls import TOKEN
from helpers.agent_machine import home_with
from helpers.fake_gemini import FakeGemini


@pytest.fixture
def gemini_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the home of a user with a login and a key. The folder for temporary files must be empty in the end."""
    login = json.dumps({"access_token": TOKEN, "refresh_token": f"refresh-{TOKEN}", "expiry_date": 1})
    files = {
        ".gemini/oauth_creds.json": login, ".gemini/google_accounts.json": '{"active": "me@example.org"}',
        ".gemini/GEMINI.md": "not for completions",
    }  # fmt: skip
    unset = ("GEMINI_CLI_HOME", "GEMINI_API_KEY", "GOOGLE_API_KEY")
    with home_with(files, tmp_path, monkeypatch, *unset) as home:
        yield home


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
