"""What a vendor says of a failure in words: sentences after the manner of many vendors, and what each one means."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.later_sentences import LATER, LATER_NOT_MEANT
from helpers.vendor_sentences import MEANT, NOT_MEANT
from lee_llm_router.errors import FailureType as F
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.errors import failure, failure_within


def failed(status: int, body: Any, headers: dict[str, str] | None = None) -> LLMRouterError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return failure(HTTPReply(status, raw, fields, now=1_800_000_000.0))


def said(status: int, sentence: str) -> LLMRouterError:
    return failed(status, {"error": {"message": sentence, "type": "invalid_request_error", "code": None}})


@pytest.mark.parametrize(("kind", "sentence"), [(kind, one) for kind, all_ in MEANT.items() for one in all_] + LATER)
def test_a_sentence_says_the_cause_by_words_that_go_together(kind: F, sentence: str) -> None:
    error = said(400, sentence)
    assert error.failure_type is kind
    assert (error.status_code, error.final) == (400, False)


@pytest.mark.parametrize("sentence", NOT_MEANT + LATER_NOT_MEANT)
def test_a_mistake_in_the_request_stays_one_whatever_its_words(sentence: str) -> None:
    assert said(400, sentence).failure_type is F.INVALID_REQUEST
    assert said(422, sentence).failure_type is F.INVALID_REQUEST


def test_there_are_as_many_sentences_as_the_rules_need() -> None:
    """124 that say a cause and 56 that do not, written before the rules; 141 and 104 written after them."""
    assert (sum(map(len, MEANT.values())), len(NOT_MEANT)) == (124, 56)
    assert (len(LATER), len(LATER_NOT_MEANT)) == (141, 104)


@given(st.text(max_size=300))
def test_no_text_breaks_the_reading(text: str) -> None:
    for body in (text.encode("utf-8", "replace"), json.dumps({"error": {"message": text, "code": text}}).encode()):
        for status in (200, 400, 403, 429, 500):
            assert failed(status, body).message


# The status, and what the body may say in it

REFINED: list[tuple[int, str, F]] = [
    (401, "Your prepaid balance is exhausted", F.QUOTA),
    (401, "no such account", F.AUTH),
    (401, "Rate limit exceeded", F.AUTH),
    (402, "The model does not exist", F.QUOTA),
    (403, "Content violates the usage policy", F.CONTENT_FILTER),
    (403, "Insufficient balance, recharge first", F.QUOTA),
    (403, "Your project has no access to model x", F.MODEL_NOT_FOUND),
    (403, "You have exceeded a secondary rate limit", F.RATE_LIMIT),
    (403, "Key limit exceeded (total limit)", F.QUOTA),
    (403, "Request blocked", F.AUTH),
    (404, "Incorrect API key", F.AUTH),
    (404, "Not Found", F.MODEL_NOT_FOUND),
    (408, "Insufficient balance", F.TIMEOUT),
    (410, "The model llama-1 has reached its end of life", F.MODEL_NOT_FOUND),
    (410, "Gone", F.UNKNOWN),
    (413, "Request too large on tokens per minute (TPM): Limit 6000, Requested 9000", F.CONTEXT_LENGTH),
    (424, "Insufficient balance", F.QUOTA),
    (424, "Failed dependency", F.PROVIDER_ERROR),
    (429, "Insufficient balance. Top up to go on.", F.QUOTA),
    (429, "您的账户已欠费", F.QUOTA),
    (429, "You have reached your weekly usage limit", F.QUOTA),
    (429, "Rate limit exceeded: 10 requests per minute. Add credits to raise it.", F.RATE_LIMIT),
    (429, "Quota exceeded for requests per minute", F.RATE_LIMIT),
    (429, "Quota exceeded for metric generate_content_requests_per_minute, limit: 15", F.RATE_LIMIT),
    (429, "Quota exceeded for quota GenerateRequestsPerDayPerProjectPerModel", F.RATE_LIMIT),
    (429, "Quota exceeded, please retry in 17.3s", F.RATE_LIMIT),
    (429, "Too many tokens per minute: the prompt is too long for your limit of tokens", F.RATE_LIMIT),
    (429, "Input token limit exceeded", F.RATE_LIMIT),
    (429, "The prompt is too long", F.RATE_LIMIT),
    (429, "The server is busy", F.RATE_LIMIT),
    (429, "Resource has been exhausted (e.g. check quota).", F.RATE_LIMIT),
    (440, "Session ended", F.PROVIDER_ERROR),
    (460, "", F.PROVIDER_ERROR),
    (498, "", F.OVERLOADED),
    (498, "Invalid token", F.AUTH),
    (499, "Insufficient funds", F.QUOTA),
    (500, "Your credit balance is too low", F.QUOTA),
    (500, "The prompt is too long: 9000 tokens", F.CONTEXT_LENGTH),
    (500, "Invalid API key in the vault", F.PROVIDER_ERROR),
    (500, "The model x does not exist", F.PROVIDER_ERROR),
    (500, "image input is not supported - hint: you may need to provide the mmproj", F.INVALID_REQUEST),
    (500, "audio input is not supported", F.INVALID_REQUEST),
    (501, "This server does not support tools.", F.INVALID_REQUEST),
    (503, "Unsupported file type", F.INVALID_REQUEST),
    (500, "Failed to fetch the image", F.PROVIDER_ERROR),
    (500, "The tool server is down", F.PROVIDER_ERROR),
    (429, "Images are not supported", F.RATE_LIMIT),
    (502, "Upstream: rate limit exceeded", F.RATE_LIMIT),
    (503, "The model is unavailable", F.OVERLOADED),
    (520, "", F.PROVIDER_ERROR),
    (598, "", F.PROVIDER_ERROR),
]


@pytest.mark.parametrize(("status", "sentence", "kind"), REFINED)
def test_a_sentence_says_only_what_the_status_leaves_open(status: int, sentence: str, kind: F) -> None:
    """A 429 is refined only by what no wait will mend, a 5xx not by what it says of keys and "
    "models, a 402 by nothing."""
    error = said(status, sentence)
    assert (error.failure_type, error.status_code) == (kind, status)


