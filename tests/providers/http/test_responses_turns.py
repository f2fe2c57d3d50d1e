"""The Responses API: what of an answer goes back to the model that gave it, and a loop of tools in three turns."""

from __future__ import annotations

import asyncio
import json
from copy import deepcopy
from typing import Any

import pytest

from helpers.responses_support import answer, call, message, response, thought
from helpers.servers import Conversation, Server, answering, http
from helpers.stream_support import router_to
from helpers.strict_openai_responses import answers, check
from helpers.support import Memory
from lee_llm_router import LeeLLMRouter, LLMResponse

feature = pytest.mark.feature
native = pytest.mark.feature("openai_responses", "native_turns")
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
         for name in ("weather", "time")]  # fmt: skip


class Strict:
    """A server that checks what OpenAI checks, and answers turn after turn."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, conversation: Conversation) -> None:
        while (asked := conversation.receive()) is not None:
            body = asked.json
            self.bodies.append(body)
            problem = check(body, asked.line.split()[1], self.state)
            if problem is not None:
                conversation.send(answer({"error": {"message": problem, "type": "invalid_request_error"}}, 400))
                continue
            turn = 1 + sum(item.get("type") == "reasoning" for item in body["input"])
            streams = body.get("stream", False)
            kind = "text/event-stream" if streams else "application/json"
            conversation.send(http(200, answers(turn, streams, self.state), {"Content-Type": kind}))


def _asked(router: LeeLLMRouter, messages: list[Any], way: str) -> LLMResponse:
    if way == "complete":
        return router.complete("r", messages, tools=TOOLS)
    if way == "stream":
        stream = router.stream("r", messages, tools=TOOLS)
        list(stream)
        return stream.response

    async def main() -> LLMResponse:
        stream = router.stream_async("r", messages, tools=TOOLS)
        async for _ in stream:
            pass
        return stream.response

    return asyncio.run(main())


def _results(found: LLMResponse) -> list[dict[str, Any]]:
    return [{"role": "tool", "tool_call_id": one.id, "content": f"result of {one.id}"} for one in found.tool_calls]


@native
@pytest.mark.parametrize("way", ["complete", "stream", "stream, async"])
@pytest.mark.parametrize("stored", [False, True])
def test_a_loop_of_tools_in_three_turns(way: str, stored: bool) -> None:
    """Reasoning goes back encrypted, messages with their phase, results to their calls; also out of a store."""
    strict = Strict()
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather?"}]
    with Server(strict) as server, router_to(server.url, memory=Memory(), type="openai_responses") as router:
        for _ in range(3):
            found = _asked(router, messages, way)
            messages += [found.message, *_results(found)]
            if stored:
                messages = json.loads(json.dumps(messages))
        messages.append({"role": "user", "content": "Thanks"})
        _asked(router, messages, way)
    assert found.text == "It rains in both." and not found.tool_calls
    assert len(strict.bodies) == 4
    kinds = [item.get("type", item.get("role")) for item in strict.bodies[-1]["input"]]
    assert kinds == [
        "system", "user", "reasoning", "function_call", "function_call", "function_call_output",
        "function_call_output", "reasoning", "message", "function_call", "function_call_output", "reasoning", "message",
        "user",
    ]  # fmt: skip
    phases = [item.get("phase") for item in strict.bodies[-1]["input"] if item.get("type") == "message"]
    assert phases == ["commentary", "final_answer"]


def _next_input(found: LLMResponse, *more: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    """What is sent of an answer in the next request to the same server."""
    items: list[dict[str, Any]] = _second_body([found.message, *more], **settings)["input"]
    return items


def _second_body(history: list[Any], **settings: Any) -> dict[str, Any]:
    with Server(answering(answer(response(message("x"))))) as server:
        for one in history:
            _move(one, server.address)
        with router_to(server.url, memory=Memory(), **{"type": "openai_responses", "model": "m", **settings}) as router:
            router.complete("r", history)
        body: dict[str, Any] = server.requests[0].json
    return body


def _move(one: dict[str, Any], address: str) -> None:
    """Let the server at `address` be the one that gave the message."""
    kept = one.get("provider_data", {}).get("openai_responses")
    if kept is not None:
        kept["origin"] = f"{address}/{kept['origin'].rpartition('/')[2]}"


def _given(*output: Any, **options: Any) -> LLMResponse:
    with (
        Server(answering(answer(response(*output)))) as server,
        router_to(server.url, memory=Memory(), type="openai_responses", **options) as router,
    ):
        return router.complete("r", "hi")


RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "x"}


@native
def test_items_go_back_as_they_came() -> None:
    items = [thought("Hm."), message("I look.", phase="commentary"), call(namespace="ns")]
    sent = _next_input(_given(*items), RESULT)
    assert sent == [*items, {"type": "function_call_output", "call_id": "call_1", "output": "x"}]


def test_what_says_no_more_than_its_text_is_sent_as_text() -> None:
    found = _given(message("Hello"), call())
    assert found.details.native is None
    assert _next_input(found, RESULT)[:2] == [
        {"type": "message", "role": "assistant", "content": "Hello"},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a": 1}'},
    ]


def test_only_the_same_model_at_the_same_server_gets_them() -> None:
    """Another one gets the text and the calls."""
    found = _given(thought("Hm."), message("I look.", phase="final_answer"), call())
    for history, settings in (([found.message, RESULT], {"model": "other"}),):
        sent = _second_body(history, **settings)["input"]
        assert [item["type"] for item in sent] == ["message", "function_call", "function_call_output"]
        assert "phase" not in sent[0] and "id" not in sent[1]
    with Server(answering(answer(response(message("x"))))) as server:
        with router_to(server.url, memory=Memory(), type="openai_responses") as router:
            router.complete("r", [found.message, RESULT])
        assert "reasoning" not in str(server.requests[0].json["input"])


def test_a_message_that_was_changed_goes_as_it_was_changed() -> None:
    found = _given(thought("Hm."), message("secret", phase="final_answer"))
    changed = {**deepcopy(found.message), "content": "hidden"}
    sent = _second_body([changed])["input"]
    assert sent == [{"type": "message", "role": "assistant", "content": "hidden"}]


def test_reasoning_that_nobody_keeps_is_left_out_with_the_ids_that_need_it() -> None:
    """Nothing is stored: reasoning without content would be looked for, and what followed it would miss it."""
    bare = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    found = _given(bare, message("I look.", phase="commentary"), call())
    assert _next_input(found, RESULT)[:2] == [
        {"type": "message", "role": "assistant", "content": "I look.", "phase": "commentary"},
        {"type": "function_call", "status": "completed", "call_id": "call_1", "name": "f", "arguments": '{"a": 1}'},
    ]


def test_reasoning_that_nothing_follows_is_left_out() -> None:
    found = _given(message("Done.", phase="final_answer"), thought("After.", id="rs_2"))
    assert [item["type"] for item in _next_input(found)] == ["message"]


def test_fields_that_are_null_are_left_out() -> None:
    found = _given(thought("Hm.", status=None, content=None), message("x", phase=None))
    sent = _next_input(found)
    assert "null" not in json.dumps(sent) and len(sent) == 2


def test_open_reasoning_goes_back() -> None:
    """Servers of open models give it in full, and llama.cpp wants it so."""
    item = thought(content=[{"type": "reasoning_text", "text": "Long."}], encrypted_content="")
    assert _next_input(_given(item, message("x")))[0] == item


def test_calls_that_shared_an_id_go_back_with_ids_of_their_own() -> None:
    found = _given(thought("Hm."), call(call_id="same"), call("g", call_id="same"))
    results = [{"role": "tool", "tool_call_id": one.id, "content": one.name} for one in found.tool_calls]
    sent = _next_input(found, *results)
    assert [item["call_id"] for item in sent[1:]] == ["same", "same_1", "same", "same_1"]
    assert [item["output"] for item in sent[3:]] == ["f", "g"]


def test_the_result_of_a_custom_tool_has_its_own_type() -> None:
    custom = {"type": "custom_tool_call", "id": "ctc", "call_id": "call_1", "name": "sql", "input": "select 1"}
    sent = _next_input(_given(custom), RESULT)
    assert sent == [custom, {"type": "custom_tool_call_output", "call_id": "call_1", "output": "x"}]


def test_a_tampered_store_breaks_nothing() -> None:
    """What is kept is looked at before it is sent."""
    found = _given(thought("Hm."), message("I look.", phase="commentary"), call())
    contents: list[Any] = [None, 3, [], "x", [3], [call(), call()], [thought()], {}]
    for content in contents:
        history = [deepcopy(found.message), RESULT]
        history[0]["provider_data"]["openai_responses"]["content"] = content
        sent = _second_body(history)["input"]
        assert [item["type"] for item in sent][-2:] == ["function_call", "function_call_output"]


def test_what_json_cannot_express_is_not_kept() -> None:
    """A number past all bounds would make every further request impossible."""
    whole = json.dumps(response({"type": "hologram_call", "size": 17}, message("Hello"))).replace("17", "1e999")
    with (
        Server(answering(http(200, whole.encode(), {"Content-Type": "application/json"}))) as server,
        router_to(server.url, memory=Memory(), type="openai_responses") as router,
    ):
        found = router.complete("r", "hi")
        assert found.details.native is None
        assert router.complete("r", [found.message, {"role": "user", "content": "more"}]).text == "Hello"
