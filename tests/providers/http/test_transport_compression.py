"""Compressed answers: all of them is read, nothing else is, and the work on them is bounded."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import zlib
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from helpers.drawn_examples import DRAWS_ALL
from helpers.servers import Conversation, Script, Server, http, once
from helpers.transports import transport_to
from lee_llm_router.errors import InvalidResponseError, LLMTimeoutError
from lee_llm_router.providers.http.transport.api import WireRequest, WireResponse
from lee_llm_router.providers.http.transport.body_decoder import BodyDecoder
from lee_llm_router.providers.http.transport.inflater import STEP_SIZE, Inflater

pytestmark = pytest.mark.usefixtures("each_transport")

LIMIT = 300_000
BODY = json.dumps({"choices": [{"text": f"wort {n}"} for n in range(500)]}).encode()
NOISE = random.Random(5).randbytes(100_000)
Send = Callable[..., WireResponse]


@pytest.fixture(params=["send", "send_async", "open", "open_async"])
def send(request: pytest.FixtureRequest) -> Send:
    """Sends one request, and reads the answer whole or as a stream."""

    def call(url: str, timeout: float = 20.0) -> WireResponse:
        wire = WireRequest(f"{url}/chat", (), b"{}")
        with closing(transport_to(url, max_response_bytes=LIMIT)) as transport:
            if request.param == "send":
                return transport.send(wire, timeout)
            if request.param == "send_async":
                return asyncio.run(transport.send_async(wire, timeout))
            if request.param == "open":
                stream = transport.open(wire, timeout)
                return WireResponse(stream.status, (), b"".join(iter(stream.read, b"")))
            return asyncio.run(_read_async(transport, wire, timeout))

    return call


async def _read_async(transport: Any, wire: WireRequest, timeout: float) -> WireResponse:
    stream = await transport.open_async(wire, timeout)
    parts = []
    while part := await stream.read():
        parts.append(part)
    return WireResponse(stream.status, (), b"".join(parts))


def _coded(body: bytes, coding: str = "gzip") -> bytes:
    return http(200, body, {"Content-Encoding": coding})


def _members(body: bytes, size: int) -> bytes:
    return b"".join(gzip.compress(body[at : at + size]) for at in range(0, len(body), size))


def _raw_deflate(body: bytes) -> bytes:
    return zlib.compress(body)[2:-4]


WHOLE = {
    "two members": (_members(BODY, len(BODY) // 2 + 3), "gzip", BODY),
    "a member for each event": (_members(BODY, 61), "gzip", BODY),
    "a member for each byte": (_members(BODY[:300], 1), "gzip", BODY[:300]),
    "an empty member first": (gzip.compress(b"") + gzip.compress(BODY), "gzip", BODY),
    "an empty member last": (gzip.compress(BODY) + gzip.compress(b""), "x-gzip", BODY),
    "empty members between": (gzip.compress(b"{") + gzip.compress(b"") * 900 + gzip.compress(b"}"), "gzip", b"{}"),
    "one zero after it": (gzip.compress(BODY) + b"\0", "gzip", BODY),
    "zeros after it": (gzip.compress(BODY) + b"\0" * 1000, "gzip", BODY),
    "zeros after several": (_members(BODY, 500) + b"\0" * 511, "gzip", BODY),
    "zeros after deflate": (zlib.compress(BODY) + b"\0" * 3, "deflate", BODY),
    "noise": (gzip.compress(NOISE), "gzip", NOISE),
    "noise in members": (_members(NOISE, 777), "gzip", NOISE),
    "raw deflate that fills a step": (_raw_deflate(b"a" * STEP_SIZE), "deflate", b"a" * STEP_SIZE),
    "as much as is allowed": (gzip.compress(b"a" * LIMIT), "gzip", b"a" * LIMIT),
    "as much as is allowed, raw": (_raw_deflate(b"b" * LIMIT), "deflate", b"b" * LIMIT),
    "two steps": (gzip.compress(b"a" * (STEP_SIZE + 1)), "gzip", b"a" * (STEP_SIZE + 1)),
}


@pytest.mark.parametrize("form", WHOLE)
@pytest.mark.parametrize("piece", [None, 1, 17])
def test_all_that_is_compressed_is_read(send: Send, form: str, piece: int | None) -> None:
    """Of any number of members, in pieces of any size, with padding behind."""
    data, coding, body = WHOLE[form]
    answer = _coded(data, coding)
    if piece is not None:
        if len(data) > 20_000:
            pytest.skip("too long to be sent in such pieces")
        at = answer.find(b"\r\n\r\n") + 4
        pieces = [answer[:at], *(answer[n : n + piece] for n in range(at, len(answer), piece))]
    else:
        pieces = [answer]
    with Server(once(*pieces)) as server:
        assert send(server.url).body == body


CORRUPT = {
    "words after it": (gzip.compress(BODY) + b"and more", "gzip"),
    "one byte after it": (gzip.compress(BODY) + b"x", "gzip"),
    "a newline after deflate": (zlib.compress(BODY) + b"\r\n", "deflate"),
    "deflate twice": (zlib.compress(BODY) * 2, "deflate"),
    "a member after zeros": (gzip.compress(BODY) + b"\0\0" + gzip.compress(BODY), "gzip"),
    "half a member after it": (gzip.compress(BODY) + gzip.compress(BODY)[:-9], "gzip"),
    "the first byte of a member after it": (gzip.compress(BODY) + b"\x1f", "gzip"),
    "another format after it": (gzip.compress(BODY) + zlib.compress(BODY), "gzip"),
    "a wrong checksum": (gzip.compress(BODY)[:-8] + b"\1\2\3\4" + gzip.compress(BODY)[-4:], "gzip"),
    "a wrong checksum in the second": (gzip.compress(b"") + gzip.compress(BODY)[:-8] + b"\1" * 8, "gzip"),
    "a zero alone": (b"\0", "gzip"),
}


@pytest.mark.parametrize("fault", CORRUPT)
def test_whatever_else_stands_behind_it_is_no_answer(send: Send, fault: str) -> None:
    with Server(once(_coded(*CORRUPT[fault]))) as server, pytest.raises(InvalidResponseError):
        send(server.url)


ENDLESS = {
    "zeros after it": (gzip.compress(BODY), b"\0" * 65536, "gzip"),
    "zeros after deflate": (zlib.compress(BODY), b"\0" * 65536, "deflate"),
    "empty members": (gzip.compress(BODY), gzip.compress(b"") * 2000, "gzip"),
    "members of a few bytes": (gzip.compress(BODY), gzip.compress(b"abc") * 2000, "gzip"),
    "a bomb": (b"", gzip.compress(b"\0" * 50_000_000), "gzip"),
    "bombs": (b"", gzip.compress(b"\0" * 200_000), "gzip"),
}


def _flood(first: bytes, again: bytes, coding: str) -> Script:
    """Without a length and without an end."""

    def script(conversation: Conversation) -> None:
        conversation.receive()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\n\r\n%b" % (coding.encode(), first))
        while not conversation.server.closing.is_set():
            conversation.send(again)

    return script


@pytest.mark.parametrize("flood", ENDLESS)
def test_an_endless_answer_ends_at_the_limit(send: Send, flood: str) -> None:
    """Also where what comes gives nothing that could be kept."""
    with Server(_flood(*ENDLESS[flood])) as server, pytest.raises(InvalidResponseError, match="longer than"):
        send(server.url)


@pytest.mark.parametrize(("first", "again", "coding"), list(ENDLESS.values())[:4])
def test_nothing_is_kept_of_what_comes_after_the_end(first: bytes, again: bytes, coding: str) -> None:
    """Nor is it copied again with each piece: what zlib is given past an end, it collects."""
    inflater = Inflater(is_gzip=coding == "gzip")
    for data in (first, *[again] * (50 if DRAWS_ALL else 10)):
        inflater.feed(data)
        while inflater.has_more:
            inflater.step(1_000_000)
        assert len(inflater._input) <= len(again) + 1
    assert inflater.is_complete


def test_no_step_gives_more_than_is_bounded() -> None:
    decoder = BodyDecoder(200, "gzip", None, 100_000_000)
    sizes = [len(decoder.decode(gzip.compress(b"\0" * 5_000_000)))]
    while decoder.has_more:
        sizes.append(len(decoder.decode(b"")))
    decoder.finish()
    assert sum(sizes) == 5_000_000
    assert max(sizes) == STEP_SIZE


def test_an_event_loop_does_other_things_while_an_answer_is_decompressed() -> None:
    """The whole answer has come at once; in between, others get their turns."""
    body = b"\0" * (64 * STEP_SIZE)
    with Server(once(_coded(gzip.compress(body)))) as server:
        transport = transport_to(server.url, max_response_bytes=len(body))

        async def main() -> int:
            turns = 0
            call = asyncio.create_task(transport.send_async(WireRequest(server.url, (), b"{}"), 20))
            while not call.done():
                await asyncio.sleep(0)
                turns += bool(server.requests)
            assert len((await call).body) == len(body)
            return turns

        assert asyncio.run(main()) >= 60
        transport.close()


def test_decompressing_ends_with_the_timeout(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there is to do: the clock is looked at between the pieces."""
    real, late = Inflater.step, [False]

    def step(self: Inflater, limit: int) -> bytes:
        late[0] = True
        return real(self, min(limit, 1000))

    monkeypatch.setattr(Inflater, "step", step)
    clock = "lee_llm_router.providers.http.transport.connection.monotonic"
    monkeypatch.setattr(clock, lambda: 1e6 if late[0] else 1.0)
    with Server(once(_coded(gzip.compress(b"a" * 200_000)))) as server, pytest.raises(LLMTimeoutError):
        send(server.url, timeout=100.0)


