"""The dialect of chat completions: what each failure means, and when to ask again. No network."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lee_llm_router._util.numbers import MAX_WAIT
from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.errors import failure

F = FailureType
NOW = 1_800_000_000.0
KEY = "sk-test-0123456789abcdef0123"


def _failure(status: int, body: Any = b"", headers: dict[str, str] | None = None) -> LLMRouterError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return failure(HTTPReply(status, raw, fields, secrets=(KEY,), now=NOW))


BY_STATUS: dict[int, FailureType] = {
    204: F.INVALID_RESPONSE, 205: F.INVALID_RESPONSE, 206: F.INVALID_RESPONSE, 101: F.INVALID_RESPONSE,
    300: F.INVALID_RESPONSE, 301: F.INVALID_RESPONSE, 302: F.INVALID_RESPONSE, 304: F.INVALID_RESPONSE,
    307: F.INVALID_RESPONSE, 308: F.INVALID_RESPONSE, 400: F.INVALID_REQUEST, 401: F.AUTH, 402: F.QUOTA, 403: F.AUTH,
    404: F.MODEL_NOT_FOUND, 405: F.UNKNOWN, 406: F.UNKNOWN, 408: F.TIMEOUT, 409: F.PROVIDER_ERROR, 410: F.UNKNOWN,
    413: F.CONTEXT_LENGTH, 415: F.UNKNOWN, 418: F.UNKNOWN, 422: F.INVALID_REQUEST, 425: F.PROVIDER_ERROR,
    424: F.PROVIDER_ERROR, 429: F.RATE_LIMIT, 431: F.UNKNOWN, 440: F.PROVIDER_ERROR, 451: F.UNKNOWN, 498: F.OVERLOADED,
    499: F.PROVIDER_ERROR, 500: F.PROVIDER_ERROR, 501: F.PROVIDER_ERROR, 502: F.PROVIDER_ERROR, 503: F.OVERLOADED,
    504: F.PROVIDER_ERROR, 520: F.PROVIDER_ERROR, 529: F.OVERLOADED, 599: F.PROVIDER_ERROR, 600: F.UNKNOWN,
    999: F.UNKNOWN,
}  # fmt: skip


@pytest.mark.parametrize("status", BY_STATUS)
def test_a_status_has_one_meaning(status: int) -> None:
    """The table of `docs/errors.md`; asking again is pointless where it says final."""
    error = _failure(status)
    assert error.failure_type is BY_STATUS[status]
    assert error.status_code == status
    assert error.final is (error.failure_type is F.INVALID_RESPONSE)
    assert error.sent
    assert str(status) in error.message


def _openai(code: str | None, message: str = "what it says", kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


SAYINGS: list[tuple[int, Any, FailureType]] = [
    # OpenAI
    (429, _openai("insufficient_quota", kind="insufficient_quota"), F.QUOTA),
    (429, _openai("billing_hard_limit_reached"), F.QUOTA),
    (429, _openai("rate_limit_exceeded", kind="tokens"), F.RATE_LIMIT),
    (400, _openai("context_length_exceeded"), F.CONTEXT_LENGTH),
    (400, _openai("string_above_max_length"), F.CONTEXT_LENGTH),
    (400, _openai("content_policy_violation"), F.CONTENT_FILTER),
    (400, _openai("unsupported_parameter"), F.INVALID_REQUEST),
    (404, _openai("model_not_found"), F.MODEL_NOT_FOUND),
    (403, _openai("model_not_found"), F.MODEL_NOT_FOUND),
    (400, _openai("model_not_found"), F.MODEL_NOT_FOUND),
    (401, _openai("invalid_api_key"), F.AUTH),
    (400, _openai("invalid_api_key"), F.AUTH),
    (503, _openai("context_length_exceeded"), F.OVERLOADED),
    (500, _openai("insufficient_quota"), F.PROVIDER_ERROR),
    (408, _openai("insufficient_quota"), F.TIMEOUT),
    # Azure
    (400, {"error": {"code": "content_filter", "message": "filtered", "status": 400}}, F.CONTENT_FILTER),
    (400, {"error": {"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, F.CONTENT_FILTER),
    # llama.cpp
    (400, {"error": {"code": 400, "message": "the request exceeds the available context size, try increasing it",
                     "type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 4}}, F.CONTEXT_LENGTH),
    (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, F.OVERLOADED),
    # vLLM, old and new
    (400, {"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested "
           "5000 tokens", "type": "BadRequestError", "code": 400}, F.CONTEXT_LENGTH),
    (404, {"object": "error", "message": "The model `x` does not exist.", "code": 404}, F.MODEL_NOT_FOUND),
    # LM Studio, Ollama: the error is a sentence
    (400, {"error": "Trying to keep the first 9 tokens when context the overflows. However, the model is loaded with "
           "context length of only 4 tokens, which is not enough"}, F.CONTEXT_LENGTH),
    (404, {"error": "model 'x' not found"}, F.MODEL_NOT_FOUND),
    # OpenRouter
    (400, _openai(None, "x/y is not a valid model ID"), F.MODEL_NOT_FOUND),
    (400, _openai(None, "This endpoint's maximum context length is 10 tokens."), F.CONTEXT_LENGTH),
    (403, {"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["sexual"]}}}, F.CONTENT_FILTER),
    (402, {"error": {"code": 402, "message": "Insufficient credits"}}, F.QUOTA),
    # Google: a list, and the reason in the details
    (400, [{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}], F.AUTH),
    (400, {"error": {"message": "x", "details": [{"reason": "API_KEY_INVALID"}, 3]}}, F.AUTH),
    # Moonshot, Mistral, FastAPI
    (429, {"error": {"type": "exceeded_current_quota_error", "message": "x"}}, F.QUOTA),
    (400, {"object": "error", "message": "Prompt contains 9 tokens, too large for model with 4 maximum context "
           "length"}, F.CONTEXT_LENGTH),
    (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, F.INVALID_REQUEST),
    # A prompt quoted in a rate limit's text is not a verdict
    (429, _openai(None, "Your prompt is too long for this tier; slow down"), F.RATE_LIMIT),
    # Nonsense
    (400, [], F.INVALID_REQUEST),
    (400, {"error": {"code": {}, "type": [], "message": {}, "innererror": 3, "details": 5, "metadata": "x"}},
     F.INVALID_REQUEST),
    (500, b"\xff\xfe", F.PROVIDER_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "expected"), SAYINGS)
def test_codes_and_well_known_sentences_make_a_status_more_exact(status: int, body: Any, expected: FailureType) -> None:
    error = _failure(status, body)
    assert error.failure_type is expected, repr(error)
    assert error.status_code == status
    assert error.message


def test_the_vendors_words_are_quoted_without_the_key_and_bounded() -> None:
    """Scrubbed before it is cut, so that no half of a key is left at the end."""
    error = _failure(401, _openai(None, f"Incorrect key provided: {KEY}. " + "x" * 10_000))
    assert "Incorrect key provided: ***." in error.message
    assert len(error.message) <= 300
    at_the_cut = _failure(401, _openai(None, "y" * 290 + KEY + "z" * 300))
    assert "sk-" not in at_the_cut.message


def test_what_stands_behind_a_gateway_is_quoted_too() -> None:
    body = {"error": {"message": "Provider returned error", "metadata": {"raw": f"upstream says {KEY} no"}}}
    assert _failure(502, body).message == "Provider returned error (upstream says *** no)"


def test_an_error_page_is_summed_up() -> None:
    page = b"<html><head><TITLE>502 Bad Gateway</TITLE></head><body>nginx</body></html>"
    assert _failure(502, page).message == "HTTP 502 with a web page (502 Bad Gateway)"
    assert "redirects are not followed" in _failure(302).message


# Retry-After


def _date(offset: float) -> str:
    return formatdate(NOW + offset, usegmt=True)


WAITS: list[tuple[dict[str, str], float | None]] = [
    ({}, None),
    ({"Retry-After": "7"}, 7.0),
    ({"retry-after": " 1.5 "}, 1.5),
    ({"Retry-After": "0"}, 0.0),
    ({"Retry-After-Ms": "250", "Retry-After": "9"}, 0.25),
    ({"retry-after-ms": "soon", "Retry-After": "9"}, 9.0),
    ({"Retry-After": "-5"}, None),
    ({"Retry-After": "nan"}, None),
    ({"Retry-After": "inf"}, None),
    ({"Retry-After": "soon"}, None),
    ({"Retry-After": ""}, None),
    ({"Retry-After": "1, 2"}, 2.0),
    ({"Retry-After": "99999999999"}, MAX_WAIT),
    ({"retry-after-ms": "1e300", "Retry-After": "9"}, 9.0),
    ({"Retry-After": _date(30)}, 30.0),
    ({"Retry-After": _date(-30)}, 0.0),
    ({"Retry-After": _date(30), "Date": _date(10)}, 20.0),
    ({"Retry-After": _date(30), "Date": "broken"}, 30.0),
    ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, MAX_WAIT),
    ({"Retry-After": "Sun, 99 Nov 1994 08:49:37 GMT"}, None),
    ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT", "Date": "Sun, 06 Nov 1994 08:49:07 GMT"}, 30.0),
    ({"Retry-After": "Sunday, 06-Nov-94 08:49:37 GMT", "Date": "Sun, 06 Nov 1994 08:49:07 GMT"}, 30.0),
    ({"Retry-After": "Sun Nov  6 08:49:37 1994", "Date": "Sun, 06 Nov 1994 08:49:07 GMT"}, 30.0),
]


@pytest.mark.parametrize(("headers", "expected"), WAITS)
def test_retry_after_is_read_in_every_form_and_nonsense_in_none(
    headers: dict[str, str], expected: float | None
) -> None:
    """Seconds, milliseconds, the three forms of a date; dates by the server's own clock where it tells."""
    assert _failure(429, headers=headers).retry_after == (None if expected is None else pytest.approx(expected))


@given(st.text(st.characters(codec="latin-1")))
def test_no_header_makes_retry_after_fail(value: str) -> None:
    wait = failure(HTTPReply(429, b"", [(b"Retry-After", value.encode("latin-1"))], now=NOW)).retry_after
    assert wait is None or 0 <= wait <= MAX_WAIT
