"""What holds for every dialect alike."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.servers import Server, answering, http, json_answer
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


@pytest.mark.parametrize("kind", ["http", "openai_responses", "anthropic", "gemini"])
@pytest.mark.parametrize(
    "answer", [http(404, b"404 page not found"), http(405), json_answer({"detail": "Not Found"}, 404)]
)
def test_where_nothing_is_under_an_address_without_a_version_the_error_says_so(kind: str, answer: bytes) -> None:
    """People leave it out, because other clients add it by themselves. Where a model is missing, nothing is said."""
    no_model = json_answer({"error": {"message": "model 'm' not found"}}, 404)
    for path, sent, is_told in (
        ("", answer, True),
        ("/api", answer, True),
        ("/v1beta", answer, False),
        ("", no_model, False),
    ):
        with Server(answering(sent)) as server:
            provider = {"type": kind, "base_url": server.url.removesuffix("/v1") + path, "model": "m"}
            config = {"providers": {"p": provider}, "roles": {"r": {"provider": "p"}}}
            router = LeeLLMRouter({"llm": config}, trace_store=False)
            with router, pytest.raises(LLMRouterError) as caught:
                router.complete("r", "hi")
        assert ("is the version missing in base_url?" in str(caught.value)) == is_told, (path, str(caught.value))


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
