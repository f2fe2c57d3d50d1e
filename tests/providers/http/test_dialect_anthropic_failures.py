"""The dialect of Anthropic's messages: what its errors mean, and what a model teaches by refusing. In every form."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from helpers.all_forms import EVENTS, JSON, answers, each_form, failures
from helpers.anthropic_messages import MODEL, TEXT, error, events_of, message, sse, streamed
from helpers.servers import Conversation, Script, Server, answering, http, json_answer
from helpers.stream_support import router_to
from helpers.support import Memory
from lee_llm_router import FailureType, LLMResponse, LLMRouterError
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.anthropic.dialect import MessagesDialect

F = FailureType
NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
WHOLE = json.dumps(message(TEXT)).encode()
STREAM = streamed(message(TEXT))
CLAUDE: dict[str, Any] = {"type": "anthropic", "model": MODEL}


def failed(status: int, kind: str, text: str = "x", code: str | None = None, **headers: str) -> LLMRouterError:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return MessagesDialect().failure(HTTPReply(status, json.dumps(error(kind, text, code)).encode(), fields, now=NOW))


# What an error means


@pytest.mark.parametrize(("status", "kind", "text", "code", "means"), [
    (400, "invalid_request_error", "messages: text content blocks must be non-empty", None, F.INVALID_REQUEST),
    (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", None, F.CONTEXT_LENGTH),
    (400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 190 + 32 > 200", None,
     F.CONTEXT_LENGTH),
    (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", None, F.QUOTA),
    (400, "invalid_request_error", "You have reached your specified API usage limits.", None, F.QUOTA),
    (400, "invalid_request_error", "Output blocked by content filtering policy", None, F.CONTENT_FILTER),
    (400, "invalid_request_error", "x", "organization_on_hold", F.INVALID_REQUEST),
    (401, "authentication_error", "invalid x-api-key", None, F.AUTH),
    (402, "billing_error", "x", "linked_organization_spend_limit_reached", F.QUOTA),
    (403, "permission_error", "x", None, F.AUTH),
    (404, "not_found_error", "model: claude-9", None, F.MODEL_NOT_FOUND),
    (413, "request_too_large", "x", None, F.CONTEXT_LENGTH),
    (429, "rate_limit_error", "This request would exceed your rate limit", None, F.RATE_LIMIT),
    (429, "rate_limit_error", "x", "enforced_spend_limit_reached", F.QUOTA),
    (429, "rate_limit_error", "x", "contract_spend_limit_reached", F.QUOTA),
    (429, "rate_limit_error", "x", "ramp_limit_exceeded", F.RATE_LIMIT),
    (500, "api_error", "Internal server error", None, F.PROVIDER_ERROR),
    (503, "api_error", "x", "cmek_context_unavailable", F.OVERLOADED),
    (504, "timeout_error", "x", None, F.TIMEOUT),
    (529, "overloaded_error", "Overloaded", None, F.OVERLOADED),
])  # fmt: skip
def test_errors_are_told_apart(status: int, kind: str, text: str, code: str | None, means: FailureType) -> None:
    assert failed(status, kind, text, code).failure_type is means


def test_a_spent_limit_is_a_quota_whatever_wait_stands_beside_it() -> None:
    assert failed(429, "rate_limit_error", "x", "enforced_spend_limit_reached", retry_after="3").failure_type is F.QUOTA


def test_a_named_wait_goes_before_the_limits() -> None:
    limits = {
        "anthropic_ratelimit_requests_remaining": "0",
        "anthropic_ratelimit_requests_reset": "2027-01-15T08:01:00Z",
    }
    assert failed(429, "rate_limit_error", "x", "ramp_limit_exceeded", retry_after="7", **limits).retry_after == 7
    assert failed(429, "rate_limit_error", **limits).retry_after == 60


def test_of_several_limits_the_one_with_least_left_says_how_long_to_wait() -> None:
    """A limit of tokens refuses a request that is larger than what is left: nothing need be used up."""
    limits = {
        "anthropic_ratelimit_requests_limit": "50", "anthropic_ratelimit_requests_remaining": "40",
        "anthropic_ratelimit_requests_reset": "2027-01-15T08:00:02Z",
        "anthropic_ratelimit_input_tokens_limit": "40000", "anthropic_ratelimit_input_tokens_remaining": "1000",
        "anthropic_ratelimit_input_tokens_reset": "2027-01-15T08:00:30Z",
        "anthropic_ratelimit_output_tokens_reset": "soon",
    }  # fmt: skip
    assert failed(429, "rate_limit_error", **limits).retry_after == 30
    assert failed(529, "overloaded_error", **limits).retry_after is None


def test_limits_that_say_nothing_name_no_wait() -> None:
    odd = {"anthropic_ratelimit_requests_reset": "never", "anthropic_ratelimit_tokens_reset": ""}
    assert failed(429, "rate_limit_error", **odd).retry_after is None


def test_the_day_on_which_access_is_regained_is_a_wait() -> None:
    text = "You have reached your specified API usage limits. You will regain access on 2027-01-16 at 00:00 UTC."
    assert failed(400, "invalid_request_error", text).retry_after == 16 * 3600


@pytest.mark.parametrize(("said", "final"), [("false", True), ("true", False), ("", False)])
def test_the_server_may_say_that_trying_again_is_no_use(said: str, final: bool) -> None:
    assert failed(500, "api_error", x_should_retry=said).final is final


def test_errors_name_the_request() -> None:
    answer = json_answer(error("api_error", "oops"), 500, {"request-id": "req_123"})
    for form, ended in each_form(answering(answer), **CLAUDE):
        assert ended.error is not None and ended.error.provider_request_id == "req_123", form


# In every form


@pytest.mark.parametrize("label", [EVENTS, JSON, "text/html", ""])
@pytest.mark.parametrize("body", [
    STREAM, WHOLE, b"\xef\xbb\xbf" + STREAM, b"\n\n" + WHOLE, json.dumps(message(TEXT), indent=1).encode(),
    b"data: " + WHOLE + b"\n\n", WHOLE + b"\n\ndata: [DONE]\n\n", STREAM + b"data: [DONE]\n\n",
    b"\n".join(json.dumps(one).encode() for one in events_of(message(TEXT))),
])  # fmt: skip
def test_a_body_is_read_as_what_it_is_whatever_its_label(body: bytes, label: str) -> None:
    response = answers(body, label, **CLAUDE)
    assert (response.text, response.finish_reason, response.model) == ("Hello there.", "stop", MODEL)
    assert response.usage.prompt_tokens == 13


@pytest.mark.parametrize(("body", "kind"), [
    (b"<html><title>Down</title></html>", F.INVALID_RESPONSE), (b"", F.INVALID_RESPONSE),
    (b"upstream timed out", F.INVALID_RESPONSE), (STREAM[:-30], F.INVALID_RESPONSE), (WHOLE[:-1], F.INVALID_RESPONSE),
    (sse(*events_of(message(TEXT))[:4], error("overloaded_error", "Overloaded")), F.OVERLOADED),
    (json.dumps(error("rate_limit_error", "slow")).encode(), F.RATE_LIMIT),
    (json.dumps(message(TEXT, stop_reason="refusal")).encode(), F.CONTENT_FILTER),
    (streamed(message(TEXT, stop_reason="refusal")), F.CONTENT_FILTER),
])  # fmt: skip
def test_what_is_no_answer_is_the_same_error_in_every_form(body: bytes, kind: FailureType) -> None:
    assert {one.failure_type for one in failures(body, **CLAUDE)} == {kind}


def test_an_event_that_is_too_long_is_an_error() -> None:
    long = message({"type": "text", "text": "x" * 5000})
    found = failures(streamed(long, size=4000), max_response_bytes=2048, **CLAUDE)
    assert {one.failure_type for one in found} == {F.INVALID_RESPONSE}


# What a model teaches


def teaching(*refusals: Callable[[dict[str, Any]], str | None]) -> tuple[Script, list[dict[str, Any]]]:
    """A server that refuses what any of `refusals` says is wrong with a body, and the bodies that it got."""
    bodies: list[dict[str, Any]] = []

    def script(conversation: Conversation) -> None:
        while (received := conversation.receive()) is not None:
            body = received.json
            bodies.append(body)
            said = next(filter(None, (refusal(body) for refusal in refusals)), None)
            answer = message(TEXT) if said is None else error("invalid_request_error", said)
            conversation.send(json_answer(answer, 200 if said is None else 400))

    return script, bodies


def no(field: str, said: str) -> Callable[[dict[str, Any]], str | None]:
    """Refuses a body with the field (a path with dots)."""

    def refusal(body: dict[str, Any]) -> str | None:
        value: Any = body
        for name in field.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return None if value is None else said

    return refusal


def is_set(field: str, wanted: Any, said: str) -> Callable[[dict[str, Any]], str | None]:
    first, second = field.split(".")
    return lambda body: said if (body.get(first) or {}).get(second) == wanted else None


def ask(script: Script, times: int = 2, config: Any = None, **options: Any) -> tuple[list[LLMResponse], Memory]:
    memory, role = Memory(), options.pop("role", {})
    with Server(script) as server:
        router = router_to(server.url, role=role, memory=memory, **{**CLAUDE, **(config or {})})
        messages = options.pop("messages", "hi")
        found = [router.complete("r", messages, **options) for _ in range(times)]
        router.close()
    return found, memory


@pytest.mark.parametrize("said", [
    "`{0}` is deprecated for this model.", "{0}: Extra inputs are not permitted", "{0} is not supported by this model",
    "Unsupported parameter: '{0}'", "This model no longer accepts {0}.",
])  # fmt: skip
@pytest.mark.parametrize(("option", "value"), [("temperature", 0.5), ("top_p", 0.9), ("top_k", 5)])
def test_an_option_that_a_model_refuses_is_dropped_where_that_is_wanted(option: str, value: Any, said: str) -> None:
    """It is asked once with the option, at once again without it, and never with it from then on."""
    script, bodies = teaching(no(option, said.format(option)))
    _, memory = ask(script, drop_unsupported=True, **{option: value})
    assert [option in body for body in bodies] == [True, False, False]
    assert [(record.outcome, record.dropped) for record in memory.records] == [
        ("error", ()), ("ok", (option,)), ("ok", (option,)),
    ]  # fmt: skip


def test_without_leave_an_option_that_is_refused_is_the_callers_mistake() -> None:
    """At each call: what somebody wants is not left out, and what was misread bars no target."""
    script, bodies = teaching(no("temperature", "`temperature` is deprecated for this model."))
    with Server(script) as server:
        router = router_to(server.url, **CLAUDE)
        found = []
        for _ in range(2):
            with pytest.raises(LLMRouterError) as caught:
                router.complete("r", "hi", temperature=0.5)
            found.append(caught.value)
        assert router.complete("r", "hi").text == "Hello there."
        router.close()
    assert [one.failure_type for one in found] == [F.INVALID_REQUEST, F.INVALID_REQUEST]
    assert "deprecated" in (found[1].attempts[0].error or "")
    assert len(bodies) == 3


@pytest.mark.parametrize("said", [
    "temperature: range: 0..1", "temperature: Input should be less than or equal to 1",
    "`temperature` may only be set to 1 when thinking is enabled.", "messages: at least one message is required",
    "temperature: Input should be '0' or '1'", "thinking.enabled.budget_tokens: Input should be greater than 1024",
    "max_tokens: must be positive", "top_k is not supported when temperature is set",
])  # fmt: skip
def test_an_error_that_wants_another_value_teaches_nothing(said: str) -> None:
    script, bodies = teaching(no("temperature", said))
    for _ in range(2):
        with pytest.raises(LLMRouterError) as caught:
            ask(script, drop_unsupported=True, temperature=0.5)
        assert caught.value.failure_type is F.INVALID_REQUEST
    assert len(bodies) == 2


def test_a_model_that_takes_either_of_two_options_gets_the_first() -> None:
    def refusal(body: dict[str, Any]) -> str | None:
        both = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
        return both if {"temperature", "top_p"} <= body.keys() else None

    script, bodies = teaching(refusal)
    ask(script, drop_unsupported=True, temperature=0.5, top_p=0.9)
    assert [("temperature" in body, "top_p" in body) for body in bodies] == [(True, True), (True, False), (True, False)]


ENABLED = is_set("thinking.type", "enabled", '"thinking.type.enabled" is not supported for this model. Use '
                 '"thinking.type.adaptive" and "output_config.effort" to control thinking behavior.')  # fmt: skip
ADAPTIVE = is_set("thinking.type", "adaptive", "thinking.type: Input tag 'adaptive' found using 'type' does not match"
                  " any of the expected tags: 'disabled', 'enabled'")  # fmt: skip


@pytest.mark.parametrize(("refusals", "config", "effort", "thinking", "config_sent"), [
    ([ENABLED], {"model": "claude-opus-4-5"}, "high", {"type": "adaptive"}, {"effort": "high"}),
    ([ADAPTIVE], {}, "low", {"type": "enabled", "budget_tokens": 2048}, None),
    ([ADAPTIVE, ENABLED], {}, "low", None, {"effort": "low"}),
    ([no("thinking", "thinking: Extra inputs are not permitted")], {}, "low", None, {"effort": "low"}),
    ([no("output_config", "output_config: Extra inputs are not permitted")], {}, "low", {"type": "adaptive"}, None),
    ([no("output_config.effort", "This model does not support the effort parameter.")], {}, "max",
     {"type": "adaptive"}, None),
    ([is_set("output_config.effort", "max", "output_config.effort: 'max' is not supported for this model")], {}, "max",
     {"type": "adaptive"}, {"effort": "xhigh"}),
    ([is_set("output_config.effort", "xhigh", "output_config.effort: Input should be 'low', 'medium' or 'high'")],
     {}, "xhigh", {"type": "adaptive"}, {"effort": "high"}),
    ([is_set("output_config.effort", "max", "effort 'max' is not supported for this model"),
      is_set("output_config.effort", "xhigh", "effort level 'xhigh' is not supported for this model")], {}, "max",
     {"type": "adaptive"}, {"effort": "high"}),
    ([is_set("thinking.type", "disabled", "thinking.type.disabled is not supported for this model")], {}, "none",
     None, {"effort": "low"}),
    ([no("thinking.display", "thinking.adaptive.display: Extra inputs are not permitted")],
     {"thinking_display": "summarized"}, "low", {"type": "adaptive"}, {"effort": "low"}),
])  # fmt: skip
def test_a_form_of_thinking_that_a_model_refuses_gives_way_to_the_next(
    refusals: Any, config: Any, effort: str, thinking: Any, config_sent: Any
) -> None:
    script, bodies = teaching(*refusals)
    found, _ = ask(script, config=config, reasoning_effort=effort)
    assert len(found) == 2 and len(bodies) == len(refusals) + 2
    for body in bodies[-2:]:
        assert (body.get("thinking"), body.get("output_config")) == (thinking, config_sent)


def test_a_model_that_refuses_every_form_of_thinking_is_skipped_or_asked_without() -> None:
    refusals = [no("thinking", "thinking is not supported by this model"),
                no("output_config", "output_config is not supported by this model")]  # fmt: skip
    script, bodies = teaching(*refusals)
    ask(script, reasoning_effort="high", drop_unsupported=True)
    assert not bodies[-1].keys() & {"thinking", "output_config"}
    with pytest.raises(LLMRouterError) as caught:
        ask(teaching(*refusals)[0], reasoning_effort="high")
    assert caught.value.failure_type in (F.UNAVAILABLE, F.INVALID_REQUEST)


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.parametrize("said", [
    "output_config.format: Extra inputs are not permitted", "output_config: Extra inputs are not permitted",
    "This model does not support structured outputs.",
    "output_config.format.schema: Schema is too complex for compilation",
])  # fmt: skip
def test_a_model_without_structured_output_is_asked_in_words(said: str) -> None:
    bodies: list[dict[str, Any]] = []

    def script(conversation: Conversation) -> None:
        while (received := conversation.receive()) is not None:
            bodies.append(received.json)
            is_told = "output_config" in bodies[-1]
            answer = error("invalid_request_error", said) if is_told else message({"type": "text", "text": '{"a": 1}'})
            conversation.send(json_answer(answer, 400 if is_told else 200))

    found, _ = ask(script, schema=SCHEMA)
    assert [one.parsed for one in found] == [{"a": 1}] * 2
    assert ["output_config" in body for body in bodies] == [True, False, False]
    assert "JSON Schema" in bodies[-1]["system"]


def test_a_model_that_takes_fewer_tokens_is_asked_with_its_own_bound() -> None:
    def refusal(body: dict[str, Any]) -> str | None:
        asked = body["max_tokens"]
        said = f"max_tokens: {asked} > 8192, which is the maximum allowed number of output tokens for {MODEL}"
        return said if asked > 8192 else None

    script, bodies = teaching(refusal)
    ask(script)
    assert [body["max_tokens"] for body in bodies] == [20_000, 8192, 8192]
    with pytest.raises(LLMRouterError) as caught:  # the caller's own bound is the caller's mistake
        ask(script, max_tokens=9000)
    assert caught.value.failure_type is F.INVALID_REQUEST


@pytest.mark.parametrize("said", [
    "This model does not support assistant message prefill. The conversation must end with a user message.",
    "Prefilling assistant messages is not supported for this model.",
])  # fmt: skip
def test_a_model_that_continues_no_answer_is_asked_to_go_on(said: str) -> None:
    script, bodies = teaching(lambda body: said if body["messages"][-1]["role"] == "assistant" else None)
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Well,"}]
    ask(script, config={"model": "glm-5"}, messages=messages)
    assert [body["messages"][-1]["role"] for body in bodies] == ["assistant", "user", "user"]


def test_what_one_model_teaches_says_nothing_of_another() -> None:
    script, bodies = teaching(lambda body: "`top_k` is deprecated for this model." if body["model"] == "old"
                              and "top_k" in body else None)  # fmt: skip
    with Server(script) as server:
        router = router_to(server.url, role={"drop_unsupported": True, "top_k": 3}, **CLAUDE)
        for model in ("old", "claude-x", "old"):
            router.complete("r", "hi", model=model)
        router.close()
    assert [(body["model"], "top_k" in body) for body in bodies] == [
        ("old", True), ("old", False), ("claude-x", True), ("old", False),
    ]  # fmt: skip


@pytest.mark.feature("anthropic", "extra_body")
def test_what_the_caller_writes_by_extra_body_is_the_callers() -> None:
    """It goes out as it is; when it is refused, that is no lesson."""
    script, bodies = teaching(no("thinking", "thinking: Extra inputs are not permitted"))
    with pytest.raises(LLMRouterError) as caught:
        ask(script, extra_body={"thinking": {"type": "enabled", "budget_tokens": 2000}}, reasoning_effort="low")
    assert caught.value.failure_type is F.INVALID_REQUEST
    assert [body["thinking"] for body in bodies] == [{"type": "enabled", "budget_tokens": 2000}]


@pytest.mark.feature("anthropic", "extra_query")
@pytest.mark.feature("anthropic", "headers")
def test_headers_and_query_go_out() -> None:
    with Server(answering(http(200, WHOLE))) as server:
        router = router_to(server.url, headers={"anthropic-beta": "x-1"}, **CLAUDE)
        router.complete("r", "hi", extra_query={"beta": "true"}, headers={"X-Own": "1"})
        router.close()
        (received,) = server.requests
    assert "/messages?beta=true" in received.line
    assert (received.headers["anthropic-beta"], received.headers["x-own"]) == ("x-1", "1")
    assert received.headers["anthropic-version"] == "2026-10-21"
