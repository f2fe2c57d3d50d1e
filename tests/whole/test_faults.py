"""The faults to survive, as one table: each ends whole or typed, in bounded time, the same from sync, async and stream.

Every row is played twice: to a role with that target alone, and to one with a healthy fallback. Waits are noted and not
slept. How streams break after their first output is in `test_http_streaming.py`.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from helpers.agent_calls import FOREVER
from helpers.codex_fixtures import machine
from helpers.fake_codex import BEGIN
from helpers.fault_places import (
    LIMIT,
    Fault,
    Machine,
    Place,
    SkippingClock,
    begun,
    breaking,
    claiming,
    codex,
    each,
    encoded,
    endless,
    full_disk,
    headers_only,
    html,
    plain_behind_https,
    read_only,
    refused,
    serving,
    status,
    trickled,
    unknown_host,
    untrusted_certificate,
    whole,
)
from helpers.servers import Conversation, Server
from helpers.support import Memory
from lee_llm_router import LeeLLMRouter, LLMResponse, LLMRouterError, StreamChunk, TraceRecord, load_config

__all__ = ["machine"]

HANG = 15.0
"""Seconds: far more than any row may take, far less than for ever."""
STALL = 0.15
"""Seconds an attempt gets where the other side stalls."""
BACKOFF = 0.25
"""The first wait of our own choosing: half of its bound of 0.5 s."""
LONG_AGO = "Wed, 21 Oct 2015 07:28:00 GMT"


# The table

COURSES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "answers": (["return"], ["return"]),
    "again": (["retry", "raise"], ["retry", "next", "return"]),
    "again if last": (["retry", "raise"], ["next", "return"]),
    "next": (["raise"], ["next", "return"]),
    "ends": (["raise"], ["raise"]),
}
"""The verdicts on the attempts of a call: at this target alone, and with a healthy fallback."""


@dataclass(frozen=True)
class Row:
    name: str
    fault: Fault
    failure: str | None
    """Failure type of each attempt; None where it has a whole answer."""
    course: str
    wait: float = BACKOFF
    """Seconds before a second attempt at the same target."""
    sent: bool = True
    """Whether the requests reach the server and the records say so."""
    untraced: bool = False
    """Whether the trace store cannot write."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    role: Mapping[str, Any] = field(default_factory=dict)
    streamed: tuple[str | None, str] | None = None
    """`failure` and `course` of a stream, where they differ: it has an end mark of its own, and is whole with it
    and only with it, whatever the connection says."""


BAD, OFF, LATE, BUSY, SLOW_DOWN = "PROVIDER_ERROR", "INVALID_RESPONSE", "TIMEOUT", "OVERLOADED", "RATE_LIMIT"
SOON: dict[str, Any] = {"timeout": STALL}
CHILD: dict[str, Any] = {"timeout": 1.5, "retry": {"attempts": 1}}
IGNORE_TERM = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
FLOOD = "while True: sys.stdout.buffer.write(b'x' * 65536)"

