"""Hedged calls where the others cannot help, or what comes first says nothing."""

from __future__ import annotations

from helpers.hedged_calls import assert_nothing_is_held, complete, failure, hedged_router, stream, told
from lee_llm_router.response import StreamChunk
from lee_llm_router.testing import After, Pieces


def test_a_target_that_has_failed_for_good_is_not_asked_beside_again() -> None:
    """The next one is."""
    answers = {"a": After(20, "slow"), "b": After(0.2, failure()), "c": "c"}
    router = hedged_router(answers, hedge={"max": 2}, retry={"attempts": 1})
    assert complete(router).text == "c"
    assert sorted(provider for _, provider, *_ in told(router)) == ["a", "b", "c"]
    assert_nothing_is_held(router)


def test_a_stream_that_ends_before_it_says_anything_is_an_empty_answer() -> None:
    router = hedged_router({"a": Pieces(StreamChunk(finish_reason="stop")), "b": "b"})
    assert stream(router).text == ""
    assert [provider for _, provider, *_ in told(router)] == ["a"]
    assert_nothing_is_held(router)
