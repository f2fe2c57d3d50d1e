"""A pytest fixture that makes routers which play scripts. Switch it on in `conftest.py`::

pytest_plugins = ["lee_llm_router.pytest_plugin"]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any, Protocol

import pytest

from lee_llm_router.config import LLMConfig
from lee_llm_router.testing import Answers, ScriptedRouter


class MakeRouter(Protocol):
    """What the fixture `llm_router` is."""

    def __call__(
        self, config: LLMConfig | str | PathLike[str] | Mapping[str, Any] | None = None, /, **answers: Answers
    ) -> ScriptedRouter:
        """A `ScriptedRouter` for `config`, with the `answers` of each provider; closed after the test."""
        ...


@pytest.fixture
def llm_router() -> Iterator[MakeRouter]:
    """Makes routers whose providers play scripts: ``llm_router(planner=["yes"])``. They are closed after the test."""
    made: list[ScriptedRouter] = []

    def make(
        config: LLMConfig | str | PathLike[str] | Mapping[str, Any] | None = None, /, **answers: Answers
    ) -> ScriptedRouter:
        made.append(ScriptedRouter(config, answers=answers))
        return made[-1]

    yield make
    for router in made:
        router.close()
