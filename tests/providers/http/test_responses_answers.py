"""The Responses API: what an answer is, and what it is made of, in every form of a call."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from helpers.all_forms import JSON, answers, failures, json_of
from helpers.responses_support import RESPONSES, USAGE, call, message, part, response, stream_of, thought
from lee_llm_router import Citation, FailureType, LLMResponse, LLMUsage, ToolCall
from lee_llm_router.response.details import TokenLogprob

F = FailureType
feature = pytest.mark.feature


def _answer(whole: dict[str, Any], **options: Any) -> LLMResponse:
    """The answer that a server gives in JSON and streams, which is one and the same."""
    found = [
        answers(body, label, **RESPONSES, **options)
        for body, label in ((json_of(whole), JSON), (stream_of(whole), "text/event-stream"))
    ]
    plain = [_without_origin(one) for one in found]
    assert plain[0] == plain[1], f"{plain[0]} is not {plain[1]}"
    assert found[0].raw == found[1].raw == whole
    return found[0]


def _without_origin(one: LLMResponse) -> LLMResponse:
    native = one.details.native
    native = None if native is None else replace(native, origin="")
    return replace(one, details=replace(one.details, native=native))


def test_a_text_is_read_with_all_that_stands_beside_it() -> None:
    found = _answer(response(message("Hello, world")))
    assert (found.text, found.finish_reason, found.model) == ("Hello, world", "stop", "served-1")
    assert (found.details.id, found.details.service_tier) == ("resp_1", "default")
    assert found.details.finish_reason == "completed"
    assert found.details.parts == () and found.details.native is None, "the text says it all"
    assert found.message == {"role": "assistant", "content": "Hello, world"}


@feature("openai_responses", "usage")
@feature("openai_responses", "cached_usage")
def test_tokens_include_those_of_the_cache_and_of_reasoning() -> None:
    assert _answer(response(message("x"))).usage == LLMUsage(
        prompt_tokens=11, completion_tokens=9, total_tokens=20, cached_tokens=4, cache_write_tokens=3,
        reasoning_tokens=5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, LLMUsage()),
        ({}, LLMUsage()),
        ("many", LLMUsage()),
        ({"input_tokens": -1, "output_tokens": 2.5, "total_tokens": "3"}, LLMUsage()),
        ({"input_tokens": 3, "output_tokens": 4}, LLMUsage(prompt_tokens=3, completion_tokens=4)),
        ({"prompt_tokens": 3, "completion_tokens": 4}, LLMUsage(prompt_tokens=3, completion_tokens=4)),
        ({"input_tokens": 3, "input_tokens_details": None, "output_tokens_details": []}, LLMUsage(prompt_tokens=3)),
    ],
)
def test_a_usage_is_believed_as_far_as_it_can_be_true(usage: Any, expected: LLMUsage) -> None:
    assert _answer(response(message("x"), usage=usage)).usage == expected


def test_a_usage_beside_the_response_counts_where_the_response_has_none() -> None:
    """Some gateways put it into the event."""
    end = {"type": "response.completed", "response": response(message("x"), usage=None), "usage": USAGE}
    body = f"data: {json.dumps(end)}\n\n".encode()
    assert answers(body, **RESPONSES).usage.prompt_tokens == 11


@feature("openai_responses", "tools")
def test_calls_are_answered_with_their_call_id() -> None:
    """A call has an id of its own beside it."""
    found = _answer(response(call("weather", '{"city": "Paris"}'), call("time", "{}", "call_2")))
    assert found.tool_calls == (
        ToolCall(id="call_1", name="weather", arguments='{"city": "Paris"}'),
        ToolCall(id="call_2", name="time", arguments="{}"),
    )
    assert (found.text, found.finish_reason) == ("", "tool_calls")


@pytest.mark.parametrize(
    ("items", "ids"),
    [
        ([call(call_id="same", id="a"), call(call_id="same", id="b")], ["same", "same_1"]),
        ([call(call_id=None, id="fc_1"), call(call_id=None, id="fc_2")], ["fc_1", "fc_2"]),
        ([call(call_id=None, id=None), call(call_id="", id=None)], ["call_0", "call_1"]),
        ([call(call_id="same", id=None), call(call_id="same", id=None)], ["same", "same_1"]),
    ],
)
def test_ids_that_are_missing_or_doubled_are_made_up(items: list[Any], ids: list[str]) -> None:
    assert [one.id for one in _answer(response(*items)).tool_calls] == ids


def test_a_call_without_arguments_has_none_and_objects_become_text() -> None:
    found = _answer(response(call(arguments=""), call("g", '{"x": [1]}', "call_2")))
    assert [one.arguments for one in found.tool_calls] == ["{}", '{"x": [1]}']
    given = response(call(arguments={"a": 1}))
    assert answers(json_of(given), JSON, **RESPONSES).tool_calls[0].arguments == '{"a":1}'


def test_a_call_of_a_custom_tool_has_its_text_for_arguments() -> None:
    custom = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "call_9", "name": "sql", "input": "select 1"}
    found = _answer(response(custom))
    assert found.tool_calls == (ToolCall(id="call_9", name="sql", arguments="select 1"),)
    assert found.details.native is not None


@feature("openai_responses", "reasoning")
def test_reasoning_is_its_summary_or_its_content() -> None:
    assert _answer(response(thought("One.", "Two."), message("x"))).reasoning == "One.\n\nTwo."
    content = [{"type": "reasoning_text", "text": "Long thought."}]
    assert _answer(response(thought(content=content), message("x"))).reasoning == "Long thought."
    assert _answer(response(thought(), message("x"))).reasoning is None
    two = response(thought("a"), thought("b", id="rs_2"), message("x"))
    assert _answer(two).reasoning == "a\n\nb"


def test_the_final_answer_is_the_text_and_commentary_is_reasoning() -> None:
    """Both are kept as parts, in order, with what they are."""
    found = _answer(response(
        message("I look it up.", phase="commentary"), message("It rains.", id="msg_2", phase="final_answer"),
    ))  # fmt: skip
    assert (found.text, found.reasoning) == ("It rains.", "I look it up.")
    assert found.details.parts == (
        {"type": "text", "text": "I look it up.", "phase": "commentary"},
        {"type": "text", "text": "It rains.", "phase": "final_answer"},
    )


def test_of_several_final_answers_the_last_is_the_text() -> None:
    """In a stream both have been handed on by then."""
    whole = response(message("A", phase="final_answer"), message("B", id="msg_2", phase="final_answer"))
    assert answers(json_of(whole), JSON, **RESPONSES).text == "B"
    assert answers(stream_of(whole), **RESPONSES).text == "AB"


def test_commentary_alone_is_the_text_unless_tools_are_called() -> None:
    assert _answer(response(message("Only this.", phase="commentary"))).text == "Only this."
    found = _answer(response(message("I call.", phase="commentary"), call()))
    assert (found.text, found.reasoning, len(found.tool_calls)) == ("", "I call.", 1)


def test_texts_of_one_answer_are_one_text() -> None:
    found = _answer(response(message("a", "b"), message("c", id="msg_2")))
    assert found.text == "abc"
    assert [one["text"] for one in found.details.parts] == ["a", "b", "c"]


@feature("openai_responses", "citations")
def test_annotations_are_citations_at_their_place_in_the_text() -> None:
    notes = [
        {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2},
        {"type": "file_citation", "file_id": "file_1", "filename": "a.pdf", "index": 3},
        {"type": "container_file_citation", "container_id": "c", "file_id": "f", "filename": "b.csv",
         "start_index": 1, "end_index": 2},
        {"type": "file_path", "file_id": "file_2", "index": 0},
        {"type": "url_citation", "url_citation": {"url": "https://b.example", "title": "B"}},
        {"type": "of a new kind"}, None, 7,
    ]  # fmt: skip
    found = _answer(response(message("0123", part("4567", annotations=notes))))
    assert found.details.citations == (
        Citation(url="https://a.example", title="A", start=4, end=6),
        Citation(title="a.pdf"),
        Citation(title="b.csv", start=5, end=6),
        Citation(title="file_2"),
        Citation(url="https://b.example", title="B"),
    )


@feature("openai_responses", "pictures")
def test_generated_pictures_are_parts() -> None:
    picture = {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "aGk="}
    other = {**picture, "id": "ig_2", "output_format": "webp"}
    found = _answer(response(picture, message("There."), other))
    assert found.details.images == ("data:image/png;base64,aGk=", "data:image/webp;base64,aGk=")
    assert [one["type"] for one in found.details.parts] == ["image_url", "text", "image_url"]
    assert _answer(response(picture)).text == "", "a picture alone is an answer"


@feature("openai_responses", "logprobs")
def test_probabilities_of_tokens_are_read() -> None:
    top = [{"token": "x", "logprob": -0.1, "bytes": [120]}, {"token": "y", "logprob": -3, "bytes": []}, {"token": 3}]
    found = _answer(response(message(part("xz", logprobs=[
        {"token": "x", "logprob": -0.1, "bytes": [], "top_logprobs": top}, {"token": "z", "logprob": -2}, {}, None,
    ]))))  # fmt: skip
    assert found.details.logprobs == (
        TokenLogprob(token="x", logprob=-0.1, top=(("x", -0.1), ("y", -3.0))), TokenLogprob(token="z", logprob=-2.0),
    )  # fmt: skip


def test_items_and_parts_of_an_unknown_type_pass() -> None:
    """They are kept as parts, and go back to the same model."""
    new = {"type": "hologram_call", "id": "h_1", "data": [1]}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
    compaction = {"type": "compaction", "id": "c", "encrypted_content": "e"}
    found = _answer(response(new, search, message("There."), compaction))
    assert found.text == "There."
    assert found.details.parts[:2] == (new, search)
    assert found.details.native is not None and len(found.details.native.content) == 4
    assert _answer(response(new)).text == "", "it may want something of the caller"


@pytest.mark.parametrize(
    ("details", "reason"), [("max_output_tokens", "length"), ("max_messages", "length"), ("max_tokens", "length")]
)
def test_an_answer_that_was_cut_at_a_limit_says_so(details: str, reason: str) -> None:
    whole = response(message("Half an ans"), status="incomplete", incomplete_details={"reason": details})
    found = _answer(whole)
    assert (found.text, found.finish_reason, found.details.finish_reason) == ("Half an ans", reason, details)
    thinking = response(thought(), status="incomplete", incomplete_details={"reason": details})
    assert _answer(thinking).finish_reason == "length", "all was spent on thinking"
    cut = _answer(response(call(arguments='{"a'), status="incomplete", incomplete_details={"reason": details}))
    assert (cut.finish_reason, cut.tool_calls[0].arguments) == ("length", '{"a')


def test_an_answer_with_all_the_tokens_it_may_have_was_cut_whatever_its_status() -> None:
    """llama.cpp says `completed` there."""
    whole = response(message("x"))
    assert _answer(whole, options={"max_tokens": 9}).finish_reason == "length"
    assert _answer(whole, options={"max_tokens": 16}).finish_reason == "stop"


@pytest.mark.parametrize(
    ("details", "kind"),
    [
        ({"reason": "content_filter"}, F.CONTENT_FILTER),
        ({"reason": "steered"}, F.INVALID_RESPONSE),
        ({"reason": "of_a_new_kind"}, F.INVALID_RESPONSE),
        ({"reason": None}, F.INVALID_RESPONSE),
        (None, F.INVALID_RESPONSE),
    ],
)
def test_an_answer_that_broke_off_otherwise_is_none(details: Any, kind: FailureType) -> None:
    whole = response(message("Half"), status="incomplete", incomplete_details=details)
    for body, label in ((json_of(whole), JSON), (stream_of(whole), "text/event-stream")):
        for error in failures(body, label, **RESPONSES):
            assert error.failure_type is kind
            assert error.response is not None and error.response.text == "Half"


def test_a_refusal_is_no_answer() -> None:
    whole = response(message({"type": "refusal", "refusal": "I must not."}))
    for body, label in ((json_of(whole), JSON), (stream_of(whole), "text/event-stream")):
        for error in failures(body, label, **RESPONSES):
            assert error.failure_type is F.CONTENT_FILTER
            assert error.response is not None and error.response.text == "I must not."
            assert "must not" not in error.message


EMPTY: list[dict[str, Any]] = [
    response(), response(thought("hm")), response(message()), response(message(content=None)),
    response({"type": "web_search_call", "id": "ws"}), response(thought(), {"type": "mcp_list_tools", "id": "m"}),
    response({"type": "image_generation_call", "id": "i", "result": None, "status": "failed"}),
]  # fmt: skip


@pytest.mark.parametrize("whole", EMPTY)
def test_a_response_that_says_nothing_is_no_answer(whole: dict[str, Any]) -> None:
    for body, label in ((json_of(whole), JSON), (stream_of(whole), "text/event-stream")):
        assert failures(body, label, **RESPONSES)[0].failure_type is F.INVALID_RESPONSE


def test_an_empty_text_is_an_answer() -> None:
    assert _answer(response(message(""))).text == ""


@pytest.mark.parametrize(
    "body",
    [
        {}, {"output": None}, {"output": "text"}, {"output": {}}, {"output": [None]}, {"output": ["x"]},
        {"choices": []},
        {"output": [message(content=3)]}, {"output": [call(name="")]}, {"output": [call(name=None)]},
        {"status": "queued", "output": []}, {"status": "in_progress", "output": [message("x")]},
        {"status": "of a new kind", "output": [message("x")]}, [], "text", 3, None,
    ],
)  # fmt: skip
def test_what_is_no_response_is_no_answer(body: Any) -> None:
    assert failures(json_of(body), JSON, **RESPONSES)[0].failure_type is F.INVALID_RESPONSE


def test_a_server_that_leaves_out_what_it_can_is_understood() -> None:
    """No ids, no status, no types beside what has to be read; content that is a text."""
    found = answers(json_of({"output": [{"role": "assistant", "content": "Hi"}]}), JSON, **RESPONSES)
    assert (found.text, found.finish_reason, found.usage) == ("Hi", "stop", LLMUsage())
    plain = {"type": "message", "content": [{"type": "text", "text": "Hi"}]}
    found = answers(json_of({"output": [plain]}), JSON, **RESPONSES)
    assert found.text == "Hi"


def test_half_characters_are_joined_or_replaced() -> None:
    body = json_of(response(message("a\ud83d"), message("\ude00b", id="msg_2")))
    assert answers(body, JSON, **RESPONSES).text == "a\ufffd\ufffdb"
