"""Receivers of spans that answer oddly, without one: `test_export.py` has a server."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.records import make
from lee_llm_router import LLMRouterError
from lee_llm_router.cli.trace import otlp_sending
from lee_llm_router.cli.trace.otlp_sending import OtlpSender, SentSpans
from lee_llm_router.errors import UnavailableError
from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.testing import FakeClock


class Transport:
    """Answers each request with the next of `answers`; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests = 0

    def get(self) -> Transport:
        return self

    def send(self, request: object, seconds: float) -> Any:
        self.requests += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Answer(*answer)

    def close(self) -> None:
        pass


class Answer:
    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body
        self.raw_headers: tuple[tuple[bytes, bytes], ...] = ()


def sender_to(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> OtlpSender:
    monkeypatch.setattr(otlp_sending, "LazyTransport", lambda *_, **__: transport)
    return OtlpSender("http://host:4318", {}, version="1", clock=FakeClock())


def call(name: str = "a", **fields: Any) -> TracedCall:
    return TracedCall((make(name, **fields),))


@pytest.mark.parametrize("body", [b"", b"\x0a\x02binary", b"[1]", b'{"partialSuccess": 7}'])
def test_an_answer_that_says_nothing_of_spans_has_taken_them(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    found = sender_to(Transport((200, body)), monkeypatch).send([call()])
    assert (found.calls, found.rejected, found.message) == (1, 0, SentSpans().message)


def test_what_a_receiver_left_out_is_counted_whether_it_says_why_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found = sender_to(Transport((200, b'{"partialSuccess": {"rejectedSpans": "2"}}')), monkeypatch).send([call()])
    assert (found.rejected, found.message) == (2, SentSpans().message)


def test_a_refusal_that_is_no_json_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LLMRouterError, match="answered 400: plain words"):
        sender_to(Transport((400, b"plain words")), monkeypatch).send([call()])


def test_a_receiver_that_goes_away_meanwhile_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for ever; and one that was never there is told of at once."""
    monkeypatch.setattr(otlp_sending, "_MOST_SPANS", 1)
    away = UnavailableError("connection refused")
    transport = Transport((200, b"{}"), away, away, (200, b"{}"))
    assert sender_to(transport, monkeypatch).send([call("a"), call("b")]).calls == 2
    transport = Transport((200, b"{}"), *[away] * 99)
    with pytest.raises(UnavailableError):
        sender_to(transport, monkeypatch).send([call("a"), call("b")])
    assert transport.requests == 1 + otlp_sending._TRIES
    transport = Transport(away)
    with pytest.raises(UnavailableError):
        sender_to(transport, monkeypatch).send([call()])


@pytest.mark.parametrize("began", ["9999-12-31T23:59:59.000000Z", "2026-01-01T00:00:00.000000Z", "no moment"])
def test_calls_of_any_time_are_sent(began: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that would end after the last year there is has ended when it began, as far as is told of where to go on."""
    transport = Transport((200, b"{}"))
    found = sender_to(transport, monkeypatch).send([call(started_at=began, elapsed_ms=5000.0)])
    assert (found.calls, found.left_out) == ((1, 0) if transport.requests else (0, 1))
    assert (found.reached is None) == (began == "no moment")
