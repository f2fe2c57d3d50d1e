"""The long run of `benchmarks/soak.py`, short enough for every day."""

from __future__ import annotations

import gc

import pytest

import soak
from helpers.support import config_for, router_for
from lee_llm_router.errors import FailureType, error_for


def test_a_thousand_calls_lose_nothing_and_send_what_the_trace_says(capsys: pytest.CaptureFixture[str]) -> None:
    """50 at a time over a target that fails in ten ways: every answer whole, attempts seen by the servers = `sent`."""
    broken = soak.main(1000, 50)
    told = capsys.readouterr().out
    assert not broken, told
    assert told.startswith("calls 1000, whole answers 1000, errors 0\n")


def test_a_call_leaves_nothing_for_the_garbage_collector() -> None:
    """What a call holds, its messages too, is free as soon as it ends: memory does not swell between collections."""
    router, *_ = router_for(config_for({"a": [error_for(FailureType.OVERLOADED, "busy")], "b": ["whole"]}))

    def ask() -> None:
        assert router.complete("r", "hi").text == "whole"
        assert "".join(chunk.text for chunk in router.stream("r", "hi")) == "whole"

    ask()
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            ask()
        assert gc.collect() < 20
    finally:
        gc.enable()
