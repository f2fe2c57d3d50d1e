"""Configurations from odd places and hands: links that lead nowhere, blanks that are none, types that fail."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lee_llm_router import ConfigError
from lee_llm_router.config import discovery, load_config, ownership
from lee_llm_router.config.discovery import find_config
from lee_llm_router.config.known_keys import _settings_model
from lee_llm_router.config.unsupported import missing_in_entry
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import Provider, ProviderConfig
from lee_llm_router.providers.registry import PROVIDERS
from lee_llm_router.response import LLMRequest, LLMResponse
from lee_llm_router.testing.scripts import UnscriptedCallError

GOOD = "llm:\n  providers: {p: {type: mock}}\n  roles: {r: {provider: p}}\n"


def test_an_indent_of_invisible_characters_is_named() -> None:
    """A page that was copied from has them in place of blanks, and YAML takes them for a part of the key."""
    with pytest.raises(ConfigError) as error:
        load_config("llm:\n\u00a0\u00a0providers: {p: {type: mock}}\n")
    assert any("invisible character (U+00A0): write plain spaces" in line for line in error.value.findings)


def test_a_link_that_leads_in_a_circle_is_not_followed_for_ever(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / str(number)).symlink_to(tmp_path / str((number + 1) % 60))
    reason = ownership.reason_for_distrust(tmp_path / "0", {os.geteuid()})
    assert reason is not None and "a broken link" in reason


def test_a_file_that_cannot_be_looked_at_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is named."""
    (tmp_path / "lee-llm-router.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LEE_LLM_ROUTER_CONFIG", raising=False)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(discovery, "reason_for_distrust", refuse)
    with pytest.raises(ConfigError, match=r"it cannot be inspected \(Permission denied\)"):
        find_config()
    assert find_config(tmp_path / "lee-llm-router.yaml").name == "lee-llm-router.yaml"


@pytest.mark.parametrize("settings", [{}, {"type": 7}, {"type": ["mock"]}, {"type": "unheard-of"}, None, "mock"])
def test_settings_of_no_known_type_have_the_keys_of_all(settings: Any) -> None:
    assert _settings_model(PROVIDERS, settings) is ProviderConfig


class Raising(Provider[ProviderConfig]):
    """A provider of somebody else's that cannot say what it can do."""

    config_model = ProviderConfig

    @classmethod
    def unsupported(cls, request: LLMRequest, config: ProviderConfig) -> dict[str, str]:
        raise ZeroDivisionError

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        return LLMResponse(text="yes")


registry.register("of_tests_raising", Raising, replace=True)


def test_a_provider_that_cannot_say_what_it_can_do_keeps_no_file_from_being_read() -> None:
    """At the call it is an error, traced."""
    text = GOOD.replace("mock", "of_tests_raising").replace("provider: p}", "provider: p, temperature: 1}")
    config = load_config(text)
    entry = config.chain("r")[0]
    assert missing_in_entry(config.providers["p"], entry) == {}
    made_by_hand = ProviderConfig(type="unheard-of")
    assert missing_in_entry(made_by_hand, entry) == {}


def test_changed_settings_keep_what_was_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what was replaced: a value from the environment stays one, whatever else is changed."""
    monkeypatch.setenv("Q", "hunter2-secret")
    config = load_config(GOOD.replace("{type: mock}", '{type: mock, response_text: "${Q}"}'))
    settings = config.providers["p"]
    assert "hunter2" not in repr(settings.changed({"model": "m"}))
    assert settings.changed({"model": "m"}).filled_values() == ("hunter2-secret",)
    trace = config.trace.changed({"sample": 0.5})
    assert trace.sample == 0.5


def test_the_fixture_fails_a_test_whose_application_hid_a_call() -> None:
    """It is told after the test, with the names of the providers."""
    from lee_llm_router import pytest_plugin

    routers: Any = pytest_plugin.llm_router.__wrapped__()  # type: ignore[attr-defined]
    router = next(routers)(planner=["only one"])
    router.complete("planner", "x")
    with pytest.raises(UnscriptedCallError):
        router.complete("planner", "x")
    with pytest.raises(pytest.fail.Exception, match="asked without an answer left: planner"):
        next(routers)
