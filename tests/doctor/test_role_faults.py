"""Models that their vendor does not have, and times of a role that can never count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.single_faults import KEY, bad, of_text, with_provider
from lee_llm_router.doctor import diagnose
from lee_llm_router.providers.base import Provider

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize(
    ("model", "kind", "check"),
    [
        ("gpt-4.1-mni", "openai", "LLR701"),
        ("gpt-7", "openai", None),
        ("gpt-4.1-2025-04-14", "openai", None),
        ("ft:gpt-4o-mini-2024-07-18:me::abc", "openai", None),
        ("claude-sonet-4-5", "anthropic", "LLR701"),
        ("claude-sonnet-4-5", "openai", "LLR703"),
        ("gpt-4.1", "anthropic", "LLR703"),
        ("text-embedding-3-large", "openai", "LLR703"),
        ("whisper-1", "openai", "LLR703"),
        ("gemini-2.0-flash", "gemini", "LLR702"),
        ("my-deployment", "azure", None),
        ("anything/at-all", "openrouter", None),
        ("own-model", "http", None),
        ("google/gemini-3.5-flash", "vertex", None),
        ("claude-sonnet-5-5", "vertex_anthropic", None),
        ("openai/gpt-oss-120b", "groq", None),
    ],
)
def test_models_are_judged_only_where_the_table_is_sure(
    monkeypatch: pytest.MonkeyPatch, model: str, kind: str, check: str | None
) -> None:
    """Another number may be a newer model; a deployment or a gateway has names of its own."""
    pytest.importorskip("genai_prices")
    monkeypatch.setenv("MY_KEY", KEY)
    settings = {"type": kind, "api_key_env": "MY_KEY"}
    if kind.startswith("vertex"):
        settings["base_url"] = "https://eu-aiplatform.googleapis.com/v1/projects/p/locations/eu/endpoints/openapi"
    if kind in ("http", "azure"):
        settings["base_url"] = f"https://me.{'openai.azure.com' if kind == 'azure' else 'example'}/v1"
    source = with_provider(**settings)
    source["llm"]["roles"]["r"]["model"] = model
    found = {name for name in bad(diagnose(source)) if name.startswith("LLR7")}
    assert found == ({check} if check else set())


def test_without_the_price_table_nothing_is_said_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    from lee_llm_router.doctor import price_table

    monkeypatch.setattr(price_table, "_snapshot", lambda: None)
    monkeypatch.setenv("MY_KEY", KEY)
    source = with_provider(type="openai", api_key_env="MY_KEY")
    source["llm"]["roles"]["r"]["model"] = "gpt-4.1-mni"
    assert not bad(diagnose(source))


@pytest.mark.parametrize(
    ("role", "check"),
    [
        ({"timeout": 60, "deadline": 60}, "LLR604"),
        ({"deadline": 100}, "LLR604"),
        ({"timeout": 60, "deadline": 61}, None),
        ({"timeout": 60, "deadline": 100, "retry": {"attempts": 3}}, "LLR605"),
        ({"timeout": 60, "deadline": 121, "retry": {"attempts": 3}}, None),
        ({"timeout": 60, "deadline": 100, "retry": {"attempts": 1}}, None),
        ({"stream": {"first_token_timeout": 700}}, "LLR606"),
        ({"stream": {"first_token_timeout": 100}}, None),
        ({}, None),
    ],
)
def test_times_that_can_never_count(role: dict[str, Any], check: str | None) -> None:
    source = {"llm": {"providers": {"p": {"type": "ollama"}}, "roles": {"r": {"provider": "p", "model": "m", **role}}}}
    assert set(bad(diagnose(source))) == ({check} if check else set())


def test_a_provider_of_somebody_else_may_give_plain_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are no part of what a provider must know."""

    def check(self: Any) -> Any:
        return [("warning", "a plain pair"), ("nonsense", "an unknown level")]

    monkeypatch.setattr(Provider, "check", check)
    results = [result for result in diagnose(with_provider(type="mock")) if result.section == "provider"]
    assert [(result.id, result.level) for result in results] == [("LLR503", "warning")] * 2


@pytest.mark.parametrize(("after", "is_told"), [("1500", True), ("60s", True), ("59s", False), ("p95", False)])
def test_a_hedge_after_the_end_of_an_attempt_is_told(here: Path, after: str, is_told: bool) -> None:
    found = of_text(
        here,
        f"""\
llm:
  providers: {{p: {{type: mock}}, q: {{type: mock}}}}
  roles: {{r: {{provider: p, model: m, fallback_providers: [q], timeout: 60, hedge: {{after: {after}}}}}}}
""",
    )
    assert ("LLR613" in found) is is_told
    if is_told:
        assert "an attempt ends after 60 s" in found["LLR613"].message
