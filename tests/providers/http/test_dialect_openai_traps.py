"""The traps of OpenAI's API, and of Azure's in its place, in every form of a call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.all_forms import answers, each_form, failures, json_of, stream_of
from helpers.servers import Conversation, Server, completion, http, json_answer
from helpers.stream_servers import DONE, HEL, LO, STOP, delta, event, usage
from helpers.stream_support import router_to
from lee_llm_router import FailureType, LLMRouterError, LLMUsage

F = FailureType
JSON = {"Content-Type": "application/json"}
feature = pytest.mark.feature


def refusing(status: int, error: Any, headers: dict[str, str] | None = None) -> Any:
    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            conversation.send(http(status, json_of(error), JSON | (headers or {})))

    return script


def openai_error(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


FILTERED = {"error": {
    "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "type": None, "param": "prompt", "code": "content_filter", "status": 400,
    "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {
        "jailbreak": {"filtered": True, "detected": True}, "hate": {"filtered": False, "severity": "safe"}}},
}}  # fmt: skip


def test_azure_s_filter_of_a_prompt_is_content_filter() -> None:
    for error in failures(refusing(400, FILTERED)):
        assert error.failure_type is F.CONTENT_FILTER and error.status_code == 400


AZURE_FIRST = {
    "choices": [], "created": 0, "id": "", "model": "", "object": "",
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False}}}],
}  # fmt: skip


@feature("openai_chat", "streaming")
def test_azure_s_report_on_the_prompt_is_no_part_of_the_answer() -> None:
    """It comes first, without choices; further reports come with the text, and after it."""
    later = delta(content="") | {"choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {"start": 1},
                                              "content_filter_results": {"hate": {"filtered": False}}}]}  # fmt: skip
    body = stream_of(
        AZURE_FIRST, delta(role="assistant", content=""), delta(content="hi"), later, delta("stop"), usage()
    )
    response = answers(body)
    assert (response.text, response.finish_reason, response.details.id) == ("hi", "stop", "c1")
    assert response.raw["prompt_filter_results"] == AZURE_FIRST["prompt_filter_results"]
    for form, ended in each_form(body):
        assert "stream" not in form or ended.chunks[0].text == "hi", form


def test_an_answer_that_azure_cuts_off_is_content_filter_with_what_came() -> None:
    body = stream_of(AZURE_FIRST, delta(content="how to"), delta("content_filter"), usage())
    for error in failures(body):
        assert error.failure_type is F.CONTENT_FILTER and error.response is not None
        assert error.response.text == "how to"


@pytest.mark.parametrize("kind", ["invalid_request_error", "server_error", "rate_limit_error"])
def test_an_error_in_a_stream_that_began_well_is_that_error(kind: str) -> None:
    error = openai_error("The server had an error while processing your request. Sorry about that!", None, kind)
    for body in (
        stream_of(error),
        stream_of(delta(content="hi"), error),
        stream_of(delta(content="hi"), delta("stop"), error),
    ):
        for form, ended in each_form(body):
            if "stream" in form or body.count(b"data:") == 3:
                assert ended.error is not None, form


def test_a_stream_without_its_end_mark_is_cut() -> None:
    """The SDK takes it for whole."""
    for error in failures(stream_of(delta(content="hi"), delta("stop"), end=b"")):
        assert error.failure_type is F.INVALID_RESPONSE


def test_a_refusal_beside_content_is_none_of_it() -> None:
    whole = completion(None, refusal="I cannot do that.")
    for body in (json_of(whole), stream_of(delta(refusal="I cannot "), delta(refusal="do that."), delta("stop"))):
        for error in failures(body):
            assert error.failure_type is F.CONTENT_FILTER and error.response is not None
            assert error.response.text == "I cannot do that."
    assert answers(json_of(completion("yes", refusal=None))).text == "yes"


def test_padding_that_hides_the_length_of_pieces_is_no_part_of_the_answer() -> None:
    chunks = [{**delta(content=text), "obfuscation": "x" * 9} for text in ("h", "i")]
    response = answers(stream_of(*chunks, {**delta("stop"), "obfuscation": "yz"}, {**usage(), "obfuscation": "abc"}))
    assert response.text == "hi"


@feature("openai_chat", "usage")
def test_usage_comes_last_and_without_choices() -> None:
    body = stream_of(delta(content="hi"), delta("stop"), usage(completion_tokens_details={"reasoning_tokens": 2}))
    assert answers(body).usage == LLMUsage(prompt_tokens=7, completion_tokens=3, total_tokens=10, reasoning_tokens=2)


QUOTA = ["insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached", "project_spend_limit_reached"]


@pytest.mark.parametrize("code", QUOTA)
def test_a_quota_behind_429_is_quota(code: str) -> None:
    error = openai_error("You exceeded your current quota, please check your plan and billing details.", code, code)
    for found in failures(refusing(429, error)):
        assert found.failure_type is F.QUOTA
    for found in failures(refusing(429, openai_error("no", code, "requests"))):
        assert found.failure_type is F.QUOTA, "the code alone says it"


def asked(status: int, headers: dict[str, str], attempts: int = 3) -> tuple[int, LLMRouterError | None]:
    """How often a server is asked that fails once in this way, and what comes of it."""
    served = 0

    def script(conversation: Conversation) -> None:
        nonlocal served
        while conversation.receive() is not None:
            served += 1
            failing = http(status, json_of(openai_error("x")), JSON | headers)
            conversation.send(failing if served == 1 else json_answer(completion("ok")))

    with Server(script) as server:
        router = router_to(server.url, role={"retry": {"attempts": attempts, "backoff": 0.0}})
        try:
            router.complete("r", "hi")
        except LLMRouterError as error:
            return served, error
        return served, None


def test_what_the_server_says_of_another_try_goes_before_the_status() -> None:
    assert asked(500, {})[0] == 2
    assert asked(500, {"x-should-retry": "false"})[0] == 1
    assert asked(429, {"x-should-retry": "false", "retry-after-ms": "1"})[0] == 1
    assert asked(400, {})[0] == 1
    assert asked(400, {"x-should-retry": "true"}) == (2, None)
    assert asked(500, {"x-should-retry": "perhaps"})[0] == 2


def test_milliseconds_go_before_seconds_and_a_long_wait_is_named_not_slept() -> None:
    for headers, wait in (
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5), ({"retry-after": "9"}, 9.0),
        ({"retry-after": "0.5"}, 0.5), ({"retry-after": "3600"}, 3600.0),
    ):  # fmt: skip
        for error in failures(
            refusing(429, openai_error("slow down", "rate_limit_exceeded"), headers), role={"deadline": 0.5}
        ):
            assert (error.failure_type, error.retry_after) == (F.RATE_LIMIT, wait)


EVENTS = [event(delta(role="assistant", content="")), HEL, LO, STOP, event(usage()), DONE]
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": ""}, "index": 0}
RECORDED = {
    "text": b"".join(EVENTS),
    "thinking, calls, signatures": stream_of(
        delta(role="assistant", content=None), delta(reasoning_content="hm "), delta(reasoning_content="so"),
        delta(tool_calls=[{**CALL, "extra_content": {"google": {"thought_signature": "s"}}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a": "ü"}'}}]), delta("tool_calls"), usage(),
    ),
    "sources and pictures": stream_of(
        delta(content="see "), delta(content="it", annotations=[{"url": "https://a.test"}]),
        delta(content="", images=[{"image_url": {"url": "data:image/png;base64,AA"}}]),
        {**delta("stop"), "service_tier": "flex"}, {**usage(), "citations": ["https://b.test"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", RECORDED)
def test_every_split_of_a_stream_gives_the_unstreamed_answer(kind: str) -> None:
    """The bytes cut in two at each place, and cut into single bytes."""
    from lee_llm_router.providers.http.dialects.base import HTTPReply
    from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
    from lee_llm_router.providers.http.dialects.openai.chat_stream import ChatDecoder
    from lee_llm_router.providers.streams import AnswerParts

    body = RECORDED[kind]
    wanted = ChatDialect().decode(HTTPReply(200, body))
    for pieces in [[body[:at], body[at:]] for at in range(len(body))] + [[bytes([byte]) for byte in body]]:
        decoder, parts = ChatDecoder(HTTPReply(200, b""), 10_000), AnswerParts()
        for piece in [*filter(None, pieces), b""]:
            if not decoder.done:
                decoder.feed(piece)
            while (chunk := decoder.next()) is not None:
                parts.add(chunk)
        assert decoder.done and parts.response() == wanted
    assert json.loads(json.dumps(wanted.message))
