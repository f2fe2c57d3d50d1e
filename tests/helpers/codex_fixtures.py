"""Fixtures for the tests of the provider `codex_cli`: a user with a login and a key, and a fake codex."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.agent_calls import TOKEN
from helpers.agent_machine import home_with
from helpers.fake_codex import FakeCodex


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the home of a user with a login and a key. The folder for temporary files must be empty in the end."""
    login = json.dumps({"tokens": {"access_token": TOKEN}, "last_refresh": "2026"})
    files = {".codex/auth.json": login, ".codex/AGENTS.md": "not for completions"}
    unset = ("CODEX_HOME",)
    with home_with(files, tmp_path, monkeypatch, *unset) as home:
        yield home


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