LABELS = ["none", "None", "identity, identity", "utf-8", "UTF8", "", ", ", "binary", "none,identity", "8bit", "text"]


@pytest.mark.parametrize("label", LABELS)
def test_a_word_that_is_no_coding_says_nothing_of_the_body(send: Send, label: str) -> None:
    with Server(once(_coded(BODY, label))) as server:
        assert send(server.url).body == BODY


@pytest.mark.parametrize("label", ["gzip, identity", "identity,GZIP", "none, x-gzip", "gzip,"])
def test_nor_does_it_beside_one_that_is(send: Send, label: str) -> None:
    with Server(once(_coded(gzip.compress(BODY), label))) as server:
        assert send(server.url).body == BODY


@pytest.mark.parametrize("label", ["br", "zstd", "gzip, br", "deflate, gzip", "compress", "ZSTD"])
def test_a_coding_that_nobody_asked_for_is_a_final_error(send: Send, label: str) -> None:
    script = once(_coded(gzip.compress(BODY), label))
    with Server(script) as server, pytest.raises(InvalidResponseError, match="Content-Encoding") as caught:
        send(server.url)
    assert caught.value.final


@pytest.mark.parametrize("label", ["br", "gzip, gzip"])
def test_the_body_of_an_error_in_a_strange_coding_is_left_out(send: Send, label: str) -> None:
    """It would be quoted as noise. The status tells what is needed."""
    with Server(once(http(503, b"\x8b\x02noise", {"Content-Encoding": label}))) as server:
        answer = send(server.url)
    assert (answer.status, answer.body) == (503, b"")
