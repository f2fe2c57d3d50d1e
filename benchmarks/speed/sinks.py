"""The sinks whose cost is measured, each by the option of a subject that asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def _opentelemetry_api() -> Any:
    from lee_llm_router.telemetry.sinks.opentelemetry import OpenTelemetrySink  # noqa: PLC0415 - what another subject needs may be missing

    return OpenTelemetrySink()


def _opentelemetry(sampled: bool = True) -> Any:
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - as above
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON  # noqa: PLC0415 - as above

    from lee_llm_router.telemetry.sinks.opentelemetry import OpenTelemetrySink  # noqa: PLC0415 - as above

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            assert isinstance(spans[0], ReadableSpan)
            return SpanExportResult.SUCCESS

    tracers = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF)
    tracers.add_span_processor(SimpleSpanProcessor(Nowhere()))
    return OpenTelemetrySink(tracer_provider=tracers, meter_provider=MeterProvider([InMemoryMetricReader()]))


def _prometheus() -> Any:
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - as above

    from lee_llm_router.telemetry.sinks.prometheus import PrometheusSink  # noqa: PLC0415 - as above

    return PrometheusSink(registry=CollectorRegistry())


SINKS: Mapping[str, Callable[[], Any]] = {
    "opentelemetry-api": _opentelemetry_api,
    "opentelemetry": _opentelemetry,
    "opentelemetry-off": lambda: _opentelemetry(sampled=False),
    "prometheus": _prometheus,
}
