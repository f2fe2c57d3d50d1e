"""Pytest fixtures: `llm_router` makes routers that play scripts, `llm_cassette` records and replays real answers.

Enable them in `conftest.py`::

    pytest_plugins = ["lee_llm_router.pytest_plugin"]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import pytest

from lee_llm_router.config.models import LLMConfig
from lee_llm_router.providers.cassette.settings import CassetteConfig, CassetteMode
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

        It is closed after the test. The test fails if a provider was called more often than it has answers, even if the
        application swallowed the error.
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


_MODES: tuple[CassetteMode, ...] = ("once", "new", "record", "replay")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says when `llm_cassette` records its cassettes."""
    parser.getgroup("lee-llm-router").addoption(
        "--llm-cassettes",
        choices=_MODES,
        default="once",
        help="what the fixture llm_cassette does. once: record a cassette that is not there (default); new: record what"
        " is missing; record: record all anew; replay: never ask",
    )


@pytest.fixture
def llm_cassette(request: pytest.FixtureRequest) -> CassetteConfig:
    """The cassette of this test, for `LeeLLMRouter(..., cassette=llm_cassette)`.

    It is the file ``cassettes/MODULE/TEST.yaml`` next to the test; the option ``--llm-cassettes`` sets its mode.
    """
    test = Path(request.path)
    name = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    mode: CassetteMode = request.config.getoption("--llm-cassettes", "once")
    return CassetteConfig(path=str(test.parent / "cassettes" / test.stem / f"{name}.yaml"), mode=mode)