def test_a_status_that_no_standard_knows_is_no_fault_of_the_request() -> None:
    """It comes from something on the way; one of the standard without a row is UNKNOWN."""
    private = [*range(419, 421), 427, 430, *range(432, 451), *range(452, 500)]
    assert {failed(status, b"").failure_type for status in private if status != 498} == {F.PROVIDER_ERROR}
    assert {failed(status, b"").failure_type for status in (405, 406, 407, 411, 415, 418, 421, 426, 431, 451)} == {
        F.UNKNOWN
    }


@pytest.mark.parametrize(
    ("wait", "kind"), [(None, F.QUOTA), ("20", F.RATE_LIMIT), ("3600", F.RATE_LIMIT), ("86400", F.QUOTA)]
)
def test_a_quota_that_fills_again_soon_is_a_rate_limit(wait: str | None, kind: F) -> None:
    headers = {} if wait is None else {"Retry-After": wait}
    body = {"error": {"message": "You exceeded your current quota, please check your plan and billing details."}}
    assert failed(429, body, headers).failure_type is kind
    assert failed(429, {"error": {"message": "Insufficient balance"}}, headers).failure_type is F.QUOTA
    assert failed(429, {"error": {"message": "no", "code": "insufficient_quota"}}, headers).failure_type is F.QUOTA
    per_minute = {"error": {"message": "20 requests per minute", "code": "quota_exceeded"}}
    assert failed(429, per_minute, headers).failure_type is F.RATE_LIMIT


# Codes

CODES: list[tuple[int, dict[str, Any], F]] = [
    (400, {"code": "model_decommissioned"}, F.MODEL_NOT_FOUND),
    (400, {"code": "model_not_supported"}, F.MODEL_NOT_FOUND),
    (400, {"code": "unknown_model"}, F.MODEL_NOT_FOUND),
    (400, {"code": "ModelNotFoundException"}, F.MODEL_NOT_FOUND),
    (400, {"code": "model_sunset_2025"}, F.MODEL_NOT_FOUND),
    (400, {"code": "invalid_value", "param": "model"}, F.MODEL_NOT_FOUND),
    (400, {"code": "model_overloaded"}, F.OVERLOADED),
    (400, {"code": "model_error"}, F.INVALID_REQUEST),
    (400, {"code": "Arrearage"}, F.QUOTA),
    (400, {"code": "InsufficientBalance"}, F.QUOTA),
    (400, {"type": "budget_exceeded"}, F.QUOTA),
    (429, {"code": "subscription:free-usage-exhausted"}, F.QUOTA),
    (429, {"code": "usage_limit_reached"}, F.QUOTA),
    (429, {"code": "Throttling.AllocationQuota"}, F.RATE_LIMIT),
    (429, {"code": "tokens_exceeded"}, F.RATE_LIMIT),
    (429, {"type": "tokens", "code": "rate_limit_exceeded"}, F.RATE_LIMIT),
    (400, {"code": "PROHIBITED_CONTENT"}, F.CONTENT_FILTER),
    (400, {"code": "contentPolicyViolation"}, F.CONTENT_FILTER),
    (400, {"code": "sensitive_words_detected"}, F.CONTENT_FILTER),
    (400, {"code": "DataInspectionFailed"}, F.CONTENT_FILTER),
    (400, {"code": "prompt_too_long"}, F.CONTEXT_LENGTH),
    (400, {"type": "ContextWindowExceeded"}, F.CONTEXT_LENGTH),
    (400, {"code": "string_above_max_length", "param": "messages[0].content"}, F.CONTEXT_LENGTH),
    (400, {"code": "string_above_max_length", "param": "tools[0].function.name"}, F.INVALID_REQUEST),
    (400, {"code": "string_above_max_length", "param": "user"}, F.INVALID_REQUEST),
    (403, {"code": "unsupported_country_region_territory"}, F.AUTH),
    (400, {"code": "unsupported_country_region_territory"}, F.AUTH),
    (400, {"reason": "API_KEY_INVALID"}, F.AUTH),
    (400, {"code": "account_deactivated"}, F.AUTH),
    (400, {"code": "tool_use_failed"}, F.INVALID_RESPONSE),
    (400, {"code": "json_validate_failed"}, F.INVALID_RESPONSE),
    (498, {"code": "capacity_exceeded"}, F.OVERLOADED),
    (400, {"code": "engine_overloaded_error"}, F.OVERLOADED),
    (400, {"type": "extra_forbidden"}, F.INVALID_REQUEST),
    (400, {"code": "unsupported_parameter", "param": "max_tokens"}, F.INVALID_REQUEST),
    (400, {"code": "image_too_large"}, F.INVALID_REQUEST),
    (400, {"code": "invalid_function_parameters"}, F.INVALID_REQUEST),
    (400, {"code": "missing_required_parameter"}, F.INVALID_REQUEST),
    (400, {"code": "integer_above_max_value", "param": "max_tokens"}, F.INVALID_REQUEST),
]


