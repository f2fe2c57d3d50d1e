"""What texts reach records, events and messages: no word of an answer, no key, no flood."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

from helpers.secret_texts import ANSWER, KEY, SECRET_WORDS
from helpers.servers import Conversation, Server, http, json_answer
from helpers.support import Pieces, config_for, router_for
from lee_llm_router import (
    ContentFilterError,
    InvalidResponseError,
    LeeLLMRouter,
    LLMResponse,
    LLMRouterError,
    OverloadedError,
    ProviderError,
    RateLimitError,
    StreamChunk,
    UnknownFailureError,
    load_config,
)
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

# --- no word of an answer with `capture: meta` ---


def _pydantic_error() -> Exception:
    class Answer(pydantic.BaseModel):
        n: int

    try:
        Answer.model_validate({"n": ANSWER})
    except pydantic.ValidationError as error:
        return error
    raise AssertionError


def _json_error() -> Exception:
    try:
        json.loads(ANSWER)
    except ValueError as error:
        return error
    raise AssertionError


def _refusal(text: str) -> Exception:
    return ContentFilterError(f"the model refused: {text}", status_code=200)


RAISED: dict[str, Any] = {
    "a refusal": _refusal(ANSWER),
    "a refusal without a status": ContentFilterError(f"refused: {ANSWER}"),
    "a refusal in quotes": ContentFilterError(f'the model said "{ANSWER}"'),
    "a body that is no JSON": InvalidResponseError(f"the answer is not JSON but {ANSWER!r}", status_code=200),
    "typographic quotes": InvalidResponseError(f"the model wrote “{ANSWER}”"),
    "German quotes": InvalidResponseError(f"the model wrote „{ANSWER}“"),
    "a code fence": InvalidResponseError(f"cannot read ```{ANSWER}```"),
    "an exit code": InvalidResponseError(f"codex said: {ANSWER}", status_code=1),
    "a parser that shows its input": _pydantic_error(),
    "a foreign exception": ValueError(f"cannot read: {ANSWER}"),
    "a key that is missing": KeyError(ANSWER),
    "a foreign exception with lines": RuntimeError(f"\n\n{ANSWER}\n"),
    "an assertion": AssertionError(ANSWER),
    "an unknown failure": UnknownFailureError(f"ValueError: {ANSWER}"),
    "a JSON error": _json_error(),
}


@pytest.mark.parametrize("way", ["sync", "stream", "in the stream"])
@pytest.mark.parametrize("kind", RAISED)
def test_no_word_of_an_answer_is_in_a_record_a_log_or_an_event(
    kind: str, way: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Whatever fails, and however: with `capture: meta` the type is there, the words of the answer are not."""
    raised = RAISED[kind]
    outcome = Pieces("x ", raised) if way == "in the stream" else raised
    config = config_for({"a": [outcome], "b": [_refusal(ANSWER)]}, {"retry": {"attempts": 1}, "fallback_on": []})
    store = LocalFileTraceStore(tmp_path)
    router, memory, _ = router_for(config, trace_store=store)
    with caplog.at_level(logging.DEBUG), pytest.raises(LLMRouterError) as error:
        _run(router, way)
    router.close()
    told = [caplog.text, repr(memory.events), *(file.read_text() for file in tmp_path.glob("*.jsonl"))]
    told += [repr(record) for record in error.value.attempts]
    for word in SECRET_WORDS:
        assert not [text for text in told if word in text]
    record = error.value.attempts[0]
    assert record.failure_type and record.error


def _run(router: LeeLLMRouter, way: str) -> None:
    if way == "sync":
        router.complete("r", "hi")
    else:
        list(router.stream("r", "hi"))


def _cut_body(conversation: Conversation) -> None:
    conversation.receive()
    conversation.send(http(200, json.dumps({"choices": [{"message": {"content": ANSWER}}]}).encode()[:-9]))


def _no_json(conversation: Conversation) -> None:
    conversation.receive()
    conversation.send(http(200, ANSWER.encode()))


def _wire_refusal(conversation: Conversation) -> None:
    conversation.receive()
    conversation.send(json_answer({"choices": [{"message": {"refusal": ANSWER}, "finish_reason": "stop"}]}))


def _cut_event(conversation: Conversation) -> None:
    conversation.receive()
    events = b'data: {"choices":[{"delta":{"content":"' + ANSWER.encode() + b"\n\ndata: [DONE]\n\n"
    conversation.send(http(200, events, {"Content-Type": "text/event-stream"}))


