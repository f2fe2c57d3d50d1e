"""The store of files that most tests of it write to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalFileTraceStore]:
    """A store in a folder that is not there yet."""
    with_store = LocalFileTraceStore(tmp_path / "traces")
    yield with_store
    with_store.close()
