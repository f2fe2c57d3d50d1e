"""Spans, metrics and log events of calls, for the sink `opentelemetry`. Imports the package `opentelemetry-api`.

How this works. A call's span is a child of the span that was current at the call, and its attempts' spans are children
of it. This is independent of where a stream is read and in which thread an attempt ends, because each span gets its
parent explicitly. In the context that a provider runs in, the attempt's span is current, so that instrumentation of the
HTTP client uses it as the parent. That context is a copy, and the caller's own context never changes.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from lee_llm_router.telemetry import genai_conventions as names
from lee_llm_router.telemetry.following import AttemptEnd, AttemptStart, CallEnd, CallFollower, CallStart
from lee_llm_router.telemetry.genai_content import as_json, content_of
from lee_llm_router.telemetry.genai_conventions import Attributes
from lee_llm_router.telemetry.outgoing_headers import send_along
from lee_llm_router.telemetry.records import TraceRecord

_MAX_TARGETS = 1000
"""Targets to remember with their attributes, and names of served models that metrics distinguish."""
_ON_SPANS = ("span_only", "span_and_event", "true", "1")
"""The values of the conventions' variable that put content on spans; `true` dates from before the values had names."""
_IN_EVENTS = ("event_only", "span_and_event")


class Instruments:
    """The tracer, meter and logger of one sink, and what its calls share. It takes the arguments of the sink."""

    def __init__(
        self,
        propagate: bool | Collection[str],
        tracer_provider: trace.TracerProvider | None,
        meter_provider: metrics.MeterProvider | None,
        logger_provider: Any,
    ) -> None:
        self.tracer = trace.get_tracer(names.SCOPE, _version(), tracer_provider)
        meter = metrics.get_meter(names.SCOPE, _version(), meter_provider)
        self._duration = meter.create_histogram(
            names.DURATION_METRIC, unit="s", description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=names.SECONDS_BUCKETS,
        )  # fmt: skip
        self._first_chunk = meter.create_histogram(
            names.FIRST_CHUNK_METRIC, unit="s", description="Time to receive the first chunk.",
            explicit_bucket_boundaries_advisory=names.SECONDS_BUCKETS,
        )  # fmt: skip
        self._tokens = meter.create_histogram(
            names.TOKEN_METRIC, unit="{token}", description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=names.TOKEN_BUCKETS,
        )  # fmt: skip
        wanted = os.environ.get(names.CONTENT_VARIABLE, "").strip().lower()
        self.puts_content_on_spans = wanted in _ON_SPANS
        self._content_log = _ContentLog(logger_provider) if wanted in _IN_EVENTS else None
        self._propagate = propagate
        self._is_needed = bool(propagate or tracer_provider or meter_provider or logger_provider)
        self._known_targets: dict[tuple[Any, ...], Attributes] = {}
        self._served_models: set[str] = set()

    def follow(self, call: CallStart) -> CallFollower | None:
        """As `OpenTelemetrySink.follow`."""
        if not self._is_needed:
            # The application may set its SDK later, at any time. The API's own providers do nothing.
            self._is_needed = _does_something(trace.get_tracer_provider()) or _does_something(
                metrics.get_meter_provider()
            )
        return _Call(self, call) if self._is_needed else None

    def target_attributes(self, attempt: AttemptStart) -> Attributes:
        """Return the attributes of the target of `attempt`, which are the same each time."""
        key = (attempt.operation, attempt.provider_type, attempt.model, attempt.base_url)
        known = self._known_targets.get(key)
        if known is None:
            if len(self._known_targets) >= _MAX_TARGETS:
                self._known_targets.clear()
            server = names.server_of(attempt.base_url)
            known = names.target_attributes(attempt, server)
            self._known_targets[key] = known
        return known

    def measure(self, record: TraceRecord, target: Attributes, context: Context) -> None:
        """Record the metrics of an attempt; `context` is that of its span."""
        attributes = dict(target)
        if record.served_model is not None and self._tells_apart(record.served_model):
            attributes[names.RESPONSE_MODEL] = record.served_model
        usage = record.usage
        if usage is not None:
            counts = ((usage.prompt_tokens, "input"), (usage.completion_tokens, "output"))
            for count, kind in counts:
                if count is not None:
                    self._tokens.record(count, {**attributes, names.TOKEN_TYPE: kind}, context)
        if record.stream and record.first_token_ms is not None:
            self._first_chunk.record(record.first_token_ms / 1000, attributes, context)
        error_type = names.error_type_of(record)
        if error_type is not None:
            attributes[names.ERROR_TYPE] = error_type
        self._duration.record(record.elapsed_ms / 1000, attributes, context)

    def log_content(self, content: dict[str, list[Any]], attributes: Attributes, context: Context) -> None:
        """Send the event with prompt and answer, if wanted."""
        if self._content_log is not None:
            self._content_log.send({**attributes, **content}, context)

    @property
    def wants_content(self) -> bool:
        """Whether prompts and answers are wanted."""
        return self.puts_content_on_spans or self._content_log is not None

    def send_along(self, attempt: AttemptStart, context: Context) -> None:
        """Make the provider of `attempt` propagate `context`, if wanted."""
        if self._propagate is True or (self._propagate and attempt.provider in self._propagate):
            from opentelemetry import propagate  # noqa: PLC0415 - its propagators are looked up at import

            carrier: dict[str, str] = {}
            propagate.inject(carrier, context)
            attempt.context.run(send_along, carrier)

    def _tells_apart(self, model: str) -> bool:
        """Whether metrics name this model: the provider chooses the name, and might choose a new one each time."""
        if model not in self._served_models:
            if len(self._served_models) >= _MAX_TARGETS:
                return False
            self._served_models.add(model)
        return True


