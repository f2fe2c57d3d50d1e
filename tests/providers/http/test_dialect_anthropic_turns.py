"""Conversations over Anthropic's messages: what goes back to whom, held to a server as strict as the vendor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from helpers.anthropic_messages import CALL, FOUND, MODEL, REDACTED, SEARCH, TEXT, THOUGHT, error, message
from helpers.servers import Conversation, Server, answering, http, json_answer
from helpers.stream_support import router_to
from helpers.strict_anthropic import answers, check
from lee_llm_router import LeeLLMRouter, LLMResponse

TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}},
}}}  # fmt: skip
ASKED = {"role": "user", "content": "Weather in Rome and Oslo?"}
CLAUDE: dict[str, Any] = {"type": "anthropic", "model": MODEL}


class Strict:
    """A server that gives three turns of a loop, and refuses what the vendor would."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, conversation: Conversation) -> None:
        while (received := conversation.receive()) is not None:
            body = received.json
            self.bodies.append(body)
            path = received.line.split(" ")[1]
            problem = check(body, path, self.state)
            if problem is not None:
                conversation.send(json_answer(error("invalid_request_error", problem), 400))
                continue
            turn = 1 + sum(one["role"] == "assistant" for one in body["messages"])
            stream = body.get("stream", False)
            kind = "text/event-stream" if stream else "application/json"
            conversation.send(http(200, answers(turn, stream, self.state), {"Content-Type": kind}))


@contextmanager
def strict(**settings: Any) -> Iterator[tuple[LeeLLMRouter, Strict]]:
    script = Strict()
    with Server(script) as server:
        router = router_to(server.url, **{**CLAUDE, **settings})
        yield router, script
        router.close()


def asked(router: LeeLLMRouter, messages: Any, *, stream: bool, **options: Any) -> LLMResponse:
    options = {"tools": [TOOL], **options}
    if not stream:
        return router.complete("r", messages, **options)
    with router.stream("r", messages, **options) as chunks:
        list(chunks)
        assert chunks.response is not None
        return chunks.response


