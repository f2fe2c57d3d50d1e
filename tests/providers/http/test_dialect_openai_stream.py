"""Chat completion chunks: put together, they are the unstreamed answer; what is none unstreamed is none streamed."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.servers import Conversation, Server, completion, json_answer
from helpers.stream_servers import DONE, HEAD, HEL, LAST, STOP, USAGE, delta, event, framed, named, streaming, usage
from helpers.stream_support import Read, router_to
from lee_llm_router.errors import FailureType

CALL = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
THINKING = {"type": "thinking", "thinking": []}
ROLE_ONLY, END, COUNTED = delta(role="assistant", content=""), delta("stop"), usage()


def tools(*calls: Any) -> dict[str, Any]:
    return delta(tool_calls=list(calls))


def arguments(text: Any, **call: Any) -> dict[str, Any]:
    return {"index": 0, "function": {"arguments": text}, **call}


SAME: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "text": (completion("hello"), [ROLE_ONLY, delta(content="hel"), delta(content="lo"), END, COUNTED]),
    "an empty text": (completion(""), [ROLE_ONLY, END, COUNTED]),
    "reasoning": (
        completion("4", reasoning_content="2+2"),
        [delta(reasoning_content="2+"), delta(reasoning_content="2"), delta(content="4"), END, COUNTED],
    ),
    "reasoning by another name": (
        completion("4", reasoning="2+2"),
        [delta(reasoning="2+2", content=""), delta(content="4"), END, COUNTED],
    ),
    "a tool call": (
        completion(None, tool_calls=[CALL]),
        [
            delta(role="assistant", content=None, tool_calls=[named("weather", "", index=0, id="t1", type="function")]),
            tools(arguments('{"city": ')),
            tools(arguments('"Oslo"}')),
            delta("tool_calls"),
            COUNTED,
        ],
    ),
    "text in parts": (
        completion([THINKING, {"type": "text", "text": "4"}]),  # type: ignore[arg-type]
        [delta(content=[THINKING]), delta(content=[{"type": "text", "text": "4"}]), END, COUNTED],
    ),
    "a price": (completion("4") | {"usage": USAGE | {"cost": 0.5}}, [delta(content="4"), END, usage(cost=0.5)]),
    "no usage": ({**completion("4"), "usage": None}, [delta(content="4"), END]),
    "usage beside the finish reason": (completion("4"), [delta(content="4"), END | {"usage": USAGE}]),
    "usage inside the choice": (
        completion("4"),
        [
            delta(content="4"),
            {"model": "served-1", "choices": [{"delta": {}, "finish_reason": "stop", "usage": USAGE}]},
        ],
    ),
}


@pytest.mark.parametrize("answer", SAME)
def test_a_streamed_answer_equals_the_unstreamed_one(read: Read, answer: str) -> None:
    """`LLMResponse`s are compared by all their fields; only ids and request sizes differ."""
    whole, chunks = SAME[answer]

    def script(conversation: Conversation) -> None:
        while (received := conversation.receive()) is not None:
            streamed = b"".join(framed(event(chunk)) for chunk in chunks) + framed(DONE) + LAST
            conversation.send(HEAD + streamed if received.json.get("stream") else json_answer(whole))

    with Server(script) as server:
        router = router_to(server.url)
        unstreamed = router.complete("r", "hi")
        ended = read(router)
    assert ended.response is not None, ended.error
    streamed = ended.response
    for name in ("request_id", "request_bytes"):
        object.__setattr__(streamed, name, getattr(unstreamed, name))
    assert streamed == unstreamed


PARALLEL: dict[str, list[list[dict[str, Any]]]] = {
    "by index": [
        [named("f", "{", index=0, id="a")],
        [named("g", "[", index=1, id="b")],
        [arguments("}"), arguments("]", index=1)],
    ],
    "the index always 0": [[named("f", "{}", index=0, id="a")], [named("g", "[]", index=0, id="b")]],
    "no index": [[named("f", "{}", id="a"), named("g", "[", id="b")], [{"function": {"arguments": "]"}}]],
    "another id in each piece": [
        [named("f", "{", index=0, id="a")],
        [arguments("}", id="x")],
        [named("g", "[]", index=1, id="b")],
    ],
    "id and name in each piece": [
        [named("f", "{", index=0, id="a")],
        [named("f", "}", index=0, id="a")],
        [named("g", "[]", index=1, id="b")],
    ],
    "the name later": [
        [arguments("", id="a"), {"index": 1, "id": "b", "function": {"name": "g"}}],
        [named("f", "{}", index=0), arguments([], index=1)],
    ],
}


@pytest.mark.parametrize("form", PARALLEL)
def test_tool_calls_are_put_together_whatever_numbers_servers_give_them(read: Read, form: str) -> None:
    chunks = [event(delta(tool_calls=calls)) for calls in PARALLEL[form]]
    with Server(streaming(*chunks, event(delta("tool_calls")), DONE)) as server:
        ended = read(router_to(server.url))
    assert ended.response is not None, ended.error
    found = [(call.id, call.name, call.arguments) for call in ended.response.tool_calls]
    assert found == [("a", "f", "{}"), ("b", "g", "[]")]


def test_tool_calls_without_ids_get_some(read: Read) -> None:
    calls = [{"function": {"name": name, "arguments": {"x": 1}}} for name in "fg"]
    with Server(streaming(event(delta(tool_calls=calls)), event(delta("tool_calls")), DONE)) as server:
        ended = read(router_to(server.url))
    assert ended.response is not None
    assert [(c.id, c.name, c.arguments) for c in ended.response.tool_calls] == [
        ("call_0", "f", '{"x":1}'), ("call_1", "g", '{"x":1}'),
    ]  # fmt: skip


INVALID, FILTERED = FailureType.INVALID_RESPONSE, FailureType.CONTENT_FILTER
BROKE = FailureType.PROVIDER_ERROR
GONE = {"message": "gone", "code": 502}
TOO_LONG = {"object": "error", "message": "maximum context length is 8", "code": 400}
NO_ANSWERS: dict[str, tuple[list[bytes], FailureType, str]] = {
    "a refusal": ([event(delta(refusal="I ")), event(delta(refusal="won't")), STOP, DONE], FILTERED, "refused"),
    "a filter in the middle": ([HEL, event(delta("content_filter", content="p")), DONE], FILTERED, "content_filter"),
    "a vendor that breaks off": ([event(delta("network_error")), DONE], BROKE, "network_error"),
    "an incomplete answer": ([event(delta("incomplete")), DONE], INVALID, "incomplete"),
    "no word and no tool": ([event(delta(role="assistant", content=None)), STOP, DONE], INVALID, "without text"),
    "a tool call without a name": ([event(tools({"index": 0, "id": "a"})), STOP, DONE], INVALID, "names no function"),
    "an end mark alone": ([HEL, DONE], INVALID, "before the answer was finished"),
    "malformed tool calls": ([event(delta(tool_calls={"a": 1}))], INVALID, "tool calls"),
    "a malformed tool call": ([event(tools("a"))], INVALID, "tool calls"),
    "a malformed delta": ([event({"choices": [{"delta": "a"}]})], INVALID, "delta"),
    "a malformed choice": ([event({"choices": ["a"]})], INVALID, "choices"),
    "a malformed content": ([event(delta(content={"a": 1}))], INVALID, "content"),
    "a malformed finish reason": ([event({"choices": [{"finish_reason": 1}]})], INVALID, "finish reason"),
    "an error in the choice": ([event({"choices": [{"error": GONE}]})], BROKE, "gone"),
    "an error without a wrapper": ([event(TOO_LONG)], FailureType.CONTEXT_LENGTH, "maximum"),
    "an error event that is no object": ([b"event: error\n" + event(b'"boom"')], BROKE, "boom"),
}


@pytest.mark.parametrize("case", NO_ANSWERS)
def test_what_is_no_answer_unstreamed_is_none_streamed(read: Read, case: str) -> None:
    events, failure, words = NO_ANSWERS[case]
    with Server(streaming(*events)) as server:
        ended = read(router_to(server.url, role={"retry": {"attempts": 1}}))
    assert ended.error is not None
    assert ended.error.failure_type is failure, ended.error
    assert words in ended.error.message
    assert ended.text == {"a filter in the middle": "help", "an end mark alone": "hel"}.get(case, "")