ROWS = [
    Row("refused connection", refused, BAD, "again if last", sent=False),
    Row("unknown host", unknown_host, BAD, "again if last", sent=False),
    Row("no TLS behind https", plain_behind_https, BAD, "again if last", sent=False),
    Row("untrusted certificate", untrusted_certificate, BAD, "again if last", sent=False),
    Row("closed before the headers", breaking(lambda _: b""), BAD, "again"),
    Row("reset before the headers", breaking(lambda _: b"", Conversation.reset), BAD, "again"),
    Row("closed inside the headers", breaking(lambda r: whole(r)[:20]), BAD, "again"),
    Row("closed after the headers", breaking(headers_only), BAD, "again", streamed=(OFF, "again")),
    Row("reset after the headers", breaking(headers_only, Conversation.reset), BAD, "again"),
    Row("closed inside the body", breaking(begun), BAD, "again", streamed=(OFF, "again")),
    Row("reset inside the body", breaking(begun, Conversation.reset), BAD, "again"),
    Row("Content-Length too long", breaking(claiming(9_999)), None, "answers"),
    Row("Content-Length too short", breaking(claiming(40)), OFF, "again"),
    Row("Content-Length no number", breaking(lambda r: whole(r, **{"Content-Length": "many"})), BAD, "again"),
    Row("no headers", breaking(lambda _: b"", Conversation.stall), LATE, "again if last", role=SOON),
    Row("slow headers", trickled(0.05), LATE, "again if last", role=SOON),
    Row("stall after the headers", breaking(headers_only, Conversation.stall), LATE, "again if last", role=SOON),
    Row("stall inside the body", breaking(begun, Conversation.stall), LATE, "again if last", role=SOON),
    Row("one byte at a time", trickled(0.0), None, "answers"),
    Row("100 MB claimed", breaking(claiming(100_000_000)), OFF, "next", settings={"max_response_bytes": LIMIT}),
    Row("too much", breaking(endless), OFF, "next", settings={"max_response_bytes": LIMIT}),
    Row("gzip", encoded("gzip", gzip.compress), None, "answers"),
    Row("deflate", encoded("deflate", zlib.compress), None, "answers"),
    Row("corrupt gzip", encoded("gzip", lambda body: b"\x1f\x8b\x08" + body), OFF, "again"),
    Row("gzip that is none", encoded("gzip", bytes), OFF, "again"),
    Row("corrupt deflate", encoded("deflate", lambda body: b"\xff\xff" + body), OFF, "again"),
    Row("408", status(408), LATE, "again if last"),
    Row("409", status(409), BAD, "again"),
    Row("425", status(425), BAD, "again"),
    Row("429", status(429), SLOW_DOWN, "again if last"),
    Row("500", status(500), BAD, "again"),
    Row("502", status(502), BAD, "again"),
    Row("503", status(503), BUSY, "again"),
    Row("504", status(504), BAD, "again"),
    Row("529", status(529), BUSY, "again"),
    Row("503 with Retry-After", status(503, Retry_After="7"), BUSY, "again if last", wait=7),
    Row("400", status(400), "INVALID_REQUEST", "next"),
    Row("401", status(401), "AUTH", "next"),
    Row("402", status(402), "QUOTA", "next"),
    Row("403", status(403), "AUTH", "next"),
    Row("404", status(404), "MODEL_NOT_FOUND", "next"),
    Row("413", status(413), "CONTEXT_LENGTH", "next"),
    Row("422", status(422), "INVALID_REQUEST", "next"),
    Row("204", status(204, b""), OFF, "next"),
    Row("301", status(301, b"", Location="http://127.0.0.1:1/v1"), OFF, "next"),
    Row("307", status(307, b"", Location="http://127.0.0.1:1/v1"), OFF, "next"),
    Row("HTML with 200", serving(each(html)), OFF, "again"),
    Row("Retry-After 0", status(429, Retry_After="0"), SLOW_DOWN, "again if last", wait=0),
    Row("Retry-After 0.5", status(429, Retry_After="0.5"), SLOW_DOWN, "again if last", wait=0.5),
    Row("Retry-After 60", status(429, Retry_After="60"), SLOW_DOWN, "again if last", wait=60),
    Row("Retry-After in the past", status(429, Retry_After=LONG_AGO), SLOW_DOWN, "again if last", wait=0),
    Row("Retry-After garbage", status(429, Retry_After="soon, I hope"), SLOW_DOWN, "again if last"),
    Row("Retry-After negative", status(429, Retry_After="-5"), SLOW_DOWN, "again if last"),
    Row("trace store on a full disk", full_disk, None, "answers", untraced=True),
    Row("trace store in a read-only folder", read_only, None, "answers", untraced=True),
    Row("child hangs", codex(BEGIN, after=FOREVER), LATE, "next", role=CHILD),
    Row("child ignores TERM", codex(BEGIN, after=IGNORE_TERM + FOREVER), LATE, "next", role=CHILD),
    Row("child floods its output", codex(BEGIN, after=FLOOD), OFF, "next", role=CHILD | {"timeout": 10}),
    Row("child dies mid-line", codex([*BEGIN, '{"type": "item.comp'], signal="SIGKILL"), BAD, "next", role=CHILD),
]


# Playing it

Asked = tuple[LLMResponse | None, LLMRouterError | None]


def _sync(router: LeeLLMRouter) -> Asked:
    with router:
        try:
            return router.complete("r", "hi"), None
        except LLMRouterError as error:
            return None, error


def _async(router: LeeLLMRouter) -> Asked:
    async def main() -> Asked:
        async with router:
            try:
                return await router.complete_async("r", "hi"), None
            except LLMRouterError as error:
                return None, error

    return asyncio.run(main())


