"""Embeddings by a real model behind llama.cpp's own server, over `http`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from math import sqrt

import pytest

from lee_llm_router import ContextLengthError, LeeLLMRouter, LLMRouterError
from real import llama

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def router(model: str) -> Iterator[LeeLLMRouter]:
    with llama.serve_model(model, embeddings=True) as address:
        provider = {"type": "http", "base_url": address, "embedding_batch": 2}
        role = {"provider": "p", "retry": {"attempts": 1}, "timeout": 120}
        config = {"llm": {"providers": {"p": provider}, "roles": {"r": role}, "trace": {"enabled": False}}}
        with LeeLLMRouter(config) as router:
            yield router


def likeness(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The cosine of the angle between two vectors."""
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def test_each_text_has_its_vector_and_like_texts_have_like_ones(router: LeeLLMRouter) -> None:
    texts = ["The cat sleeps.", "The cat is sleeping.", "Stock prices fell sharply."] * 2
    found = router.embed("r", texts)
    assert len(found.vectors) == 6 and found.dimensions > 100
    assert (found.usage.prompt_tokens or 0) > 6
    cat, sleeping, stock = found.vectors[:3]
    assert likeness(cat, sleeping) > likeness(cat, stock)
    (again,) = asyncio.run(router.embed_async("r", "The cat sleeps.")).vectors
    assert likeness(cat, again) > 0.999


def test_a_text_past_the_context_is_a_typed_error(router: LeeLLMRouter) -> None:
    with pytest.raises(LLMRouterError) as caught:
        router.embed("r", "word " * 20_000)
    assert isinstance(caught.value, ContextLengthError)
