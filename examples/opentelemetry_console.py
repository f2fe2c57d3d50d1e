"""Send a call to OpenTelemetry: one span for the call, and a child span for each attempt.

Needs `pip install "lee-llm-router[otel]" opentelemetry-sdk`. Nothing leaves this machine: the spans are printed.
"""

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from lee_llm_router import LeeLLMRouter

CONFIG = {
    "llm": {
        "providers": {
            "busy": {"type": "mock", "script": [{"error": "RATE_LIMIT", "status_code": 429}]},
            "spare": {"type": "mock", "response_text": "Read the letter first."},
        },
        "roles": {"planner": {"provider": "busy", "model": "small-model", "fallback_providers": ["spare"]}},
        "trace": {"enabled": False},
        "sinks": [{"type": "opentelemetry"}],
    }
}


def line(span: ReadableSpan) -> str:
    """Format a span as one line; by default the exporter prints a page of JSON for each."""
    shown = {name: value for name, value in (span.attributes or {}).items() if "request_id" not in name}
    return f"{span.name} ({span.kind.name}, {span.status.status_code.name}) {shown}\n"


def main() -> None:
    """Make one call within a span of the application."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=line)))
    trace.set_tracer_provider(provider)
    with trace.get_tracer("example").start_as_current_span("morning"), LeeLLMRouter(CONFIG) as router:
        print(router.complete("planner", "What next?").text)


if __name__ == "__main__":
    main()
