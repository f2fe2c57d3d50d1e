"""The trace of a caller goes on to providers where that is asked for, and nowhere else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import respx
from opentelemetry.context import attach, detach
from opentelemetry.propagate import extract
from opentelemetry.trace import NoOpTracerProvider

from helpers.spans import MemorySDK
from lee_llm_router import LeeLLMRouter
from lee_llm_router.telemetry.sinks.opentelemetry import OpenTelemetrySink

SERVER = "http://llm.example/v1"
ANSWER = {"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}


def _http_router(sdk: MemorySDK, **role: Any) -> LeeLLMRouter:
    provider = {"type": "http", "base_url": SERVER, "model": "m", "transport": "httpx"}
    config = {
        "llm": {"providers": {"a": provider}, "roles": {"r": {"provider": "a", **role}}, "trace": {"enabled": False}}
    }
    return LeeLLMRouter(config, event_sink=sdk.sink)


@pytest.mark.parametrize("propagate", [True, ["a"]])
@respx.mock
def test_traceparent_of_the_attempt_is_sent_on_where_that_is_asked_for(propagate: Any) -> None:
    sdk = MemorySDK(propagate=propagate)
    route = respx.post(f"{SERVER}/chat/completions").mock(return_value=httpx.Response(200, json=ANSWER))
    with _http_router(sdk) as router:
        router.complete("r", "hi")
    span = sdk.attempts()[0].get_span_context()
    sent = route.calls.last.request.headers["traceparent"]
    assert sent.rpartition("-")[0] == f"00-{span.trace_id:032x}-{span.span_id:016x}"
    assert sdk.attempts()[0].attributes["server.address"] == "llm.example"
    assert sdk.attempts()[0].attributes["server.port"] == 80


@pytest.mark.parametrize("propagate", [False, ["other"]])
@respx.mock
def test_no_provider_gets_a_traceparent_that_was_not_asked_for(propagate: Any) -> None:
    route = respx.post(f"{SERVER}/chat/completions").mock(return_value=httpx.Response(200, json=ANSWER))
    with _http_router(MemorySDK(propagate=propagate)) as router:
        router.complete("r", "hi")
    assert "traceparent" not in route.calls.last.request.headers


@respx.mock
def test_a_header_of_the_request_goes_before_what_is_sent_along() -> None:
    route = respx.post(f"{SERVER}/chat/completions").mock(return_value=httpx.Response(200, json=ANSWER))
    with _http_router(MemorySDK(propagate=True), headers={"Traceparent": "mine"}) as router:
        router.complete("r", "hi")
    assert route.calls.last.request.headers.get_list("traceparent") == ["mine"]


@pytest.mark.parametrize(("propagate", "told"), [(True, True), (["p"], True), (["other"], False), (False, False)])
def test_a_program_gets_the_traceparent_in_its_environment_where_that_is_asked_for(propagate: Any, told: bool) -> None:
    sdk = MemorySDK(propagate=propagate)
    provider = {"type": "command", "argv": ["sh", "-c", 'echo "<$TRACEPARENT>"'], "effects": "none"}
    config = {"providers": {"p": provider}, "roles": {"r": {"provider": "p"}}, "trace": {"enabled": False}}
    with LeeLLMRouter({"llm": config}, event_sink=sdk.sink) as router:
        said = router.complete("r", "hi").text.strip()
    trace_id = f"{sdk.call().get_span_context().trace_id:032x}"
    assert (trace_id in said) if told else said == "<>"


@respx.mock
def test_without_an_sdk_the_trace_of_a_caller_is_sent_on_where_that_is_asked_for() -> None:
    route = respx.post(f"{SERVER}/chat/completions").mock(return_value=httpx.Response(200, json=ANSWER))
    sink = OpenTelemetrySink(propagate=True, tracer_provider=NoOpTracerProvider())
    provider = {"type": "http", "base_url": SERVER, "model": "m", "transport": "httpx"}
    config = {"providers": {"a": provider}, "roles": {"r": {"provider": "a"}}, "trace": {"enabled": False}}
    incoming = f"00-{7:032x}-{9:016x}-01"
    with LeeLLMRouter({"llm": config}, event_sink=sink) as router:
        token = attach(extract({"traceparent": incoming, "baggage": "customer=7"}))
        try:
            router.complete("r", "hi")
            streamed = router.stream("r", "hi")
        finally:
            detach(token)
        assert "".join(chunk.text for chunk in streamed) == "hello"
    assert [call.request.headers["traceparent"] for call in route.calls] == [incoming] * 2
    assert route.calls.last.request.headers["baggage"] == "customer=7"
