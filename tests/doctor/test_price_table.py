"""The price table in the doctor: it is somebody else's package, and may be broken."""

from __future__ import annotations

import pytest

from lee_llm_router.doctor import price_table


def test_a_price_table_that_cannot_be_used_is_told_of_once_and_ends_no_check(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its package may be of another version, or damaged."""

    def broken() -> None:
        raise RuntimeError("no such table")

    monkeypatch.setattr(price_table, "_snapshot", broken)
    price_table._say_broken.cache_clear()
    assert [price_table.facts_of("gpt-5", "https://api.openai.com/v1") for _ in range(2)] == [None] * 2
    assert caplog.messages == [
        "the price table cannot be used, so models are not checked against it: RuntimeError: no such table"
    ]
