"""A burst over a vendor's limit becomes a queue, and not a storm. In virtual time."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Any

import pytest

from helpers.support import Memory
from helpers.virtual_time import LoopClock, run_virtual
from lee_llm_router import LeeLLMRouter, LLMRequest, LLMResponse, Provider, ProviderConfig, load_config, register
from lee_llm_router.errors import RateLimitError
from lee_llm_router.providers.base import Capabilities

LATENCY = 0.05


class Vendor:
    """60 requests a minute; what is beyond gets a 429 that says when to come back."""

    def __init__(self) -> None:
        self.refused = 0
        self.too_early = 0
        self.come_back = -math.inf

    def ask(self, now: float) -> float | None:
        raise NotImplementedError

    def sent(self, now: float) -> None:
        """A request leaves the caller, who knows of every refusal until now."""
        if now < self.come_back - 1e-9:
            self.too_early += 1

    def arrived(self, now: float) -> None:
        wait = self.ask(now)
        if wait is not None:
            self.refused += 1
            self.come_back = max(self.come_back, now + wait)
            raise RateLimitError("too many requests", status_code=429, retry_after=wait)


class Window(Vendor):
    """Counts by the calendar minute."""

    def __init__(self) -> None:
        super().__init__()
        self.minute, self.count = -1, 0

    def ask(self, now: float) -> float | None:
        if int(now // 60) != self.minute:
            self.minute, self.count = int(now // 60), 0
        self.count += 1
        return None if self.count <= 60 else 60 - now % 60


class Sliding(Vendor):
    """Counts the last 60 seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: deque[float] = deque()

    def ask(self, now: float) -> float | None:
        while self.seen and self.seen[0] <= now - 60:
            self.seen.popleft()
        if len(self.seen) >= 60:
            return self.seen[0] + 60 - now
        self.seen.append(now)
        return None


class Bucket(Vendor):
    """Holds 60 tokens and gains one a second."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.at = 60.0, 0.0

    def ask(self, now: float) -> float | None:
        self.tokens, self.at = min(60.0, self.tokens + now - self.at), now
        if self.tokens < 1:
            return 1 - self.tokens
        self.tokens -= 1
        return None


class Limited(Provider[ProviderConfig]):
    capabilities = Capabilities(bounded=True)
    vendor: Vendor

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        raise AssertionError("async only")

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        Limited.vendor.sent(self.clock.monotonic())
        await asyncio.sleep(LATENCY)
        Limited.vendor.arrived(self.clock.monotonic())
        return LLMResponse(text="ok", finish_reason="stop")


register("limited", Limited, replace=True)


@pytest.mark.parametrize("vendor", [Window, Sliding, Bucket])
def test_ninety_calls_at_once_over_sixty_a_minute_all_come_out_whole(vendor: type[Vendor]) -> None:
    """With a deadline of 120 s: nobody lost, at most 45 refused, none sent before the vendor's time."""
    Limited.vendor = vendor()
    config: dict[str, Any] = {
        "llm": {
            "providers": {"v": {"type": "limited"}},
            "roles": {"r": {"provider": "v", "deadline": 120, "retry": {"attempts": 20, "max_attempts": 20}}},
        }
    }

    async def main() -> tuple[list[LLMResponse], Memory, float]:
        memory = Memory()
        router = LeeLLMRouter(load_config(config), trace_store=memory, clock=LoopClock())
        answers = await asyncio.gather(*(router.complete_async("r", "hi") for _ in range(90)))
        health = router.health()["v", None]
        assert (health.in_flight, health.waiting) == (0, 0)
        return answers, memory, asyncio.get_running_loop().time()

    answers, memory, took = run_virtual(main())
    print(f"{vendor.__name__}: {took:.1f} s, {Limited.vendor.refused} refused, {Limited.vendor.too_early} too early")
    assert [answer.text for answer in answers] == ["ok"] * 90
    assert Limited.vendor.refused <= 45
    assert sum(record.sent for record in memory.records) == 90 + Limited.vendor.refused
    assert Limited.vendor.too_early == 0
    assert took < 120
