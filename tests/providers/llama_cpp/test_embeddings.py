"""Embeddings by a model in this process."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from helpers.fake_llama import FakeLlama
from lee_llm_router import FailureType, LeeLLMRouter, LLMRouterError


@pytest.fixture(params=["sync", "async"])
def form(request: pytest.FixtureRequest) -> str:
    """How it is asked."""
    found: str = request.param
    return found


def embed(router: LeeLLMRouter, form: str, inputs: Any, **options: Any) -> Any:
    if form == "sync":
        return router.embed("r", inputs, **options)

    async def main() -> Any:
        return await router.embed_async("r", inputs, **options)

    return asyncio.run(main())


def router_of(config: dict[str, Any], **inside: Any) -> LeeLLMRouter:
    config["llm"]["providers"]["inside"].update({"embeddings": True, **inside})
    return LeeLLMRouter(config)


@pytest.mark.feature("llama_cpp", "embeddings")
def test_a_vector_for_each_text_in_batches(llama: FakeLlama, config: dict[str, Any], form: str) -> None:
    texts = ["x" * length for length in range(1, 21)]
    with router_of(config) as router:
        found = embed(router, form, texts)
    assert [vector[0] for vector in found.vectors] == list(range(1, 21))
    assert found.model == "tiny" and found.usage.prompt_tokens == 3 * len(llama.bodies)
    assert len(llama.bodies) > 1 and all(len(body["input"]) <= 8 for body in llama.bodies)


def test_the_model_is_loaded_for_both_and_a_text_goes_through_in_one_piece(
    llama: FakeLlama, config: dict[str, Any]
) -> None:
    with router_of(config, n_ctx=512, pooling="cls") as router:
        router.embed("r", "a")
        assert router.complete("r", "hi").text == "Hello, world"
    (params,) = llama.params
    assert params.embedding is True and params.pooling_type == "CLS"
    assert params.n_batch == params.n_ubatch == 512


def test_vectors_are_shortened_and_have_length_1(llama: FakeLlama, config: dict[str, Any], form: str) -> None:
    with router_of(config) as router:
        (vector,) = embed(router, form, "abc", dimensions=1).vectors
        assert vector == (1.0,)
        with pytest.raises(LLMRouterError, match="2 dimensions, not 3"):
            embed(router, form, "abc", dimensions=3)
    assert math.hypot(*vector) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ({"error": {"code": 500, "message": "input (9 tokens) is too large to process. increase the physical batch size"
                    " (current batch size: 8)", "type": "server_error"}}, FailureType.CONTEXT_LENGTH),
        ({"error": {"code": 400, "message": "bad", "type": "invalid_request_error"}}, FailureType.INVALID_REQUEST),
        (RuntimeError("odd"), FailureType.INVALID_REQUEST),
        ({"data": []}, FailureType.INVALID_RESPONSE),
        ({"data": [{"index": 0, "embedding": ["x"]}]}, FailureType.INVALID_RESPONSE),
        ({}, FailureType.INVALID_RESPONSE),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_a_typed_error(
    llama: FakeLlama, config: dict[str, Any], form: str, reply: Any, kind: FailureType
) -> None:
    llama.replies = [reply]
    with router_of(config) as router, pytest.raises(LLMRouterError) as caught:
        embed(router, form, "abc")
    assert caught.value.failure_type is kind


def test_without_the_setting_the_target_is_skipped(llama: FakeLlama, config: dict[str, Any]) -> None:
    with LeeLLMRouter(config) as router, pytest.raises(LLMRouterError, match="has no embeddings"):
        router.embed("r", "abc")
    assert llama.params == []
