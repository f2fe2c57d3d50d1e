"""Names from outside are shown safely in records, events and logs, and in part where they are long."""

from __future__ import annotations

import logging

import pytest

from helpers.support import config_for, router_for
from lee_llm_router import (
    LLMRouterError,
    OverloadedError,
    ProviderError,
    RateLimitError,
    TraceRecord,
    load_config,
)
from lee_llm_router._util.printable import printable

UNSEEN = ["\n", "\r", "\t", "\x00", "\x07", "\x08", "\x1b[2J", "\x1b]0;title\x07", "\x7f", "\x85", "\x9b31m", "\u2028",
          "\u2029", "\u202e", "\u200b", "\ufeff", "\ud800", "\U000e0041"]  # fmt: skip
"""What a terminal or a reader of logs would act on, or not see."""


def is_shown_safely(text: str, lines: int = 1) -> bool:
    """Whether `text` has no more than `lines` lines, nothing unprintable in them, and a bounded length."""
    parts = text.split("\n")
    return len(parts) <= lines and all(part.isprintable() for part in parts) and len(text) < 3000 * lines


@pytest.mark.parametrize("unseen", UNSEEN)
def test_a_callers_model_forges_no_line_anywhere(
    unseen: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the error and its repr, the log, the events, the records: printable, in each way of failing and succeeding."""
    model = f"gpt{unseen}ERROR forged"
    failures = [OverloadedError("no"), ProviderError("no", provider=f"p{unseen}", model=model), "ok"]
    router, memory, _ = router_for(config_for({"a": failures, "b": [RateLimitError("x", retry_after=9)]}))
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            try:
                router.complete("r", "x", model=model, deadline=2)
            except LLMRouterError as error:
                assert is_shown_safely(str(error), lines=1 + len(error.attempts))
                assert all(is_shown_safely(line) for line in str(error).split("\n"))
                assert is_shown_safely(repr(error))
    assert memory.records and memory.events
    for record in memory.records:
        assert is_shown_safely(record.target) and is_shown_safely(record.error or "")
    for event in memory.events:
        assert all(is_shown_safely(str(value)) for value in (event.role, event.provider, event.model, event.data))
    assert all(is_shown_safely(line.getMessage()) for line in caplog.records)


@pytest.mark.parametrize("length", [199, 200, 201, 5000, 1_000_000])
def test_a_long_name_is_shown_in_part(length: int, caplog: pytest.LogCaptureFixture) -> None:
    """A model's name of a million letters floods neither records nor logs nor messages; the provider gets all of it."""
    model = "m" * length
    router, memory, _ = router_for(config_for({"a": [OverloadedError("no")]}, {"retry": {"attempts": 1}}))
    with caplog.at_level(logging.DEBUG), pytest.raises(LLMRouterError) as raised:
        router.complete("r", "x", model=model)
    assert len(memory.records[0].model or "") == min(length, 200)
    assert len(str(raised.value)) < 1500 and all(len(line.getMessage()) < 3000 for line in caplog.records)
    assert router._parts.pool.open("a", {}).calls[0].model == model  # type: ignore[attr-defined]


@pytest.mark.parametrize("unseen", ["\n", "\x1b[1m", "\u202e"])
def test_names_of_roles_and_providers_are_shown_safely(unseen: str, caplog: pytest.LogCaptureFixture) -> None:
    """Those of a configuration may hold anything a YAML key can."""
    role, provider = f"role{unseen}x", f"provider{unseen}x"
    config = load_config({"llm": {"providers": {provider: {"type": "scripted", "outcomes": [OverloadedError("no")]}},
                                  "roles": {role: {"provider": provider, "model": "m"}},
                                  "trace": {"enabled": False}}})  # fmt: skip
    router, memory, _ = router_for(config)
    with caplog.at_level(logging.DEBUG), pytest.raises(LLMRouterError) as raised:
        router.complete(role, "x")
    assert all(is_shown_safely(line) for line in str(raised.value).split("\n"))
    assert len(str(raised.value).split("\n")) <= 1 + len(memory.records)
    for record in memory.records:
        assert is_shown_safely(record.target) and is_shown_safely(record.role)
    assert all(is_shown_safely(line.getMessage()) for line in caplog.records)


def test_a_printable_name_stays_as_it_is() -> None:
    for name in ("gpt-5", "模型", "modèle 1", "m" * 200, "", "a'b\"c"):
        assert printable(name) == name
    assert printable(None) is None


class _Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "raised",
    [_Mute(), ValueError("two\nlines\x1b[31m"), ValueError("x" * 10**6), OSError("key sk-abcdefghijklmnop1234")],
)
def test_what_a_listener_raises_is_one_safe_line_in_the_log(
    raised: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever its text is, or if it has none; and the call is answered."""

    class Store:
        def write(self, record: TraceRecord) -> None:
            raise raised

    router, _, _ = router_for(config_for({"a": ["ok"]}), trace_store=Store())
    assert router.complete("r", "hi").text == "ok"
    assert router.telemetry_errors == 1
    (line,) = (line.getMessage() for line in caplog.records if "trace store" in line.getMessage())
    assert is_shown_safely(line) and "abcdefghijklmnop" not in line and len(line) < 700
