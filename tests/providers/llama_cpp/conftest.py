"""A model in this process without one: xllamacpp's stand-in, and a small GGUF file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.fake_llama import FakeLlama, gguf_file


@pytest.fixture
def llama(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLlama]:
    """The stand-in, in place of xllamacpp. Afterwards every server must be gone."""
    fake = FakeLlama()
    monkeypatch.setitem(sys.modules, "xllamacpp", fake.module())
    yield fake
    fake.may_load.set()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A GGUF file."""
    return gguf_file(tmp_path)


@pytest.fixture
def config(model: Path) -> dict[str, Any]:
    """A role served by the model, and by a mock if that fails."""
    return {
        "llm": {
            "default_role": "r",
            "providers": {"inside": {"type": "llama_cpp", "model_path": str(model)}, "mock": {"type": "mock"}},
            "roles": {
                "r": {"provider": "inside", "retry": {"attempts": 1}},
                "safe": {"provider": "inside", "retry": {"attempts": 1}, "fallback_providers": ["mock"]},
            },
            "trace": {"enabled": False},
        }
    }
