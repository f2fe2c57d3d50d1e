"""What Google's servers send, byte for byte, and how the tests ask them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.gemini.generate import GeminiDialect
from lee_llm_router.providers.http.dialects.gemini.settings import GeminiConfig
from lee_llm_router.response import LLMRequest, LLMResponse

MODEL = "gemini-3.5-flash"
SETTINGS: dict[str, Any] = {"type": "gemini", "model": MODEL, "api_key_env": None}
"""Settings of a provider that asks a server on this machine."""
USAGE = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
DIALECT = GeminiDialect()
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Weather.", "parameters": CITY},
}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"text": said, **more}


def thought(said: str, **more: Any) -> dict[str, Any]:
    return {"text": said, "thought": True, **more}


def call(name: str, args: Any = None, *, call_id: str | None = None, **more: Any) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name, "args": args or {}}
    return {"functionCall": function if call_id is None else {"id": call_id, **function}, **more}


def answer(*parts: Any, reason: str | None = "STOP", usage: Any = USAGE, **candidate: Any) -> dict[str, Any]:
    """A `GenerateContentResponse`: a whole answer, or an event."""
    one: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **candidate}
    if reason is not None:
        one["finishReason"] = reason
    found = {"candidates": [one], "modelVersion": "served-1", "responseId": "r-1"}
    return found if usage is None else {**found, "usageMetadata": usage}


def piece(*parts: Any, **candidate: Any) -> dict[str, Any]:
    """An event of an answer that goes on."""
    return answer(*parts, reason=None, usage=None, **candidate)


def whole(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def events(*values: Any) -> bytes:
    """The body of a stream, as Google's servers send it: with CRLF."""
    return b"".join(b"data: " + whole(value) + b"\r\n\r\n" for value in values)


def array(*values: Any) -> bytes:
    """The body of a stream, as it comes without ``alt=sse``."""
    return b"[" + b"\n,\r\n".join(json.dumps(value, indent=2).encode() for value in values) + b"]\n"


def config(**settings: Any) -> GeminiConfig:
    return GeminiConfig(**{**SETTINGS, **settings})


def body(
    messages: Any = "hi", *, settings: GeminiConfig | None = None, stream: bool = False, **options: Any
) -> dict[str, Any]:
    """The body of a request."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    request = LLMRequest(messages=tuple(messages), **options)
    return DIALECT.encode(request, settings or config(), stream=stream)


def read(data: bytes, messages: Any = (), settings: GeminiConfig | None = None, **options: Any) -> LLMResponse:
    """The answer in a body, without a server."""
    request = LLMRequest(messages=tuple(messages), **options)
    settings = settings or config()
    return DIALECT.decode(HTTPReply(200, data, settings=settings, request=request, asked={}))


def failure(*values: Any) -> LLMRouterError:
    """The error in an answer, which is the same whole and streamed."""
    found = []
    for data in (events(*values), *([whole(values[0])] if len(values) == 1 else [])):
        with pytest.raises(LLMRouterError) as caught:
            read(data)
        found.append(caught.value)
    assert len({error.failure_type for error in found}) == 1
    return found[-1]


def rpc_error(code: int, status: str, message: str, *details: Any) -> dict[str, Any]:
    """A `google.rpc.Status`."""
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    return {"error": {**error, "details": list(details)} if details else error}


def info(reason: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}


def retry_info(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def quota(*quota_ids: str, value: str = "20") -> dict[str, Any]:
    metric = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
    violations = [{"quotaMetric": metric, "quotaId": one, "quotaValue": value} for one in quota_ids]
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}
