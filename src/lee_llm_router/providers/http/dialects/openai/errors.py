"""Reads the errors of OpenAI-compatible servers. Pure.

How this works. The status decides, by the table in `docs/errors.md`; then the body may say more exactly what failed:

1. A code, where vendors use one status for several failures: 429 also for a used-up balance, 400 also for a prompt that
   is too long or refused by a filter. `_SPECIFIC_CODES` may overrule a status, `_GENERIC_CODES` only a 200.
2. A few well-known sentences, for servers that send no code; and only in answers that blame the request, since a prompt
   quoted in another error must not decide anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import from_json

from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.json_body import mapping, string
from lee_llm_router.providers.http.dialects.statuses import failure_of_status, http_error

_STATUSES_WITH_CODES = frozenset({200, 400, 401, 402, 403, 404, 413, 422, 429})
"""Statuses whose body may name the failure more exactly. 200: some gateways send an error object with it."""
_STATUSES_BLAMING_REQUEST = frozenset({200, 400, 413, 422})
"""Statuses whose message is searched for well-known sentences."""

_SPECIFIC_CODES: dict[FailureType, tuple[str, ...]] = {
    FailureType.CONTEXT_LENGTH: (
        "context_length_exceeded",  # OpenAI, Groq, DeepSeek, vLLM behind gateways
        "exceed_context_size_error",  # llama.cpp
        "context_window_exceeded",
        "model_context_window_exceeded",
        "string_above_max_length",  # OpenAI: one message alone is too long
        "prompt_too_long",
    ),
    FailureType.CONTENT_FILTER: (
        "content_filter",  # Azure
        "responsibleaipolicyviolation",  # Azure, in innererror
        "content_policy_violation",  # OpenAI
        "moderation_blocked",
        "data_inspection_failed",  # Alibaba
    ),
    FailureType.QUOTA: (
        "insufficient_quota",  # OpenAI
        "billing_hard_limit_reached",
        "billing_not_active",
        "exceeded_current_quota_error",  # Moonshot
        "insufficient_balance",
        "insufficient_credits",
        "credits_exhausted",
    ),
    FailureType.MODEL_NOT_FOUND: ("model_not_found", "model_not_available", "model_not_exist", "invalid_model"),
    FailureType.AUTH: ("invalid_api_key", "api_key_invalid", "account_deactivated"),
}
_GENERIC_CODES: dict[FailureType, tuple[str, ...]] = {
    FailureType.RATE_LIMIT: ("rate_limit_exceeded", "rate_limit_error"),
    FailureType.OVERLOADED: ("overloaded", "overloaded_error", "server_overloaded", "service_unavailable"),
    FailureType.TIMEOUT: ("timeout", "timeout_error"),
    FailureType.AUTH: ("authentication_error", "permission_error"),
    FailureType.MODEL_NOT_FOUND: ("not_found_error",),
    FailureType.INVALID_REQUEST: ("invalid_request_error", "badrequesterror"),
}
"""Codes too broad to overrule a status; they count only where the status says nothing (200)."""

_SENTENCES: tuple[tuple[FailureType, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (
            FailureType.CONTEXT_LENGTH,
            # vLLM, OpenRouter, SGLang, TGI, LM Studio, llama.cpp, Mistral, in this order.
            r"maximum context length|context length of (only )?\d+ tokens|longer than the model's context"
            r"|inputs? tokens? \+ .?max_new_tokens|(greater|larger) than the context length"
            r"|exceeds? the (available|maximum) context|too large for model with \d+ maximum context"
            r"|prompt is too long|exceeds? the (model'?s )?context (window|length|size)",
        ),
        (
            FailureType.MODEL_NOT_FOUND,
            r"not a valid model id|model ['\"`]?[^'\"`\s]{1,200}['\"`]? (was )?(not found|does not exist)",
        ),
        (FailureType.AUTH, r"api key not valid"),  # Google
    )
)
_BY_SPECIFIC_CODE = {code: kind for kind, codes in _SPECIFIC_CODES.items() for code in codes}
_BY_GENERIC_CODE = {code: kind for kind, codes in _GENERIC_CODES.items() for code in codes}


def failure(reply: HTTPReply) -> LLMRouterError:
    """Return the error for an answer whose status is no success."""
    error = _error_in(reply.body)
    kind = _kind(reply.status, error) if error else failure_of_status(reply.status)
    return http_error(reply, _message(reply, error), kind=kind)


def failure_within(reply: HTTPReply, error: Any) -> LLMRouterError:
    """Return the error for an error object that came with 200. A status in its `code` counts as the answer's."""
    error = error if isinstance(error, dict) else {"message": str(error)}
    status = _status_in(error) or reply.status
    kind = _kind(status, error)
    if status == reply.status and kind is FailureType.INVALID_RESPONSE:
        kind = FailureType.PROVIDER_ERROR
    return http_error(reply, _message(reply, error) or "an error without a message", kind=kind, status=status)


def _kind(status: int, error: Mapping[str, Any]) -> FailureType:
    by_status = failure_of_status(status)
    if status not in _STATUSES_WITH_CODES:
        return by_status
    codes = list(_codes(error))
    tables = (_BY_SPECIFIC_CODE, _BY_GENERIC_CODE) if status == 200 else (_BY_SPECIFIC_CODE,)
    for table in tables:
        for code in codes:
            if code in table:
                return table[code]
    if status == 403 and mapping(error.get("metadata")).get("reasons"):
        return FailureType.CONTENT_FILTER  # OpenRouter: why its moderation refused
    if status in _STATUSES_BLAMING_REQUEST:
        text = str(error.get("message"))[:4096]
        for kind, pattern in _SENTENCES:
            if pattern.search(text):
                return kind
    return by_status


def _codes(error: Mapping[str, Any]) -> Iterator[str]:
    inner = mapping(error.get("innererror") or error.get("inner_error"))
    details = error.get("details")
    reasons = [mapping(detail).get("reason") for detail in details] if isinstance(details, list) else []
    for code in (error.get("code"), inner.get("code"), error.get("type"), error.get("status"), *reasons):
        if isinstance(code, str):
            yield code.lower()


def _status_in(error: Mapping[str, Any]) -> int | None:
    code = error.get("code")
    if isinstance(code, str) and code.isdecimal() and len(code) == 3:
        code = int(code)
    return code if isinstance(code, int) and 400 <= code < 600 else None


def _error_in(body: bytes) -> Mapping[str, Any]:
    """Return the error object in a body, however it is wrapped; empty if there is none."""
    try:
        value = from_json(body)
    except ValueError:
        return {}
    if isinstance(value, list) and value:  # Google wraps it in a list
        value = value[0]
    outer = mapping(value)
    error = outer.get("error")
    if isinstance(error, dict):
        return error
    return {**outer, "message": error} if isinstance(error, str) else outer


def _message(reply: HTTPReply, error: Mapping[str, Any]) -> str:
    text = string(error.get("message")) or string(error.get("detail")) or ""
    # OpenRouter quotes the vendor behind it.
    behind = string(mapping(error.get("metadata")).get("raw"))
    return reply.quote(f"{text} ({behind})" if behind else text)
