"""Record and replay: what was answered once is answered again without a network, and nothing else is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lee_llm_router import (
    CassetteConfig,
    ConfigError,
    LeeLLMRouter,
    LLMRequest,
    LLMResponse,
    LLMRouterError,
    RateLimitError,
    UnrecordedRequestError,
    WrapperProvider,
)
from lee_llm_router.providers.cassette.cassette_text import exchanges_in, written
from lee_llm_router.providers.cassette.provider import CassetteProvider
from lee_llm_router.providers.cassette.tape import Tape
from lee_llm_router.testing import FakeClock

KEY = "sk-" + "a1B2c3D4e5F6g7H8" * 2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cassettes" / "answers.yaml"


@contextmanager
def _router(file: Path, script: Sequence[Any] = (), mode: str = "once", **role: Any) -> Iterator[LeeLLMRouter]:
    """Yield a router over the mock provider, which plays `script`; without one it must not be asked."""
    config = {
        "providers": {"p": {"type": "mock", "script": list(script) or [{"error": "UNKNOWN", "message": "was asked"}]}},
        "roles": {"r": {"provider": "p", "model": "m", **role}},
        "trace": {"enabled": False},
        "cassette": {"path": str(file), "mode": mode},
    }
    with LeeLLMRouter({"llm": config}, clock=FakeClock()) as router:
        yield router


def _replayed(file: Path, **role: Any) -> Any:
    return _router(file, mode="replay", **role)


def test_what_is_recorded_is_played_without_asking(file: Path) -> None:
    with _router(file, [{"text": "one"}, {"text": "two"}]) as router:
        first = [router.complete("r", text) for text in ("a", "b")]
    with _replayed(file) as router:
        again = [router.complete("r", text) for text in ("b", "a")]
    assert [answer.text for answer in again] == ["two", "one"]
    for old, new in zip(first, reversed(again), strict=True):
        assert (new.usage, new.finish_reason, new.model, new.raw) == (old.usage, old.finish_reason, old.model, old.raw)


def test_equal_requests_play_in_their_order_and_no_more_often(file: Path) -> None:
    with _router(file, [{"text": "one"}, {"text": "two"}]) as router:
        for _ in range(2):
            router.complete("r", "a")
    with _replayed(file) as router:
        assert [router.complete("r", "a").text for _ in range(2)] == ["one", "two"]
        with pytest.raises(UnrecordedRequestError, match="in it 2 times, and was asked once more"):
            router.complete("r", "a")


def test_a_request_that_is_missing_says_what_the_nearest_has_otherwise(file: Path) -> None:
    with _router(file, [{"text": "one"}, {"text": "two"}]) as router:
        router.complete("r", "What is the capital of France?", temperature=0)
        router.complete("r", "Something else")
    fallbacks = [{"provider": "p", "model": "other"}]
    with _replayed(file, fallback_providers=fallbacks) as router, pytest.raises(UnrecordedRequestError) as caught:
        router.complete("r", "What is the capital of Spain?", temperature=0.5)
    message = str(caught.value)
    assert "nearest is number 1" in message
    assert "options.temperature: recorded 0.0, now 0.5" in message
    assert "capital of France?', now '" in message
    assert "Spain?'" in message
    assert "answers.yaml" in message


def test_failures_are_played_and_retried_as_they_were(file: Path) -> None:
    script = [{"error": "RATE_LIMIT", "message": "slow", "status_code": 429, "retry_after": 3}, {"text": "yes"}]
    with _router(file, script) as router:
        router.complete("r", "a")
    with _replayed(file) as router:
        assert router.complete("r", "a").text == "yes"
    with _replayed(file, retry={"attempts": 1}) as router, pytest.raises(RateLimitError) as caught:
        router.complete("r", "a", deadline=1)
    assert (caught.value.status_code, caught.value.retry_after) == (429, 3)


def test_streams_are_played_in_the_pieces_they_came_in(file: Path) -> None:
    with _router(file, [{"chunks": ["Hel", "lo ", "you"]}]) as router:
        recorded = list(router.stream("r", "a"))
    with _replayed(file) as router:
        assert [chunk.text for chunk in router.stream("r", "a")] == [chunk.text for chunk in recorded]
    with _replayed(file) as router:
        assert router.complete("r", "a").text == "Hello you"


def test_a_whole_answer_is_played_to_a_stream(file: Path) -> None:
    with _router(file, [{"text": "Hello you"}]) as router:
        router.complete("r", "a")
    with _replayed(file) as router:
        assert "".join(chunk.text for chunk in router.stream("r", "a")) == "Hello you"


def test_a_stream_that_broke_breaks_at_the_same_place(file: Path) -> None:
    script = [{"error": "PROVIDER_ERROR", "message": "gone", "chunks": ["Hel", "lo"], "fail_after": 2}]
    texts = []
    for router_of in (_router(file, script, retry={"attempts": 1}), _replayed(file, retry={"attempts": 1})):
        with router_of as router, pytest.raises(LLMRouterError) as caught:
            list(router.stream("r", "a"))
        texts.append((caught.value.failure_type, caught.value.response and caught.value.response.text))
    assert texts[0] == texts[1]


def test_a_stream_that_was_left_can_be_left_again(file: Path) -> None:
    with _router(file, [{"chunks": ["Hel", "lo ", "you"]}]) as router, router.stream("r", "a") as stream:
        next(iter(stream))
    with _replayed(file) as router, router.stream("r", "a") as stream:
        assert next(iter(stream)).text == "Hel"
    with _replayed(file) as router, pytest.raises(UnrecordedRequestError, match="abandoned here"):
        list(router.stream("r", "a"))


def test_tool_calls_embeddings_and_async_calls_are_recorded(file: Path) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    script = [{"tool_calls": [{"name": "look", "arguments": {"at": "it"}}]}, {"chunks": ["a", "b"]}]

    async def ask(router: LeeLLMRouter) -> list[Any]:
        answer = await router.complete_async("r", "a", tools=[tool])
        pieces = [chunk.text async for chunk in router.stream_async("r", "b")]
        vectors = await router.embed_async("r", ["x", "y"])
        return [answer.tool_calls, "".join(pieces), vectors.vectors]

    with _router(file, script) as router:
        recorded = asyncio.run(ask(router))
    with _replayed(file) as router:
        assert asyncio.run(ask(router)) == recorded


def test_no_key_stands_in_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)

    class Echo(WrapperProvider):
        def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
            return LLMResponse(text=f"your key is {KEY}", finish_reason="stop", raw={"key": KEY})

    config = {
        "providers": {"p": {"type": "http", "base_url": "http://127.0.0.1:9/v1", "api_key_env": "SOME_KEY"}},
        "roles": {"r": {"provider": "p", "model": "m", "headers": {"Authorization": "${SOME_KEY}"}}},
        "trace": {"enabled": False},
    }
    tape = Tape(file, "record")
    router = LeeLLMRouter({"llm": config}, wrap_provider=lambda inner: CassetteProvider(Echo(inner), tape))
    with router:
        router.complete("r", "hi", extra_body={"api_key": KEY}, headers={"x-api-key": KEY})
    assert KEY not in file.read_text()


def test_a_test_without_keys_or_network_plays_http_providers(file: Path) -> None:
    """An http provider without a key and with nobody at its address."""
    file.parent.mkdir()
    request = {"provider": "p", "model": "m", "messages": [{"role": "user", "content": "hi"}]}
    file.write_bytes(written({"request": request, "answer": {"text": "hello", "finish_reason": "stop"}}))
    config = {
        "providers": {"p": {"type": "openai", "api_key_env": "NO_SUCH_KEY"}},
        "roles": {"r": {"provider": "p", "model": "m"}},
        "trace": {"enabled": False},
    }
    with LeeLLMRouter({"llm": config}, cassette=file) as router:
        assert router.complete("r", "hi").text == "hello"


def test_mode_new_adds_what_is_missing(file: Path) -> None:
    with _router(file, [{"text": "one"}]) as router:
        router.complete("r", "a")
    with _router(file, [{"text": "two"}], mode="new") as router:
        assert [router.complete("r", text).text for text in "ab"] == ["one", "two"]
    with _replayed(file) as router:
        assert [router.complete("r", text).text for text in "ab"] == ["one", "two"]


def test_mode_record_replaces_what_another_process_has_recorded(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(written({"request": {"provider": "p"}, "answer": {"text": "old"}}))
    with _router(file, [{"text": "new"}], mode="record") as router:
        router.complete("r", "a")
    assert b"old" not in file.read_bytes()


def test_mode_once_never_asks_where_the_file_is_there(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(written({"request": {"provider": "p"}, "answer": {"text": "old"}}))
    with _router(file, [{"text": "asked"}]) as router, pytest.raises(UnrecordedRequestError):
        router.complete("r", "a")


def test_two_routers_of_a_test_record_together(file: Path) -> None:
    with _router(file, [{"text": "one"}]) as router, _router(file, [{"text": "two"}]) as other:
        assert (router.complete("r", "a").text, other.complete("r", "b").text) == ("one", "two")
    with _router(file) as router:
        assert [router.complete("r", text).text for text in "ab"] == ["one", "two"]


def test_mode_replay_needs_the_file(file: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"), _replayed(file):
        pass


@pytest.mark.parametrize("content", [b"- a list", b"request: {}\n", b"a: [1\n---\nb: 2\n", b"\xff\xfe\x00"])
def test_a_file_that_is_no_cassette_is_a_typed_error(file: Path, content: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(content + b"\n---\nrequest: {provider: p}\nanswer: {text: x}\n")
    with pytest.raises(ConfigError, match=r"cassette .*answers\.yaml"), _replayed(file):
        pass


def test_a_recording_that_was_killed_leaves_what_was_recorded(file: Path) -> None:
    code = """
