"""Embeddings by the Gemini API and by Vertex: what goes out, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.servers import Server, answering, json_answer
from lee_llm_router import InvalidRequestError, InvalidResponseError, LeeLLMRouter, LLMRouterError, RateLimitError
from lee_llm_router.providers.embeddings import EmbeddingRequest
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.gemini.embeddings import GeminiEmbeddings
from lee_llm_router.providers.http.dialects.gemini.settings import GeminiConfig

VERTEX = "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1/publishers/google"
DIALECT = GeminiEmbeddings()


def config(**settings: Any) -> GeminiConfig:
    return GeminiConfig.model_validate({"type": "gemini", "api_key_env": None, **settings})


def router_to(url: str, **settings: Any) -> LeeLLMRouter:
    provider = {"type": "gemini", "base_url": url, "model": "gemini-embedding-001", **settings}
    role = {"provider": "p", "retry": {"attempts": 1}}
    return LeeLLMRouter({"llm": {"providers": {"p": provider}, "roles": {"r": role}}}, trace_store=False)


@pytest.mark.feature("gemini", "embeddings")
def test_texts_go_out_in_one_request_and_their_vectors_come_back() -> None:
    answer = {"embeddings": [{"values": [1, 2]}, {"values": [3, 4]}], "usageMetadata": {"promptTokenCount": 5}}
    with Server(answering(json_answer(answer))) as server, router_to(f"{server.url}/v1beta") as router:
        response = router.embed("r", ["a", "b"], dimensions=2)
    assert (response.vectors, response.usage.prompt_tokens) == (((1, 2), (3, 4)), 5)
    (received,) = server.requests
    assert received.line.split()[1].endswith("/v1beta/models/gemini-embedding-001:batchEmbedContents")
    assert received.json == {"requests": [
        {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": text}]}, "outputDimensionality": 2}
        for text in ("a", "b")
    ]}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "method", "body"),
    [
        (
            "text-embedding-005", "predict",
            {"instances": [{"content": "a"}, {"content": "b"}], "parameters": {"outputDimensionality": 7}},
        ),
        (
            "gemini-embedding-001", "batchEmbedContents",
            {"requests": [
                {"content": {"parts": [{"text": text}]}, "embedContentConfig": {"outputDimensionality": 7}}
                for text in ("a", "b")
            ]},
        ),
    ],
)  # fmt: skip
def test_vertex_has_two_forms_by_the_name_of_the_model(model: str, method: str, body: dict[str, Any]) -> None:
    request = EmbeddingRequest(inputs=("a", "b"), model=model, dimensions=7)
    settings = config(base_url=VERTEX)
    assert DIALECT.path(request, settings) == f"/models/{model}:{method}"
    assert DIALECT.encode(request, ["a", "b"], settings) == body


def test_vertex_tells_the_tokens_of_each_text() -> None:
    one = {"embeddings": {"values": [0.5], "statistics": {"token_count": 3.0, "truncated": False}}}
    reply = HTTPReply(200, json_answer({"predictions": [one, one]}).partition(b"\r\n\r\n")[2])
    batch = DIALECT.decode(reply, 2)
    assert (batch.vectors, batch.usage.prompt_tokens) == (((0.5,), (0.5,)), 6)


@pytest.mark.parametrize(
    "answer",
    [{}, {"embeddings": []}, {"embeddings": [{}, {}]}, {"embeddings": [{"values": [1]}]}, {"predictions": [{}, 1]}],
)
def test_what_is_not_whole_is_no_answer(answer: Any) -> None:
    with Server(answering(json_answer(answer))) as server:
        router = router_to(server.url)
        with router, pytest.raises(InvalidResponseError):
            router.embed("r", ["a", "b"])


def test_failures_are_those_of_the_vendor() -> None:
    error = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow down"}}
    for status, kind in ((429, RateLimitError), (200, LLMRouterError)):
        with Server(answering(json_answer(error, status))) as server:
            router = router_to(server.url)
            with router, pytest.raises(kind):
                router.embed("r", ["a"], deadline=1)


def test_a_model_must_be_named() -> None:
    with pytest.raises(InvalidRequestError, match="model"):
        DIALECT.path(EmbeddingRequest(inputs=("a",)), config())
