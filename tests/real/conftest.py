"""What the tests with real programs need.

`LEE_REAL_CODEX`, `LEE_REAL_CLAUDE` and `LEE_REAL_GEMINI` name the binaries, `LEE_REAL_MODEL` a GGUF file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from real import claude_asks, llama


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine would be asked for loopback addresses, too."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


@pytest.fixture(autouse=True)
def a_home_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A shell of an agent reads the profile there; one of the machine may wait for a lock that a killed shell left."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def temp_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, which must be empty after a run."""
    root = tmp_path / "temp"
    root.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(root))
    return root


@pytest.fixture
def claude_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the key of the loopback server, and no other."""
    monkeypatch.setenv("LEE_TEST_KEY", claude_asks.KEY)
    for name in ("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def codex_path() -> str:
    """The real codex binary."""
    return _program("LEE_REAL_CODEX", "codex")


@pytest.fixture(scope="session")
def claude_path() -> str:
    """The real claude binary."""
    return _program("LEE_REAL_CLAUDE", "claude")


def _program(variable: str, name: str) -> str:
    path = os.environ.get(variable, "")
    if not path or shutil.which(path) is None:
        pytest.skip(f"{variable} does not name the {name} binary")
    return str(Path(path).absolute())


@pytest.fixture(scope="session")
def gemini_path() -> str:
    """The real gemini binary."""
    return _program("LEE_REAL_GEMINI", "gemini")


@pytest.fixture(scope="session")
def model() -> str:
    """The GGUF file of the real model."""
    path = os.environ.get("LEE_REAL_MODEL", "")
    reason = llama.available(path)
    if reason:
        pytest.skip(f"LEE_REAL_MODEL: {reason}")
    return path


@pytest.fixture(scope="session")
def model_server(model: str) -> Iterator[str]:
    """The address of a llama.cpp server with the real model."""
    with llama.serve_model(model) as address:
        yield address
