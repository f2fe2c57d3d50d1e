"""Sections whose models are loaded when a file has them are checked, shown and dumped as any other."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from typing import Any

import pytest

from lee_llm_router import CacheConfig, ConfigError, LLMConfig, load_config
from lee_llm_router.providers.model_limits import ModelLimitsConfig
from lee_llm_router.telemetry.pricing.budget_settings import BudgetConfig, ProviderBudgetConfig
from lee_llm_router.telemetry.pricing.price_settings import ModelPriceConfig

FILE: dict[str, Any] = {
    "default_role": "r",
    "providers": {"p": {"type": "mock", "budget": {"usd": 1}, "model_limits": {"m": {"rpm": 5}}}},
    "roles": {
        "r": {"provider": "p", "model": "m", "budget": {"usd": 2}, "cache": False},
        "s": {"provider": "p", "model": "m", "cache": {"type": "memory"}},
    },
    "pricing": {"models": {"p/m": {"input": 1, "output": 2}}},
    "budget": {"usd": 3},
    "cache": {"type": "memory", "ttl": "1h"},
}


def test_each_becomes_an_object_of_its_model() -> None:
    """Of a file, or of code that gives the object itself; and a dump of it can be read again."""
    config = load_config({"llm": FILE})
    sections = [
        (config.budget, BudgetConfig), (config.cache, CacheConfig), (config.roles["r"].budget, BudgetConfig),
        (config.pricing.models["p/m"], ModelPriceConfig), (config.providers["p"].budget, ProviderBudgetConfig),
        (config.providers["p"].model_limits["m"], ModelLimitsConfig), (config.roles["s"].cache, CacheConfig),
    ]  # fmt: skip
    assert [type(section) for section, _ in sections] == [model for _, model in sections]
    assert config.roles["r"].cache is False
    assert config.cache_of("r") is None
    assert pickle.loads(pickle.dumps(config)) == config
    assert LLMConfig.model_validate(config.model_dump(by_alias=True, exclude_unset=True)).budget == config.budget
    dumped = json.loads(config.model_dump_json(exclude_unset=True))
    assert (dumped["budget"], dumped["roles"]["r"]["cache"]) == ({"usd": 3.0}, False)
    given = FILE | {"budget": BudgetConfig(usd=7)}
    assert LLMConfig.model_validate(given).budget == BudgetConfig(usd=7)


@pytest.mark.parametrize(
    ("changed", "finding"),
    [
        ({"budget": {"usd": 0}}, "llm.budget.usd: must be greater than 0"),
        ({"budget": {"usdd": 1, "usd": 2}}, "llm.budget.usdd: unknown key (did you mean 'usd'?)"),
        ({"budget": "five"}, "llm.budget: a mapping is wanted"),
        ({"pricing": {"models": {"p/m": {"inputt": 1, "output": 1}}}}, "llm.pricing.models['p/m'].inputt: unknown key"),
        ({"cache": {"type": "memory", "path": "x"}}, "llm.cache.path: a cache in memory has no file"),
    ],
)
def test_a_mistake_in_one_is_found_at_its_place(changed: Mapping[str, Any], finding: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config({"llm": {**FILE, **changed}})
    assert any(finding in one for one in caught.value.findings), caught.value.findings
