"""A wrong path may name any file: one of another program keeps its content and its rights."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lee_llm_router import LeeLLMRouter

PLACES: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "state": lambda path: {"state": {"type": "sqlite", "path": path}},
    "traces": lambda path: {"trace": {"store": {"type": "sqlite", "path": path}}},
    "cache": lambda path: {"cache": {"type": "sqlite", "path": path}},
}


@pytest.mark.parametrize("content", [b"root:x:0:0:root:/root:/bin/bash\n" * 40, b""], ids=["another's", "empty"])
@pytest.mark.parametrize("place", PLACES)
def test_a_file_of_another_program_is_left_as_it_is(place: str, content: bytes, tmp_path: Path) -> None:
    """The call is answered; an empty file is taken."""
    path = tmp_path / "passwd"
    path.write_bytes(content)
    path.chmod(0o644)
    providers = {"offline": {"type": "mock", "response_text": "hi", "rpm": 600}}
    roles = {"r": {"provider": "offline", "model": "m"}}
    config = {"llm": {"providers": providers, "roles": roles, **PLACES[place](str(path))}}
    with LeeLLMRouter(config, trace_store=None if place == "traces" else False) as router:
        assert router.complete("r", "hello").text == "hi"
    if content:
        assert path.read_bytes() == content
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    else:
        assert path.read_bytes().startswith(b"SQLite format 3")