def results(answer: LLMResponse) -> list[dict[str, Any]]:
    return [{"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in answer.tool_calls]


@pytest.mark.feature("anthropic", "native_turns")
@pytest.mark.parametrize("model", [MODEL, "claude-sonnet-4-5"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stored", [False, True])
def test_a_loop_of_three_turns_keeps_its_thinking(model: str, stream: bool, stored: bool) -> None:
    """Thinking, redacted too, goes back in its place with its signature, also from messages stored as JSON."""
    with strict(model=model) as (router, server):
        messages: list[Any] = [ASKED]
        for turn in (1, 2, 3):
            answer = asked(router, messages, stream=stream, reasoning_effort="high")
            messages += [answer.message, *results(answer)]
            messages = json.loads(json.dumps(messages)) if stored else messages
            assert len(answer.tool_calls) == 3 - turn
    assert (answer.text, answer.finish_reason) == ("It rains in both.", "stop")
    kinds = [[block["type"] for block in one["content"]] for one in server.bodies[-1]["messages"][1:]]
    assert kinds == [
        ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"], ["tool_result", "tool_result"],
        ["thinking", "tool_use"], ["tool_result"],
    ]  # fmt: skip


def test_thinking_goes_to_no_other_model_and_is_there_again_when_the_conversation_comes_back() -> None:
    with strict() as (router, server):
        first = asked(router, [ASKED], stream=False)
        messages: list[Any] = [ASKED, first.message, *results(first)]
        other = asked(router, messages, stream=False, model="claude-opus-5")
        messages += [other.message, *results(other)]
        last = asked(router, messages, stream=True)
    assert last.text
    kinds = [[block["type"] for block in body["messages"][1]["content"]] for body in server.bodies[1:]]
    assert kinds == [
        ["text", "tool_use", "tool_use"], ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"],
    ]  # fmt: skip
    assert [block["type"] for block in server.bodies[2]["messages"][3]["content"]] == ["tool_use"]


def test_thinking_goes_to_no_other_host() -> None:
    with strict() as (router, _), strict() as (elsewhere, server):
        first = asked(router, [ASKED], stream=False)
        assert asked(elsewhere, [ASKED, first.message, *results(first)], stream=False).tool_calls
    assert [block["type"] for block in server.bodies[0]["messages"][1]["content"]] == ["text", "tool_use", "tool_use"]


def test_an_answer_that_was_changed_goes_back_as_it_was_changed() -> None:
    with strict() as (router, server):
        first = asked(router, [ASKED], stream=False)
        changed = {**first.message, "content": "I will look."}
        asked(router, [ASKED, changed, *results(first)], stream=False)
    assert server.bodies[1]["messages"][1]["content"][0] == {"type": "text", "text": "I will look."}


@pytest.mark.parametrize("model", [MODEL, "claude-sonnet-4-5"])
@pytest.mark.parametrize("effort", [None, "none", "minimal", "high"])
def test_a_loop_begun_elsewhere_goes_on_here(model: str, effort: str | None) -> None:
    """With ids that this vendor does not take, results out of order, one missing, and another vendor's own data."""
    calls = [{"id": f"call.{name}|fc_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
             for name in "abc"]  # fmt: skip
    foreign = {"openai_responses": {"origin": "api.openai.com/gpt", "of": "x", "content": [{"type": "reasoning"}]}}
    messages = [
        {"role": "system", "content": "Be brief."}, ASKED,
        {"role": "assistant", "content": "", "tool_calls": calls, "provider_data": foreign},
        {"role": "tool", "tool_call_id": "call.b|fc_1", "content": [{"type": "text", "text": "rain"}]},
        {"role": "tool", "tool_call_id": "call.a|fc_1", "content": "sun", "is_error": False},
        {"role": "user", "content": "And tomorrow?"},
    ]  # fmt: skip
    with strict(model=model) as (router, server):
        asked(router, messages, stream=False, **({} if effort is None else {"reasoning_effort": effort}))
    assert server.bodies[0]["system"] == "Be brief."


@pytest.mark.parametrize("cache", [True, False])
def test_a_paused_turn_is_sent_back_and_goes_on(cache: bool) -> None:
    """With the blocks of the vendor's own tools, and nothing said by the user behind it."""
    paused = message(THOUGHT, TEXT, SEARCH, stop_reason="pause_turn")
    rest = message(FOUND, {**TEXT, "text": "It rains."})
    with Server(answering(json_answer(paused), json_answer(rest), json_answer(message(TEXT)))) as server:
        router = router_to(server.url, **CLAUDE)
        first = router.complete("r", [ASKED])
        assert first.finish_reason == "pause"
        marked = {**first.message, "cache": True} if cache else first.message
        second = router.complete("r", [ASKED, marked])
        router.complete("r", [ASKED, first.message, second.message, {"role": "user", "content": "Thanks."}])
        router.close()
        bodies = [received.json for received in server.requests]
    sent = bodies[1]["messages"][-1]["content"]
    assert ("cache_control" in sent[-1]) == cache
    sent[-1].pop("cache_control", None)
    assert (bodies[1]["messages"][-1]["role"], sent) == ("assistant", paused["content"])
    assert bodies[2]["messages"][1]["content"] == [*paused["content"], *rest["content"]]


def test_an_answer_of_thinking_alone_is_left_out() -> None:
    """The vendor refuses a turn that ends with thinking."""
    silent = message(THOUGHT, REDACTED, stop_reason="max_tokens")
    with Server(answering(json_answer(silent), json_answer(message(TEXT)))) as server:
        router = router_to(server.url, **CLAUDE)
        first = router.complete("r", [ASKED])
        assert (first.text, first.finish_reason) == ("", "length")
        router.complete("r", [ASKED, first.message, {"role": "user", "content": "Go on."}])
        router.close()
        body = server.requests[1].json
    assert check(body, "/v1/messages", {}) is None
    assert [one["role"] for one in body["messages"]] == ["user"]


def test_a_call_that_was_cut_can_be_sent_back() -> None:
    cut = message(THOUGHT, {**CALL, "input": {}}, stop_reason="max_tokens")
    with Server(answering(json_answer(cut), json_answer(message(TEXT)))) as server:
        router = router_to(server.url, **CLAUDE)
        first = router.complete("r", [ASKED], tools=[TOOL])
        router.complete("r", [ASKED, first.message, *results(first)], tools=[TOOL])
        router.close()
    assert (
        check(server.requests[1].json, "/v1/messages", {"signed": {THOUGHT["signature"]: THOUGHT["thinking"]}}) is None
    )