def _does_something(provider: object) -> bool:
    """Whether `provider` is from an SDK, and not a placeholder for one."""
    return not type(provider).__module__.startswith(("opentelemetry.trace", "opentelemetry.metrics"))


class _ContentLog:
    """Sends prompts and answers as log events."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry import _logs  # noqa: PLC0415 - rare, and not yet stable

        self._logger = _logs.get_logger(names.SCOPE, _version(), logger_provider=provider)
        self._record = _logs.LogRecord

    def send(self, attributes: dict[str, Any], context: Context) -> None:
        self._logger.emit(self._record(context=context, event_name=names.DETAILS_EVENT, attributes=attributes))


class _Attempt:
    """An attempt in progress."""

    __slots__ = ("context", "span", "target")

    def __init__(self, span: Span, context: Context, target: Attributes) -> None:
        self.span = span
        self.context = context
        self.target = target


class _Call(CallFollower):
    """The spans of one call."""

    __slots__ = ("_attempts", "_context", "_records", "_shared", "_span", "_start")

    def __init__(self, shared: Instruments, call: CallStart) -> None:
        self._shared = shared
        self._start = call
        self._records: list[TraceRecord] = []
        self._attempts: dict[int, _Attempt] = {}
        """Those in progress, by index."""
        parent = get_current() if call.origin is None else call.origin.run(get_current)
        attributes = names.call_start_attributes(call.operation, call.role, call.request_id, call.policy, call.metadata)
        span = shared.tracer.start_span(
            names.span_name(call.operation, call.role), parent, SpanKind.INTERNAL, attributes
        )  # fmt: skip
        self._span = span
        self._context = parent
        if _has_own_context(span, parent):
            self._context = trace.set_span_in_context(span, parent)
            call.context.run(attach, self._context)

    def attempt_started(self, attempt: AttemptStart) -> None:
        """Start the span of an attempt, and make it the current one for its provider."""
        target = self._shared.target_attributes(attempt)
        name = names.span_name(attempt.operation, attempt.model)
        span = self._shared.tracer.start_span(name, self._context, SpanKind.CLIENT, target)
        context = self._context
        if _has_own_context(span, context):
            context = trace.set_span_in_context(span, context)
            attempt.context.run(attach, context)
        elif self._start.origin is not None:
            # The span that is current when a stream is read may differ from the one at its call.
            attempt.context.run(attach, context)
        if span.is_recording():
            span.set_attributes(names.request_attributes(attempt.request, stream=attempt.stream))
        self._attempts[attempt.index] = _Attempt(span, context, target)
        self._shared.send_along(attempt, context)

    def recorded(self, end: AttemptEnd) -> None:
        """End the span of an attempt; note on the call's span what follows a failure, or which target was skipped."""
        record = end.record
        self._records.append(record)
        attempt = None if record.attempt is None else self._attempts.pop(record.attempt, None)
        if attempt is not None:
            try:
                if attempt.span.is_recording():
                    _tell(attempt.span, names.attempt_attributes(record), end)
                if self._shared.wants_content:
                    self._tell_content(attempt, end)
            finally:
                attempt.span.end()
            self._shared.measure(record, attempt.target, attempt.context)
        if self._span.is_recording():
            event = names.step_event(record)
            if event is not None:
                self._span.add_event(*event)

    def breaker_changed(self, provider: str, model: str | None, change: str) -> None:
        """Note on the call's span that a breaker has opened or closed."""
        if self._span.is_recording():
            self._span.add_event(f"{names.SCOPE}.breaker.{change}", names.target_note(provider, model))

    def ended(self, outcome: CallEnd, failure_type: str | None, elapsed_ms: float) -> None:  # noqa: ARG002
        """End the span of the call, and that of an attempt without a record."""
        for attempt in self._attempts.values():
            attempt.span.end()
        span = self._span
        try:
            if span.is_recording():
                if self._records:
                    _set(span, names.call_attributes(self._records))
                span.set_attribute(names.OUTCOME, outcome)
                is_left = bool(self._records) and names.error_type_of(self._records[-1]) is None
                if failure_type is not None and not is_left:
                    span.set_attribute(names.ERROR_TYPE, failure_type)
                    span.set_status(Status(StatusCode.ERROR, failure_type))
        finally:
            span.end()

    def _tell_content(self, attempt: _Attempt, end: AttemptEnd) -> None:
        content = content_of(end.content(), end.record.finish_reason)
        if self._shared.puts_content_on_spans and attempt.span.is_recording():
            _set(attempt.span, {name: as_json(value) for name, value in content.items()})
        about = {**attempt.target, **names.attempt_attributes(end.record)}
        self._shared.log_content(content, about, attempt.context)


def _has_own_context(span: Span, parent: Context) -> bool:
    """Whether `span` is a new one. Without an SDK it is its parent, or none."""
    context = span.get_span_context()
    return context.is_valid and context is not trace.get_current_span(parent).get_span_context()


def _tell(span: Span, attributes: Attributes, end: AttemptEnd) -> None:
    _set(span, attributes)
    if end.response_id is not None:
        span.set_attribute(names.RESPONSE_ID, end.response_id)
    if names.ERROR_TYPE in attributes:
        span.set_status(Status(StatusCode.ERROR, end.error))


def _set(span: Span, attributes: Any) -> None:
    span.set_attributes(attributes)


def _version() -> str:
    try:
        return version("lee-llm-router")
    except PackageNotFoundError:
        return ""
