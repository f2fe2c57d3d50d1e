"""Records that lack what a record has, or hold what none should: they are counted, told and shown as far as they go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from helpers.records import make
from helpers.trace_set import trace_set
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry.calls import CallStatus, TracedCall
from lee_llm_router.telemetry.counting import is_record, total_ms
from lee_llm_router.telemetry.genai_content import content_of
from lee_llm_router.telemetry.genai_conventions import attempt_attributes, call_attributes, step_event
from lee_llm_router.telemetry.pricing.cards import PriceCard, TokenRates
from lee_llm_router.telemetry.raw_calls import RawCall
from lee_llm_router.telemetry.record_json import json_object
from lee_llm_router.telemetry.timeline import timeline_of

STATUSES: tuple[CallStatus, ...] = ("ok", "error", "fallback", "cut")


def raw(**fields: Any) -> dict[str, Any]:
    return json_object(make(**fields).to_json())


# --- raw records ---


@pytest.mark.parametrize("lacking", ["request_id", "attempt", "verdict", "started_at", "outcome", "role"])
def test_what_lacks_a_fact_that_each_record_has_is_none(lacking: str) -> None:
    data = raw()
    assert is_record(data)
    del data[lacking]
    assert not is_record(data)


def test_moments_that_are_none_leave_the_length_of_a_call_to_its_attempts() -> None:
    first, last = raw(elapsed_ms=10.0, wait_ms=5.0, verdict="retry"), raw(attempt=1, elapsed_ms=20.0)
    last["started_at"] = "no moment at all, Z"
    assert total_ms([first, last]) == 35.0


def test_a_raw_call_ends_as_the_call_does() -> None:
    """Whichever way of ending is asked for."""
    for record in trace_set(60):
        call = TracedCall((record,))
        for status in STATUSES:
            assert RawCall([json_object(record.to_json())]).has_status(status) == call.has_status(status)


# --- spans ---


def content(part: dict[str, Any]) -> Any:
    found = content_of({"messages": [{"role": "user", "content": [part]}]}, None)
    return found["gen_ai.input.messages"][0]["parts"][0]


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://host/a.png"}},
            {"type": "uri", "modality": "image", "uri": "https://host/a.png"},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": "AAAA"},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA"}},
            {"type": "blob", "modality": "audio", "mime_type": None, "content": "AAAA"},
        ),
        ({"type": "file", "file": {"file_id": "f-1"}}, {"type": "file", "file_id": "f-1"}),
        ({"type": "file", "file": "no mapping"}, {"type": "file", "file_id": ""}),
        ({"type": "hologram", "hologram": {}}, {"type": "hologram"}),
    ],
)
def test_parts_of_messages_are_told_as_the_conventions_have_them(part: dict[str, Any], shown: dict[str, Any]) -> None:
    """By address, as data, or by the vendor's name of a file; of others only what they are."""
    found = content(part)
    assert shown.items() <= found.items() and (found.keys() - shown.keys() <= {"modality"})


def test_arguments_that_are_data_already_stay_so() -> None:
    calls = [{"id": "1", "name": "look", "arguments": {"x": 1}}, {"id": "2", "name": "look", "arguments": "half {"}]
    parts = content_of({"tool_calls": calls}, "tool_calls")["gen_ai.output.messages"][0]["parts"]
    assert [part["arguments"] for part in parts] == [{"x": 1}, "half {"]


def test_a_skipped_target_and_a_role_that_is_none_are_on_the_span_of_the_call() -> None:
    skipped = make(attempt=None, outcome="skipped", verdict="next", provider="a", model="m", failure_type="UNSUPPORTED")
    about = {"lee_llm_router.provider": "a", "lee_llm_router.model": "m", "error.type": "UNSUPPORTED"}
    assert step_event(skipped) == ("lee_llm_router.skipped", about)
    found = call_attributes([make(provider="b", asked_role="plannner")])
    assert found["lee_llm_router.asked_role"] == "plannner"
    assert attempt_attributes(make(dropped=("seed",)))["lee_llm_router.dropped"] == ["seed"]


def test_a_time_that_is_none_puts_nothing_on_the_axis_of_another() -> None:
    """Parts of such a call stand one after the other."""
    records = (
        make(verdict="retry", outcome="error", elapsed_ms=10.0), make(attempt=1, elapsed_ms=20.0),
        make(attempt=None, elapsed_ms=5.0),
    )  # fmt: skip
    call = TracedCall(tuple(replace(record, started_at="?") for record in records))
    parts = [(part.kind, part.start_ms, part.end_ms) for part in timeline_of(call)]
    assert parts == [("attempt", 0, 10), ("attempt", 10, 30), ("end", 30, 30)]


# --- prices ---


@pytest.mark.parametrize(
    ("usage", "rates", "cost"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 0}, {}, None),
        ({"prompt_tokens": 5, "total_tokens": 3}, {"input": 1.0, "output": 1.0}, None),
        ({"prompt_tokens": 5, "total_tokens": 8}, {"input": 1.0, "output": 1.0}, 8e-6),
    ],
)
def test_a_cost_is_known_only_if_tokens_and_rates_are(
    usage: dict[str, int], rates: dict[str, float], cost: float | None
) -> None:
    """A card without rates says nothing of an answer without tokens either."""
    assert PriceCard(rates=TokenRates(**rates), source="s").cost_of(LLMUsage(**usage)) == cost
