"""Answers in the dialect of Anthropic's messages: recorded ones, and ways to read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.anthropic_messages import (
    CALL,
    CITED,
    FOUND,
    MODEL,
    REDACTED,
    SEARCH,
    TEXT,
    THOUGHT,
    message,
)
from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.anthropic.dialect import MessagesDialect
from lee_llm_router.providers.http.dialects.anthropic.settings import AnthropicConfig
from lee_llm_router.providers.streams import AnswerParts
from lee_llm_router.response import LLMRequest, LLMResponse, LLMUsage, StreamChunk

F = FailureType
DIALECT = MessagesDialect()
SETTINGS = AnthropicConfig.model_validate({"type": "anthropic", "model": MODEL})
COUNTED = LLMUsage(prompt_tokens=13, completion_tokens=9, total_tokens=22, cached_tokens=4, cache_write_tokens=2)
PHOTO = {"type": "container_upload", "file_id": "file_1"}
RECORDED = {
    "a text": message(TEXT),
    "thinking, a text and two calls": message(THOUGHT, TEXT, CALL, {**CALL, "id": "toolu_02"}, stop_reason="tool_use"),
    "redacted thinking": message(REDACTED, THOUGHT, TEXT),
    "a call without arguments": message({**CALL, "input": {}}, stop_reason="tool_use"),
    "a search of the vendor's": message(
        THOUGHT, {**TEXT, "text": "I look."}, SEARCH, FOUND, THOUGHT, {**TEXT, "citations": [CITED]}, TEXT
    ),
    "a paused turn": message(TEXT, SEARCH, stop_reason="pause_turn"),
    "nothing": message(),
    "a cut text": message(TEXT, stop_reason="max_tokens"),
    "a file": message(TEXT, PHOTO),
    "every kind of character": message({"type": "text", "text": "Grüße 😀 \u2028 \u0000 \" \\"}),
}  # fmt: skip


def reply(body: bytes, status: int = 200) -> HTTPReply:
    return HTTPReply(
        status, body, secrets=("sk-ant-secret-0123456789",), settings=SETTINGS, request=LLMRequest(messages=())
    )


def decoded(whole: Any) -> LLMResponse:
    return DIALECT.decode(reply(whole if isinstance(whole, bytes) else json.dumps(whole).encode()))


def read(pieces: list[bytes]) -> LLMResponse:
    """The answer in a stream that comes in `pieces`, put together from its chunks."""
    decoder, parts = DIALECT.decoder(reply(b""), SETTINGS), AnswerParts()
    for piece in [*pieces, b""]:
        if not decoder.done:
            decoder.feed(piece)
        while (chunk := decoder.next()) is not None:
            parts.add(chunk)
    assert decoder.done
    return parts.response(decoder.whole_raw())


def chunks_of(body: bytes) -> Iterator[StreamChunk]:
    decoder = DIALECT.decoder(reply(b""), SETTINGS)
    for piece in (body, b""):
        if not decoder.done:
            decoder.feed(piece)
        while (chunk := decoder.next()) is not None:
            yield chunk


def refused(body: Any) -> LLMRouterError:
    with pytest.raises(LLMRouterError) as caught:
        decoded(body)
    return caught.value


def broken(body: bytes) -> LLMRouterError:
    with pytest.raises(LLMRouterError) as caught:
        list(chunks_of(body))
    return caught.value
