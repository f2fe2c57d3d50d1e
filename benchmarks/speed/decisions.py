"""What the policies that spread calls take to decide, without the call around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import process_time
from typing import Any

from lee_llm_router import LeeLLMRouter, LLMConfig, ProviderChoice, RoutingContext, TraceRecord
from lee_llm_router.policy import load_policy
from speed.samples import Samples
from speed.wire import MESSAGES, MODEL

POLICIES = ("weighted", "round_robin", "least_busy", "lowest_latency", "lowest_cost", "sticky")
CHAIN_LENGTHS = (2, 4, 8)
_LEARNED_CALLS = 100
_DECISIONS = 2000


class _Kept:
    """Lets another policy choose, and keeps what that was asked with."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.asked: tuple[str, LLMConfig, RoutingContext] | None = None

    def choose(self, role: str, config: LLMConfig, *, context: RoutingContext | None = None) -> ProviderChoice:
        assert context is not None
        self.asked = role, config, context
        return self.inner.choose(role, config, context=context)  # type: ignore[no-any-return]

    def observe(self, record: TraceRecord) -> None:
        learn = getattr(self.inner, "observe", None)
        if learn is not None:
            learn(record)


def decision_times(samples: Samples, rounds: int) -> None:
    """CPU microseconds of a decision, for each policy and length of the chain, all targets being known."""
    for length in CHAIN_LENGTHS:
        for name in POLICIES:
            with _policy(name, length) as kept:
                assert kept.asked is not None
                role, config, context = kept.asked
                choose = kept.inner.choose
                for _ in range(rounds):
                    began = process_time()
                    for _ in range(_DECISIONS):
                        choose(role, config, context=context)
                    samples.add((name, f"{length} targets"), (process_time() - began) / _DECISIONS * 1e6)


@contextmanager
def _policy(name: str, length: int) -> Iterator[_Kept]:
    names = [f"p{index}" for index in range(length)]
    settings: dict[str, Any] = {"type": name}
    if name == "weighted":
        settings["weights"] = {provider: place + 1 for place, provider in enumerate(names)}
    config = LLMConfig.model_validate({
        "providers": {provider: {"type": "mock", "response_text": "ok"} for provider in names},
        "roles": {"r": {"provider": names[0], "model": MODEL, "fallback_providers": names[1:]}},
        "policy": settings,
        "pricing": {"models": {f"*/{MODEL}": {"input": 1.25, "output": 10}}},
    })  # fmt: skip
    kept = _Kept(load_policy(config.policy))
    notes: Mapping[str, Any] = {"user_id": "somebody@example.com"}
    with LeeLLMRouter(config, policy=kept, trace_store=False) as router:
        for _ in range(_LEARNED_CALLS):
            router.complete("r", MESSAGES, metadata=notes)
        yield kept
