"""Call ids, fork-safe locks, the failure table, backoff arithmetic, what health remembers."""

from __future__ import annotations

import os
import uuid

import pytest

from lee_llm_router._ids import new_request_id
from lee_llm_router._locks import ForkLock
from lee_llm_router.config import RetryConfig
from lee_llm_router.errors import FailureType, LLMRouterError, error_of
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
