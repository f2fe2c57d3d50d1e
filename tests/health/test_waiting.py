"""Who waits for a provider is served in order of arrival over all its models, and nobody is forgotten."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.drawn_examples import examples
from helpers.support import FakeClock, config_for, router_for
from lee_llm_router import ProviderConfig
from lee_llm_router._util.clock import SYSTEM_CLOCK
from lee_llm_router.config import HealthConfig
from lee_llm_router.errors import FailureType
from lee_llm_router.health import Health, KeyedTarget, Permit, QueueTicket, Refusal

CALM = ("red", "green", "blue")
"""Models whose targets never close; that of `ROUGH` is closed by its vendor and by its breaker."""
ROUGH = "rough"


@dataclass(eq=False)
class Caller:
    """One call, as the engine makes it: asks, is refused, takes a place, waits, asks again."""

    model: str
    permit: Permit | None = None
    refusal: Refusal | None = None
    ticket: QueueTicket | None = None


class Crowd:
    """Callers of one provider, moved step by step; checks the promises after each step."""

    def __init__(self, limits: dict[str, Any]) -> None:
        self.clock = FakeClock()
        self.limits = limits
        providers = {"p": ProviderConfig(type="mock", **limits)}
        self.health = Health(HealthConfig(failures_in_a_row=2), providers, self.clock, lambda: 0.5)
        self.refused: list[Caller] = []
        """Refused, and not in the queue yet: here a wake-up may be lost."""
        self.waiting: list[Caller] = []
        """In order of arrival."""
        self.running: list[Caller] = []
        self.starts: list[float] = []

    def is_ready(self, caller: Caller) -> bool:
        """Whether its wait is over."""
        assert caller.ticket is not None and caller.refusal is not None
        until = caller.refusal.opens_at
        return caller.ticket.woken.done() or (until is not None and until <= self.clock.now)

    def ask(self, caller: Caller) -> None:
        """Ask for a permit. A caller that gets one has overtaken nobody who might have had it."""
        answer = self.health.acquire(("p", caller.model), caller.ticket)
        if isinstance(answer, Refusal):
            caller.refusal = answer
            if caller.ticket is None:
                self.refused.append(caller)
            return
        before = self.waiting[: self.waiting.index(caller)] if caller in self.waiting else self.waiting
        assert not [other for other in before if other.model in (caller.model, *CALM)]
        self.waiting = [other for other in self.waiting if other is not caller]
        caller.permit, caller.ticket = answer, None
        self.running.append(caller)
        self.starts.append(self.clock.now)

    def join(self, caller: Caller) -> None:
        self.refused.remove(caller)
        caller.ticket = self.health.queue(("p", caller.model), caller.refusal)
        self.waiting.append(caller)

    def leave(self, caller: Caller) -> None:
        if caller in self.waiting and caller.ticket is not None:
            self.waiting.remove(caller)
            self.health.leave_queue(caller.ticket)

    def end(self, caller: Caller, how: int) -> None:
        self.running.remove(caller)
        assert caller.permit is not None
        if how % 4 == 0:
            self.health.release(caller.permit, FailureType.CANCELLED)
        elif how % 4 == 1 or caller.model != ROUGH:
            self.health.release(caller.permit)
        elif how % 4 == 2:
            self.health.release(caller.permit, FailureType.RATE_LIMIT, close_gate_for=1.0 + how)
        else:
            self.health.release(caller.permit, FailureType.TIMEOUT, counts_against_target=True)

    def step(self, what: str, pick: int) -> None:
        ready = [caller for caller in self.waiting if self.is_ready(caller)]
        if what == "arrive":
            self.ask(Caller((*CALM, ROUGH)[pick % 4]))
        elif what == "join" and self.refused:
            self.join(self.refused[pick % len(self.refused)])
        elif what == "ask" and ready:
            self.ask(ready[pick % len(ready)])
        elif what == "leave" and self.waiting:
            self.leave(self.waiting[pick % len(self.waiting)])
        elif what == "end" and self.running:
            self.end(self.running[pick % len(self.running)], pick)
        elif what == "pass":
            self.clock.advance(pick / 8)
        self.check()

    def check(self) -> None:
        """The limits hold, and while there is room for one who waits, somebody knows."""
        at_once, rpm = self.limits["max_concurrency"] or 1000, self.limits["rpm"] or 1000
        recent = sum(start + 60 > self.clock.now for start in self.starts)
        assert len(self.running) <= at_once and recent <= rpm
        if len(self.running) < at_once and recent < rpm and any(caller.model in CALM for caller in self.waiting):
            assert any(map(self.is_ready, self.waiting)), "a wake-up was lost"

    def finish(self) -> None:
        """Everybody goes on until all have been served; time passes only when somebody waits for a moment."""
        while self.refused:
            self.join(self.refused[0])
        for _ in range(10_000):
            if not self.waiting and not self.running:
                break
            ready = [caller for caller in reversed(self.waiting) if self.is_ready(caller)]
            if ready:
                self.ask(ready[0])
            elif self.running:
                self.end(self.running[0], 1)
            else:
                moments = [c.refusal.opens_at for c in self.waiting if c.refusal and c.refusal.opens_at is not None]
                assert moments, "everybody sleeps, and nobody will wake them"
                self.clock.now = max(self.clock.now, min(moments))
            self.check()
        assert not self.waiting and not self.running
        assert all((h.in_flight, h.waiting) == (0, 0) for h in self.health.snapshot().values())


STEPS = st.tuples(
    st.sampled_from(["arrive", "arrive", "join", "join", "ask", "leave", "end", "pass"]), st.integers(0, 99)
)


@settings(max_examples=examples(300))
@given(
    limits=st.fixed_dictionaries(
        {"max_concurrency": st.sampled_from([None, 1, 2]), "rpm": st.sampled_from([None, 3, 5])}
    ),
    steps=st.lists(STEPS, max_size=80),
)
def test_no_order_of_events_loses_a_waiter_exceeds_a_limit_or_lets_one_overtake(
    limits: dict[str, Any], steps: list[tuple[str, int]]
) -> None:
    crowd = Crowd(limits)
    for what, pick in steps:
        crowd.step(what, pick)
    crowd.finish()


def test_a_closed_target_holds_up_nobody_else() -> None:
    """Its calls came first, and are passed over while its vendor wants to be left alone; then it is their turn."""
    crowd = Crowd({"max_concurrency": 1, "rpm": None})
    for model in (ROUGH, ROUGH, "red", "green", ROUGH):
        crowd.step("arrive", (*CALM, ROUGH).index(model))
        crowd.step("join", 0)
    crowd.end(crowd.running[0], 2)
    served = []
    for _ in range(2):
        crowd.step("ask", 0)
        if not crowd.running:  # the first that was woken is of the closed target, and learns of the wait
            crowd.step("ask", 0)
        served.append(crowd.running[0].model)
        crowd.step("end", 1)
    assert served == ["red", "green"] and [caller.model for caller in crowd.waiting] == [ROUGH, ROUGH]
    crowd.finish()


def test_one_whose_target_has_opened_goes_before_those_who_came_later() -> None:
    """Even if they ask first, at the moment it opens."""
    crowd = Crowd({"max_concurrency": 1, "rpm": None})
    for model in (ROUGH, ROUGH, "red", "green"):
        crowd.step("arrive", (*CALM, ROUGH).index(model))
        crowd.step("join", 0)
    rough, _, green = crowd.waiting
    crowd.end(crowd.running[0], 2)
    crowd.step("ask", 1)
    assert crowd.running[0].model == "red"
    crowd.clock.advance(3)
    crowd.end(crowd.running[0], 1)
    crowd.ask(green)
    assert green.refusal is not None and green.refusal.reason == "others are waiting for it"
    crowd.ask(rough)
    assert crowd.running == [rough]
    crowd.finish()


def test_who_takes_a_place_after_the_limit_became_one_of_time_is_told() -> None:
    """Refused because one was under way; that one has ended, and now the wait is for the minute to pass."""
    crowd = Crowd({"max_concurrency": 1, "rpm": 2})
    crowd.step("arrive", 0)
    crowd.step("end", 1)
    crowd.step("arrive", 0)
    crowd.step("arrive", 1)
    assert crowd.refused[0].refusal is not None and crowd.refused[0].refusal.opens_at is None
    crowd.step("end", 1)
    crowd.step("join", 0)
    crowd.finish()


def test_an_empty_queue_is_not_served() -> None:
    """The last call of all leaves the line; the place of its model must not outlive it."""
    crowd = Crowd({"max_concurrency": 1, "rpm": None})
    for model in (0, 0, 1, 0, 0):
        crowd.step("arrive", model)
    crowd.step("join", 1)
    crowd.step("end", 1)
    crowd.step("ask", 0)
    crowd.step("end", 1)
    for _ in range(3):
        crowd.step("join", 0)
    assert [caller.ticket is not None and caller.ticket.woken.done() for caller in crowd.waiting] == [
        True,
        False,
        False,
    ]
    crowd.finish()


@pytest.mark.parametrize("models", [1, 60])
def test_each_end_of_an_attempt_wakes_one_call_whatever_the_models(models: int, monkeypatch: Any) -> None:
    """Counted in requests for a permit: they grow with the calls, not with calls times models."""
    asked = 0
    acquire = Health.acquire

    def counted(*args: Any, **kwargs: Any) -> Permit | Refusal:
        nonlocal asked
        asked += 1
        return acquire(*args, **kwargs)

    monkeypatch.setattr(Health, "acquire", counted)
    config = config_for({"a": ["ok"]}, {"deadline": 500}, {"a": {"max_concurrency": 2}})
    router, memory, _ = router_for(config, clock=SYSTEM_CLOCK)

    async def main() -> None:
        calls = [router.complete_async("r", "hi", model=f"m{n % models}", metadata={"n": n}) for n in range(300)]
        await asyncio.gather(*calls)

    asyncio.run(main())
    assert asked <= 3 * 300
    assert [record.metadata["n"] for record in memory.records] == list(range(300)), "in order of arrival"


def test_a_call_waits_for_several_keys_at_once_and_leaves_all_queues_with_the_first_permit() -> None:
    """In order of arrival at each key; whoever leaves lets the next one try; nobody is left behind in a queue."""
    a, b = KeyedTarget("a", "m", "A"), KeyedTarget("a", "m", "B")
    health = Health(HealthConfig(), {"a": ProviderConfig(type="scripted", max_concurrency=1)}, FakeClock(), lambda: 1.0)
    held = [health.acquire(key) for key in (a, b)]
    first, second, third = (health.queue(a, others=[b]) for _ in range(3))
    assert isinstance(held[0], Permit) and isinstance(held[1], Permit)
    health.release(held[1])
    assert first.woken.done() and isinstance(health.acquire(a, first), Refusal)
    assert isinstance(health.acquire(b), Refusal), "a call that has just come is behind those that wait"
    assert isinstance(health.acquire(b, first), Permit)
    assert not second.woken.done()
    health.release(held[0])
    assert second.woken.done() and not third.woken.done()
    health.leave_queue(second)
    assert third.woken.done() and isinstance(health.acquire(a, third), Permit)
    assert health.snapshot()["a", "m"].waiting == 0
