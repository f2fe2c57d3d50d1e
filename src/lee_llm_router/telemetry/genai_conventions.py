"""Maps records to the names of OpenTelemetry's GenAI conventions; all of these names are in this module.

The conventions are in development: names still change. Anything that sends calls to OpenTelemetry (the sink
`opentelemetry`, the export of traces) takes them from here. A call is a span of the kind INTERNAL, and each of its
attempts is a child span of the kind CLIENT. Only attempts carry token counts, so that nobody counts them twice.
Attributes without a name in the conventions begin with `lee_llm_router.`. This module needs no package of
OpenTelemetry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from lee_llm_router._util.printable import printable
from lee_llm_router.response.types import LLMUsage
from lee_llm_router.telemetry.following import AttemptStart
from lee_llm_router.telemetry.records import TraceRecord

AttributeValue: TypeAlias = str | bool | int | float | Sequence[str]
Attributes: TypeAlias = dict[str, AttributeValue]

SCOPE: Final = "lee_llm_router"
"""The name of the instrumentation scope, and the prefix of names that the conventions lack."""
CONTENT_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The environment variable that requests prompts and answers."""

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
CONVERSATION: Final = "gen_ai.conversation.id"
OUTPUT_TYPE: Final = "gen_ai.output.type"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - tokens of a model
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
ERROR_TYPE: Final = "error.type"
STATUS_CODE: Final = "http.response.status_code"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

DETAILS_EVENT: Final = "gen_ai.client.inference.operation.details"
"""The name of the log event with prompts and answers."""

REQUEST_SETTINGS: Final[Mapping[str, str]] = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "stop": "gen_ai.request.stop_sequences",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "dimensions": "gen_ai.embeddings.dimension.count",
    "reasoning_effort": "lee_llm_router.request.reasoning_effort",
}
"""The names of a request's fields, if they are set."""

DURATION_METRIC: Final = "gen_ai.client.operation.duration"
TOKEN_METRIC: Final = "gen_ai.client.token.usage"  # noqa: S105 - as above
FIRST_CHUNK_METRIC: Final = "gen_ai.client.operation.time_to_first_chunk"
SECONDS_BUCKETS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""The conventions' buckets for both metrics of time."""
TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))
"""The conventions' buckets for tokens: 1, 4, 16 and so on to 67,108,864."""

ROLE: Final = "lee_llm_router.role"
REQUEST_ID: Final = "lee_llm_router.request_id"
OUTCOME: Final = "lee_llm_router.outcome"

_MAX_TEXT = 500
"""Longest text of the application's own, in characters."""
_MAX_NOTES = 32
"""Most entries of `metadata` on a call's span."""
_OPERATIONS = {None: "chat", "embedding": "embeddings"}
_CONVERSATION_NOTES = (CONVERSATION, "conversation_id")

_PROVIDERS_BY_HOST = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "openai.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "amazonaws.com": "aws.bedrock",
    "api.aws": "aws.bedrock",
    "ml.cloud.ibm.com": "ibm.watsonx.ai",
    "cohere.ai": "cohere",
    "cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "openrouter.ai": "openrouter",
}
"""The conventions' name for the service at a host, or at a host with this ending after a dot or a dash."""
_PROVIDERS_BY_TYPE = {
    "http": "openai",
    "openai_responses": "openai",
    "codex_cli": "openai",
    "anthropic": "anthropic",
    "claude_cli": "anthropic",
    "gemini": "gcp.gemini",
    "gemini_cli": "gcp.gemini",
}
"""The conventions' name for the format of a provider type, if the host says nothing."""


def operation_name(operation: str | None) -> str:
    """Return the conventions' name of a record's `operation`."""
    return _OPERATIONS.get(operation, operation or "chat")


def provider_name(provider_type: str | None, host: str | None = None) -> str:
    """Return the conventions' name of a provider: by its host if that is known, or else by its type."""
    labels = (host or "").lower().rstrip(".").replace("-", ".").split(".")
    for start in range(len(labels) - 1):
        known = _PROVIDERS_BY_HOST.get(".".join(labels[start:]))
        if known is not None:
            return known
    return _PROVIDERS_BY_TYPE.get(provider_type or "", provider_type or "_OTHER")


