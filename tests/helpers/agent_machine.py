"""The machine that an agent is run on: a user's home, a key, and a folder for temporary files that is empty again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.agent_calls import KEY


@contextmanager
def nothing_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a key, and a folder for temporary files that must be empty in the end; no child may be left then."""
    temp = folder / "temp"
    temp.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temp))
    monkeypatch.setenv("LEE_TEST_KEY", KEY)
    yield
    assert list(temp.iterdir()) == []
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@contextmanager
def home_with(files: Mapping[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch, *unset: str) -> Iterator[Path]:
    """Be a user with these files at home and without these variables; `nothing_left` holds."""
    home = folder / "home"
    for name, content in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(content)
    monkeypatch.setenv("HOME", str(home))
    for name in unset:
        monkeypatch.delenv(name, raising=False)
    with nothing_left(folder, monkeypatch):
        yield home
