"""No key in anything that is written down."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.servers import Conversation, Server, http, json_answer
from helpers.support import Memory, config_for, router_for
from lee_llm_router import LeeLLMRouter, LLMRouterError, load_config
from lee_llm_router._util.scrubbing import bounded, scrub
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

KEY = "kJ7-very/secret+value_0123456789"


def _echo() -> Exception:
    """An error as a careless server causes it: the key in the text, and in what it was raised from."""
    error = error_for(FailureType.AUTH, f"wrong key {KEY}, said the server")
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
    raised: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
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
        *(path.read_text() for path in tmp_path.rglob("*.jsonl")),
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


def _echoing(kind: str) -> Callable[[Conversation], None]:
    """A server that writes everything it was sent, key and all, into an answer of the given kind."""

    def script(conversation: Conversation) -> None:
        request = conversation.receive()
        assert request is not None
        told = f"{request.headers} {request.headers['authorization']}"
        answers = {
            "401": json_answer({"error": {"message": told}}, 401),
            "500": http(500, f"<html>{told}</html>".encode()),
            "200 not json": http(200, told.encode()),
            "200 no choices": json_answer({"choices": told}),
            "broken": f"HTTP/1.1 {told}\r\n\r\n".encode(),
            "header": f"HTTP/1.1 200 OK\r\nbad header {told}\r\n\r\n".encode(),
            "redirect": http(307, b"", {"Location": f"http://127.0.0.1:1/?key={request.headers['authorization']}"}),
        }
        conversation.send(answers[kind])

    return script


@pytest.mark.parametrize("way", ["sync", "async", "stream"])
@pytest.mark.parametrize("kind", ["401", "500", "200 not json", "200 no choices", "broken", "header", "redirect"])
def test_a_server_that_echoes_the_key_gets_it_into_nothing(
    kind: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A whole run over HTTP: trace files, logs, events, the error with its causes, the router and its configuration."""
    monkeypatch.setenv("ECHO_TEST_KEY", KEY.replace("/", "-"))
    monkeypatch.setenv("ECHO_TEST_HEADER", f"second-{KEY}")
    memory = Memory()
    with Server(_echoing(kind)) as server:
        config = load_config(f"""
llm:
  providers:
    p:
      type: http
      base_url: "{server.url}"
      api_key_env: ECHO_TEST_KEY
      headers: {{X-Team: "${{ECHO_TEST_HEADER}}"}}
  roles:
    r: {{provider: p, model: m, retry: {{attempts: 1}}}}
  trace: {{dir: "{tmp_path}", capture: full}}
""")
        with (
            caplog.at_level(logging.DEBUG),
            LeeLLMRouter(config, event_sink=memory) as router,
            pytest.raises(LLMRouterError) as caught,
        ):
            if way == "sync":
                router.complete("r", "hi")
            elif way == "async":
                asyncio.run(router.complete_async("r", "hi"))
            else:
                list(router.stream("r", "hi"))
    error = caught.value
    texts = [
        str(error), repr(error), repr(error.attempts), caplog.text, repr(memory.events), repr(router), repr(config),
        config.model_dump_json(), "".join(traceback.format_exception(error)),
        *(path.read_text() for path in tmp_path.rglob("*.jsonl")),
    ]  # fmt: skip
    assert any(tmp_path.rglob("*.jsonl"))
    assert not [text for text in texts if KEY in text or KEY.replace("/", "-") in text]


@pytest.mark.parametrize("place", ["api_key_env", "api_key_file"])
def test_a_key_that_only_a_provider_names_is_known_before_it_is_asked(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller who takes the key for an option, a role or a message's role gets it into no error and no trace."""
    monkeypatch.setenv("NAMED_TEST_KEY", KEY)
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    named = "NAMED_TEST_KEY" if place == "api_key_env" else str(file)
    provider = {"type": "http", "base_url": "http://127.0.0.1:9/v1", place: named}
    config = {"providers": {"p": provider}, "roles": {"r": {"provider": "p", "model": "m"}}, "unknown_role": "error"}
    with LeeLLMRouter({"llm": config}, trace_store=LocalFileTraceStore(trace_dir=str(tmp_path))) as router:
        wrong: Any = {KEY: 1}
        calls: list[Callable[[], object]] = [
            lambda: router.complete("r", "hi", **wrong),
            lambda: router.complete(KEY, "hi"),
            lambda: router.complete("r", [{"role": KEY, "content": "hi"}]),
        ]
        for call in calls:
            with pytest.raises(LLMRouterError) as caught:
                call()
            assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in "".join(path.read_text() for path in tmp_path.rglob("*.jsonl"))
