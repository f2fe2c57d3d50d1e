"""A call becomes a span, and each attempt one below it, wherever it runs; usage and errors stand where they belong."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from helpers.spans import MemorySDK
from helpers.support import END, Pieces, config_for, provider_of, router_for
from lee_llm_router import AnswerDetails, LeeLLMRouter, LLMResponse, LLMRouterError, LLMUsage, load_config
from lee_llm_router.errors import FailureType, error_for

DOWN = error_for(FailureType.PROVIDER_ERROR, "the server broke", status_code=500, sent=True)
LIMITED = error_for(FailureType.RATE_LIMIT, "slow down", status_code=429, sent=True)


def _router(sdk: MemorySDK, outcomes: dict[str, Any], **options: Any) -> LeeLLMRouter:
    router, _, _ = router_for(config_for(outcomes, options.pop("role", None)), event_sink=sdk.sink, **options)
    return router


def _complete(router: LeeLLMRouter) -> None:
    router.complete("r", "hi")


def _complete_async(router: LeeLLMRouter) -> None:
    asyncio.run(router.complete_async("r", "hi"))


def _complete_in_a_thread(router: LeeLLMRouter) -> None:
    # As frameworks do: the thread works in a copy of the context.
    asyncio.run(asyncio.to_thread(router.complete, "r", "hi"))


def _stream(router: LeeLLMRouter) -> None:
    list(router.stream("r", "hi"))


def _stream_async(router: LeeLLMRouter) -> None:
    async def read() -> None:
        async for _ in router.stream_async("r", "hi"):
            pass

    asyncio.run(read())


def _read_in_another_thread(router: LeeLLMRouter) -> None:
    stream = router.stream("r", "hi")
    thread = threading.Thread(target=lambda: list(stream))
    thread.start()
    thread.join()


def _read_in_another_task(router: LeeLLMRouter) -> None:
    async def read(stream: AsyncIterator[Any]) -> None:
        async for _ in stream:
            pass

    # The loop copies the context before the stream is made, and the span of the application is no part of it.
    stream = router.stream_async("r", "hi")
    thread = threading.Thread(target=lambda: asyncio.run(read(stream)))
    thread.start()
    thread.join()


WAYS: list[Callable[[LeeLLMRouter], None]] = [
    _complete, _complete_async, _complete_in_a_thread, _stream, _stream_async, _read_in_another_thread,
    _read_in_another_task,
]  # fmt: skip


def _id(span: Any) -> Any:
    return span.get_span_context().span_id


def _parent(span: Any) -> Any:
    return span.parent.span_id if span.parent else None


@pytest.mark.parametrize("ask", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_a_retry_and_a_fallback_are_one_parent_and_three_children(ask: Callable[[LeeLLMRouter], None]) -> None:
    sdk = MemorySDK()
    router = _router(sdk, {"a": [DOWN, LIMITED], "b": ["ok"]})
    with sdk.tracer.start_as_current_span("application") as application:
        ask(router)
        assert trace.get_current_span() is application, "the context of the caller has changed"
    call = sdk.call()
    assert _parent(call) == application.get_span_context().span_id
    assert [_parent(attempt) for attempt in sdk.attempts()] == [_id(call)] * 3
    assert {span.get_span_context().trace_id for span in sdk.spans} == {call.get_span_context().trace_id}
    assert [attempt.attributes["error.type"] for attempt in sdk.attempts()[:2]] == ["PROVIDER_ERROR", "RATE_LIMIT"]
    assert [attempt.status.is_ok for attempt in sdk.attempts()] == [False, False, True]
    assert "error.type" not in call.attributes and call.status.is_ok
    assert sdk.attempts()[2].attributes["gen_ai.usage.input_tokens"] == 3
    assert not [name for name in call.attributes or () if "usage" in name or "cost" in name]
    assert [event.name for event in call.events] == ["lee_llm_router.retry", "lee_llm_router.fallback"]
    assert call.attributes["lee_llm_router.saved_by_fallback"] is True


def test_spans_are_named_and_described_by_the_conventions() -> None:
    sdk = MemorySDK()
    answer = LLMResponse(
        text="yes", finish_reason="length", model="m-2027", cost_usd=0.25, details=AnswerDetails(id="chatcmpl-1"),
        usage=LLMUsage(prompt_tokens=9, completion_tokens=4, cached_tokens=5, cache_write_tokens=1, reasoning_tokens=2),
    )  # fmt: skip
    router = _router(sdk, {"a": [answer]}, role={"temperature": 0.5, "metadata": {"conversation_id": "c7"}})
    router.complete("r", "hi", max_tokens=4, metadata={"ticket": 42})
    (attempt,), call = sdk.attempts(), sdk.call()
    assert (call.name, attempt.name) == ("chat r", "chat m")
    assert attempt.attributes is not None and call.attributes is not None
    wanted = {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 4, "gen_ai.response.model": "m-2027", "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ("length",), "gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 4,
        "gen_ai.usage.cache_read.input_tokens": 5, "gen_ai.usage.cache_creation.input_tokens": 1,
        "gen_ai.usage.reasoning.output_tokens": 2, "lee_llm_router.role": "r", "lee_llm_router.attempt": 0,
        "lee_llm_router.cost_usd": 0.25, "lee_llm_router.verdict": "return",
    }  # fmt: skip
    assert wanted.items() <= attempt.attributes.items()
    wanted = {"gen_ai.conversation.id": "c7", "lee_llm_router.metadata.ticket": 42, "lee_llm_router.attempts": 1}
    assert wanted.items() <= call.attributes.items()


def test_metrics_have_the_names_units_and_buckets_of_the_conventions() -> None:
    sdk = MemorySDK()
    router = _router(sdk, {"a": [LIMITED], "b": [Pieces("ok", END)]})
    list(router.stream("r", "hi"))
    durations = sdk.points("gen_ai.client.operation.duration")
    assert [attributes.get("error.type") for attributes, _ in durations] == ["RATE_LIMIT", None]
    assert durations[0][1].explicit_bounds[:3] == (0.01, 0.02, 0.04)
    assert len(sdk.points("gen_ai.client.operation.time_to_first_chunk")) == 1
    _router(sdk, {"a": ["ok"]}).complete("r", "hi")
    tokens = {attributes["gen_ai.token.type"]: point for attributes, point in sdk.points("gen_ai.client.token.usage")}
    assert (tokens["input"].sum, tokens["output"].sum) == (3, 2)
    assert tokens["input"].explicit_bounds[-1] == 67108864


def test_a_call_that_fails_is_an_error_with_its_type() -> None:
    sdk = MemorySDK()
    with pytest.raises(LLMRouterError):
        _router(sdk, {"a": [error_for(FailureType.AUTH, "no key", sent=True)]}).complete("r", "hi")
    assert sdk.call().attributes["error.type"] == "AUTH"
    assert not sdk.call().status.is_ok


def test_a_call_refused_before_its_first_attempt_has_a_span_too() -> None:
    sdk, nonsense = MemorySDK(), cast("str", 7)
    with pytest.raises(LLMRouterError):
        _router(sdk, {"a": ["ok"]}).complete("r", nonsense)
    assert sdk.call().attributes["error.type"] == "INVALID_REQUEST"
    assert sdk.attempts() == []


def test_a_stream_that_is_left_ends_its_spans_and_is_no_error() -> None:
    sdk = MemorySDK()
    router = _router(sdk, {"a": [Pieces("one", "two", END)]})
    for _ in router.stream("r", "hi"):
        break
    gc.collect()
    assert [span.status.is_ok for span in (*sdk.attempts(), sdk.call())] == [True, True]
    assert sdk.call().attributes["lee_llm_router.outcome"] == "cancelled"
    assert "error.type" not in sdk.attempts()[0].attributes


def test_a_stream_that_is_never_read_makes_no_span() -> None:
    sdk = MemorySDK()
    _router(sdk, {"a": ["ok"]}).stream("r", "hi").close()
    assert sdk.spans == []


def test_a_cancelled_task_ends_its_spans_as_errors() -> None:
    sdk = MemorySDK()
    router = _router(sdk, {"a": ["never"]})
    hanging: Any = provider_of(router, "a")
    hanging.complete_async = lambda *_: asyncio.sleep(3600)

    async def give_up() -> None:
        task = asyncio.ensure_future(router.complete_async("r", "hi"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    assert [span.attributes["error.type"] for span in (*sdk.attempts(), sdk.call())] == ["CANCELLED"] * 2


def test_calls_at_once_keep_their_own_parents() -> None:
    sdk = MemorySDK()
    router = _router(sdk, {"a": ["ok"]})

    async def one(number: int) -> tuple[int, str]:
        with sdk.tracer.start_as_current_span(f"application {number}") as span:
            answer = await router.complete_async("r", "hi")
            return span.get_span_context().span_id, answer.request_id

    async def all_at_once() -> list[tuple[int, str]]:
        return await asyncio.gather(*map(one, range(20)))

    wanted = {request_id: parent for parent, request_id in asyncio.run(all_at_once())}
    calls = [span for span in sdk.spans if span.name == "chat r"]
    assert {str(call.attributes["lee_llm_router.request_id"]): _parent(call) for call in calls} == wanted


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("with_tasks", [False, True])
def test_spans_that_a_provider_makes_are_children_of_the_attempt(stream: bool, with_tasks: bool) -> None:
    """As those of an instrumented HTTP client are, in a thread of its own too."""
    sdk = MemorySDK()

    def wrap(provider: Any) -> Any:
        inner = provider.complete

        def complete(request: Any, timeout: float) -> LLMResponse:
            with sdk.tracer.start_as_current_span("POST"):
                answer: LLMResponse = inner(request, timeout)
                return answer

        provider.complete = complete
        return provider

    router = _router(sdk, {"a": ["ok"]}, wrap_provider=wrap)
    if with_tasks:
        (_stream_async if stream else _complete_async)(router)
    else:
        (_stream if stream else _complete)(router)
    (inner,) = [span for span in sdk.spans if span.name == "POST"]
    assert _parent(inner) == _id(sdk.attempts()[0])
    assert not trace.get_current_span().get_span_context().is_valid


def test_sampled_out_calls_say_nothing_and_are_still_measured() -> None:
    sdk = MemorySDK(sampler=ALWAYS_OFF)
    assert _router(sdk, {"a": ["ok"]}).complete("r", "hi").text == "ok"
    assert sdk.spans == []
    assert len(sdk.points("gen_ai.client.operation.duration")) == 1


TOLD = {
    "SPAN_ONLY": (1, 0),
    "event_only": (0, 1),
    "SPAN_AND_EVENT": (1, 1),
    "true": (1, 0),
    "NO_CONTENT": (0, 0),
    "": (0, 0),
}


@pytest.mark.parametrize(("asked", "told"), TOLD.items())
def test_content_is_told_only_where_the_variable_of_the_conventions_asks(
    asked: str, told: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", asked)
    sdk = MemorySDK()
    config = config_for({"a": ["the answer"]}, providers={"a": {"secret": "sk-very-secret-key"}})
    router, _, _ = router_for(config, event_sink=sdk.sink)
    router.complete("r", "the prompt with sk-very-secret-key")
    attempt, events = sdk.attempts()[0], sdk.events()
    on_span = attempt.attributes and attempt.attributes.get("gen_ai.input.messages")
    assert (int(on_span is not None), len(events)) == told
    if on_span:
        assert json.loads(str(on_span)) == [
            {"role": "user", "parts": [{"type": "text", "content": "the prompt with ***"}]}
        ]
    if events:
        assert events[0].event_name == "gen_ai.client.inference.operation.details"
        assert events[0].attributes["gen_ai.output.messages"][0]["parts"][0]["content"] == "the answer"
        assert events[0].span_id == _id(attempt)
    assert "prompt" not in str(sdk.call().attributes)


def test_no_message_of_an_error_quotes_an_answer_even_where_records_hold_it() -> None:
    sdk = MemorySDK()
    quoting = error_for(FailureType.INVALID_RESPONSE, "no JSON: my dear diary", sent=True, final=True)
    provider = {"type": "scripted", "outcomes": [quoting]}
    config = {"providers": {"a": provider}, "roles": {"r": {"provider": "a"}}, "trace": {"capture": "full"}}
    router, _, _ = router_for(load_config({"llm": config}), event_sink=sdk.sink)
    with pytest.raises(LLMRouterError):
        router.complete("r", "hi")
    assert "diary" not in str([span.to_json() for span in sdk.spans])


def test_log_lines_of_a_call_are_written_where_its_span_is_the_current_one(caplog: pytest.LogCaptureFixture) -> None:
    sdk, seen = MemorySDK(), []

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(trace.get_current_span().get_span_context().span_id)

    logger, watch = logging.getLogger("lee_llm_router"), Watch()
    logger.addHandler(watch)
    try:
        _router(sdk, {"a": [LIMITED], "b": ["ok"]}).complete("r", "hi")
    finally:
        logger.removeHandler(watch)
    assert seen and set(seen) == {_id(sdk.call())}


def test_a_sink_that_raises_breaks_no_call_and_is_counted() -> None:
    class Broken:
        def follow(self, call: Any) -> Any:
            raise ValueError("no")

    router, _, _ = router_for(config_for({"a": ["ok"]}), event_sink=Broken())
    assert router.complete("r", "hi").text == "ok"
    assert router.telemetry_errors == 1


def test_embeddings_are_told_by_their_own_operation() -> None:
    sdk = MemorySDK()
    config = {
        "providers": {"m": {"type": "mock"}},
        "roles": {"r": {"provider": "m", "model": "e"}},
        "trace": {"enabled": False},
    }
    with LeeLLMRouter({"llm": config}, event_sink=sdk.sink) as router:
        router.embed("r", ["one", "two"], dimensions=3)
    assert [span.name for span in sdk.spans] == ["embeddings e", "embeddings r"]
    assert sdk.spans[0].attributes["gen_ai.embeddings.dimension.count"] == 3


def test_what_must_not_be_stored_is_not_sent_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_AND_EVENT")
    sdk = MemorySDK()
    down = error_for(FailureType.PROVIDER_ERROR, "no such user: ada@example.org", status_code=500, sent=True)
    provider = {"type": "scripted", "outcomes": [down, "write to ada@example.org"]}
    config = {
        "providers": {"a": provider}, "roles": {"r": {"provider": "a"}},
        "trace": {"enabled": False, "redact": ["[a-z]+@example[.]org"]},
    }  # fmt: skip
    router, _, _ = router_for(load_config({"llm": config}), event_sink=sdk.sink)
    router.complete("r", "where is ada@example.org?", metadata={"user": "ada@example.org"})
    told = str([span.to_json() for span in sdk.spans]) + str([event.attributes for event in sdk.events()])
    assert "where is ***?" in told and "write to ***" in told
    assert "ada@example.org" not in told
