"""A pytest fixture that makes routers which play scripts. Switch it on in `conftest.py`::

pytest_plugins = ["lee_llm_router.pytest_plugin"]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any, Protocol

import pytest

from lee_llm_router.config.models import LLMConfig
from lee_llm_router.testing.scripted_router import Answers, ScriptedRouter


class MakeRouter(Protocol):
    """What the fixture `llm_router` is."""

    def __call__(
        self,
        config: LLMConfig | str | PathLike[str] | Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        /,
        **answers: Answers,
    ) -> ScriptedRouter:
        """A `ScriptedRouter` for `config`, with `options` of `LeeLLMRouter` and the `answers` of each provider.

        After the test it is closed, and the test fails if a provider was asked for which there was no answer, even
        where the application has swallowed the error.
        """
        ...


@pytest.fixture
def llm_router() -> Iterator[MakeRouter]:
    """Makes routers whose providers play scripts: ``llm_router(planner=["yes"])``. They are closed after the test."""
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