def server_of(base_url: str | None) -> tuple[str, int] | None:
    """Return host and port of the server behind `base_url`; None if it names none."""
    try:
        parts = urlsplit(base_url or "")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    return host, port or (80 if parts.scheme == "http" else 443)


def span_name(operation: str | None, subject: str | None) -> str:
    """Return the name of a span: the operation, and the model of an attempt or the role of a call."""
    name = operation_name(operation)
    return f"{name} {subject}" if subject else name


def target_attributes(attempt: TraceRecord | AttemptStart, server: tuple[str, int] | None = None) -> Attributes:
    """Return what is known of an attempt before it starts; its metrics are split by this."""
    host = None if server is None else server[0]
    found: Attributes = {
        OPERATION: operation_name(attempt.operation),
        PROVIDER: provider_name(attempt.provider_type, host),
    }
    if attempt.model is not None:
        found[REQUEST_MODEL] = attempt.model
    if server is not None:
        found[SERVER_ADDRESS], found[SERVER_PORT] = server
    return found


def request_attributes(request: Any, *, stream: bool) -> Attributes:
    """Return the attributes of `request`: an `LLMRequest`, the request of another operation, or the settings in a
    record."""
    fields = request if isinstance(request, Mapping) else _Fields(request)
    found: Attributes = {REQUEST_STREAM: True} if stream else {}
    for name, attribute in REQUEST_SETTINGS.items():
        value = fields.get(name)
        if isinstance(value, str | int | float):
            found[attribute] = _exportable(value)
        elif isinstance(value, Sequence) and value:
            found[attribute] = [printable(str(item), _MAX_TEXT) for item in value]
    if fields.get("json_mode") or fields.get("schema") is not None:
        found[OUTPUT_TYPE] = "json"
    return found


class _Fields:
    """The attributes of an object, read like a mapping."""

    __slots__ = ("_of",)

    def __init__(self, of: object) -> None:
        self._of = of

    def get(self, name: str) -> Any:
        return getattr(self._of, name, None)


def attempt_attributes(record: TraceRecord) -> Attributes:
    """Return what `record` says about a finished attempt, besides its `target_attributes`."""
    found: Attributes = {ROLE: record.role, REQUEST_ID: record.request_id, OUTCOME: record.outcome}
    for name, value in _own_facts(record):
        found[f"{SCOPE}.{name}"] = value
    if record.served_model is not None:
        found[RESPONSE_MODEL] = record.served_model
    if record.finish_reason is not None:
        found[FINISH_REASONS] = [record.finish_reason]
    if record.stream and record.first_token_ms is not None:
        found[TIME_TO_FIRST_CHUNK] = record.first_token_ms / 1000
    error_type = error_type_of(record)
    if error_type is not None:
        found[ERROR_TYPE] = error_type
    if record.status_code is not None and 100 <= record.status_code <= 599:
        found[STATUS_CODE] = record.status_code
    if record.usage is not None:
        found.update(_usage(record.usage))
    return found


def call_attributes(records: Sequence[TraceRecord]) -> Attributes:
    """Return what the records of a call, at least one, say about it; without tokens and money, which attempts have."""
    first, last = records[0], records[-1]
    attempts = [record for record in records if record.attempt is not None]
    found: Attributes = {
        **call_start_attributes(first.operation, first.role, first.request_id, first.policy, first.metadata),
        OUTCOME: "unfinished" if last.verdict in ("retry", "next") else last.outcome,
        f"{SCOPE}.attempts": len(attempts),
        f"{SCOPE}.targets_tried": len({(record.provider, record.model) for record in attempts}),
    }
    if first.stream:
        found[f"{SCOPE}.stream"] = True
    if first.asked_role is not None:
        found[f"{SCOPE}.asked_role"] = first.asked_role
    if last.outcome == "ok":
        found[f"{SCOPE}.answered_by"] = last.target
        asked = next((record for record in records if not record.is_lost), last)
        found[f"{SCOPE}.saved_by_fallback"] = (asked.provider, asked.model) != (last.provider, last.model)
        if last.hedge:
            found[f"{SCOPE}.answered_by_hedge"] = True
    error_type = error_type_of(last)
    if error_type is not None and last.verdict == "raise":
        found[ERROR_TYPE] = error_type
    return found


