"""The policy lowest_cost with prices of the table, which is loaded beside the calls."""

from __future__ import annotations

from time import time

import pytest

from lee_llm_router import LeeLLMRouter
from lee_llm_router.telemetry.pricing.table import price_table

HANG = 60.0
"""Seconds after which loading the table counts as hanging."""

VENDORS = """
llm:
  policy: lowest_cost
  providers: {large: {type: openai, model: gpt-5}, small: {type: openai, model: gpt-5-nano}}
  roles: {r: {provider: large, fallback_providers: [small]}}
"""


def test_the_table_of_prices_is_not_waited_for_and_counts_once_it_is_there() -> None:
    """Until then a target has no price, so the order may be that of the file."""
    pytest.importorskip("genai_prices")
    with LeeLLMRouter(VENDORS, trace_store=False) as router:
        assert {target.provider for target in router.resolve("r")} == {"large", "small"}
        for model in ("gpt-5", "gpt-5-nano"):
            pending = price_table().look_up("https://api.openai.com/v1", (model,), time())
            if pending is not None:
                pending.result(HANG)
        assert [target.provider for target in router.resolve("r")] == ["small", "large"]
