"""What holds for every dialect alike."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.servers import Server, answering, json_answer
from helpers.support import Memory
from lee_llm_router import LeeLLMRouter, LLMRouterError, UnavailableError

DIALECTS = {
    "openai_chat": ("http", "m", lambda body: body),
    "openai_responses": ("openai_responses", "m", lambda body: body),
    "anthropic": ("anthropic", "claude-3-5-haiku-latest", lambda body: body),
    "gemini": ("gemini", "gemini-2.5-flash", lambda body: body["generationConfig"]),
}
EACH = [pytest.param(*how, marks=pytest.mark.feature(name, "temperature")) for name, how in DIALECTS.items()]


@pytest.mark.parametrize(("kind", "model", "options"), EACH)
def test_the_temperature_goes_out(kind: str, model: str, options: Any) -> None:
    with Server(answering(json_answer({}, 500))) as server:
        provider = {"type": kind, "base_url": server.url, "model": model}
        role = {"provider": "p", "temperature": 0.25, "retry": {"attempts": 1}}
        router = LeeLLMRouter({"llm": {"providers": {"p": provider}, "roles": {"r": role}}}, trace_store=False)
        with router, pytest.raises(LLMRouterError):
            router.complete("r", "hi")
    assert options(server.requests[0].json)["temperature"] == 0.25


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(name, marks=pytest.mark.feature(name, "embeddings", supported=False))
        for name in ("openai_responses", "anthropic")
    ],
)
def test_an_api_without_embeddings_is_skipped(kind: str) -> None:
    provider = {"type": kind, "base_url": "http://127.0.0.1:9", "model": "m"}
    memory = Memory()
    config = {"providers": {"p": provider}, "roles": {"r": {"provider": "p"}}}
    router = LeeLLMRouter({"llm": config}, trace_store=memory)
    with router, pytest.raises(UnavailableError):
        router.embed("r", "hi")
    assert "no embeddings" in str(memory.records[0].error)
