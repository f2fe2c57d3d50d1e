"""Helpers for the tests of the configuration: a provider type with settings of every kind, and findings of a text."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, StrictBool, field_validator, model_validator

from lee_llm_router.config import load_config
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import BaseUrl, EnvName, Integer, Provider, ProviderConfig
from lee_llm_router.response import LLMRequest, LLMResponse


class Limits(BaseModel):
    model_config = {"extra": "forbid"}

    per_minute: Integer = 60


class ProbeConfig(ProviderConfig):
    base_url: BaseUrl | None = None
    api: Literal["openai-chat", "openai-responses"] = "openai-chat"
    api_key_env: EnvName | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    pool: Integer = 3
    strict: StrictBool = False
    words: tuple[str, ...] = ()
    counts: list[Integer] = Field(default_factory=list)
    limits: Limits | None = None
    by_name: dict[str, Limits] = Field(default_factory=dict)
    word: str = "fine"
    grid: tuple[Integer, Integer] | None = None

    @field_validator("word")
    @classmethod
    def _complains(cls, value: str) -> str:
        if value == "crash":
            raise TypeError("not a ValueError")
        if value != "fine":
            raise ValueError(f"I do not like {value} at all")
        return value

    @model_validator(mode="after")
    def _together(self) -> ProbeConfig:
        if self.strict and self.words:
            raise ValueError(f"strict does not go with {self.words[0]}")
        return self


class ProbeProvider(Provider[ProbeConfig]):
    config_model = ProbeConfig

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        return LLMResponse(text="")


def register_probe() -> None:
    registry.register("probe", ProbeProvider, replace=True)
    registry.register_alias("probe_eu", "probe", {"base_url": "https://eu.test/v1", "model": "eu-1"}, replace=True)


def findings(source: str | PathLike[str] | Mapping[str, Any]) -> list[str]:
    """Return every finding of `source`, without the name of the source."""
    with pytest.raises(ConfigError) as caught:
        load_config(source)
    name = caught.value.message.partition(" in the configuration ")[2]
    assert all(finding.startswith(f"{name}:") for finding in caught.value.findings)
    return [finding.removeprefix(f"{name}:").strip() for finding in caught.value.findings]


def role(settings: str = "", provider: str = "type: mock") -> str:
    """Return a configuration of one provider and one role, whose settings begin on line 6, column 5."""
    return f"llm:\n  providers:\n    p: {{{provider}}}\n  roles:\n    r: {{provider: p,\n    {settings}}}\n"
