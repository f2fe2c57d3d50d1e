"""What every shared state promises, whichever keeps it: `SharedState` in `health/shared/contract.py`.

An implementation adds its ground to `GROUNDS`, here or, where it needs a server, in a module of its own that imports
the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from time import monotonic
from typing import Any

import pytest

from helpers.shared_states import LEASE, Ground, memory_ground
from lee_llm_router.health.shared.contract import DoorReport, LimitsReport, Rest, Use

GROUNDS = {"memory": memory_ground}


@pytest.fixture(params=GROUNDS)
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    made = GROUNDS[request.param]()
    yield made
    made.close()


def test_with_no_report_it_answers_with_nothing(ground: Ground) -> None:
    assert not ground.member("a").state.exchange([], []).limits


def test_starts_are_lent_up_to_the_limit_over_all_members(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    assert a.limits(rpm=10, starts_wanted=7).starts == 7
    assert b.limits(rpm=10, starts_wanted=7).starts == 3
    assert ground.member("c").limits(rpm=10, starts_wanted=1).starts == 0


def test_what_is_used_counts_for_a_minute_from_when_it_was_used(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    a.limits(rpm=10, used=(Use(59.9, starts=9), Use(70.0, starts=5), Use(5.0, starts=1)))
    full = b.limits(rpm=10, starts_wanted=4)
    assert full.starts == 0
    assert full.next_in == pytest.approx(0.65, abs=0.1)
    ground.pass_time(0.75)
    assert b.limits(rpm=10, starts_wanted=20).starts == 9


def test_unused_starts_go_back_when_they_are_no_longer_wanted(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    a.limits(rpm=10, starts_wanted=10)
    assert b.limits(rpm=10, starts_wanted=4).starts == 0
    assert a.limits(rpm=10, used=(Use(0.0, starts=2),), starts_held=8, starts_wanted=3).starts == 3
    assert b.limits(rpm=10, starts_wanted=10).starts == 5


def test_what_a_dead_member_held_is_back_after_its_lease(ground: Ground) -> None:
    dead, other = ground.member("dead"), ground.member("other")
    dead.limits(rpm=10, tpm=100, max_concurrency=4, starts_wanted=10, tokens_wanted=100, slots_wanted=4, in_flight=4)
    want: dict[str, Any] = {
        "rpm": 10,
        "tpm": 100,
        "max_concurrency": 4,
        "starts_wanted": 10,
        "tokens_wanted": 90,
        "slots_wanted": 4,
    }
    nothing = other.limits(**want)
    assert (nothing.starts, nothing.tokens, nothing.slots) == (0, 0, 0)
    ground.pass_time(LEASE + 0.05)
    everything = other.limits(**want)
    assert (everything.starts, everything.tokens, everything.slots) == (10, 90, 4)


def test_one_that_leaves_gives_back_all_at_once(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    a.limits(rpm=10, max_concurrency=4, starts_wanted=10, slots_wanted=4)
    a.limits(rpm=10, max_concurrency=4, used=(Use(0.0, starts=1),), leaves=True)
    view = b.limits(rpm=10, max_concurrency=4, starts_wanted=10, slots_wanted=4)
    assert (view.starts, view.slots) == (9, 4)


def test_an_exchange_whose_answer_was_lost_is_put_right_by_the_next(ground: Ground) -> None:
    a = ground.member("a")
    a.limits(rpm=10, starts_wanted=6)  # nobody heard of these
    assert a.limits(rpm=10, starts_held=0, starts_wanted=10).starts == 10


def test_slots_bound_attempts_at_once_and_none_under_way_is_taken(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    assert a.limits(max_concurrency=3, slots_wanted=2).slots == 2
    assert b.limits(max_concurrency=3, slots_wanted=2, in_flight=0).slots == 1
    assert b.limits(max_concurrency=3, slots_wanted=2, in_flight=2).slots == 2  # it was away, and has two
    assert a.limits(max_concurrency=3, slots_wanted=2, in_flight=0).slots == 1


def test_who_waits_is_served_in_turn_and_the_others_hear_that_somebody_waits(ground: Ground) -> None:
    a, b, c = (ground.member(name) for name in "abc")
    a.limits(max_concurrency=1, slots_wanted=1, in_flight=1)
    assert b.limits(max_concurrency=1, slots_wanted=1).next_in is not None
    assert c.limits(max_concurrency=1, slots_wanted=1).slots == 0
    assert a.limits(max_concurrency=1, slots_wanted=1, in_flight=1).is_contended
    assert a.limits(max_concurrency=1, slots_wanted=1, in_flight=0).slots == 0  # its attempt has ended: b is next
    assert c.limits(max_concurrency=1, slots_wanted=1).slots == 0
    assert b.limits(max_concurrency=1, slots_wanted=1).slots == 1


def test_members_at_a_limit_hear_of_moments_one_after_another(ground: Ground) -> None:
    ground.member("full").limits(rpm=3, used=tuple(Use(float(ago), starts=1) for ago in (50, 40, 30)))
    moments = [ground.member(name).limits(rpm=3, starts_wanted=1).next_in for name in "abc"]
    assert moments == [pytest.approx(10.55, abs=0.3), pytest.approx(20.55, abs=0.3), pytest.approx(30.55, abs=0.3)]


def test_tokens_are_reserved_and_settled(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    assert a.limits(tpm=1000, tokens_wanted=800, tokens_needed=800).tokens == 800
    few = b.limits(tpm=1000, tokens_wanted=500, tokens_needed=500)
    assert few.tokens == 200
    assert few.next_in is not None
    a.limits(tpm=1000, used=(Use(0.0, tokens=800),))
    a.limits(tpm=1000, used=(Use(0.0, tokens=-700),))
    assert b.limits(tpm=1000, tokens_held=200, tokens_wanted=900, tokens_needed=500).tokens == 900
    # Never below nothing, whatever is said.
    a.limits("other", tpm=1000, used=(Use(0.0, tokens=-5000),))
    assert b.limits("other", tpm=1000, tokens_wanted=9000).tokens == 1000


def test_the_retry_budget_is_one_for_all(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    assert a.limits(retry_burst=10.0).retries == 10
    assert a.limits(retry_burst=10.0, retries_spent=4.0).retries == 6
    assert b.limits(retry_burst=10.0, retries_spent=9.0).retries == 0
    assert b.limits(retry_burst=10.0, retries_earned=2.5).retries == pytest.approx(2.5)
    assert a.limits(retry_burst=10.0, retries_earned=100.0).retries == 10


def test_scopes_with_odd_names_are_apart(ground: Ground) -> None:
    a = ground.member("a")
    for scope in ("x", "x y", "x{y}", "x:y", "größe/模型\n", "x" * 3000, "x" * 3001, "\ud800", "\0"):
        assert a.limits(scope, rpm=2, used=(Use(0.0, starts=1),), starts_wanted=9).starts == 1


def test_a_breaker_that_one_opens_is_open_for_all_until_its_probe_was_answered(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    assert a.door() == a.door()
    opened = a.door(opened_for=0.3)
    assert opened.is_open
    assert not b.door(wants_pass=True).has_pass
    seen = b.door(opened_for=9.0)  # the same outage: the earlier moment holds
    assert seen.probe_in == pytest.approx(0.3, abs=0.1)
    ground.pass_time(0.32)
    assert b.door(wants_pass=True).has_pass
    taken = a.door(wants_pass=True)
    assert (taken.has_pass, taken.is_passed) == (False, True)
    again = b.door(reopened_for=0.2)
    assert (again.is_open, again.has_pass) == (True, False)
    assert again.version > seen.version
    assert a.door(wants_pass=True, despite_time=True).has_pass
    closed = a.door(closed=True)
    assert (closed.is_open, closed.has_pass) == (False, False)
    assert not b.door().is_open


def test_a_pass_that_was_dropped_or_whose_holder_died_goes_on(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    a.door(opened_for=0.001)
    ground.pass_time(0.01)
    assert a.door(wants_pass=True).has_pass
    a.door(drops_pass=True)
    assert b.door(wants_pass=True).has_pass
    ground.pass_time(LEASE * 0.6)
    assert b.door(keeps_pass=True).has_pass
    ground.pass_time(LEASE * 0.6)
    assert not a.door(wants_pass=True).has_pass
    ground.pass_time(LEASE)
    assert a.door(wants_pass=True).has_pass


def test_a_vendors_wait_holds_for_all_and_one_goes_first_after_it(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    a.door(waits_for=0.1)
    assert b.door(waits_for=0.3).waits_for == pytest.approx(0.3, abs=0.05)
    shorter = a.door(waits_for=0.05, wants_pass=True)
    assert shorter.waits_for > 0.2
    assert (shorter.is_led, shorter.has_pass) == (False, False)
    ground.pass_time(0.35)
    assert a.door(wants_pass=True).has_pass
    assert b.door(wants_pass=True).is_passed
    assert a.door(led=True).is_led
    assert b.door().is_led


def test_a_rest_is_passed_on_and_ended(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    assert a.door().rest is None
    a.door(rest=Rest(30.0, 30.0, "auth"))
    told = b.door().rest
    assert told is not None
    assert told.seconds == pytest.approx(30.0, abs=0.5)
    assert (told.length, told.reason) == (30.0, "auth")
    assert b.door(rested=True).rest is None
    assert a.door().rest is None


def test_all_is_forgotten_on_a_users_word(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    a.door(opened_for=9.0, waits_for=9.0, rest=Rest(9.0, 9.0, "quota"))
    b.door(forgets=True)
    after = a.door()
    assert (after.is_open, after.waits_for, after.is_led, after.rest) == (False, 0.0, True, None)


def test_a_door_counts_the_others_within_their_lease(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    a.door()
    assert b.door().others == 1
    ground.pass_time(LEASE + 0.05)
    assert b.door().others == 0


def test_changes_of_doors_are_heard_by_all(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    b.state.wait_for_changes(0.0)
    a.door("one", opened_for=5.0)
    a.door("two")  # nothing has changed
    heard = b.state.wait_for_changes(5.0)
    assert heard is None or set(heard) == {"one"}
    assert not b.state.wait_for_changes(0.01)
    a.door("one", closed=True)
    assert b.state.wait_for_changes(5.0) in (None, ["one"], {"one"}, ("one",))


def test_a_change_is_heard_while_it_is_waited_for_and_closing_ends_the_wait(ground: Ground) -> None:
    a, b = ground.member("a"), ground.member("b")
    b.state.wait_for_changes(0.0)
    heard: list[object] = []
    waiting = Thread(target=lambda: heard.append(b.state.wait_for_changes(20.0)))
    waiting.start()
    a.door("one", opened_for=5.0)
    waiting.join(10)
    assert heard
    began = monotonic()

    def wait_on() -> None:
        try:
            b.state.wait_for_changes(20.0)
        except Exception:
            heard.append("closed")

    waiting = Thread(target=wait_on)
    waiting.start()
    b.state.close()
    b.state.close()
    waiting.join(10)
    assert not waiting.is_alive()
    assert monotonic() - began < 15


def test_one_exchange_answers_many_reports_in_their_order(ground: Ground) -> None:
    state = ground.member("a").state
    limits = [LimitsReport(f"s{n}", "a", LEASE, rpm=n, starts_wanted=99) for n in range(1, 30)]
    doors = [DoorReport(f"d{n}", "a", LEASE, opened_for=float(n)) for n in range(1, 30)]
    answer = state.exchange(limits, doors)
    assert [view.starts for view in answer.limits] == list(range(1, 30))
    assert [round(view.probe_in) for view in answer.doors] == list(range(1, 30))