import os, signal, sys
from lee_llm_router import LeeLLMRouter
providers = {"p": {"type": "mock", "echo": True}}
config = {"providers": providers, "roles": {"r": {"provider": "p"}}, "trace": {"enabled": False}}
router = LeeLLMRouter({"llm": config}, cassette=sys.argv[1])
for number in range(3):
    router.complete("r", f"question {number}")
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code, str(file)], check=False, timeout=60)
    exchanges, is_cut = exchanges_in(file.read_bytes())
    assert (len(exchanges), is_cut) == (3, False)
    whole = file.read_bytes()
    for end in range(len(whole) - 60, len(whole) - 1, 7):
        assert len(exchanges_in(whole[:end])[0]) >= 2


@pytest.mark.parametrize(
    "text",
    ["", " ", "yes", "1.0", "null", "~", "a\nb\n", " a\n b", "a\n\n\nb", "tab\tx", "\x00\x07", "\u2028x\u0085", "é😀",
     "- a: b", "# c", "'\"", "a: b\n---\nc", "\ud800", "x" * 5000, "trailing \nspace ", "\r\n", "\ufeffa"],
)  # fmt: skip
def test_any_text_comes_back_as_it_was(text: str) -> None:
    exchange = {"request": {"provider": "p", "messages": [{"content": text}]}, "answer": {"text": text}}
    assert exchanges_in(written(exchange)) == ([exchange], False)


