"""Answers that cost a dollar, routers with a budget, and a ledger in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from helpers.support import config_for
from lee_llm_router import (
    LLMResponse,
    LLMUsage,
    load_config,
)

DOLLAR = LLMResponse(text="yes", finish_reason="stop", cost_usd=1.0, usage=LLMUsage(prompt_tokens=1))
"""An answer that costs one US dollar, as its vendor says."""


class MemoryLedger:
    """A ledger that keeps what it is told, and may be told to fail."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.fails = False

    def add(self, amounts: Mapping[str, float]) -> Mapping[str, float]:
        if self.fails:
            raise OSError(28, "no space left on device")
        for name, usd in amounts.items():
            self.sums[name] = self.sums.get(name, 0.0) + usd
        return {name: self.sums[name] for name in amounts}


def limited(
    plays: Mapping[str, Any], *, top: Any = None, role: Any = None, providers: Any = None, pricing: Any = None
) -> Any:
    """A configuration with budgets: of all calls, of the role, of providers by name."""
    settings = {name: {"budget": budget} for name, budget in (providers or {}).items()}
    config = config_for(plays, {} if role is None else {"budget": role}, settings)
    return load_config({"llm": {
        "providers": dict(config.providers), "roles": {"r": config.roles["r"]}, "trace": {"enabled": False},
        **({} if top is None else {"budget": top}), **({} if pricing is None else {"pricing": pricing}),
    }})  # fmt: skip
