"""The Responses API: messages as input items, which a server takes that refuses what OpenAI refuses."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.responses_requests import PNG, asked_of, chat_call, input_of, unchecked_body
from lee_llm_router import InvalidRequestError, LLMRouterError, audio_part, file_part, image_part

feature = pytest.mark.feature


@feature("openai_responses", "text")
@feature("openai_responses", "system")
def test_texts_are_sent_where_they_stand() -> None:
    """Instructions too, wherever; an answer says that it is a message, which llama.cpp wants."""
    assert input_of(
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"}, {"role": "developer", "content": "c"}, {"role": "user", "content": "d"},
    ) == [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"},
        {"type": "message", "role": "assistant", "content": "b"}, {"role": "developer", "content": "c"},
        {"role": "user", "content": "d"},
    ]  # fmt: skip
    with_tools = input_of(
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [chat_call("1")]}, {"role": "developer", "content": "c"},
        {"role": "tool", "tool_call_id": "1", "content": "x"}, {"role": "system", "content": "d"},
    )  # fmt: skip
    assert [one.get("role", one.get("type")) for one in with_tools] == [
        "system", "user", "function_call", "function_call_output", "developer", "system",
    ]  # fmt: skip


def test_empty_texts_and_names_are_left_out() -> None:
    assert input_of({"role": "user", "content": "a", "name": "bo"}, {"role": "assistant", "content": ""},
                  {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "b"}]}) == [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
    ]  # fmt: skip
    assert unchecked_body({"role": "user", "content": ""})["input"] == [{"role": "user", "content": ""}]


@feature("openai_responses", "image_url")
@feature("openai_responses", "image_data")
def test_pictures_are_sent_by_address_and_as_data() -> None:
    given = input_of({"role": "user", "content": [
        {"type": "text", "text": "Who?"}, image_part("https://a.example/x.png", detail="low"), image_part(PNG),
    ]})  # fmt: skip
    assert given[0]["content"] == [
        {"type": "input_text", "text": "Who?"},
        {"type": "input_image", "image_url": "https://a.example/x.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
    ]  # fmt: skip


@feature("openai_responses", "file")
def test_files_are_sent_as_data_by_address_and_by_id() -> None:
    parts = [
        file_part(b"%PDF-1.7", name="a.pdf"), file_part(b"%PDF-1.7"), file_part("https://a.example/x.pdf"),
        {"type": "file", "file": {"file_id": "file_1"}}, file_part(PNG),
    ]  # fmt: skip
    assert input_of({"role": "user", "content": parts})[0]["content"] == [
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjc="},
        {"type": "input_file", "filename": "file.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjc="},
        {"type": "input_file", "file_url": "https://a.example/x.pdf"}, {"type": "input_file", "file_id": "file_1"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
    ]  # fmt: skip


def test_parts_in_the_words_of_the_api_are_sent_as_they_are() -> None:
    part = {"type": "input_image", "file_id": "file_1", "detail": "high"}
    assert input_of({"role": "user", "content": [part]})[0]["content"] == [part]


@feature("openai_responses", "audio", supported=False)
def test_a_target_cannot_take_audio() -> None:
    """It is skipped before anything is sent."""
    sound = audio_part(b"RIFF0000WAVE")
    with pytest.raises(LLMRouterError, match="audio"):
        asked_of({"role": "user", "content": [sound]})


@feature("openai_responses", "tool_results")
@feature("openai_responses", "tool_result_images")
@feature("openai_responses", "tool_errors")
def test_calls_and_results_become_items() -> None:
    given = input_of(
        {"role": "user", "content": "a"},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [chat_call("1", "f", '{"a": 1}'), chat_call("2"), chat_call("3")],
        },
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "map"}, image_part(PNG)]},
        {"role": "tool", "tool_call_id": "3", "content": "no such city", "is_error": True},
    )
    assert given[1:] == [
        {"type": "message", "role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": '{"a": 1}'},
        {"type": "function_call", "call_id": "2", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "3", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "sunny"},
        {"type": "function_call_output", "call_id": "2", "output": [
            {"type": "input_text", "text": "map"},
            {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
        ]},
        {"type": "function_call_output", "call_id": "3", "output": "Error: no such city"},
    ]  # fmt: skip


ODD_HISTORIES: list[tuple[str, list[dict[str, Any]]]] = [
    ("a result without its call", [{"role": "tool", "tool_call_id": "x", "content": "lost"}]),
    ("a call without its result", [{"role": "assistant", "content": None, "tool_calls": [chat_call("x")]}]),
    ("a call without its result, and more", [
        {"role": "assistant", "content": None, "tool_calls": [chat_call("x")]},
        {"role": "user", "content": "never mind"}]),
    ("doubled ids", [
        {"role": "assistant", "content": None, "tool_calls": [chat_call("x"), chat_call("x")]},
        {"role": "tool", "tool_call_id": "x", "content": "1"}, {"role": "tool", "tool_call_id": "x", "content": "2"}]),
    ("no ids", [
        {"role": "assistant", "content": None, "tool_calls": [chat_call(None), chat_call("")]},
        {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}]),
    ("ids of others", [
        {"role": "assistant", "content": None, "tool_calls": [chat_call("functions.f:0"), chat_call("x" * 90)]},
        {"role": "tool", "tool_call_id": "functions.f:0", "content": "1"},
        {"role": "tool", "tool_call_id": "x" * 90, "content": "2"}]),
    ("no name and no arguments", [
        {"role": "assistant", "tool_calls": [chat_call("x", None, ""), chat_call("y", "", None)]},
        {"role": "tool", "tool_call_id": "x", "content": "1"}, {"role": "tool", "tool_call_id": "y", "content": ""}]),
    ("an answer with a picture", [
        {"role": "assistant", "content": [{"type": "text", "text": "See"}, image_part(PNG)]},
        {"role": "user", "content": "thanks"}]),
    ("a refusal", [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}]),
    ("thinking of another vendor", [
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"},
                                          {"type": "text", "text": "hi"}],
         "provider_data": {"anthropic": {"origin": "x", "of": "y", "content": [{"type": "thinking"}]}}}]),
    ("a picture as a result, failed", [
        {"role": "assistant", "tool_calls": [chat_call("x")]},
        {"role": "tool", "tool_call_id": "x", "content": [image_part(PNG)], "is_error": True}]),
    ("results in another order, instructions between", [
        {"role": "assistant", "tool_calls": [chat_call("x"), chat_call("y")]}, {"role": "system", "content": "s"},
        {"role": "tool", "tool_call_id": "y", "content": "1"}, {"role": "tool", "tool_call_id": "x", "content": "2"}]),
    ("nothing but instructions", [{"role": "system", "content": [{"type": "text", "text": "s"}]}]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "messages"), ODD_HISTORIES)
def test_a_history_from_anywhere_is_sent_so_that_it_is_taken(what: str, messages: list[dict[str, Any]]) -> None:
    """Nothing is refused, and no text is lost."""
    del what
    sent = input_of({"role": "user", "content": "hi", "name": "bo"}, *messages)
    said = str(sent)
    for one in messages:
        if isinstance(one.get("content"), str):
            assert one["content"] in said


@feature("openai_responses", "cache")
def test_marks_for_the_cache_become_breakpoints_where_the_model_has_them() -> None:
    """At most four, the last ones; others cache by themselves, and are sent no marks."""
    messages = [{"role": "user", "content": f"{number}", "cache": True} for number in range(3)]
    messages += [{"role": "system", "content": "s", "cache": True}, {"role": "user", "content": "x"}]
    tools: list[Any] = [
        {"role": "assistant", "tool_calls": [chat_call("1")]},
        {"role": "tool", "tool_call_id": "1", "content": "r", "cache": True}, {"role": "user", "content": "end"},
    ]  # fmt: skip
    given = input_of(*messages, *tools, model="gpt-5.6")
    marked = [part["text"] for item in given for part in _listed(item) if "prompt_cache_breakpoint" in part]
    assert marked == ["1", "2", "s", "r"]
    for model, config in (
        ("gpt-5", {}),
        ("gpt-6", {"base_url": "http://x.example/v1"}),
        ("gpt-6", {"cache_marks": "none"}),
    ):
        assert "breakpoint" not in str(input_of(*messages, *tools, model=model, config=config))
    forced = input_of(*messages, model="x", config={"cache_marks": "prompt_cache_breakpoint"})
    assert "breakpoint" in str(forced)


def _listed(item: dict[str, Any]) -> list[dict[str, Any]]:
    content = item.get("content", item.get("output"))
    return content if isinstance(content, list) else []


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "gs://bucket/a.png"}}, file_part("gs://bucket/a.pdf"),
        file_part(b"ID3", name="a.mp3"), file_part(b"x", media_type="video/mp4"),
    ],
)  # fmt: skip
def test_a_target_is_skipped_where_a_part_cannot_be_sent(part: dict[str, Any]) -> None:
    with pytest.raises(LLMRouterError, match="cannot be sent"):
        asked_of({"role": "user", "content": [part]})
    assert asked_of({"role": "user", "content": [image_part(PNG), {"type": "file", "file": {"file_id": "file_1"}}]})


def test_a_part_without_content_is_a_wrong_request() -> None:
    for part in ({"type": "image_url", "image_url": {}}, {"type": "file", "file": 3}):
        with pytest.raises(InvalidRequestError, match="no content"):
            asked_of({"role": "user", "content": [part]})