def call_start_attributes(
    operation: str | None, role: str, request_id: str, policy: str | None, metadata: Mapping[str, Any]
) -> Attributes:
    """Return what is known of a call when it begins.

    Its operation is not under the conventions' name: anyone who counts model requests by that name counts attempts.
    """
    found: Attributes = {f"{SCOPE}.operation": operation_name(operation), ROLE: role, REQUEST_ID: request_id}
    if policy is not None:
        found[f"{SCOPE}.policy"] = policy
    if metadata:
        found.update(_notes(metadata))
    return found


def target_note(provider: str | None, model: str | None) -> Attributes:
    """Return the attributes of an event that is about a target."""
    named = (("provider", provider), ("model", model))
    return {f"{SCOPE}.{name}": value for name, value in named if value is not None}


def step_event(record: TraceRecord) -> tuple[str, Attributes] | None:
    """Return the name and attributes of an event on the call's span for the consequence of `record`; None if there is
    none."""
    if record.outcome == "skipped":
        step = "skipped"
    elif record.is_lost:
        step = "hedge_end"
    elif record.verdict in ("retry", "next"):
        step = "retry" if record.verdict == "retry" else "fallback"
    else:
        return None
    attributes = target_note(record.provider, record.model)
    if record.failure_type is not None:
        attributes[ERROR_TYPE] = record.failure_type
    if record.wait_ms:
        attributes[f"{SCOPE}.wait_ms"] = record.wait_ms
    return f"{SCOPE}.{step}", attributes


def error_type_of(record: TraceRecord) -> str | None:
    """Return the `error.type` of `record`; None if it is no error.

    A stream that its reader left with `break` is no error, nor is an abandoned attempt; any other cancellation is one.
    """
    is_left = record.outcome == "cancelled" and record.error == GeneratorExit.__name__
    if record.outcome == "ok" or record.is_lost or is_left:
        return None
    return record.failure_type or "_OTHER"


def _own_facts(record: TraceRecord) -> Iterator[tuple[str, AttributeValue]]:
    """Yield what the conventions have no name for, without unknown and empty values."""
    for name in (
        "provider", "provider_type", "key_variable", "attempt", "target_attempt", "verdict", "waited_for", "reason",
        "retry_after", "cost_usd", "cost_source", "service_tier", "provider_request_id", "request_bytes",
        "response_chars", "kept_share",
    ):  # fmt: skip
        value = getattr(record, name)
        if value is not None:
            yield name, value
    if record.wait_ms:
        yield "wait_ms", record.wait_ms
    if record.hedge:
        yield "hedge", True
    if record.dropped:
        yield "dropped", list(record.dropped)


def _usage(usage: LLMUsage) -> Iterator[tuple[str, int]]:
    for attribute, count in (
        (INPUT_TOKENS, usage.prompt_tokens),
        (OUTPUT_TOKENS, usage.completion_tokens),
        (CACHE_READ_TOKENS, usage.cached_tokens),
        (CACHE_WRITE_TOKENS, usage.cache_write_tokens),
        (REASONING_TOKENS, usage.reasoning_tokens),
    ):
        if count is not None:
            yield attribute, count


def _notes(metadata: Mapping[str, Any]) -> Iterator[tuple[str, AttributeValue]]:
    """Yield the application's notes that attributes can hold, and the conversation's id if it is among them."""
    for name in _CONVERSATION_NOTES:
        if isinstance(metadata.get(name), str | int):
            yield CONVERSATION, printable(str(metadata[name]), _MAX_TEXT)
            break
    for name, value in list(metadata.items())[:_MAX_NOTES]:
        if isinstance(value, str | bool | int | float):
            yield f"{SCOPE}.metadata.{printable(str(name))}", _exportable(value)


def _exportable(value: str | int | float) -> str | int | float:
    """Return `value` in a form that an exporter can write: otherwise a whole batch of spans could be lost."""
    if isinstance(value, str):
        return printable(value, _MAX_TEXT)
    return value if -(2**63) <= value < 2**63 or not isinstance(value, int) else str(value)[:_MAX_TEXT]
