"""Over the real protocol: the SDK's exporter sends OTLP over HTTP, and the published decoder reads what came."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from helpers.servers import Received, Server, answering_by, completion, http, json_answer
from lee_llm_router import LeeLLMRouter, OpenTelemetrySink


def _complete(router: LeeLLMRouter) -> None:
    router.complete("planner", "hi")


def _complete_async(router: LeeLLMRouter) -> None:
    async def ask() -> None:
        await router.complete_async("planner", "hi")
        await router.aclose()

    asyncio.run(ask())


def _attributes(span: Span) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value") or "string_value") for item in span.attributes}


@pytest.mark.parametrize("ask", [_complete, _complete_async], ids=["sync", "async"])
def test_a_receiver_sees_one_parent_and_three_children(ask: Callable[[LeeLLMRouter], None]) -> None:
    answers = [json_answer({"error": {"message": "broke"}}, 500), json_answer({"error": {"message": "slow down"}}, 429)]
    received: list[Span] = []

    def collect(request: Received) -> bytes:
        body = gzip.decompress(request.body) if request.body[:2] == b"\x1f\x8b" else request.body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            received.extend(span for scope in resource.scope_spans for span in scope.spans)
        return http(200, b"", {"Content-Type": "application/x-protobuf"})

    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    with (
        Server(answering_by(lambda _: answers.pop(0))) as busy,
        Server(answering_by(lambda _: json_answer({**completion(), "usage": usage}))) as spare,
        Server(answering_by(collect)) as receiver,
    ):
        tracers = TracerProvider(resource=Resource.create({"service.name": "shop"}), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{receiver.url}/traces")
        tracers.add_span_processor(BatchSpanProcessor(exporter))
        config = {
            "providers": {
                "busy": {"type": "http", "base_url": busy.url},
                "spare": {"type": "http", "base_url": spare.url},
            },
            "roles": {"planner": {"provider": "busy", "model": "m", "fallback_providers": ["spare"],
                                  "retry": {"backoff": 0.01, "max_backoff": 0.01}}},
            "trace": {"enabled": False},
        }  # fmt: skip
        with LeeLLMRouter({"llm": config}, event_sink=OpenTelemetrySink(tracer_provider=tracers)) as router:
            ask(router)
        tracers.shutdown()
    (call,) = [span for span in received if span.kind == Span.SPAN_KIND_INTERNAL]
    attempts = [span for span in received if span.kind == Span.SPAN_KIND_CLIENT]
    assert [attempt.parent_span_id for attempt in attempts] == [call.span_id] * 3
    told = [_attributes(attempt) for attempt in attempts]
    assert [attributes.get("error.type") for attributes in told] == ["PROVIDER_ERROR", "RATE_LIMIT", None]
    assert [attempt.status.code for attempt in attempts] == [Status.STATUS_CODE_ERROR] * 2 + [Status.STATUS_CODE_UNSET]
    assert [attributes.get("gen_ai.usage.input_tokens") for attributes in told] == [None, None, 7]
    assert [attributes["server.port"] for attributes in told] == [busy.port] * 2 + [spare.port]
    assert call.status.code == Status.STATUS_CODE_UNSET
    assert not [name for name in _attributes(call) if "usage" in name]
