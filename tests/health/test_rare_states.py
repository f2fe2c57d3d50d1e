"""What is known of targets in situations that are rare: leases, queues and views at their edges."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.health_process import KEY, Process
from helpers.support import FakeClock
from lee_llm_router.config import HealthConfig
from lee_llm_router.errors import ConfigError, FailureType
from lee_llm_router.health import Health, KeyedTarget, Permit, Refusal
from lee_llm_router.health.minute_window import AmountLeft, LimitsLeft
from lee_llm_router.health.shared.limits_rules import LimitsScope
from lee_llm_router.health.shared.link import StateLink
from lee_llm_router.health.shared.memory import MemoryRoom, MemoryState
from lee_llm_router.health.shared.settings import StateSettings
from lee_llm_router.health.shared.sqlite_state import SqliteSettings, SqliteState
from lee_llm_router.providers.base import ProviderConfig

BAD = FailureType.PROVIDER_ERROR


def _two(**settings: Any) -> tuple[Process, Process]:
    """Two routers that share a state."""
    first = Process(shared=True, **settings)
    return first, Process(shared=True, beside=first, **settings)


# Targets that are asked with several keys


def _with_keys() -> tuple[Health, FakeClock]:
    clock = FakeClock()
    return Health(HealthConfig(), {"p": ProviderConfig(type="mock")}, clock, lambda: 0.5), clock


def test_a_view_knows_a_target_by_its_keys_as_long_as_one_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lee_llm_router.health.tracker.MAX_TARGETS", 10)
    health, clock = _with_keys()
    view = health.view()
    assert KEY not in view and list(view) == []
    with pytest.raises(KeyError):
        view[KEY]
    permit = health.acquire(KeyedTarget(*KEY, "A"))
    assert isinstance(permit, Permit)
    health.release(permit)
    assert KEY in view and list(view) == [KEY] and view[KEY].successes == 1
    for number in range(20):  # models that callers name, without end
        clock.advance(1)
        other = health.acquire(KeyedTarget("p", f"m{number}", "A"))
        assert isinstance(other, Permit)
        health.release(other)
    assert KEY not in view and view.get(KEY) is None
    assert len(list(view)) == len(health._keyed) <= 20, "what is forgotten leaves nothing behind"


def test_a_call_leaves_the_queues_of_all_keys_at_once() -> None:
    health, _ = _with_keys()
    keys = [KeyedTarget(*KEY, name) for name in "AB"]
    ticket = health.queue(keys[0], others=keys[1:])
    health.leave_queue(ticket)
    health.leave_queue(ticket)
    assert [health.snapshot()[KEY].waiting] == [0]


# The vendor's gate, rests and the breaker


def test_an_answer_to_an_attempt_from_before_a_wait_does_not_end_the_wait() -> None:
    process = Process()
    process.health.release(process.takes(), FailureType.RATE_LIMIT, close_gate_for=5)
    process.clock.advance(6)
    leader = process.takes()
    assert isinstance(process.asks(), Refusal)
    process.health.release(leader, FailureType.RATE_LIMIT, close_gate_for=5)
    assert isinstance(process.asks(), Refusal)


def test_a_look_says_what_a_call_would_be_told_and_changes_nothing() -> None:
    process = Process(shared=True, rpm=1)
    glance = process.health.glance()
    assert isinstance(glance.acquire(KEY), Permit), "a lease would be lent"
    assert isinstance(glance.acquire(KEY, last_chance=True), Permit)
    assert glance.spend_retry("p")
    ticket = glance.queue(KEY)
    glance.leave_queue(ticket)
    process.health.release(process.takes(), BAD, counts_against_target=True)
    refusal = glance.acquire(KEY, last_chance=True)
    assert isinstance(refusal, Refusal)
    assert glance.breaker_admits_at(KEY) > process.clock.now


def test_what_the_vendor_said_of_its_tokens_holds_no_longer_than_it_said() -> None:
    process = Process(tpm=1000)
    permit = process.health.acquire(KEY, tokens=100)
    assert isinstance(permit, Permit)
    left = LimitsLeft(tokens=AmountLeft(0, 10))
    process.health.release(permit, tokens=100, left=left)
    assert isinstance(process.health.acquire(KEY, tokens=100), Refusal)
    process.clock.advance(11)
    assert isinstance(process.health.acquire(KEY, tokens=100), Permit)


# Shared limits


def test_the_limits_of_a_model_are_shared_too() -> None:
    limits = {"model_limits": {"m": {"max_concurrency": 2}}}
    first, second = _two(**limits)
    permits = [first.takes(), first.takes()]
    refusal = second.asks()
    assert isinstance(refusal, Refusal)
    ticket = second.health.queue(KEY, refusal)
    for permit in permits:
        first.health.release(permit)
    answer: Permit | Refusal = refusal
    for _ in range(20):
        for process in (first, second):
            _run(process, 0.1)
        if isinstance(answer, Refusal) and (ticket.woken.done() or (answer.opens_at or 0.0) <= second.clock.now):
            answer = second.health.acquire(KEY, ticket)
    assert isinstance(answer, Permit)


def test_what_an_attempt_used_beyond_its_estimate_is_told_the_others() -> None:
    first, second = _two(tpm=1000)
    permit = first.health.acquire(KEY, tokens=10)
    if isinstance(permit, Refusal):
        first.shared.step()
        permit = first.health.acquire(KEY, tokens=10)
    assert isinstance(permit, Permit)
    _run(first, 3)
    first.health.release(permit, tokens=1000)
    _run(first, 3)
    answer = second.health.acquire(KEY, tokens=500)
    if second.shared.wants_step:
        second.shared.step()
        answer = second.health.acquire(KEY, tokens=500)
    assert isinstance(answer, Refusal)


def _run(process: Process, seconds: float) -> None:
    """Let time pass, and the link do what is due."""
    for _ in range(round(seconds * 10)):
        process.clock.advance(0.1)
        if process.shared.wants_step:
            process.shared.step()


@pytest.mark.parametrize("settings", [{"rpm": 2}, {"model_limits": {"m": {"rpm": 2}}}])
def test_what_was_used_while_nobody_answered_is_told_when_somebody_does(settings: dict[str, Any]) -> None:
    first, second = _two(**settings)
    first.state.breaks = True
    for _ in range(2):  # every router's own count decides
        first.takes()
    first.state.breaks = False
    _run(first, 10)
    assert isinstance(second.asks(), Refusal)


def test_a_long_outage_costs_no_memory_without_end() -> None:
    process = Process(shared=True, rpm=100_000)
    process.state.breaks = True
    process.asks()
    for _ in range(3000):
        process.clock.advance(0.1)
        permit = process.health.acquire(KEY)
        assert isinstance(permit, Permit)
        process.health.release(permit)
    assert len(process.health._target(KEY).provider.limits._used) < 2000  # type: ignore[attr-defined]


def test_what_was_used_up_is_forgotten_in_the_room_when_it_is_large() -> None:
    clock = FakeClock()
    room = MemoryRoom(clock.monotonic)
    scopes = [room.limits_scope(f"s{number}") for number in range(1100)]
    assert room.limits_scope("s1099") is scopes[-1]
    assert room.limits_scope("s0") is not scopes[0], "an idle one was forgotten"
    assert LimitsScope().is_idle(clock.now)


def test_what_happens_here_while_the_shared_state_answers_is_not_lost() -> None:
    first, second = _two()
    permit = first.takes()

    def fails() -> None:
        first.health.release(permit, BAD, counts_against_target=True)

    first.state.meanwhile = fails
    first.shared.hear(None)
    first.shared.step()
    assert isinstance(first.asks(), Refusal)
    for process in (first, second):
        process.shared.step()
        process.asks()
    assert isinstance(second.asks(), Refusal), "it is told at the next exchange"


# The link


def _link(state: MemoryState, clock: FakeClock, **options: Any) -> StateLink:
    return StateLink(state, StateSettings(type="memory", lease=2), clock=clock, **options)


def test_a_link_is_closed_once_and_says_goodbye_even_if_nobody_answers() -> None:
    process = Process(shared=True, rpm=10)
    process.takes()
    process.state.breaks = True
    process.shared.close()
    process.shared.close()
    assert process.shared.is_closed
    assert isinstance(process.health.acquire(KEY), Permit), "calls under way decide for themselves"


def test_an_outage_that_is_seen_while_the_link_closes_is_told_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lee_llm_router.health.shared.link._GOODBYE_SECONDS", 0)
    process = Process(shared=True, rpm=10)
    told: list[str | None] = []
    process.shared.on_change = told.append
    process.health.acquire(KEY)
    process.state.breaks = True
    process.state.meanwhile = process.shared.close
    process.shared.step()
    assert told == []


def test_without_threads_every_router_decides_for_itself() -> None:
    def none(link: StateLink) -> Any:
        raise RuntimeError("can't start new thread")

    process = Process(shared=True, rpm=10)
    process.shared._starts = none
    process.health.acquire(KEY)
    assert isinstance(process.health.acquire(KEY), Permit)


def test_a_path_of_a_shared_state_that_can_be_none_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"state\.path"):
        SqliteState(SqliteSettings(type="sqlite", path="~nobody-of-this-name/state.db"))
