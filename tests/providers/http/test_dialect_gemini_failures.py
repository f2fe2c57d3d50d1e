"""What Google's errors mean: statuses, typed details, quotas, waits; whole, in a list, and within a stream."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.all_forms import failures
from helpers.gemini_wire import (
    DIALECT,
    SETTINGS,
    config,
    events,
    info,
    piece,
    quota,
    retry_info,
    rpc_error,
    text,
    whole,
)
from helpers.servers import Server, answering, http, json_answer
from helpers.stream_support import router_to
from lee_llm_router import FailureType, LLMRequest, LLMRouterError
from lee_llm_router.providers.http.dialects.base import HTTPReply

F = FailureType
DAY, MINUTE = (
    "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
)
TOKENS = "GenerateContentInputTokensPerModelPerMinute-FreeTier"
QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error,"
    " head to: https://ai.google.dev/gemini-api/docs/rate-limits."
)
METRIC = "\n* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: "
BAD_KEY = "API key not valid. Please pass a valid API key."


def read(status: int, body: Any, headers: Any = (), **options: Any) -> LLMRouterError:
    """The error in an answer with a status."""
    data = body if isinstance(body, bytes) else whole(body)
    raw = [(name.encode(), value.encode()) for name, value in headers]
    request = LLMRequest(messages=(), **options)
    return DIALECT.failure(HTTPReply(status, data, raw, settings=config(), request=request, asked={}))


FIELDS = {"fieldViolations": [{"description": "Unknown name"}]}
CASES: dict[str, tuple[int, dict[str, Any], FailureType]] = {
    "a wrong key": (
        400,
        rpc_error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", info("API_KEY_INVALID")),
        F.AUTH,
    ),
    "a wrong key, in no words that tell": (
        400,
        rpc_error(400, "INVALID_ARGUMENT", "Bad.", info("API_KEY_INVALID")),
        F.AUTH,
    ),
    "an expired key": (400, rpc_error(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."), F.AUTH),
    "a key for other callers": (
        403,
        rpc_error(403, "PERMISSION_DENIED", "x", info("API_KEY_HTTP_REFERRER_BLOCKED")),
        F.AUTH,
    ),
    "a leaked key": (403, rpc_error(403, "PERMISSION_DENIED", "Your API key was reported as leaked."), F.AUTH),
    "no key": (403, rpc_error(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers."), F.AUTH),
    "a token that is over": (
        401,
        rpc_error(
            401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", info("ACCESS_TOKEN_EXPIRED")
        ),
        F.AUTH,
    ),
    "an API that is not on": (
        403,
        rpc_error(403, "PERMISSION_DENIED", "It is disabled.", info("SERVICE_DISABLED")),
        F.AUTH,
    ),
    "no billing": (403, rpc_error(403, "PERMISSION_DENIED", "x", info("BILLING_DISABLED")), F.QUOTA),
    "a place without it": (
        400,
        rpc_error(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        F.AUTH,
    ),
    "a place without the free tier": (
        400,
        rpc_error(
            400,
            "FAILED_PRECONDITION",
            "Gemini API free tier is not available in your country. Please enable "
            "billing on your project in Google AI Studio.",
        ),
        F.AUTH,
    ),
    "no such model": (
        404,
        rpc_error(
            404,
            "NOT_FOUND",
            "models/gemini-9 is not found for API version v1beta, or is not supported "
            "for generateContent. Call ListModels to see the list of available models.",
        ),
        F.MODEL_NOT_FOUND,
    ),
    "no such publisher's model": (
        404,
        rpc_error(404, "NOT_FOUND", "Publisher Model `projects/p/x` was not found."),
        F.MODEL_NOT_FOUND,
    ),
    "a prompt that is too long": (
        400,
        rpc_error(
            400,
            "INVALID_ARGUMENT",
            "The input token count (1048580) exceeds the maximum number of tokens allowed (1048576).",
        ),
        F.CONTEXT_LENGTH,
    ),
    "too long, in Vertex's words": (
        400,
        rpc_error(
            400,
            "INVALID_ARGUMENT",
            "Unable to submit request because the input token count is 40000 but model "
            "only supports up to 32768. Reduce the input token count and try again.",
        ),
        F.CONTEXT_LENGTH,
    ),
    "a wrong request": (
        400,
        rpc_error(
            400, "INVALID_ARGUMENT", 'Invalid JSON payload received. Unknown name "x": Cannot find field.', FIELDS
        ),
        F.INVALID_REQUEST,
    ),
    "a level that the model lacks": (
        400,
        rpc_error(
            400,
            "INVALID_ARGUMENT",
            "Thinking level MEDIUM is not supported for this model. Please retry with other thinking level.",
        ),
        F.INVALID_REQUEST,
    ),
    "a missing signature": (
        400,
        rpc_error(400, "INVALID_ARGUMENT", "Function call is missing a thought_signature in functionCall parts."),
        F.INVALID_REQUEST,
    ),
    "a server that has too much to do": (503, rpc_error(503, "UNAVAILABLE", "The model is overloaded."), F.OVERLOADED),
    "a server that failed": (500, rpc_error(500, "INTERNAL", "An internal error has occurred."), F.PROVIDER_ERROR),
    "a server that was too slow": (
        504,
        rpc_error(504, "DEADLINE_EXCEEDED", "The request timed out."),
        F.PROVIDER_ERROR,
    ),
    "no capacity": (429, rpc_error(429, "RESOURCE_EXHAUSTED", "x", info("MODEL_CAPACITY_EXHAUSTED")), F.OVERLOADED),
    "many requests, on Vertex": (
        429,
        rpc_error(
            429,
            "RESOURCE_EXHAUSTED",
            "Resource exhausted. Please try again later. Please refer to "
            "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for "
            "more details.",
        ),
        F.RATE_LIMIT,
    ),
    "in few words": (
        429,
        rpc_error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
        F.RATE_LIMIT,
    ),
    "many requests in a minute": (
        429,
        rpc_error(
            429, "RESOURCE_EXHAUSTED", QUOTA + METRIC + "5\nPlease retry in 22.5s.", quota(MINUTE), retry_info("22s")
        ),
        F.RATE_LIMIT,
    ),
    "a minute's quota, no wait named": (
        429,
        rpc_error(429, "RESOURCE_EXHAUSTED", QUOTA, quota(MINUTE, TOKENS)),
        F.RATE_LIMIT,
    ),
    "a day's quota": (429, rpc_error(429, "RESOURCE_EXHAUSTED", QUOTA, quota(DAY), retry_info("22s")), F.QUOTA),
    "a day's quota among others": (
        429,
        rpc_error(429, "RESOURCE_EXHAUSTED", QUOTA, quota(MINUTE, DAY), retry_info("22s")),
        F.QUOTA,
    ),
    "a day's quota by other names": (
        429,
        rpc_error(429, "RESOURCE_EXHAUSTED", QUOTA, quota("requests_per_day"), retry_info("5s")),
        F.QUOTA,
    ),
    "a day's quota in words": (
        429,
        rpc_error(
            429,
            "RESOURCE_EXHAUSTED",
            "Quota exceeded for quota metric 'Generate requests' and limit 'Requests per day' of service 'x'.",
            retry_info("5s"),
        ),
        F.QUOTA,
    ),
    "no access": (
        429,
        rpc_error(
            429,
            "RESOURCE_EXHAUSTED",
            QUOTA + METRIC + "0, model: gemini-3.1-pro",
            quota(MINUTE, value="0"),
            retry_info("22s"),
        ),
        F.QUOTA,
    ),
    "no access, in words": (
        429,
        rpc_error(429, "RESOURCE_EXHAUSTED", QUOTA + METRIC + "0, model: gemini-3.1-pro", retry_info("22s")),
        F.QUOTA,
    ),
    "no money": (429, rpc_error(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), F.QUOTA),
}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("form", ["an object", "a list", "in a stream", "in a stream, by its word alone"])
def test_each_error_means_one_thing_wherever_it_comes(kind: str, form: str) -> None:
    status, body, meant = CASES[kind]
    if form in ("an object", "a list"):
        found = read(status, [body] if form == "a list" else body)
        assert found.status_code == status
    else:
        error = body["error"]
        if "word" in form:
            error = {name: value for name, value in error.items() if name != "code"}
        from helpers.gemini_wire import read as read_answer

        with pytest.raises(LLMRouterError) as caught:
            read_answer(events(piece(text("a")), {"error": error}))
        found = caught.value
    assert found.failure_type is meant
    assert body["error"]["message"][:40] in str(found)


WAITS: dict[str, tuple[list[Any], float | None]] = {
    "seconds": ([quota(MINUTE), retry_info("22s")], 22.0),
    "parts of one": ([retry_info("22.847s")], 22.847),
    "a protobuf's fields": ([{"retryDelay": {"seconds": 7, "nanos": 500_000_000}}], 7.5),
    "none": ([quota(MINUTE)], None),
    "a day's quota with seconds": ([quota(DAY), retry_info("22s")], None),
    "a day's quota with hours": ([quota(DAY), retry_info("35640s")], 35640.0),
    "no access": ([quota(MINUTE, value="0"), retry_info("36000s")], None),
}


@pytest.mark.parametrize("kind", WAITS)
def test_the_wait_stands_in_the_details_and_is_believed_where_it_can_be_true(kind: str) -> None:
    details, seconds = WAITS[kind]
    assert read(429, rpc_error(429, "RESOURCE_EXHAUSTED", QUOTA, *details)).retry_after == seconds


def test_a_wait_of_hours_in_words_is_a_quota_that_comes_back() -> None:
    error = read(429, rpc_error(429, "RESOURCE_EXHAUSTED", QUOTA + METRIC + "20\nPlease retry in 9h54m12.5s."))
    assert (error.failure_type, error.retry_after) == (F.QUOTA, 35652.5)


def test_a_wait_in_a_header_counts() -> None:
    error = read(503, rpc_error(503, "UNAVAILABLE", "x"), [("Retry-After", "7")])
    assert error.retry_after == 7.0


@pytest.mark.parametrize("body", [
    b"", b"null", b"[]", b"[[]]", b'{"error": null}', b'{"error": "text"}', b'{"error": {"details": 3}}',
    b'{"error": {"details": [1, {"violations": 5}, {"violations": [2]}, {"reason": 7}], "status": 4}}', b"<html>",
    b"\xff",
    b'{"error": {"code": "x", "status": "NO_SUCH"}}',
])  # fmt: skip
def test_odd_errors_mean_what_their_status_means(body: bytes) -> None:
    meant = {400: F.INVALID_REQUEST, 429: F.RATE_LIMIT, 500: F.PROVIDER_ERROR, 503: F.OVERLOADED}
    for status, kind in meant.items():
        assert read(status, body).failure_type is kind


def test_errors_are_the_same_in_every_form_of_a_call() -> None:
    _, body, meant = CASES["a day's quota"]
    for script in (answering(json_answer(body, 429)), answering(http(200, events(piece(text("a")), body)))):
        found = failures(script, **SETTINGS)
        assert {error.failure_type for error in found} == {meant}
        assert all("exceeded your current quota" in str(error) for error in found)


def test_the_id_of_the_request_is_kept() -> None:
    answer = json_answer(CASES["a server that failed"][1], 500, {"X-Goog-Request-Id": "goog-1"})
    with Server(answering(answer)) as server:
        router = router_to(server.url, role={"retry": {"attempts": 1}}, **SETTINGS)
        with pytest.raises(LLMRouterError) as caught:
            router.complete("r", "hi")
        router.close()
    assert caught.value.provider_request_id == "goog-1"


def test_a_key_that_the_vendor_quotes_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-0123-secret-4567")
    body = rpc_error(400, "INVALID_ARGUMENT", "The key AIza-0123-secret-4567 is odd.")
    with Server(answering(json_answer(body, 400))) as server:
        router = router_to(server.url, **{**SETTINGS, "api_key_env": "GEMINI_API_KEY"})
        with pytest.raises(LLMRouterError) as caught:
            router.complete("r", "hi")
        router.close()
    assert "secret" not in str(caught.value)
    assert "The key" in str(caught.value)


@pytest.mark.parametrize("what", [
    "You do not have permission to access the File abc-1 or it may not exist.",
    "CachedContent not found (or permission denied)",
    "Permission denied: no access to the Google Cloud Storage object gs://b/o.",
])  # fmt: skip
def test_a_file_of_another_key_says_nothing_against_the_key(what: str) -> None:
    """Else one message with a foreign file would keep the whole provider from all calls."""
    assert read(403, rpc_error(403, "PERMISSION_DENIED", what)).failure_type is F.INVALID_REQUEST
    refused = rpc_error(403, "PERMISSION_DENIED", what, info("API_KEY_SERVICE_BLOCKED"))
    assert read(403, refused).failure_type is F.AUTH


def test_a_quota_of_vertex_is_one_of_a_minute() -> None:
    """It speaks of an increase, and is filled again at once, unless it is one of a day."""
    what = (
        "Quota exceeded for aiplatform.googleapis.com/{} with base model: gemini-pro. Submit a quota increase request."
    )
    passing = what.format("online_prediction_requests_per_base_model")
    assert read(429, rpc_error(429, "RESOURCE_EXHAUSTED", passing)).failure_type is F.RATE_LIMIT
    lasting = what.format("generate_content_requests_per_day")
    assert read(429, rpc_error(429, "RESOURCE_EXHAUSTED", lasting)).failure_type is F.QUOTA
