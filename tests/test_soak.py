"""The long run of `benchmarks/soak.py`, short enough for every day."""

from __future__ import annotations

import pytest

import soak


def test_a_thousand_calls_lose_nothing_and_send_what_the_trace_says(capsys: pytest.CaptureFixture[str]) -> None:
    """50 at a time over a target that fails in ten ways: every answer whole, attempts seen by the servers = `sent`."""
    broken = soak.main(1000, 50)
    told = capsys.readouterr().out
    assert not broken, told
    assert told.startswith("calls 1000, whole answers 1000, errors 0\n")