@pytest.mark.parametrize("way", ["sync", "stream"])
@pytest.mark.parametrize("script", [_cut_body, _no_json, _wire_refusal, _cut_event])
def test_no_word_of_an_answer_comes_over_the_wire_into_a_trace(
    script: Callable[[Conversation], None], way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused, cut, no JSON at all, a broken event."""
    with Server(script) as server:
        config = load_config({"llm": {
            "providers": {"p": {"type": "http", "base_url": server.url}},
            "roles": {"r": {"provider": "p", "model": "m", "retry": {"attempts": 1}}}, "trace": {"dir": str(tmp_path)},
        }})  # fmt: skip
        with caplog.at_level(logging.DEBUG, "lee_llm_router"), LeeLLMRouter(config) as router:
            try:
                _run(router, way)
            except LLMRouterError as error:
                assert error.attempts[0].error
    told = [caplog.text, *(file.read_text() for file in tmp_path.glob("*.jsonl"))]
    assert len(told) == 2
    for word in SECRET_WORDS:
        assert not [text for text in told if word in text]


@pytest.mark.parametrize(
    "error",
    [
        RateLimitError("slow down, please: 'tier 1' allows 3", status_code=429),
        OverloadedError('busy: try "later"', status_code=503),
        ProviderError("connection refused: 'host'"),
        ContentFilterError("policy: 'violence'", status_code=400),
        InvalidResponseError("HTTP 302: redirects are not followed", status_code=302),
        InvalidResponseError("the stream ended without a finish reason"),
        UnknownFailureError("HTTP 418: 'teapot'", status_code=418),
        InvalidResponseError("the answer was not accepted: it has 0 characters", response=LLMResponse(text="")),
    ],
)
def test_what_a_vendor_or_the_engine_says_of_a_failure_stays_whole(error: LLMRouterError) -> None:
    """No answer has come, or the message quotes none: the record tells all of it."""
    router, memory, _ = router_for(config_for({"a": [error]}, {"retry": {"attempts": 1}}))
    with pytest.raises(LLMRouterError):
        router.complete("r", "hi")
    assert memory.records[0].error == error.message


def test_the_caller_hears_all_of_it() -> None:
    """The error that is raised goes to the one who asked, and quotes what a record leaves out."""
    router, memory, _ = router_for(config_for({"a": [_refusal(ANSWER)]}))
    with pytest.raises(ContentFilterError, match="zebra"):
        router.complete("r", "hi")
    assert memory.records[0].error == "the model refused …"


def test_a_call_that_ends_between_attempts_quotes_no_earlier_answer() -> None:
    config = config_for({"a": [_refusal(ANSWER)]}, {"retry": {"attempts": 3}, "fallback_on": ["CONTENT_FILTER"]})
    router, memory, _ = router_for(config)
    with pytest.raises(LLMRouterError):
        router.complete("r", "hi")
    assert not any("zebra" in (record.error or "") for record in memory.records)


def test_a_hook_that_sees_prompts_is_not_quoted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """What a compression hook raises may hold the prompt."""

    def broken(messages: list[Any]) -> list[Any]:
        raise ValueError(f"cannot shorten {messages}")

    router, _, _ = router_for(config_for({"a": ["ok"]}), compression=broken)
    assert router.complete("r", ANSWER).text == "ok"
    assert "compression failed" in caplog.text and "ValueError" in caplog.text and "zebra" not in caplog.text


# --- words of providers ---


@pytest.mark.parametrize("way", ["sync", "stream", "failed"])
@pytest.mark.parametrize("text", [
    f"gpt-{KEY}", KEY * 2, "m" * 3_000_000, f"{KEY}{'x' * 3_000_000}", "two\nlines", "\x1b[31mred", "sk-" + "a1" * 20,
    5, b"bytes", ["list"], 10**400, float("nan"),
], ids=range(12))  # fmt: skip
def test_a_served_model_and_a_finish_reason_are_bounded_and_without_keys(text: Any, way: str) -> None:
    """In the record of a whole answer, a streamed one, and one that came with a failure."""
    answer = LLMResponse(text="x", model=text, finish_reason=text)
    outcomes: dict[str, Any] = {
        "sync": answer,
        "stream": Pieces(StreamChunk(text="x", model=text, finish_reason=text)),
        "failed": OverloadedError("x", response=answer),
    }
    config = config_for({"a": [outcomes[way]]}, {"retry": {"attempts": 1}}, {"a": {"secret": KEY}})
    router, memory, _ = router_for(config)
    for _ in range(2):
        try:
            _run(router, "stream" if way == "stream" else "sync")
        except LLMRouterError:
            continue
    assert memory.records
    for record in memory.records:
        for word in (record.served_model, record.finish_reason):
            assert word is None or (isinstance(word, str) and len(word) <= 200 and word.isprintable())
            assert KEY not in (word or "") and "a1a1a1" not in (word or "")
        assert len(record.to_json()) < 2000


@pytest.mark.parametrize("options", [
    {"headers": {"X-Api-Key": "own-key-of-this-call"}},
    {"extra_body": {"api_key": "own-key-of-this-call"}},
    {"extra_body": {"upstream": [{"auth_token": "own-key-of-this-call"}]}},
])  # fmt: skip
def test_a_key_of_the_call_alone_is_in_no_record(options: Any) -> None:
    """A header of this call, or a part of its body, that a vendor echoes as its model."""
    answer = LLMResponse(text="x", model="m-own-key-of-this-call", finish_reason="stop")
    router, memory, _ = router_for(config_for({"a": [answer]}))
    router.complete("r", "hi", **options)
    assert memory.records[0].served_model == "m-***"


@pytest.mark.parametrize("code", [10**4000, -(10**400), 10**13], ids=range(3))
def test_a_status_nobody_can_have_counts_as_none(code: int) -> None:
    router, memory, _ = router_for(
        config_for({"a": [OverloadedError("x", status_code=code)]}, {"retry": {"attempts": 1}})
    )
    with pytest.raises(OverloadedError):
        router.complete("r", "hi")
    assert memory.records[0].status_code is None


def test_many_words_of_a_provider_do_not_fill_the_memory() -> None:
    router, memory, _ = router_for(config_for({"a": [Pieces()]}))
    for number in range(1200):
        router._parts.pool.open("a", {}).calls.clear()  # type: ignore[attr-defined]
        provider: Any = router._parts.pool.open("a", {})
        object.__setattr__(provider.config, "outcomes", (LLMResponse(text="x", model=f"m{number}"),))
        router.complete("r", "hi")
    assert memory.records[-1].served_model == "m1199"
    assert len(router._parts.provider_words) <= 500
