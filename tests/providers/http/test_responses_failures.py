"""The Responses API: what each failure means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.all_forms import failures, json_of
from helpers.responses_support import RESPONSES, answer, event, failed, message, response
from helpers.servers import Conversation, Received, Server, answering
from helpers.stream_support import router_to
from helpers.support import Memory
from lee_llm_router import FailureType, InvalidRequestError, LLMRouterError
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.openai_responses.errors import failure, failure_within

F = FailureType
KEY = "sk-test-0123456789abcdef0123"

CODES: list[tuple[str, str, FailureType]] = [
    ("server_error", "The server had an error processing your request.", F.PROVIDER_ERROR),
    ("rate_limit_exceeded", "Rate limit reached for gpt-5 in organization org on tokens per min.", F.RATE_LIMIT),
    ("invalid_prompt", "Invalid prompt: your prompt was flagged as violating our usage policy.", F.CONTENT_FILTER),
    ("invalid_prompt", "The prompt has a wrong form.", F.INVALID_REQUEST),
    ("data_residency_mismatch", "The request does not match the project's region.", F.INVALID_REQUEST),
    ("bio_policy", "This request cannot be served.", F.CONTENT_FILTER),
    ("misalignment_policy_violation", "The answer was stopped.", F.CONTENT_FILTER),
    ("vector_store_timeout", "It took too long.", F.TIMEOUT),
    *((code, "What it says.", F.INVALID_REQUEST) for code in (
        "invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "image_too_large",
        "image_too_small", "image_parse_error", "invalid_image_mode", "image_file_too_large",
        "unsupported_image_media_type", "empty_image_file", "failed_to_download_image", "image_file_not_found",
    )),
    ("image_content_policy_violation", "What it says.", F.CONTENT_FILTER),
    # Seen, but not in the SDK's list
    ("context_length_exceeded", "Your input exceeds the context window of this model.", F.CONTEXT_LENGTH),
    ("insufficient_quota", "You exceeded your current quota.", F.QUOTA),
    ("credit_balance_exhausted", "Your credit balance is exhausted.", F.QUOTA),
    ("server_is_overloaded", "Our servers are currently overloaded.", F.OVERLOADED),
    ("too_many_requests", "Too many requests.", F.RATE_LIMIT),
    ("of_a_new_kind", "Something new.", F.PROVIDER_ERROR),
    ("unsupported_file", "No such type.", F.INVALID_REQUEST),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text", "kind"), CODES)
def test_a_code_of_a_failed_response_has_its_meaning(code: str, text: str, kind: FailureType) -> None:
    """Within a response, as an error event, flat and nested."""
    reply = HTTPReply(200, b"")
    error = {"code": code, "message": text}
    for given in (
        {"error": error},
        {"type": "error", **error, "param": None},
        {"type": "error", "error": error},
        error,
    ):
        found = failure_within(reply, given)
        assert found.failure_type is kind, repr(found)
        assert text.rstrip(".") in found.message


def test_a_failed_response_fails_in_every_form() -> None:
    whole = failed("invalid_image", output=[message("All of it")])
    for body in (json_of(whole), event({"type": "response.failed", "response": whole})):
        for error in failures(body, **RESPONSES):
            assert error.failure_type is F.INVALID_REQUEST


def _failure(status: int, body: Any, headers: dict[str, str] | None = None, **more: Any) -> LLMRouterError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return failure(HTTPReply(status, raw, fields, secrets=(KEY,), **more))


NO_API: list[tuple[int, Any]] = [
    (404, {"detail": "Not Found"}), (404, b"<html><title>404</title></html>"), (404, b""), (404, b"404 page not found"),
    (404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}),
    (404, {"error": {"message": "Invalid URL (POST /v1/responses)", "type": "invalid_request_error", "param": None}}),
    (404, {"error": {"code": "404", "message": "Resource not found"}}), (405, {"detail": "Method Not Allowed"}),
    (501, b"Not Implemented"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), NO_API)
def test_a_server_without_the_api_says_what_to_use_instead(status: int, body: Any) -> None:
    """It is no fault of the model: no other model would be found either."""
    error = _failure(status, body)
    assert isinstance(error, InvalidRequestError) and error.status_code == status
    assert "type http" in error.message


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}},
        {"error": "model 'x' not found"},
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}},
        {"object": "error", "message": "The model `x` does not exist.", "code": 404},
    ],
)  # fmt: skip
def test_a_model_that_is_not_found_is_one(body: Any) -> None:
    assert _failure(404, body).failure_type is F.MODEL_NOT_FOUND


def test_an_item_that_is_not_found_is_a_wrong_request() -> None:
    """Nothing is stored under an id; the server has the API."""
    text = "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false."
    error = _failure(404, {"error": {"message": text, "type": "invalid_request_error", "param": "input", "code": None}})
    assert error.failure_type is F.INVALID_REQUEST
    assert "type http" not in error.message and "rs_1" in error.message


STATUSES: list[tuple[int, Any, FailureType]] = [
    (429, {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}, F.QUOTA),
    (429, {"error": {"code": "credit_balance_exhausted", "message": "x"}}, F.QUOTA),
    (429, {"error": {"code": "rate_limit_exceeded", "message": "Rate limit reached"}}, F.RATE_LIMIT),
    (400, {"error": {"code": "context_length_exceeded", "message": "too long", "param": "input"}}, F.CONTEXT_LENGTH),
    (400, {"error": {"code": "content_filter", "message": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
     F.CONTENT_FILTER),
    (400, {"error": {"code": "invalid_prompt", "message": "Your prompt was flagged as violating our usage policy."}},
     F.CONTENT_FILTER),
    (401, {"error": {"code": "invalid_api_key", "message": "Incorrect API key"}}, F.AUTH),
    (500, {"error": {"type": "server_error", "message": "x"}}, F.PROVIDER_ERROR), (503, b"", F.OVERLOADED),
    (400, {"error": {"code": 400, "message": "request (9031 tokens) exceeds the available context size (4096 tokens)",
                     "type": "exceed_context_size_error"}}, F.CONTEXT_LENGTH),
    (400, {"error": {"message": "llama.cpp does not support 'previous_response_id'."}}, F.INVALID_REQUEST),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind"), STATUSES)
def test_a_status_is_read_as_for_chat_completions(status: int, body: Any, kind: FailureType) -> None:
    assert _failure(status, body).failure_type is kind


def test_waits_and_keys_are_read_and_hidden() -> None:
    error = _failure(429, {"error": {"message": f"Slow down, {KEY}"}}, {"retry-after-ms": "1500"})
    assert error.retry_after == 1.5 and KEY not in error.message
    failed_late = failure_within(
        HTTPReply(200, b"", secrets=(KEY,)),
        {"error": {"code": "rate_limit_exceeded", "message": f"{KEY}: Please try again in 2s."}},
    )
    assert failed_late.retry_after == 2.0 and KEY not in failed_late.message


def _choosy(refusals: dict[str, bytes]) -> Any:
    """A server that refuses each body that holds a word, once it does; else it answers."""

    def script(conversation: Conversation) -> None:
        while (asked := conversation.receive()) is not None:
            conversation.send(_reply_to(asked, refusals))

    return script


def _reply_to(asked: Received, refusals: dict[str, bytes]) -> bytes:
    for word, refusal in refusals.items():
        if word.encode() in asked.body:
            return refusal
    return answer(response(message('{"a": 1}')))


REFUSALS = [
    {"error": {"message": "Encrypted content is not supported with this model.", "param": "include"}},
    {"error": {"message": "Unknown parameter: 'include'.", "param": "include", "code": "unknown_parameter"}},
    {"detail": [{"loc": ["body", "include", 0], "msg": "Input should be 'message.output_text.logprobs'"}]},
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_server_without_encrypted_reasoning_is_asked_without(refusal: Any) -> None:
    """At once, within the same call, and from then on; the refused try costs no attempt."""
    script = _choosy({"encrypted_content": answer(refusal, 400)})
    with Server(script) as server:
        with router_to(server.url, role={"retry": {"attempts": 1}}, memory=Memory(), **RESPONSES) as router:
            assert router.complete("r", "hi").text and router.complete("r", "again").text
        assert ["include" in one.json for one in server.requests] == [True, False, False]


def test_another_refusal_is_none_of_encrypted_reasoning() -> None:
    said = "Unknown parameter: 'input[0].x'. Messages must include the word."
    with Server(answering(answer({"error": {"message": said}}, 400))) as server:
        with router_to(server.url, memory=Memory(), **RESPONSES) as router, pytest.raises(LLMRouterError):
            router.complete("r", "hi")
        assert len(server.requests) == 1


def test_a_server_that_does_not_know_a_form_of_json_is_asked_in_a_weaker_one() -> None:
    refusals = {
        '"json_schema"': answer({"error": {"message": "Unsupported value: 'text.format.type'"}}, 400),
        '"json_object"': answer({"error": {"message": "Unknown parameter: 'text.format'."}}, 400),
    }
    with Server(_choosy(refusals)) as server:
        with router_to(server.url, role={"retry": {"attempts": 1}}, memory=Memory(), **RESPONSES) as router:
            schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
            for _ in range(2):
                assert router.complete("r", "hi", schema=schema).parsed == {"a": 1}
        forms = [one.json.get("text", {}).get("format", {}).get("type") for one in server.requests]
    assert forms == ["json_schema", "json_object", None, None]


def test_a_model_that_names_the_words_it_knows_for_thinking_is_asked_in_one_of_them() -> None:
    """The nearest that is no higher; from then on at once."""
    said = "Unsupported value: 'max' is not supported with this model. Supported values are: 'low', and 'high'."
    refusal = answer({"error": {"message": said, "param": "reasoning.effort", "code": "unsupported_value"}}, 400)
    with Server(_choosy({'"max"': refusal})) as server:
        with router_to(server.url, role={"retry": {"attempts": 1}}, memory=Memory(), **RESPONSES) as router:
            for _ in range(2):
                assert router.complete("r", "hi", reasoning_effort="max").text
        assert [one.json["reasoning"]["effort"] for one in server.requests] == ["max", "high", "high"]


def test_an_option_that_a_model_refuses_is_left_out_where_that_is_wanted() -> None:
    """From then on at once; else the request is wrong."""
    said = "Unsupported parameter: 'temperature' is not supported with this model."
    refusal = answer({"error": {"message": said, "param": "temperature", "code": "unsupported_parameter"}}, 400)
    with Server(_choosy({'"temperature"': refusal})) as server:
        with router_to(server.url, role={"retry": {"attempts": 1}}, memory=Memory(), **RESPONSES) as router:
            with pytest.raises(LLMRouterError) as caught:
                router.complete("r", "hi", temperature=0.5)
            assert caught.value.failure_type is F.INVALID_REQUEST
            for _ in range(2):
                assert router.complete("r", "hi", temperature=0.5, drop_unsupported=True).text
        sent = ["temperature" in one.json for one in server.requests]
    assert sent == [True, True, False, False]