def test_the_scripted_router_takes_a_cassette_too(file: Path) -> None:
    with _router(file, [{"text": "one"}]) as router:
        assert router.complete("r", "a").text == "one"
    assert "text: one" in file.read_text()
    assert "content: a" in file.read_text()


def test_the_fixture_names_a_file_for_each_test(llm_cassette: CassetteConfig) -> None:
    path = Path(llm_cassette.path)
    assert path.name == "test_the_fixture_names_a_file_for_each_test.yaml"
    assert path.parent == Path(__file__).parent / "cassettes" / "test_cassette"
    assert llm_cassette.mode == "once"


def test_what_a_provider_raises_is_played_as_the_failure_it_was(file: Path) -> None:
    class Broken(WrapperProvider):
        errors: ClassVar[list[Exception]] = [TimeoutError("late"), ConnectionResetError("reset"), RuntimeError("odd")]

        def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
            raise self.errors.pop(0)

    def failures(router: LeeLLMRouter) -> list[str]:
        found = []
        for text in "abc":
            with pytest.raises(LLMRouterError) as caught:
                router.complete("r", text)
            found.append(caught.value.failure_type.value)
        return found

    config = {
        "providers": {"p": {"type": "mock"}},
        "roles": {"r": {"provider": "p", "model": "m", "retry": {"attempts": 1}}},
        "trace": {"enabled": False},
    }
    tape = Tape(file, "record")
    wrap = lambda inner: CassetteProvider(Broken(inner), tape)  # noqa: E731
    with LeeLLMRouter({"llm": config}, wrap_provider=wrap, clock=FakeClock()) as router:
        recorded = failures(router)
    assert recorded == ["TIMEOUT", "PROVIDER_ERROR", "UNKNOWN"]
    with LeeLLMRouter({"llm": config}, cassette={"path": str(file), "mode": "replay"}, clock=FakeClock()) as router:
        assert failures(router) == recorded