@pytest.mark.parametrize(("status", "fields", "kind"), CODES)
def test_a_code_is_read_in_its_words_however_it_is_written(status: int, fields: dict[str, Any], kind: F) -> None:
    assert failed(status, {"error": {"message": "something is wrong here", **fields}}).failure_type is kind


def test_what_the_model_wrote_wrongly_comes_with_the_error_and_is_asked_for_again() -> None:
    """Not final: the request is right, and the next answer may be."""
    for written, text in (("<function=f>{", "<function=f>{"), ({"a": 1}, '{"a":1}')):
        body = {"error": {"message": "Adjust it.", "code": "tool_use_failed", "failed_generation": written}}
        error = failed(400, body)
        assert (error.failure_type, error.final, error.status_code) == (F.INVALID_RESPONSE, False, 400)
        assert error.response is not None and error.response.text == text


# Shapes

WORDS = "Insufficient account balance"
SHAPES: dict[str, Any] = {
    "message at the top": {"message": WORDS},
    "detail": {"detail": WORDS},
    "detail as a list": {"detail": [{"msg": WORDS, "type": "value_error"}]},
    "detail as an object": {"detail": {"error": {"message": WORDS}}},
    "error as text": {"error": WORDS},
    "error beside a code": {"error": WORDS, "code": "permission-denied"},
    "error true": {"error": True, "message": WORDS},
    "a list": [{"error": {"message": WORDS}}],
    "a list of errors": {"errors": [{"code": 1113, "message": WORDS}]},
    "error in error": {"error": {"error": {"message": WORDS}}},
    "message in message": {"error": {"message": {"detail": WORDS}}},
    "behind a gateway": {"error": {"message": "Provider returned error", "metadata": {"raw": WORDS}}},
    "JSON behind a gateway": {
        "error": {"message": "Provider returned error", "metadata": {"raw": json.dumps({"error": {"message": WORDS}})}}
    },
    "JSON in the message": {"error": {"message": json.dumps({"error": {"message": WORDS, "code": 7}})}},
    "a message quoted in the message": {"message": f"Error code: 400 - {{'error': {{'message': '{WORDS}'}}}}"},
    "a problem document": {"type": "about:blank", "title": "Bad Request", "status": 400, "detail": WORDS},
    "another name": {"errorMessage": WORDS},
    "base_resp": {"base_resp": {"status_code": 1008, "status_msg": WORDS}},
    "plain text": WORDS,
    "a text that is no JSON": WORDS.encode(),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("status", [400, 403, 429])
def test_what_a_vendor_says_is_found_wherever_it_stands(status: int, shape: str) -> None:
    error = failed(status, SHAPES[shape])
    assert error.failure_type is F.QUOTA
    assert WORDS in error.message


def test_what_is_quoted_of_the_request_says_nothing() -> None:
    """The caller's own words must decide nothing."""
    echoed = "my API key is invalid, the model does not exist, and the content violates the usage policy"
    for body in (
        {"detail": [{"loc": ["body", "messages"], "msg": "Field required", "input": {"content": echoed}}]},
        {"error": {"message": "no", "request": {"messages": [{"content": echoed}]}}},
        {"error": {"message": f'Invalid value for the field messages: "{echoed}"'}},
        b"<html>" + echoed.encode() + b"</html>",
    ):
        assert failed(400, body).failure_type is F.INVALID_REQUEST


def test_a_body_of_any_depth_and_size_is_read_in_part() -> None:
    deep: Any = {"message": WORDS}
    for _ in range(300):
        deep = {"error": deep}
    assert failed(400, deep).failure_type is F.INVALID_REQUEST
    many = {"errors": [{"message": "x is wrong"}] * 10_000}
    assert failed(400, many).failure_type is F.INVALID_REQUEST
    long = failed(400, {"message": WORDS + " and so on" * 1_000_000})
    assert long.failure_type is F.QUOTA and len(long.message) <= 300


# An error inside a 200

WITHIN: list[tuple[Any, F, int]] = [
    ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, F.QUOTA, 200),
    ({"base_resp": {"status_code": 1002, "status_msg": "rate limit reached"}}, F.RATE_LIMIT, 200),
    ({"base_resp": {"status_code": 1004, "status_msg": "login fail: authentication failed"}}, F.AUTH, 200),
    ({"object": "error", "message": "The model's maximum context length is 99 tokens.", "code": 40303},
     F.CONTEXT_LENGTH, 200),
    ({"type": "error", "error": {"type": "bad_request_error", "message": "no", "http_code": "400"}},
     F.INVALID_REQUEST, 400),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "later", "http_code": 529}}, F.OVERLOADED, 529),
    ({"status": 429, "error": {"message": "slower"}}, F.RATE_LIMIT, 429),
    ({"error": "no", "status_code": 401}, F.AUTH, 401),
    ({"error": True, "message": "Content violates usage guidelines"}, F.CONTENT_FILTER, 200),
    ({"error": {"type": "authentication_error", "message": "no"}}, F.AUTH, 200),
    ({"error": {"type": "timeout_error", "message": "no"}}, F.TIMEOUT, 200),
    ({"error": {"message": "Failed to call a function", "failed_generation": "{"}}, F.INVALID_RESPONSE, 200),
    ("Rate limit exceeded", F.RATE_LIMIT, 200),
    ("oops", F.PROVIDER_ERROR, 200),
    ({"code": 7, "msg": "unlucky"}, F.PROVIDER_ERROR, 200),
    (None, F.PROVIDER_ERROR, 200),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind", "status"), WITHIN)
