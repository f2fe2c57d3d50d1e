"""What a run of a program may not leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.agent_machine import nothing_left


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder for temporary files must be empty in the end, and no child left."""
    with nothing_left(tmp_path, monkeypatch):
        yield
