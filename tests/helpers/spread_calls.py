"""What the tests of policies share: chains, what a policy is told of them, and in which order it asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from helpers.support import config_for
from lee_llm_router import LLMRequest, ProviderChoice, RoutingContext, TraceRecord
from lee_llm_router.engine.plan import Target
from lee_llm_router.health.states import TargetHealth
from lee_llm_router.telemetry.pricing.cards import PriceCard

CONFIG = config_for({"a": ["ok"]})
SHUT = TargetHealth(state="open", retry_after=3.0, available=False)


def chain(*names: str) -> tuple[Target, ...]:
    return tuple(Target(name, "m", {}) for name in names)


ABC = chain("a", "b", "c")


def context(
    targets: tuple[Target, ...] = ABC,
    health: Mapping[str, TargetHealth] | None = None,
    metadata: Mapping[str, Any] | None = None,
    price_of: Callable[[Target], PriceCard | None] = lambda target: None,
    **asked: Any,
) -> RoutingContext:
    asked.setdefault("messages", ({"role": "user", "content": "hi"},))
    known: dict[tuple[str, str | None], TargetHealth] = {(name, "m"): one for name, one in (health or {}).items()}
    return RoutingContext(LLMRequest(**asked), metadata or {}, known, targets, price_of)


def names(choice: ProviderChoice, targets: tuple[Target, ...] = ABC) -> list[str]:
    assert choice.order is not None and choice.provider_name == targets[choice.order[0]].provider
    return [targets[place].provider for place in choice.order]


def asks(policy: Any, about: RoutingContext, role: str = "r") -> str:
    """The order as letters, the first target first."""
    return "".join(names(policy.choose(role, CONFIG, context=about), tuple(about.targets)))


def record(provider: str, *, ok: bool = True, elapsed: float = 100.0, **fields: Any) -> TraceRecord:
    return TraceRecord(**{
        "request_id": "x", "attempt": 0, "role": "r", "provider": provider, "model": "m", "elapsed_ms": elapsed,
        "started_at": "", "outcome": "ok" if ok else "error", "verdict": "return",
        "failure_type": None if ok else "TIMEOUT", **fields,
    })  # fmt: skip
