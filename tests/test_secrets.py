"""No key in anything that is written down."""

from __future__ import annotations

import logging
import traceback

import pytest

from lee_llm_router import LLMRouterError
from lee_llm_router._secrets import bounded, scrub
from lee_llm_router.errors import FailureType, error_of
from lee_llm_router.stores.jsonl import LocalFileTraceStore
from support import config_for, router_for

KEY = "kJ7-very/secret+value_0123456789"


def _echo() -> Exception:
    """An error as a careless server causes it: the key in the text, and in what it was raised from."""
    error = error_of(FailureType.AUTH, f"wrong key {KEY}, said the server")
    error.__cause__ = ConnectionError(f"header was b'{KEY}'", KEY.encode())
    return error


class _Echoing(Exception):
    def __init__(self) -> None:
        super().__init__(f"bad things with {KEY}", {"n": 1})
        self.__cause__ = _echo()


class _Stubborn(Exception):
    """Makes its text anew each time, so that nothing can be taken out of it."""

    def __str__(self) -> str:
        return f"still {KEY}"


def _noted() -> Exception:
    error = ValueError("odd")
    error.add_note(f"by the way: {KEY}")
    error.__cause__ = _Stubborn()
    return error


@pytest.mark.parametrize(
    "raised",
    [_Echoing(), OSError(5, f"tried {KEY}"), _Stubborn(), _noted()],
    ids=["unknown", "os", "stubborn", "noted"],
)
def test_a_known_key_is_found_nowhere_after_a_failed_call(
    raised: Exception, tmp_path: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Traces, logs, events, reprs, the error's text and its whole traceback (frames' local variables aside)."""
    config = config_for({"a": [raised]}, providers={"a": {"secret": KEY}}, role={"retry": {"attempts": 1}})
    router, memory, _ = router_for(config, trace_store=LocalFileTraceStore(trace_dir=str(tmp_path)))
    with caplog.at_level(logging.DEBUG), pytest.raises(LLMRouterError) as caught:
        router.complete("r", "hi")
    error = caught.value
    texts = [
        str(error), repr(error), repr(error.cause), repr(error.attempts),
        caplog.text, repr(memory.events), repr(router),
        "".join(traceback.format_exception(error)),
        *(path.read_text() for path in tmp_path.rglob("*.jsonl")),  # type: ignore[attr-defined]
    ]  # fmt: skip
    assert any("***" in text for text in texts)
    assert not [text for text in texts if KEY in text]
    router.close()


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcdefghijklmnopqrstuvwx.",
        "Authorization: Bearer abc.def-123",
        "GET https://host/v1?key=abcdef123456&x=1",
        "proxy http://user:hunter22@proxy:8080 refused",
        "AIzaSyA1234567890123456789012345678901",
    ],
)
def test_what_looks_like_a_key_is_masked_though_nobody_named_it(text: str) -> None:
    clean = scrub(text)
    assert "***" in clean
    for secret in ("abcdefghij", "abc.def", "abcdef123456", "hunter22", "SyA12345"):
        assert secret not in clean


def test_ordinary_text_stays_as_it_is() -> None:
    text = "model gpt-5 not found at https://api.example.test/v1/models?limit=3 (task-related)"
    assert scrub(text) == text


def test_foreign_text_is_bounded_and_printable() -> None:
    """One line, at most 500 characters, nothing a terminal would act on."""
    assert bounded("a\n\n  b\tc") == "a b c"
    assert len(bounded("x" * 10_000)) == 500
    assert bounded("\x1b[31mred\x07") == "\\x1b[31mred\\x07"