def _stream(router: LeeLLMRouter) -> Asked:
    chunks: list[StreamChunk] = []
    with router, router.stream("r", "hi") as stream:
        try:
            chunks += stream
        except LLMRouterError as error:
            assert not any(chunk.text for chunk in chunks)
            return None, error
    assert "".join(chunk.text for chunk in chunks) == stream.response.text
    return stream.response, None


MODES: Mapping[str, Callable[[LeeLLMRouter], Asked]] = {"sync": _sync, "async": _async, "stream": _stream}


def _router(row: Row, place: Place, fallback: str | None, folder: Path, memory: Memory) -> LeeLLMRouter:
    providers: dict[str, Any] = {"faulty": {"model": "m", **place.settings, **row.settings}}
    role: dict[str, Any] = {"provider": "faulty", "timeout": 10, "retry": {"attempts": 2, "patience": 0}, **row.role}
    if fallback is not None:
        providers["healthy"] = {"type": "http", "base_url": fallback, "model": "m"}
        role["fallback_providers"] = [{"provider": "healthy", "timeout": 10}]
    config = {"llm": {"providers": providers, "roles": {"r": role}, "trace": {"dir": str(folder / "traces")}}}
    store = None if row.untraced else memory
    return LeeLLMRouter(
        load_config(config), trace_store=store, event_sink=memory, clock=SkippingClock(), random=lambda: 0.0
    )


def _course(row: Row, mode: str, *, fallback: bool) -> list[tuple[str, str | None, str, bool]]:
    """The records that are to be: provider, failure type, verdict, sent."""
    failure, course = row.streamed if row.streamed and mode == "stream" else (row.failure, row.course)
    verdicts = COURSES[course][fallback]
    places = ["healthy" if verdict == "return" and failure else "faulty" for verdict in verdicts]
    return [
        (place, None if place == "healthy" else failure, verdict, place == "healthy" or row.sent)
        for place, verdict in zip(places, verdicts, strict=True)
    ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.usefixtures("machine")
class TestFaults:
    def test_alone(self, row: Row, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Outcome, requests, waits and trail of a call that has only this target."""
        _play(row, mode, Machine(tmp_path, ExitStack(), monkeypatch), fallback=False)

    def test_with_a_healthy_fallback(
        self, row: Row, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer is whole, unless the request itself is refused; a wait that a vendor asks for is not waited."""
        _play(row, mode, Machine(tmp_path, ExitStack(), monkeypatch), fallback=True)


def _play(row: Row, mode: str, machine: Machine, *, fallback: bool) -> None:
    began, memory = monotonic(), Memory()
    with machine.stack as stack:
        place = row.fault(machine)
        healthy = stack.enter_context(Server(each(whole)))
        router = _router(row, place, healthy.url if fallback else None, machine.folder, memory)
        response, error = MODES[mode](router)
        trail = _course(row, mode, fallback=fallback)
        _check_outcome(trail, response, error)
        if row.untraced:
            assert router.telemetry_errors == 1
        else:
            assert router.telemetry_errors == 0
            _check_trail(row, trail, memory.records, router._parts.clock)
    asked = [provider for provider, *_ in trail]
    assert place.seen() == (asked.count("faulty") if row.sent else 0)
    assert len(healthy.requests) == asked.count("healthy")
    assert monotonic() - began < HANG


def _check_outcome(
    trail: list[tuple[str, str | None, str, bool]], response: LLMResponse | None, error: LLMRouterError | None
) -> None:
    provider, failure, verdict, _ = trail[-1]
    if verdict == "return":
        assert response is not None, repr(error)
        assert (response.text, response.finish_reason, response.provider) == ("hello", "stop", provider)
    else:
        assert error is not None
        assert (error.failure_type.value, len(error.attempts)) == (failure, len(trail)), repr(error)
        assert error.message


def _check_trail(
    row: Row, trail: list[tuple[str, str | None, str, bool]], records: list[TraceRecord], clock: Any
) -> None:
    assert [(r.provider, r.failure_type, r.verdict, r.sent) for r in records] == trail
    waits = [row.wait if verdict == "retry" else 0.0 for _, _, verdict, _ in trail]
    assert [r.wait_ms / 1000 for r in records] == pytest.approx(waits, abs=0.05)
    assert sum(clock.waits) <= sum(waits) + 0.05


def test_the_table_has_all_its_rows() -> None:
    """59 faults, each sync, async and as a stream, each alone and with a fallback: 354 plays."""
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names) == 59
    assert len(names) * len(MODES) * 2 == 354
