"""What a new dialect takes: a toy one, written with public names alone; and the promises that every dialect keeps."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

import pytest

from helpers.all_forms import complete_async, complete_sync
from helpers.anthropic_messages import events_of, message, sse_event
from helpers.gemini_wire import answer, events, piece, text
from helpers.servers import Script, Server, answering, completion, http, json_answer, once
from helpers.stream_servers import EVENTS, LAST, framed
from helpers.stream_support import READERS, Read, router_to
from helpers.support import Memory
from lee_llm_router import Capabilities, ConfigError, LLMRequest, LLMResponse, LLMRouterError, StreamChunk, register
from lee_llm_router.errors import InvalidResponseError
from lee_llm_router.providers.http import HTTPConfig, HTTPProvider, HTTPReply
from lee_llm_router.providers.http.dialects.json_body import decode_json, invalid_answer
from lee_llm_router.providers.http.dialects.statuses import http_error
from lee_llm_router.response import message_text

# A dialect of a vendor who does everything in another way


class ToyConfig(HTTPConfig):
    tone: str = "flat"


class ToyDecoder:
    """Lines of text; the last is a full stop."""

    def __init__(self) -> None:
        self.done, self._rest, self._lines = False, b"", deque[bytes]()

    def feed(self, data: bytes) -> None:
        if not data:
            raise InvalidResponseError("the stream ended without a full stop")
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines.extend(lines)

    def next(self) -> StreamChunk | None:
        if self.done or not self._lines:
            return None
        text = self._lines.popleft().decode()
        self.done = text == "."
        return StreamChunk(finish_reason="stop") if self.done else StreamChunk(text=text)


class ToyDialect:
    def path(self, request: LLMRequest, settings: ToyConfig, *, stream: bool) -> str:
        return f"/{quote(request.model or 'toy', safe='')}:{'tell' if stream else 'say'}"

    def headers(self, settings: ToyConfig, key: str | None, *, stream: bool) -> dict[str, str]:
        return {"X-Toy-Key": key} if key else {}

    def encode(self, request: LLMRequest, settings: ToyConfig, *, stream: bool) -> dict[str, Any]:
        return {"tone": settings.tone, "prompt": "\n".join(map(message_text, request.messages))}

    def decode(self, reply: HTTPReply) -> LLMResponse:
        said = decode_json(reply).get("said")
        if not isinstance(said, str):
            raise invalid_answer(reply, "without a word")
        return LLMResponse(text=said, finish_reason="stop", request_bytes=reply.request_bytes)

    def failure(self, reply: HTTPReply) -> LLMRouterError:
        return http_error(reply, reply.quote(reply.body.decode("utf-8", "replace")))

    def decoder(self, reply: HTTPReply, settings: ToyConfig) -> ToyDecoder | None:
        return ToyDecoder() if reply.headers.get("content-type") == "text/x-toy" else None


class ToyProvider(HTTPProvider[ToyConfig]):
    config_model = ToyConfig
    dialect = ToyDialect()
    capabilities: ClassVar[Capabilities] = Capabilities(bounded=True)


register("toy", ToyProvider, replace=True)


# What a server of each dialect sends


@dataclass(frozen=True)
class Sample:
    """One dialect: its type, and the bytes of its servers."""

    type: str
    path: str
    stream_path: str
    key_header: tuple[str, str]
    answer: Callable[[str], Any]
    events: Callable[[str], list[bytes]]
    media_type: str


def _chat_events(text: str) -> list[bytes]:
    return [event.replace(b'"hel"', json.dumps(text[:-2]).encode()) for event in EVENTS]


SAMPLES = {
    "openai chat": Sample(
        "http", "/v1/chat/completions", "/v1/chat/completions", ("authorization", "Bearer {}"),
        completion, _chat_events, "text/event-stream",
    ),
    "gemini": Sample(
        "gemini", "/v1/models/a%2Fb%3Fc:generateContent", "/v1/models/a%2Fb%3Fc:streamGenerateContent?alt=sse",
        ("x-goog-api-key", "{}"), lambda said: answer(text(said)),
        lambda said: [events(piece(text(said[:-2]))), events(answer(text(said[-2:])))], "text/event-stream",
    ),
    "anthropic": Sample(
        "anthropic", "/v1/messages", "/v1/messages", ("authorization", "Bearer {}"),
        lambda said: message({"type": "text", "text": said}),
        lambda said: [*map(sse_event, events_of(message({"type": "text", "text": said})))], "text/event-stream",
    ),
    "toy": Sample(
        "toy", "/v1/a%2Fb%3Fc:say", "/v1/a%2Fb%3Fc:tell", ("x-toy-key", "{}"),
        lambda text: {"said": text}, lambda text: [f"{text[:-2]}\n".encode(), f"{text[-2:]}\n".encode(), b".\n"],
        "text/x-toy",
    ),
}  # fmt: skip
MODEL = "a/b?c"
KEY = "k-0123-secret-4567"
ONCE = {"retry": {"attempts": 1}}


def streamed(sample: Sample, *events: bytes, end: bytes = LAST) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {sample.media_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(map(framed, events)) + end


@pytest.fixture(params=SAMPLES)
def sample(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Sample:
    monkeypatch.setenv("TEST_KEY", KEY)
    return SAMPLES[request.param]


WAYS: dict[str, Read] = {"whole": complete_sync, "whole, async": complete_async} | {
    f"stream, {name}": read for name, read in READERS.items()
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def ask(way: str, sample: Sample, *scripts: Script, role: Any = None, memory: Any = None, **settings: Any) -> Any:
    """What comes of a call through servers that play `scripts`, the later ones being fallbacks; and the servers."""
    servers = [Server(script) for script in scripts]
    try:
        for server in servers:
            server.__enter__()
        settings = {"type": sample.type, "model": MODEL, "api_key_env": "TEST_KEY", **settings}
        router = router_to(*(server.url for server in servers), role=role, memory=memory, **settings)
        ended = WAYS[way](router)
        router.close()
    finally:
        for server in servers:
            server.__exit__(None, None, None)
    return ended, servers


def good(way: str, sample: Sample, text: str = "hello") -> Script:
    return answering(streamed(sample, *sample.events(text)) if "stream" in way else json_answer(sample.answer(text)))


# The promises


def test_an_answer_comes_whole_or_streamed(way: str, sample: Sample) -> None:
    ended, [server] = ask(way, sample, good(way, sample), extra_body={"mood": "calm"})
    assert ended.response is not None, ended.error
    assert (ended.response.text, ended.response.finish_reason) == ("hello", "stop")
    [sent] = server.requests
    assert sent.line == f"POST {sample.stream_path if 'stream' in way else sample.path} HTTP/1.1"
    name, value = sample.key_header
    assert sent.headers[name] == value.format(KEY)
    assert sent.json["mood"] == "calm"
    if "stream" in way:
        assert ended.text == "hello" and [chunk.index for chunk in ended.chunks] == list(range(len(ended.chunks)))


def test_a_server_that_does_not_stream_gives_one_chunk(sample: Sample) -> None:
    ended, _ = ask("stream, sync", sample, answering(json_answer(sample.answer("hello"))))
    assert ended.response.text == "hello" and len(ended.chunks) == 1


STATUSES = {
    400: "INVALID_REQUEST", 401: "AUTH", 402: "QUOTA", 404: "MODEL_NOT_FOUND", 408: "TIMEOUT", 413: "CONTEXT_LENGTH",
    418: "UNKNOWN", 429: "RATE_LIMIT", 500: "PROVIDER_ERROR", 503: "OVERLOADED", 529: "OVERLOADED",
}  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_a_typed_error(way: str, sample: Sample, status: int) -> None:
    said = {"error": {"message": "because", "type": "x"}}
    ended, _ = ask(way, sample, answering(json_answer(said, status)), role=ONCE)
    assert (ended.error.failure_type.value, ended.error.status_code) == (STATUSES[status], status)
    assert "because" in ended.error.message


def test_a_wait_that_the_server_asks_for_is_kept_and_the_next_target_answers(way: str, sample: Sample) -> None:
    memory = Memory()
    busy = answering(json_answer({"error": {"message": "busy"}}, 429, {"Retry-After": "30"}))
    ended, _ = ask(way, sample, busy, good(way, sample), memory=memory)
    assert ended.response.text == "hello"
    assert [(r.provider, r.failure_type, r.retry_after) for r in memory.records] == [
        ("p0", "RATE_LIMIT", 30.0), ("p1", None, None),
    ]  # fmt: skip


NO_ANSWERS: dict[str, bytes] = {
    "a web page": http(200, b"<html><title>Login</title></html>", {"Content-Type": "text/html"}),
    "text for JSON": http(200, b"hello"),
    "JSON of another shape": json_answer({"data": []}),
    "a list": json_answer([1]),
    "an empty body": http(200),
    "no content": http(204),
    "a redirect": http(307, b"", {"Location": "http://127.0.0.1:1/"}),
    "too long a body": json_answer({"a": "x" * 5000}),
}


@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_what_is_no_answer_is_an_invalid_response(way: str, sample: Sample, kind: str) -> None:
    ended, _ = ask(way, sample, once(NO_ANSWERS[kind]), role=ONCE, max_response_bytes=4096)
    assert ended.response is None and ended.error.failure_type.value == "INVALID_RESPONSE", ended.error
    assert ended.error.final is (kind in {"no content", "a redirect", "too long a body"})


@pytest.mark.parametrize("read", READERS)
def test_a_cut_stream_is_no_answer_wherever_it_is_cut(sample: Sample, read: str) -> None:
    events = sample.events("hello")
    for place in range(len(events)):
        for cut in (events[:place], [*events[:place], events[place][: len(events[place]) // 2]]):
            ended, _ = ask(f"stream, {read}", sample, once(streamed(sample, *cut)), role=ONCE)
            assert ended.response is None and ended.error.failure_type.value == "INVALID_RESPONSE"


@pytest.mark.parametrize("read", READERS)
def test_a_streamed_answer_is_bounded(sample: Sample, read: str) -> None:
    first, *rest = sample.events("hello")
    long = [*[first] * 500, *rest]
    ended, _ = ask(f"stream, {read}", sample, once(streamed(sample, *long)), role=ONCE, max_response_bytes=1024)
    assert ended.error.failure_type.value == "INVALID_RESPONSE" and ended.error.final


def test_a_key_that_the_server_echoes_is_masked(way: str, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_COOKIE", "cookie-secret")
    memory = Memory()
    said = {"error": {"message": f"no such key: {KEY}; cookie: cookie-secret"}}
    headers = {"Cookie": "${TEST_COOKIE}"}
    ended, _ = ask(way, sample, once(json_answer(said, 401)), role=ONCE, memory=memory, headers=headers)
    assert "no such key: ***" in ended.error.message
    shown = f"{ended.error} {ended.error!r} {memory.records}"
    assert KEY not in shown and "cookie-secret" not in shown


def test_the_toy_has_settings_and_limits_of_its_own() -> None:
    """Its settings are checked and sent; what it cannot carry is not asked of it."""
    ended, [server] = ask("whole", SAMPLES["toy"], good("whole", SAMPLES["toy"]), tone="sharp", api_key_env=None)
    assert ended.response.text == "hello"
    assert server.requests[0].json == {"tone": "sharp", "prompt": "hi"}
    assert "x-toy-key" not in server.requests[0].headers
    with pytest.raises(ConfigError, match="did you mean 'tone'"):
        router_to("http://127.0.0.1:1/v1", type="toy", ton="sharp")
    router = router_to("http://127.0.0.1:1/v1", type="toy")
    with pytest.raises(LLMRouterError, match="tools"):
        router.complete("r", "hi", tools=[{"type": "function", "function": {"name": "f"}}])
    router.close()


def test_a_provider_without_a_dialect_says_what_to_use() -> None:
    config = HTTPConfig(type="http", base_url="https://api.test/v1")
    with pytest.raises(TypeError, match="OpenAIChatProvider"):
        HTTPProvider("p", config)
