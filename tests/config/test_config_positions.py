"""Where findings point: at a key, at a value, or at the key around what is missing."""

from __future__ import annotations

import pytest
from pydantic import field_validator

from helpers.config_support import findings, role
from lee_llm_router.config import load_config
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.mock import MockProvider


class WordyConfig(ProviderConfig):
    words: str = ""

    @field_validator("words")
    @classmethod
    def _repeat(cls, value: str) -> str:
        if value:
            raise ValueError(f"{value[::-1]} (did you look?)")
        return value


class WordyProvider(MockProvider):
    config_model = WordyConfig


@pytest.mark.parametrize("words", ["missing: say more", "unknown key", "never write a key here"])
def test_the_words_of_a_message_do_not_move_its_finding(words: str) -> None:
    """A finding with a validator's words points at the value, whatever the words are."""
    registry.register("wordy", WordyProvider, replace=True)
    assert findings(role(provider=f"type: wordy, words: '{words[::-1]}'")) == [
        f"3:29: llm.providers.p.words: {words} (did you look?)"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (role("seed: x"), "6:11: llm.roles.r.seed: a whole number is wanted"),
        (role("sed: 1"), "6:5: llm.roles.r.sed: unknown key (did you mean 'seed'?)"),
        (role(provider="model: m"), "3:5: llm.providers.p.type: missing"),
    ],
    ids=["value", "key", "parent"],
)
def test_a_finding_points_at_a_value_a_key_or_a_parent(text: str, said: str) -> None:
    """A wrong value itself, an unknown key, and the key of the mapping in which one is missing."""
    assert findings(text) == [said]


def test_a_mistake_that_only_the_models_see_has_its_position() -> None:
    """The model of an alias comes from the registry, so that a repeat shows only in the finished models."""
    registry.register_alias("mock_eu", "mock", {"model": "eu-1"}, replace=True)
    assert findings(role("fallback_providers: [{provider: p, model: eu-1}]", provider="type: mock_eu")) == [
        "6:26: llm.roles.r.fallback_providers[0]: the same provider, model and settings are already in the chain"
    ]


def test_a_type_that_cannot_be_loaded_is_not_suggested() -> None:
    """The name is right, so the finding says why it cannot be loaded and suggests nothing."""
    registry.register("gone", "nowhere_at_all:Provider", replace=True)
    (found,) = findings(role(provider="type: gone"))
    assert found.startswith("3:15: llm.providers.p.type: ") and "did you mean" not in found


def test_a_top_key_in_capitals_is_pointed_out() -> None:
    """Suggestions ignore case, for the top key too."""
    assert findings("app: 1\nLLM: {}\n") == ["2:1: LLM: the top key llm is missing (did you mean 'llm'?)"]
    assert load_config("llm: {providers: {p: {type: mock}}, roles: {r: {provider: p}}}\n")
