"""A record says the same in OpenTelemetry's words, by the names that its conventions give."""

from __future__ import annotations

from typing import Any

import pytest

from lee_llm_router.response import LLMRequest, LLMUsage
from lee_llm_router.telemetry import genai_conventions as names
from lee_llm_router.telemetry.genai_content import content_of
from lee_llm_router.telemetry.records import TraceRecord


def _record(**fields: Any) -> TraceRecord:
    base: dict[str, Any] = {
        "request_id": "r1", "attempt": 0, "role": "planner", "provider": "main", "provider_type": "http", "model": "m",
        "started_at": "2027-01-15T08:00:00.000000Z", "outcome": "ok", "verdict": "return",
    }  # fmt: skip
    return TraceRecord(**{**base, **fields})


def test_the_names_are_those_of_the_published_conventions() -> None:
    published = pytest.importorskip("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    metrics = pytest.importorskip("opentelemetry.semconv._incubating.metrics.gen_ai_metrics")
    known = {value for value in (*vars(published).values(), *vars(metrics).values()) if isinstance(value, str)}
    ours = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    ours |= set(names.REQUEST_SETTINGS.values())
    assert {name for name in ours if name.startswith("gen_ai.")} - {names.DETAILS_EVENT} <= known


@pytest.mark.parametrize(
    ("provider_type", "host", "name"),
    [
        ("http", "api.openai.com", "openai"),
        ("http", "API.OpenAI.com.", "openai"),
        ("http", "my.openai.azure.com", "azure.ai.openai"),
        ("anthropic", "europe-west1-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("gemini", "generativelanguage.googleapis.com", "gcp.gemini"),
        ("http", "bedrock-runtime.eu-west-1.amazonaws.com", "aws.bedrock"),
        ("http", "api.x.ai", "x_ai"),
        ("http", "evilapi.openai.com.example.net", "openai"),
        ("http", "localhost", "openai"),
        ("anthropic", "localhost", "anthropic"),
        ("mock", None, "mock"),
        ("codex_cli", None, "openai"),
        (None, None, "_OTHER"),
    ],
)
def test_a_provider_is_named_by_its_host_else_by_the_format_it_speaks(
    provider_type: str | None, host: str | None, name: str
) -> None:
    assert names.provider_name(provider_type, host) == name


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://api.openai.com/v1", ("api.openai.com", 443)),
        ("http://localhost:11434/v1", ("localhost", 11434)),
        ("http://[::1]/v1", ("::1", 80)),
        ("http://host:99999/", None),
        ("nonsense", None),
        (None, None),
    ],
)
def test_a_server_is_named_by_host_and_port(url: str | None, server: tuple[str, int] | None) -> None:
    assert names.server_of(url) == server


def test_usage_stands_on_attempts_only() -> None:
    record = _record(usage=LLMUsage(prompt_tokens=7, completion_tokens=3, cached_tokens=2), cost_usd=0.5)
    assert names.attempt_attributes(record)[names.INPUT_TOKENS] == 7
    of_call = names.call_attributes([record])
    assert not [name for name in of_call if "usage" in name or "cost" in name]
    assert names.OPERATION not in of_call, "whoever counts questions to models by it would count the call too"


def test_an_error_stands_on_the_attempt_that_failed_and_on_the_call_only_if_it_failed() -> None:
    failed = _record(outcome="error", verdict="next", failure_type="RATE_LIMIT", status_code=429)
    answered = _record(attempt=1, provider="spare")
    assert names.attempt_attributes(failed)[names.ERROR_TYPE] == "RATE_LIMIT"
    assert names.ERROR_TYPE not in names.attempt_attributes(answered)
    saved = names.call_attributes([failed, answered])
    assert names.ERROR_TYPE not in saved
    assert saved["lee_llm_router.saved_by_fallback"] is True
    last = _record(attempt=1, outcome="error", verdict="raise", failure_type="AUTH")
    assert names.call_attributes([failed, last])[names.ERROR_TYPE] == "AUTH"


def test_a_stream_that_its_reader_left_is_no_error_and_another_cancellation_is() -> None:
    left = _record(outcome="cancelled", verdict="raise", failure_type="CANCELLED", error="GeneratorExit")
    cancelled = _record(outcome="cancelled", verdict="raise", failure_type="CANCELLED", error="CancelledError")
    assert names.error_type_of(left) is None
    assert names.error_type_of(cancelled) == "CANCELLED"


def test_what_was_asked_for_is_named_and_what_was_not_is_left_out() -> None:
    request = LLMRequest(messages=(), temperature=0.2, stop=("END",), json_mode=True, seed=2**70)
    assert names.request_attributes(request, stream=True) == {
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.request.seed": str(2**70),
        "gen_ai.output.type": "json",
    }
    assert names.request_attributes({"temperature": 0.2}, stream=False) == {"gen_ai.request.temperature": 0.2}


def test_notes_of_the_application_stand_on_the_call_in_bounds() -> None:
    notes = {
        "conversation_id": 12,
        "ticket": 2**80,
        "long": "x" * 9000,
        "odd": object(),
        **dict.fromkeys("abcdefgh" * 9),
    }
    found = names.call_start_attributes("embedding", "planner", "r1", "static", notes)
    assert found[names.CONVERSATION] == "12"
    assert found["lee_llm_router.operation"] == "embeddings"
    assert found["lee_llm_router.metadata.ticket"] == str(2**80)
    assert len(str(found["lee_llm_router.metadata.long"])) <= 503
    assert "lee_llm_router.metadata.odd" not in found


def test_content_has_the_form_of_the_conventions() -> None:
    fields = {
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "function": {"name": "f", "arguments": '{"a":1}'}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "text": "done", "reasoning": "because", "tool_calls": [{"id": "c2", "name": "g", "arguments": "{broken"}],
    }  # fmt: skip
    assert content_of(fields, "tool_calls") == {
        "gen_ai.input.messages": [
            {"role": "user", "parts": [
                {"type": "text", "content": "look"},
                {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "AA"},
            ]},
            {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "42"}]},
        ],
        "gen_ai.output.messages": [{"role": "assistant", "finish_reason": "tool_call", "parts": [
            {"type": "reasoning", "content": "because"},
            {"type": "text", "content": "done"},
            {"type": "tool_call", "id": "c2", "name": "g", "arguments": "{broken"},
        ]}],
        "gen_ai.tool.definitions": [{"type": "function", "name": "f"}],
    }  # fmt: skip
