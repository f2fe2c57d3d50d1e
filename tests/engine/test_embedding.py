"""Embeddings: chain, retries, health and traces as for a completion; batches; sound vectors or none."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable
from struct import pack
from typing import Any

import pytest

from helpers.servers import Received, Server, answering, answering_by, http, json_answer
from helpers.support import FakeClock, Memory
from helpers.transports import TRANSPORTS
from lee_llm_router import (
    EmbeddingResponse,
    InvalidRequestError,
    InvalidResponseError,
    LeeLLMRouter,
    LLMRouterError,
    RateLimitError,
    WrapperProvider,
)

Ask = Callable[..., EmbeddingResponse]


def sync(router: LeeLLMRouter, *args: Any, **options: Any) -> EmbeddingResponse:
    return router.embed(*args, **options)


def in_asyncio(router: LeeLLMRouter, *args: Any, **options: Any) -> EmbeddingResponse:
    async def main() -> EmbeddingResponse:
        try:
            return await router.embed_async(*args, **options)
        finally:
            await router.aclose()

    return asyncio.run(main())


both_ways = pytest.mark.parametrize("ask", [sync, in_asyncio])


def mocks(**providers: Any) -> dict[str, Any]:
    names = list(providers)
    role = {"provider": names[0], "fallback_providers": names[1:], "accept": {"min_chars": 5}, "temperature": 1}
    return {"llm": {"providers": providers, "roles": {"r": role}}}


@both_ways
def test_each_text_has_its_vector_and_the_trace_says_what_was_asked(ask: Ask) -> None:
    """What a role asks of completions (`accept`, temperature) does not concern embeddings."""
    memory = Memory()
    with LeeLLMRouter(mocks(m={"type": "mock"}), trace_store=memory) as router:
        answer = ask(router, "r", ["one", "two words", "one"], dimensions=5)
    assert (answer.dimensions, answer.provider, answer.usage.prompt_tokens) == (5, "m", 4)
    assert answer.vectors[0] == answer.vectors[2] != answer.vectors[1]
    (record,) = memory.records
    assert (record.operation, record.outcome, record.request_id) == ("embedding", "ok", answer.request_id)


@both_ways
def test_failures_are_retried_and_fall_back(ask: Ask) -> None:
    limited = {"type": "mock", "script": [{"error": "RATE_LIMIT", "retry_after": 30}]}
    shaky = {"type": "mock", "script": [{"error": "OVERLOADED"}, {}]}
    memory = Memory()
    with LeeLLMRouter(mocks(a=limited, b=shaky), trace_store=memory, clock=FakeClock()) as router:
        assert ask(router, "r", "hi").provider == "b"
    assert [(r.provider, r.failure_type) for r in memory.records] == [
        ("a", "RATE_LIMIT"),
        ("b", "OVERLOADED"),
        ("b", None),
    ]


def test_a_provider_without_embeddings_is_skipped() -> None:
    memory = Memory()
    codex = {"type": "codex_cli", "command": "/nowhere"}
    router = LeeLLMRouter(mocks(c=codex, m={"type": "mock"}), trace_store=memory, wrap_provider=WrapperProvider)
    with router:
        assert router.embed("r", ["hi"]).provider == "m"
    assert memory.records[0].outcome == "skipped" and "no embeddings" in str(memory.records[0].error)


@pytest.mark.parametrize(
    ("inputs", "options", "says"),
    [
        ([], {}, "inputs is empty"), ("", {}, r"inputs\[0\] is empty"), (["a", ""], {}, r"inputs\[1\] is empty"),
        (["a", 7], {}, r"inputs\[1\] must be text, not int"), (7, {}, "must be a string or strings"),
        ({"a": 1}, {}, "must be a string or a list of strings, not dict"),
        ({"a", "b"}, {}, "a list of strings, not set"),
        (["\ud800"], {}, "lone surrogate"), (["a"], {"dimensions": 0}, "dimensions"),
        (["a"], {"dimensions": True}, "dimensions"), (["a"], {"modell": "x"}, "model"),
        (["a"], {"temperature": 1}, "no such option for this kind of call: temperature"),
    ],
)  # fmt: skip
def test_what_cannot_be_embedded_is_refused_before_anything_is_sent(inputs: Any, options: Any, says: str) -> None:
    router = LeeLLMRouter(mocks(m={"type": "mock"}), trace_store=False)
    with router, pytest.raises(InvalidRequestError, match=says):
        router.embed("r", inputs, **options)


# Over HTTP


def vectors_of(body: bytes, **more: Any) -> dict[str, Any]:
    texts = json.loads(body)["input"]
    data = [{"index": i, "embedding": [float(len(text)), 0.5]} for i, text in enumerate(texts)]
    return {"data": data, "model": "served", "usage": {"prompt_tokens": len(texts), "total_tokens": len(texts)}, **more}


def over_http(url: str, **settings: Any) -> dict[str, Any]:
    provider = {"type": "http", "base_url": url, "model": "m", **settings}
    role = {"provider": "p", "retry": {"attempts": 2, "backoff": 0.01}}
    return {"llm": {"providers": {"p": provider}, "roles": {"r": role}}}


@both_ways
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.feature("openai_chat", "embeddings")
def test_texts_go_out_in_batches_and_vectors_come_back_in_order(ask: Ask, transport: str) -> None:
    memory = Memory()
    seen: list[Received] = []

    def script(request: Received) -> bytes:
        seen.append(request)
        return json_answer(vectors_of(request.body))

    with Server(answering_by(script)) as server:
        config = over_http(server.url, embedding_batch=2, transport=transport)
        with LeeLLMRouter(config, trace_store=memory) as router:
            answer = ask(router, "r", ["a", "bb", "ccc", "dddd", "eeeee"], dimensions=2, extra_body={"user": "u"})
    assert [vector[0] for vector in answer.vectors] == [1, 2, 3, 4, 5]
    assert (answer.usage.prompt_tokens, answer.model, len(memory.records)) == (5, "served", 1)
    bodies = [json.loads(request.body) for request in seen]
    assert [body["input"] for body in bodies] == [["a", "bb"], ["ccc", "dddd"], ["eeeee"]]
    assert all((body["model"], body["dimensions"], body["user"]) == ("m", 2, "u") for body in bodies)
    assert all("/embeddings " in request.line for request in seen)


@both_ways
def test_a_retry_goes_on_after_the_last_batch_that_was_answered(ask: Ask) -> None:
    asked: list[list[str]] = []

    def script(request: Received) -> bytes:
        asked.append(json.loads(request.body)["input"])
        if len(asked) == 2:
            return http(500, b"{}")
        return json_answer(vectors_of(request.body))

    with (
        Server(answering_by(script)) as server,
        LeeLLMRouter(over_http(server.url, embedding_batch=1), trace_store=False) as router,
    ):
        assert len(ask(router, "r", ["a", "b", "c"]).vectors) == 3
    assert asked == [["a"], ["b"], ["b"], ["c"]]


def base64_of(*numbers: float) -> str:
    return b64encode(pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize(
    ("data", "vectors"),
    [
        ([{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1]}], ((1,), (2,))),
        ([{"embedding": [1]}, {"embedding": [2]}], ((1,), (2,))),
        ([{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [2]}], ((1,), (2,))),
        (
            [{"index": 0, "embedding": base64_of(0.5, -2)}, {"index": 1, "embedding": base64_of(1, 1)}],
            ((0.5, -2), (1, 1)),
        ),
    ],
    ids=["out of order", "without numbers", "all numbered alike", "base64"],
)
def test_what_servers_do_differently_is_read(data: Any, vectors: Any) -> None:
    with (
        Server(answering(json_answer({"data": data}))) as server,
        LeeLLMRouter(over_http(server.url), trace_store=False) as router,
    ):
        assert router.embed("r", ["a", "b"]).vectors == vectors


@pytest.mark.parametrize(
    "data",
    [
        None, [], [{"embedding": [1]}], [{"embedding": [1]}] * 3, [{"embedding": [1]}, {"embedding": [1, 2]}],
        [{"embedding": [1]}, {"embedding": []}], [{"embedding": [1]}, {"embedding": ["x"]}],
        [{"embedding": [1]}, {"embedding": [None]}], [{"embedding": [1]}, {}], ["a", "b"], [[1], [2]],
        [{"embedding": [1]}, {"embedding": "%%%"}], [{"embedding": [1]}, {"embedding": "QUI="}],
        [{"index": 0, "embedding": [1]}, {"index": 2, "embedding": [1]}],
        [{"embedding": [1e308, 1e308]}, {"embedding": [1, float("inf")]}],
    ],
)  # fmt: skip
def test_vectors_that_are_not_whole_are_no_answer(data: Any) -> None:
    body = json.dumps({"data": data, "object": "list"}).encode()
    with Server(answering(http(200, body))) as server:
        router = LeeLLMRouter(over_http(server.url), trace_store=False)
        with router, pytest.raises(InvalidResponseError):
            router.embed("r", ["a", "b"])


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http(429, b'{"error": {"message": "slow down"}}', {"Retry-After": "700"}), RateLimitError),
        (http(200, b'{"error": {"code": 429, "message": "slow down"}}'), LLMRouterError),
        (http(200, b"<html>no</html>"), InvalidResponseError),
    ],
)
def test_failures_are_those_of_completions(answer: bytes, error: type[LLMRouterError]) -> None:
    with Server(answering(answer)) as server:
        router = LeeLLMRouter(over_http(server.url), trace_store=False)
        with router, pytest.raises(error):
            router.embed("r", ["a"], deadline=2)


def test_a_long_text_is_alone_in_its_batch() -> None:
    sizes: list[int] = []

    def script(request: Received) -> bytes:
        sizes.append(len(json.loads(request.body)["input"]))
        return json_answer(vectors_of(request.body))

    with Server(answering_by(script)) as server, LeeLLMRouter(over_http(server.url), trace_store=False) as router:
        router.embed("r", ["a", "x" * 399_999, "b" * 500_000, "c", "d"])
    assert sizes == [2, 1, 2]
