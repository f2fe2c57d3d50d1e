"""Call ids, fork-safe locks, the failure table, backoff arithmetic, what health remembers."""

from __future__ import annotations

import os
import uuid

import pytest
from support import FakeClock

from lee_llm_router._ids import new_request_id
from lee_llm_router._locks import ForkLock
from lee_llm_router.config import RetryConfig
from lee_llm_router.errors import FailureType, LLMRouterError, error_of
from lee_llm_router.health import MAX_TARGETS, Health
from lee_llm_router.retry import RULES, advise, backoff


def test_call_ids_are_uuid7_and_sort_by_time() -> None:
    """Also within one millisecond; the time can be read back from them."""
    moments = [1_800_000_000.0 + i * 0.0003 for i in range(2000)]
    ids = [new_request_id(moment) for moment in moments]
    assert ids == sorted(ids) and len(set(ids)) == len(ids)
    parsed = uuid.UUID(ids[0])
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == 1_800_000_000_000


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_finds_locks_open() -> None:
    """Even one that another thread of the parent held at that moment."""
    lock = ForkLock()
    with lock:
        child = os.fork()
        if child == 0:
            with lock:
                os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_every_failure_type_has_a_rule_and_a_class() -> None:
    assert set(RULES) == set(FailureType)
    for failure_type in FailureType:
        error = error_of(failure_type, "x")
        assert isinstance(error, LLMRouterError) and error.failure_type is failure_type


@pytest.mark.parametrize(("failures", "bound"), [(1, 0.5), (2, 1.0), (4, 4.0), (5, 8.0), (10_000, 8.0)])
def test_backoff_is_full_jitter_under_a_doubling_bound(failures: int, bound: float) -> None:
    """Evenly between 0 and min(8, 0.5 * 2**n) seconds."""
    assert backoff(RetryConfig(), failures, lambda: 0.0) == 0.0
    assert backoff(RetryConfig(), failures, lambda: 0.5) == bound / 2


def test_a_wait_the_vendor_named_is_taken_as_it_is() -> None:
    """Neither capped at max_backoff, nor rounded, nor replaced by a shorter backoff."""
    error = error_of(FailureType.RATE_LIMIT, "x", retry_after=1234.567)
    advice = advise(error, tries=1, retry=RetryConfig(), fallback_on=(), repeatable=True, random=lambda: 0.5)
    assert advice.again_after == 1234.567


def test_a_long_retry_after_is_never_shortened_by_a_shorter_one() -> None:
    clock = FakeClock()
    health = Health(clock)
    key = ("p", "m")
    for seconds in (60.0, 5.0):
        health.failed(key, FailureType.RATE_LIMIT, counts=False, shut_for=seconds)
    assert health.shut_until(key) == clock.now + 60
    assert health.snapshot()[key].retry_after == 60


def test_health_remembers_a_bounded_number_of_targets() -> None:
    """Callers may pass any model name: memory must not grow with them."""
    health = Health(FakeClock())
    for index in range(MAX_TARGETS + 10):
        health.succeeded(("p", str(index)))
    assert len(health.snapshot()) == MAX_TARGETS
    assert ("p", "0") not in health.snapshot()


def test_a_success_ends_a_row_of_failures() -> None:
    health = Health(FakeClock())
    for _ in range(3):
        health.failed(("p", "m"), FailureType.TIMEOUT, counts=True, shut_for=None)
    assert health.snapshot()["p", "m"].failures_in_a_row == 3
    health.succeeded(("p", "m"))
    seen = health.snapshot()["p", "m"]
    assert (seen.failures, seen.failures_in_a_row, seen.successes, seen.last_failure) == (3, 0, 1, "TIMEOUT")
