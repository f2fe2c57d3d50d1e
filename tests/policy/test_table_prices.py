"""The policy lowest_cost with prices of the table, which is loaded beside the calls."""

from __future__ import annotations

import pytest

from lee_llm_router import LeeLLMRouter

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
        told = router.explain("r", "hi")  # waits for the table
        assert all(target.price is not None for target in told.targets)
        assert [target.provider for target in router.resolve("r")] == ["small", "large"]
