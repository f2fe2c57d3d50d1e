"""The pytest fixture `llm_router`, which makes routers that play scripts. Switch it on in `conftest.py`::

pytest_plugins = ["lee_llm_router.pytest_plugin"]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any, Protocol

import pytest

from lee_llm_router.config.models import LLMConfig
from lee_llm_router.testing.scripted_router import ScriptedRouter
from lee_llm_router.testing.scripts import Answers


class MakeRouter(Protocol):
    """The type of the fixture `llm_router`."""

    def __call__(
        self,
        config: LLMConfig | str | PathLike[str] | Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        /,
        **answers: Answers,
    ) -> ScriptedRouter:
        """Return a `ScriptedRouter` for `config`, with `options` of `LeeLLMRouter` and the `answers` of each provider.

        It is closed after the test. The test fails if a provider was asked more often than it has answers, even where
        the application has swallowed the error.
        """
        ...


@pytest.fixture
def llm_router() -> Iterator[MakeRouter]:
    """Make routers whose providers play scripts: ``llm_router(planner=["yes"])``. They are closed after the test."""
    made: list[ScriptedRouter] = []

    def make(
        config: LLMConfig | str | PathLike[str] | Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        /,
        **answers: Answers,
    ) -> ScriptedRouter:
        made.append(ScriptedRouter(config, answers=answers, **(options or {})))
        return made[-1]

    yield make
    for router in made:
        router.close()
    asked = [name for router in made for name in router.unscripted()]
    if asked:
        pytest.fail(f"asked without an answer left: {', '.join(asked)}", pytrace=False)
