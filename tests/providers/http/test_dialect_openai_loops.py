"""A tool loop of three turns: what a server gave goes back to it whole, to no other, and is there later."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from helpers.servers import Conversation, Server, http
from helpers.stream_support import router_to
from helpers.strict_openai_chat import TEXT, answers, check
from lee_llm_router import LeeLLMRouter, LLMResponse

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("look", "take")
]
feature = pytest.mark.feature


@contextmanager
def strict_server() -> Iterator[Server]:
    """Refuses what is not as it should be with 400; answers in turns, counted by the calls in the conversation."""
    state: dict[str, Any] = {}

    def script(conversation: Conversation) -> None:
        while (received := conversation.receive()) is not None:
            body = received.json
            problem = check(body, received.line.split()[1], state)
            if problem is not None:
                conversation.send(http(400, json.dumps({"error": {"message": problem}}).encode()))
                continue
            turn = 1 + sum(bool(message.get("tool_calls")) for message in body["messages"])
            stream = body.get("stream", False)
            kind = "text/event-stream" if stream else "application/json"
            conversation.send(http(200, answers(turn, stream, state), {"Content-Type": kind}))

    with Server(script) as server:
        yield server


def whole(router: LeeLLMRouter, messages: list[Any], **options: Any) -> LLMResponse:
    return router.complete("r", messages, tools=TOOLS, **options)


def streamed(router: LeeLLMRouter, messages: list[Any], **options: Any) -> LLMResponse:
    stream = router.stream("r", messages, tools=TOOLS, **options)
    for _ in stream:
        pass
    assert stream.response is not None
    return stream.response


def streamed_async(router: LeeLLMRouter, messages: list[Any], **options: Any) -> LLMResponse:
    async def main() -> LLMResponse:
        stream = router.stream_async("r", messages, tools=TOOLS, **options)
        async for _ in stream:
            pass
        await router.aclose()
        assert stream.response is not None
        return stream.response

    return asyncio.run(main())


WAYS = {"whole": whole, "streamed": streamed, "streamed, async": streamed_async}


def with_results(messages: list[Any], answer: LLMResponse) -> list[Any]:
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"{call.name}: ok"} for call in answer.tool_calls]
    return [*messages, answer.message, *results]


@feature("openai_chat", "native_turns")
@feature("openai_chat", "tool_results")
@pytest.mark.parametrize("way", WAYS)
def test_a_tool_loop_of_three_turns_passes_a_strict_server(way: str) -> None:
    ask = WAYS[way]
    messages: list[Any] = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "go"}]
    with strict_server() as server:
        for wanted in (1, 2):
            answer = ask(router_to(server.url), messages)
            assert len(answer.tool_calls) == wanted and answer.reasoning and answer.finish_reason == "tool_calls"
            # A conversation may be stored in between.
            messages = json.loads(json.dumps(with_results(messages, answer)))
        assert ask(router_to(server.url), messages).text == TEXT
        sent = server.requests[-1].json["messages"]
    assert sent[2]["reasoning_content"] and sent[4]["tool_calls"][1]["extra_content"]


def test_what_one_server_gave_goes_to_no_other_and_is_there_when_it_comes_back() -> None:
    """Another server, and another model of the same one, refuse signatures that they have not given."""
    messages: list[Any] = [{"role": "user", "content": "go"}]
    with strict_server() as first, strict_server() as second:
        messages = with_results(messages, whole(router_to(first.url), messages))
        messages = with_results(messages, whole(router_to(second.url), messages))
        assert "reasoning_content" not in json.dumps(second.requests[-1].json)
        assert whole(router_to(second.url), messages).text == TEXT
        asked = second.requests[-1].json["messages"]
        assert "reasoning_content" not in asked[1] and asked[3]["reasoning_content"]


def test_signatures_of_another_model_of_the_same_server_stay_at_home() -> None:
    messages: list[Any] = [{"role": "user", "content": "go"}]
    with strict_server() as server:
        messages = with_results(messages, whole(router_to(server.url), messages))
        with pytest.raises(Exception, match="missing a thought_signature"):
            whole(router_to(server.url), messages, model="other")
        assert "extra_content" not in json.dumps(server.requests[-1].json)
        assert whole(router_to(server.url), messages).tool_calls


def test_a_message_that_was_changed_goes_out_as_it_was_changed() -> None:
    messages: list[Any] = [{"role": "user", "content": "go"}]
    with strict_server() as server:
        answer = whole(router_to(server.url), messages)
        messages = with_results(messages, answer)
        messages[1]["tool_calls"][0]["function"]["arguments"] = '{"at": "elsewhere"}'
        with pytest.raises(Exception, match="thought_signature"):
            whole(router_to(server.url), messages)
        call = server.requests[-1].json["messages"][1]["tool_calls"][0]
    assert call["function"]["arguments"] == '{"at": "elsewhere"}' and "extra_content" not in call


def test_an_id_that_the_server_gave_itself_goes_back_to_it_however_long() -> None:
    """LiteLLM keeps signatures in ids."""
    call_id = "call_" + "s" * 200
    call = {"id": call_id, "type": "function", "function": {"name": "look", "arguments": "{}"},
            "provider_specific_fields": {"thought_signature": "s"}}  # fmt: skip
    body = {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [call]},
                         "finish_reason": "tool_calls"}]}  # fmt: skip

    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            conversation.send(http(200, json.dumps(body).encode(), {"Content-Type": "application/json"}))

    messages: list[Any] = [{"role": "user", "content": "go"}]
    with Server(script) as server, Server(script) as other:
        messages = with_results(messages, whole(router_to(server.url), messages))
        whole(router_to(server.url), messages)
        own = server.requests[-1].json["messages"]
        whole(router_to(other.url), messages)
        foreign = other.requests[-1].json["messages"]
    assert own[1]["tool_calls"] == [call] and own[2]["tool_call_id"] == call_id
    assert len(foreign[1]["tool_calls"][0]["id"]) <= 40 and foreign[1]["tool_calls"][0].keys() == {
        "id",
        "type",
        "function",
    }
    assert foreign[2]["tool_call_id"] == foreign[1]["tool_calls"][0]["id"]