def test_a_recording_goes_on_after_one_that_was_cut(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with _router(file, [{"text": "one"}, {"text": "two"}]) as router:
        for text in "ab":
            router.complete("r", text)
    file.write_bytes(file.read_bytes()[:-70])
    with _router(file, [{"text": "two again"}], mode="new") as router:
        assert [router.complete("r", text).text for text in "ab"] == ["one", "two again"]
    assert "the end of the cassette" in caplog.text


def test_a_full_disk_fails_the_call_and_leaves_what_was_recorded_readable(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, room = os.write, [40]

    def full(descriptor: int, data: bytes) -> int:
        if not room:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: room.pop()])

    with _router(file, [{"text": "one"}, {"text": "two"}, {"text": "three"}], retry={"attempts": 1}) as router:
        router.complete("r", "a")
        monkeypatch.setattr("lee_llm_router.providers.cassette.tape.os.write", full)
        with pytest.raises(LLMRouterError, match="cannot be written: No space left"):
            router.complete("r", "b")
        monkeypatch.undo()
        router.complete("r", "c")
    with _replayed(file) as router:
        assert [router.complete("r", text).text for text in "ac"] == ["one", "three"]


def test_pictures_are_recorded_as_their_digests(file: Path) -> None:
    picture = "data:image/png;base64," + "A" * 5000
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture}}]}
    with _router(file, [{"text": "a cat"}]) as router:
        router.complete("r", [message])
    assert "<5022 characters, sha256 " in file.read_text()
    with _replayed(file) as router:
        assert router.complete("r", [message]).text == "a cat"
        other = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture + "B"}}]}
        with pytest.raises(UnrecordedRequestError, match=r"image_url\.url"):
            router.complete("r", [other])


@pytest.mark.parametrize("mode", ["once", "new", "record"])
@pytest.mark.parametrize(
    "text", ["llm: {roles: {}}\n", "# ours\n---\nllm: {roles: {}}\n", '{"id": "a"}\n{"id": "b"}\n', "["]
)
def test_somebody_elses_file_is_no_cassette_and_stays_as_it_is(file: Path, mode: str, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"cassette .*answers\.yaml"), _router(file, [{"text": "a"}], mode=mode):
        pass
    assert file.read_text() == text
