"""What the dialects beside chat completions answer, whole and streamed, with all that each of them reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fuzzing.inputs import CHAT, ERRORS, KEY, WireForm

_BLOCKS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk"},
    {"type": "redacted_thinking", "data": "AAAA"},
    {
        "type": "text", "text": "Hello there.",
        "citations": [{"type": "web_search_result_location", "url": "http://a/", "title": "A", "cited_text": "a"}],
    },
    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "a"}},
    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"type": "web_search_result", "url": "u"}]},
    {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
]  # fmt: skip
_MESSAGE: dict[str, Any] = {
    "id": "m-1", "type": "message", "role": "assistant", "model": "m", "content": _BLOCKS, "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 1, "cache_creation_input_tokens": 1,
        "service_tier": "standard", "output_tokens_details": {"thinking_tokens": 1},
    },
}  # fmt: skip
_DELTAS: tuple[tuple[dict[str, Any], ...], ...] = (
    ({"type": "thinking_delta", "thinking": "Hm."}, {"type": "signature_delta", "signature": "c2ln"}),
    (),
    ({"type": "text_delta", "text": "Hello"}, {"type": "citations_delta", "citation": _BLOCKS[2]["citations"][0]}),
    ({"type": "input_json_delta", "partial_json": '{"query": "a"}'},),
    (),
    ({"type": "input_json_delta", "partial_json": '{"a"'}, {"type": "input_json_delta", "partial_json": ": 1}"}),
)


def _of_block(index: int, block: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    begun = {**block, **{name: type(block[name])() for name in ("text", "thinking", "input") if name in block}}
    deltas = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in _DELTAS[index]]
    start: dict[str, Any] = {"type": "content_block_start", "index": index, "content_block": begun}
    return (start, *deltas, {"type": "content_block_stop", "index": index})


ANTHROPIC = WireForm(
    _MESSAGE,
    (
        {"type": "message_start", "message": {**_MESSAGE, "content": [], "stop_reason": None}},
        {"type": "ping"},
        *(event for index, block in enumerate(_BLOCKS) for event in _of_block(index, block)),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ),
    2,
    errors=(*ERRORS, {"type": "error", "error": {"type": "overloaded_error", "message": f"Overloaded {KEY}"}}),
)

_ITEMS: list[dict[str, Any]] = [
    {
        "id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": "gAAA",
    },
    {
        "id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "phase": "final_answer",
        "content": [{
            "type": "output_text", "text": "Hello there.",
            "annotations": [{"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 2}],
            "logprobs": [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}],
        }],
    },
    {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "AAAA"},
    {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "c1", "name": "f", "arguments": "{}"},
]  # fmt: skip
_RESPONSE: dict[str, Any] = {
    "id": "resp_1", "object": "response", "status": "completed", "error": None, "incomplete_details": None,
    "model": "m", "output": _ITEMS, "service_tier": "default",
    "usage": {
        "input_tokens": 3, "input_tokens_details": {"cached_tokens": 1}, "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 5,
    },
}  # fmt: skip
_RESPONSE_DELTAS: tuple[tuple[dict[str, Any], ...], ...] = (
    ({"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": "Hm."},),
    (
        {"type": "response.output_text.delta", "content_index": 0, "delta": "Hello "},
        {"type": "response.output_text.delta", "content_index": 0, "delta": "there."},
        {"type": "response.output_text.done", "content_index": 0, "text": "Hello there."},
    ),
    ({"type": "response.image_generation_call.partial_image", "partial_image_b64": "AA", "partial_image_index": 0},),
    (
        {"type": "response.function_call_arguments.delta", "delta": "{}"},
        {"type": "response.function_call_arguments.done", "arguments": "{}"},
    ),
)


def _of_item(index: int, item: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    begun = {**item, "status": "in_progress", **({"content": []} if "content" in item else {})}
    place = {"output_index": index}
    return (
        {"type": "response.output_item.added", "item": begun, **place},
        *({**delta, "item_id": item["id"], **place} for delta in _RESPONSE_DELTAS[index]),
        {"type": "response.output_item.done", "item": dict(item), **place},
    )


RESPONSES = WireForm(
    _RESPONSE,
    (
        {"type": "response.created", "response": {**_RESPONSE, "status": "in_progress", "output": [], "usage": None}},
        *(event for index, item in enumerate(_ITEMS) for event in _of_item(index, item)),
        {"type": "response.completed", "response": _RESPONSE},
    ),
    1,
    errors=(
        *ERRORS,
        {"type": "error", "code": "server_error", "message": f"no {KEY}", "param": None},
        {
            "type": "response.failed",
            "response": {**_RESPONSE, "status": "failed", "error": {"code": "rate_limit_exceeded", "message": KEY}},
        },
    ),
)

_USAGE_METADATA = {
    "promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 6, "thoughtsTokenCount": 1,
    "cachedContentTokenCount": 1,
}  # fmt: skip
_PARTS: list[dict[str, Any]] = [
    {"text": "Hm.", "thought": True},
    {"text": "Hello there."},
    {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
    {"executableCode": {"language": "PYTHON", "code": "1"}},
    {"functionCall": {"id": "t1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"},
]
_ABOUT: dict[str, Any] = {
    "groundingMetadata": {
        "groundingChunks": [{"web": {"uri": "u", "title": "t"}}],
        "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 2, "text": "He"},
                               "groundingChunkIndices": [0]}],
    },
    "citationMetadata": {"citationSources": [{"startIndex": 0, "endIndex": 2, "uri": "u"}]},
    "logprobsResult": {
        "chosenCandidates": [{"token": "a", "logProbability": -0.1}],
        "topCandidates": [{"candidates": [{"token": "a", "logProbability": -0.1}]}],
    },
}  # fmt: skip


def _generated(parts: list[dict[str, Any]], **candidate: Any) -> dict[str, Any]:
    one = {"content": {"role": "model", "parts": parts}, "index": 0, **candidate}
    return {"candidates": [one], "modelVersion": "m", "responseId": "r-1"}


GEMINI = WireForm(
    {**_generated(_PARTS, finishReason="STOP", **_ABOUT), "usageMetadata": _USAGE_METADATA},
    (
        *(_generated([part]) for part in _PARTS),
        {**_generated([{"text": ""}], finishReason="STOP", **_ABOUT), "usageMetadata": _USAGE_METADATA},
    ),
    1,
    errors=(*ERRORS, {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": _USAGE_METADATA}),
)

WIRE_FORMS: Mapping[str, WireForm] = {
    "http": CHAT, "anthropic": ANTHROPIC, "openai_responses": RESPONSES, "gemini": GEMINI,
}  # fmt: skip
"""By the provider type that reads them."""
