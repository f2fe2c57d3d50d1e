"""What several files of this folder start from: a file with gates, and the keys of a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.gated_files import Gate, Sink, text
from helpers.key_server import KEYS
from lee_llm_router.providers import registry
from lee_llm_router.telemetry.plugins import SINKS


@pytest.fixture
def gates() -> Iterator[None]:
    """Know the provider `gate`, shut, and the sink `closing_sink`; what waits at a gate goes on in the end."""
    registry.register("gate", Gate, replace=True)
    SINKS.register("closing_sink", Sink, replace=True)
    Gate.entered.clear()
    Gate.opened.clear()
    Gate.closed.clear()
    Gate.asked.clear()
    Sink.closed = 0
    yield
    Gate.opened.set()


@pytest.fixture
def gated_file(gates: None, tmp_path: Path) -> Path:
    """A configuration whose role asks a gate."""
    path = tmp_path / "llm.yaml"
    path.write_text(text())
    return path


@pytest.fixture
def several_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the keys of `key_server`."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
