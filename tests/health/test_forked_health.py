"""In a forked child nobody works or waits yet: what the parent's threads do there does not keep the child waiting."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from helpers.forked import become_child
from helpers.health_process import KEY, Process
from helpers.support import FakeClock
from lee_llm_router.errors import FailureType
from lee_llm_router.health import KeyedTarget, Permit, QueueTicket, Refusal
from lee_llm_router.health.shared.memory import MemoryRoom

LIMITS: list[dict[str, Any]] = [{"max_concurrency": 1}, {"model_limits": {"m": {"max_concurrency": 1}}}]


@pytest.mark.parametrize("settings", LIMITS)
def test_what_the_parents_threads_hold_is_free_in_the_child(settings: dict[str, Any]) -> None:
    process = Process(**settings)
    permit = process.takes()
    assert isinstance(process.asks(), Refusal)
    process.forks()
    process.takes()
    assert process.health.release(permit) is None, "the parent's attempt counts in the parent"
    assert isinstance(process.asks(), Refusal)


def test_nobody_waits_in_the_child() -> None:
    """A call that comes there is not behind calls of the parent's, which nobody would ever wake."""
    process = Process(max_concurrency=1)
    process.takes()
    ticket = process.health.queue(KEY)
    assert isinstance(ticket, QueueTicket)
    process.forks()
    permit = process.takes()
    own = process.health.queue(KEY)
    assert isinstance(own, QueueTicket)
    process.health.release(permit)
    assert own.woken.done() and not ticket.woken.done()


def test_a_probe_and_a_leader_of_the_parents_bar_nobody_in_the_child() -> None:
    process = Process()
    process.health.release(process.takes(), FailureType.PROVIDER_ERROR, counts_against_target=True)
    process.clock.advance(3600)
    assert process.takes().probe and isinstance(process.asks(), Refusal)
    process.forks()
    probe = process.takes()
    assert probe.probe
    process.health.release(probe, FailureType.RATE_LIMIT, close_gate_for=5)
    process.clock.advance(6)
    process.takes()
    assert isinstance(process.asks(), Refusal), "one asks whether the vendor takes requests again"
    process.forks()
    process.takes()


def test_a_child_asks_the_shared_state_under_a_name_of_its_own() -> None:
    """The parent has the leases and the threads: the child starts its own."""
    process = Process(shared=True, rpm=1000)
    process.takes()
    assert process.link is not None
    parents, started = process.state.members, len(process.starts)
    assert parents and started == 1
    process.forks()
    process.takes()
    assert len(process.starts) == 2
    assert process.state.members and not set(parents) & set(process.state.members)


@pytest.mark.parametrize("breaks", [False, True])
def test_an_answer_to_the_parent_changes_nothing_in_the_child(breaks: bool) -> None:
    """A thread forks while another one waits for the shared state: what comes is of the parent's leases."""
    process = Process(shared=True, rpm=1000)
    link = process.link
    assert link is not None
    process.health.acquire(KEY)
    process.state.breaks = breaks
    process.state.meanwhile = process.forks
    link.step()
    process.state.breaks = False
    process.clock.advance(3600)
    link.step()
    assert isinstance(process.takes(), Permit)


def test_a_door_that_was_shut_stays_shut_in_the_child_until_it_has_the_pass() -> None:
    process = Process(shared=True)
    permit = process.takes()
    process.health.release(permit, FailureType.PROVIDER_ERROR, counts_against_target=True)
    assert process.link is not None
    process.link.step()
    process.forks()
    assert isinstance(process.asks(), Refusal)
    process.clock.advance(3600)
    process.link.step()
    assert process.takes().probe


def test_a_state_in_memory_is_not_that_of_the_parents_in_the_child() -> None:
    """Its routers are other processes now; a thread that waited for changes there is none here."""
    room = MemoryRoom(FakeClock().monotonic)
    changed = room.changed
    with changed:  # another thread of the parent's holds it
        become_child(room)
        assert room.changed is not changed
        with room.changed:
            room.changed.notify_all()


def test_a_key_of_a_target_is_copied_and_shown_with_its_variable() -> None:
    """In records of other processes, and in messages."""
    key = KeyedTarget("p", "m", "KEY_A")
    again = pickle.loads(pickle.dumps(key))
    assert again == key and hash(again) == hash(key) and repr(key) == "KeyedTarget('p', 'm', 'KEY_A')"
    assert key != KeyedTarget("p", "m", "KEY_B") and key != ("p", "m")
    assert (key != again) is False
