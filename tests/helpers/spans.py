"""An OpenTelemetry SDK that keeps everything in memory, and a sink that sends to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from lee_llm_router.telemetry.sinks.opentelemetry import OpenTelemetrySink


class MemorySDK:
    """What a sink has sent.

    Args:
        propagate: As for the sink.
        sampler: Which spans are kept.
    """

    def __init__(self, *, propagate: Any = False, sampler: Sampler = ALWAYS_ON) -> None:
        self._spans, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        exporter: Any = InMemoryLogRecordExporter  # without hints
        self._logs = exporter()
        tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        loggers = LoggerProvider(shutdown_on_exit=False)
        loggers.add_log_record_processor(SimpleLogRecordProcessor(self._logs))
        meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.sink = OpenTelemetrySink(
            propagate=propagate, tracer_provider=tracers, meter_provider=meters, logger_provider=loggers
        )
        self.tracer = tracers.get_tracer("application")

    @property
    def spans(self) -> list[Any]:
        """The spans that have ended, in the order they ended."""
        return list(self._spans.get_finished_spans())

    def call(self) -> Any:
        """The span of the only call."""
        (found,) = [span for span in self.spans if span.kind.name == "INTERNAL" and span.name.startswith("chat")]
        return found

    def attempts(self) -> list[Any]:
        """The spans of attempts."""
        return [span for span in self.spans if span.kind.name == "CLIENT"]

    def events(self) -> list[Any]:
        """The log events."""
        return [item.log_record for item in self._logs.get_finished_logs()]

    def points(self, metric: str) -> list[tuple[Mapping[str, Any], Any]]:
        """The attributes and the data of each series of `metric`."""
        data = self._reader.get_metrics_data()
        found = [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for one in scope.metrics
            if one.name == metric
            for point in one.data.data_points
        ]
        return [(dict(point.attributes or {}), point) for point in found]