def test_an_error_inside_a_200_is_read_like_any_other(value: Any, kind: F, status: int) -> None:
    """Given the error alone or the whole body, with a status in any of its fields."""
    error = failure_within(HTTPReply(200, b"", now=1.0), value)
    assert (error.failure_type, error.status_code, error.final) == (kind, status, False)
    assert error.message


@pytest.mark.parametrize("category", ["violence", "hate", "self-harm"])
def test_a_refusal_that_says_that_it_was_free_is_no_used_up_quota(category: str) -> None:
    """Else one prompt that was flagged would keep the target from all calls."""
    sentence = f'x/y requires moderation on Host. Your input was flagged for "{category}". No credits were charged.'
    assert said(403, sentence).failure_type is F.CONTENT_FILTER
    assert (
        said(
            400, "Your prompt was blocked by the safety system. Your account was not charged any credits."
        ).failure_type
        is F.CONTENT_FILTER
    )


@pytest.mark.parametrize("what", ["support tool use", "support image input", "can handle the requested parameters"])
def test_a_gateway_without_an_endpoint_for_one_feature_still_has_the_model(what: str) -> None:
    """Else one request with tools would keep the target from all other calls."""
    assert (
        said(404, f"No endpoints found that {what}. To learn more, visit the docs.").failure_type is F.INVALID_REQUEST
    )
    assert said(404, "No endpoints found for vendor/model-9.").failure_type is F.MODEL_NOT_FOUND


def test_one_request_above_the_limit_of_a_minute_is_too_long() -> None:
    """No wait helps it. One that only comes too soon has to wait."""
    body = {"message": "Request too large for m-1 on tokens per min (TPM): Limit 30000, Requested 40211. The input or "
            "output tokens must be reduced in order to run successfully.", "code": "rate_limit_exceeded"}  # fmt: skip
    assert failed(429, {"error": body}).failure_type is F.CONTEXT_LENGTH
    body["message"] = "Rate limit reached for m-1 on tokens per min (TPM): Limit 30000, Used 29000, Requested 4000."
    assert failed(429, {"error": body}).failure_type is F.RATE_LIMIT
