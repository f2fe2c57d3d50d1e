"""What most tests of the configuration need: a provider type with settings of every kind, and both parsers."""

from __future__ import annotations

import pytest
import yaml

from helpers.config_support import register_probe
from lee_llm_router.config import yaml_reader


@pytest.fixture(autouse=True)
def _probe() -> None:
    """Know the type `probe` in every test."""
    register_probe()


@pytest.fixture(params=["C", "python"])
def either_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with each parser: PyYAML may be installed without libyaml."""
    if request.param == "python":
        monkeypatch.setattr(yaml_reader, "_Loader", yaml.SafeLoader)
