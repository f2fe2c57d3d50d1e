"""The dialect of Anthropic's messages: what is asked. No network."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from pydantic import ValidationError

from helpers.anthropic_requests import (
    DIALECT,
    NEWER,
    OLDER,
    PDF,
    PNG,
    USER,
    blocks_of,
    call,
    calling,
    encoded,
    result,
    settings,
    told,
    tool,
    unsupported,
)  # fmt: skip
from lee_llm_router import file_part, image_part
from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.http.dialects.anthropic.provider import AnthropicProvider
from lee_llm_router.providers.http.dialects.anthropic.settings import AnthropicConfig
from lee_llm_router.response import LLMRequest

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


# What is always sent


def test_a_plain_request_has_three_fields() -> None:
    assert encoded() == {"model": NEWER, "max_tokens": 20_000, "messages": [USER]}


def test_a_stream_is_asked_for_in_the_body() -> None:
    assert encoded(stream=True)["stream"] is True


@pytest.mark.feature("anthropic", "max_tokens")
def test_the_bound_on_tokens_is_that_of_the_request_else_of_the_settings() -> None:
    assert encoded(max_tokens=9)["max_tokens"] == 9
    assert encoded(settings(default_max_tokens=100))["max_tokens"] == 100


def test_the_model_of_the_request_goes_before_that_of_the_settings() -> None:
    assert encoded(model="claude-opus-5")["model"] == "claude-opus-5"


def test_the_path_and_headers_are_the_vendors() -> None:
    request = LLMRequest(messages=(USER,))
    assert DIALECT.path(request, settings(), stream=True) == "/messages"
    assert DIALECT.headers(settings(), "k", stream=False) == {
        "Authorization": "Bearer k", "anthropic-version": "2026-10-21",
    }  # fmt: skip
    other = settings(key_header="x-api-key", version="2023-06-01", betas=["a-1", "b-2"])
    assert DIALECT.headers(other, "k", stream=True) == {
        "x-api-key": "k", "anthropic-version": "2023-06-01", "anthropic-beta": "a-1,b-2",
        "Accept": "text/event-stream, application/json",
    }  # fmt: skip
    assert "Authorization" not in DIALECT.headers(settings(), None, stream=False)


def test_on_vertex_the_model_stands_in_the_path_and_the_version_in_the_body() -> None:
    config = settings(platform="vertex", base_url="https://v.test/v1/publishers/anthropic/models", model="claude-x@1/2")
    request = LLMRequest(messages=(USER,))
    assert DIALECT.path(request, config, stream=False) == "/claude-x@1%2F2:rawPredict"
    assert DIALECT.path(request, config, stream=True) == "/claude-x@1%2F2:streamRawPredict"
    assert encoded(config) == {"anthropic_version": "2026-10-21", "max_tokens": 20_000, "messages": [USER]}
    assert "anthropic-version" not in DIALECT.headers(config, "k", stream=False)


def test_the_usual_key_goes_to_the_vendor_alone() -> None:
    """The vendor's variable is the default at its own address: another server gets the key that is named for it."""
    assert settings().api_key_env == "ANTHROPIC_API_KEY"
    assert settings(api_key_env=None).api_key_env is None
    assert settings(api_key_file="/k").api_key_env is None
    assert settings(base_url="http://localhost:8080/v1").api_key_env is None
    defaults: dict[str, Any] = {"base_url": "https://api.anthropic.com/v1", "api_key_env": "ANTHROPIC_API_KEY"}
    for url, kept in [("https://API.anthropic.com/v1/", True), ("http://localhost:8080/v1", False)]:
        found = AnthropicConfig.with_defaults({"type": "anthropic", "base_url": url}, defaults)
        assert ("api_key_env" in found) == kept


@pytest.mark.parametrize("url", ["https://h.test/v1/messages", "https://h.test/models/claude:rawPredict"])
def test_an_address_with_the_path_in_it_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="it is added"):
        settings(base_url=url)


def test_nobody_asks_for_a_stream_by_extra_body() -> None:
    with pytest.raises(ValidationError, match="stream"):
        settings(extra_body={"stream": True})
    with pytest.raises(InvalidRequestError, match="stream"):
        encoded(extra_body={"stream": True})


# Messages


@pytest.mark.feature("anthropic", "system")
def test_instructions_become_the_system_text_wherever_they_stand() -> None:
    body = told({"role": "system", "content": "a"}, USER, {"role": "developer", "content": "b"})
    assert (body["system"], body["messages"]) == ("a\n\nb", [USER])
    body = told({"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": " "}]}, USER)
    assert body["system"] == "a"


def test_instructions_alone_are_said_by_the_user() -> None:
    body = told({"role": "system", "content": "Say hi."})
    assert "system" not in body
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Say hi."}]}]


@pytest.mark.feature("anthropic", "text")
@pytest.mark.parametrize("content", ["hi", [{"type": "text", "text": "hi"}], [{"text": "hi"}]])
def test_texts_go_out_as_text(content: Any) -> None:
    (message,) = told({"role": "user", "content": content})["messages"]
    assert message["content"] in ("hi", [{"type": "text", "text": "hi"}])


def test_turns_alternate_and_the_user_speaks_first() -> None:
    messages = told(
        {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}, {"role": "user", "content": "c"},
        {"role": "assistant", "content": ""}, {"role": "user", "content": "  "}, {"role": "user", "content": "d"},
    )["messages"]  # fmt: skip
    assert [one["role"] for one in messages] == ["user", "assistant", "user"]
    assert [block["text"] for block in messages[2]["content"]] == ["b", "c", "d"]


@pytest.mark.parametrize("messages", [
    [{"role": "user", "content": " "}], [{"role": "user", "content": []}], [{"role": "assistant", "content": None}],
    [{"role": "system", "content": ""}], [{"role": "tool", "tool_call_id": "x", "content": ""}],
])  # fmt: skip
def test_messages_that_say_nothing_still_make_a_request(messages: Any) -> None:
    assert told(*messages)["messages"]


@pytest.mark.feature("anthropic", "image_url")
def test_a_picture_goes_by_its_address() -> None:
    (message,) = told({"role": "user", "content": [image_part("https://h.test/a")]})["messages"]
    assert message["content"] == [{"type": "image", "source": {"type": "url", "url": "https://h.test/a"}}]


@pytest.mark.feature("anthropic", "image_data")
def test_a_picture_goes_as_data() -> None:
    (message,) = told({"role": "user", "content": [image_part(PNG, detail="high")]})["messages"]
    data = base64.b64encode(PNG).decode()
    assert message["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    ]


@pytest.mark.feature("anthropic", "file")
@pytest.mark.parametrize(("part", "source"), [
    (file_part(PDF, name="a.pdf"),
     {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(PDF).decode()}),
    (file_part("https://h.test/a.pdf"), {"type": "url", "url": "https://h.test/a.pdf"}),
    (file_part(b"x,y", media_type="text/csv"), {"type": "text", "media_type": "text/plain", "data": "x,y"}),
    (file_part(b"{}", media_type="application/json"),
     {"type": "text", "media_type": "text/plain", "data": "{}"}),
    ({"type": "file", "file": {"file_id": "file_011"}}, {"type": "file", "file_id": "file_011"}),
])  # fmt: skip
def test_a_file_is_a_document(part: dict[str, Any], source: dict[str, Any]) -> None:
    (message,) = told({"role": "user", "content": [part]})["messages"]
    (block,) = message["content"]
    assert (block["type"], block["source"]) == ("document", source)
    assert block.get("title") == part["file"].get("filename")


def test_documents_are_cited_where_the_settings_want_it_but_not_beside_a_schema() -> None:
    config, messages = settings(cite_documents=True), ({"role": "user", "content": [file_part(PDF)]},)
    (message,) = encoded(config, messages=messages)["messages"]
    assert message["content"][0]["citations"] == {"enabled": True}
    (message,) = encoded(config, messages=messages, schema=SCHEMA)["messages"]
    assert "citations" not in message["content"][0]


@pytest.mark.parametrize("part", [
    image_part(b"BM", media_type="image/bmp"), image_part(b"<svg/>", media_type="image/svg+xml"),
    image_part("gs://bucket/a.png"), file_part(b"PK", media_type="application/zip"), file_part("gs://b/a.pdf"),
])  # fmt: skip
def test_media_of_a_type_that_the_vendor_does_not_take_are_known_before_the_call(part: dict[str, Any]) -> None:
    request = LLMRequest(messages=({"role": "user", "content": [part]},))
    assert AnthropicProvider("p", settings()).untakable(request)


@pytest.mark.feature("anthropic", "audio", supported=False)
def test_sounds_are_not_taken() -> None:
    assert AnthropicProvider.capabilities.media == frozenset({"image", "file"})


def test_a_part_in_the_vendors_own_form_goes_as_it_is() -> None:
    part = {"type": "document", "source": {"type": "url", "url": "https://h.test/a.pdf"}, "context": "old"}
    (message,) = told({"role": "user", "content": [part]})["messages"]
    assert message["content"] == [part]


def test_pictures_in_an_answer_become_a_word() -> None:
    """Only the user's turns may hold pictures; those another vendor's model has made stay behind."""
    message = told(USER, {"role": "assistant", "content": [image_part(PNG)]}, USER)["messages"][1]
    assert message["content"] == [{"type": "text", "text": "(a picture)"}]


# The end of the messages


def test_a_newer_model_is_asked_to_go_on_with_an_answer() -> None:
    messages = told(USER, {"role": "assistant", "content": "The best answer is ("})["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "user"]
    assert "where your last message ends" in messages[2]["content"][0]["text"]


@pytest.mark.parametrize("model", [OLDER, "claude-3-haiku-20240307", "claude-opus-4-20250514",
                                   "claude-4-opus-20250514", "anthropic.claude-opus-4-1-20250805-v1:0",
                                   "claude-sonnet-4-5@20250929"])  # fmt: skip
def test_an_older_model_goes_on_by_itself(model: str) -> None:
    messages = told(USER, {"role": "assistant", "content": "The best answer is ( \n"}, model=model)["messages"]
    assert messages[-1] == {"role": "assistant", "content": [{"type": "text", "text": "The best answer is ("}]}


@pytest.mark.parametrize("model", ["claude-opus-4-6", "claude-sonnet-5-5", "claude-mythos-preview", "claude-opus-10"])
def test_models_from_4_6_on_are_newer(model: str) -> None:
    assert told(USER, {"role": "assistant", "content": "x"}, model=model)["messages"][-1]["role"] == "user"


def test_other_vendors_models_go_on_by_themselves() -> None:
    config = settings(base_url="http://localhost:8080/v1", model="smollm2")
    body = DIALECT.encode(LLMRequest(messages=(USER, {"role": "assistant", "content": "x"})), config, stream=False)
    assert body["messages"][-1]["role"] == "assistant"


# Tools


@pytest.mark.feature("anthropic", "tools")
def test_tools_are_flat_and_have_an_object_as_schema() -> None:
    body = encoded(tools=(tool(description="d"), {"type": "function", "function": {"name": "bare"}}))
    assert body["tools"] == [
        {"name": "f", "description": "d",
         "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        {"name": "bare", "input_schema": {"type": "object"}},
    ]  # fmt: skip
    assert "tool_choice" not in body


def test_a_strict_tool_is_strict_where_the_vendor_can_hold_its_schema() -> None:
    free = {"type": "object", "additionalProperties": True}
    tight, loose = encoded(tools=(tool(strict=True), tool("g", strict=True, parameters=free)))["tools"]
    assert (tight["strict"], tight["input_schema"]["additionalProperties"]) == (True, False)
    assert "strict" not in loose and loose["input_schema"] == free


@pytest.mark.parametrize("parameters", [
    {"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "b"]},
               {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]}]},
    {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["b"]}}},
    {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}, "required": ["b"]}]},
])  # fmt: skip
def test_a_schema_whose_root_is_a_choice_becomes_an_object(parameters: dict[str, Any]) -> None:
    (found,) = encoded(tools=(tool(parameters=parameters),))["tools"]
    assert found["input_schema"]["properties"].keys() == {"a", "b"}
    assert found["input_schema"]["required"] == ["b"]


def test_a_tool_of_the_vendors_own_goes_as_it_is() -> None:
    own = {"type": "web_search_20260318", "name": "web_search", "max_uses": 3}
    request = LLMRequest(messages=(USER,), tools=(own,))
    assert DIALECT.encode(request, settings(), stream=False)["tools"] == [own]


def test_tools_of_other_vendors_are_known_before_the_call() -> None:
    assert unsupported(tools=({"type": "custom", "custom": {"name": "x"}},)) == {"tools"}
    assert unsupported(tools=({"type": "file_search"},)) == {"tools"}


@pytest.mark.feature("anthropic", "tool_choice")
@pytest.mark.parametrize(("choice", "sent"), [
    ("auto", {"type": "auto"}), ("required", {"type": "any"}), ("none", {"type": "none"}),
    ({"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}),
    ({"type": "function", "name": "f"}, {"type": "tool", "name": "f"}),
    ({"type": "tool", "name": "f"}, {"type": "tool", "name": "f"}),
])  # fmt: skip
def test_the_choice_among_the_tools_has_the_vendors_words(choice: Any, sent: dict[str, Any]) -> None:
    assert encoded(tools=(tool(),), tool_choice=choice)["tool_choice"] == sent
    assert "tool_choice" not in encoded(tool_choice=choice)


def test_allowed_tools_are_the_only_ones() -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {
        "mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}],
    }}  # fmt: skip
    body = encoded(tools=(tool(), tool("g")), tool_choice=choice)
    assert ([one["name"] for one in body["tools"]], body["tool_choice"]) == (["g"], {"type": "any"})


@pytest.mark.feature("anthropic", "parallel_tool_calls")
def test_one_call_at_a_time_is_part_of_the_choice() -> None:
    assert encoded(tools=(tool(),), parallel_tool_calls=False)["tool_choice"] == {
        "type": "auto", "disable_parallel_tool_use": True,
    }  # fmt: skip
    body = encoded(tools=(tool(),), parallel_tool_calls=False, tool_choice="required")
    assert body["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert encoded(tools=(tool(),), parallel_tool_calls=False, tool_choice="none")["tool_choice"] == {"type": "none"}
    assert "tool_choice" not in encoded(tools=(tool(),), parallel_tool_calls=True)


@pytest.mark.feature("anthropic", "tool_results")
def test_calls_and_results_are_blocks_and_results_come_first() -> None:
    messages = told(
        USER, calling(call("a", arguments='{"a": 1}'), call("b"), text="I look."), {"role": "user", "content": "and?"},
        tools=(tool(),),
    )["messages"]  # fmt: skip
    assert messages[1]["content"] == [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "b", "name": "f", "input": {}},
    ]
    assert [block["type"] for block in messages[2]["content"]] == ["tool_result", "tool_result", "text"]
    messages = told(USER, calling(call("a")), result("a", "12"), {"role": "user", "content": "and?"},
                    tools=(tool(),))["messages"]  # fmt: skip
    assert messages[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "12"}, {"type": "text", "text": "and?"},
    ]  # fmt: skip


@pytest.mark.feature("anthropic", "tool_errors")
def test_a_result_may_be_an_error_and_may_be_empty() -> None:
    messages = told(USER, calling(call("a"), call("b"), call("c")), result("a", "no", is_error=True),
                    result("b", "", is_error=True), result("c", ""), tools=(tool(),))["messages"]  # fmt: skip
    assert [{name: one.get(name) for name in ("content", "is_error")} for one in messages[2]["content"]] == [
        {"content": "no", "is_error": True}, {"content": "The tool failed.", "is_error": True},
        {"content": None, "is_error": None},
    ]  # fmt: skip


@pytest.mark.feature("anthropic", "tool_result_images")
def test_a_result_may_hold_pictures_and_files() -> None:
    content = [{"type": "text", "text": "see"}, image_part(PNG), file_part(PDF)]
    messages = told(USER, calling(call()), result(content=content), tools=(tool(),))["messages"]
    assert [one["type"] for one in messages[2]["content"][0]["content"]] == ["text", "image", "document"]


@pytest.mark.parametrize("messages", [
    [USER, calling(call("a"), call("b"), text="I look."), result("a"), result("b"), calling(call("c")), result("c")],
    [{"role": "system", "content": "s"}, USER, calling(call("a")), result("a"), {"role": "assistant", "content": "x"},
     USER, calling(call("b", arguments='{"a": [1]}')), result("b")],
    [USER, calling(call("a")), result("a"), USER], [USER, calling(call("a"))], [USER, calling(call("a")), USER],
    [USER, calling(call("a"), call("b")), result("b"), result("a")], [USER, calling(call("a")), calling(call("b"))],
    [USER, calling(call("a")), result("a", " ")], [USER, calling(call("a"), text=" "), result("a")],
    [USER, calling(call("a")), result("a"), calling(call("a")), result("a")], [calling(call("a")), result("a")],
    [USER, calling(call("a.b")), result("a.b")], [USER, calling(call("a", name="f.x")), result("a")],
    [USER, calling(), USER], [USER, calling(call("a")), result("a"), result("a")],
])  # fmt: skip
def test_a_usual_loop_is_written_by_a_shorter_way_as_by_the_longer(messages: list[dict[str, Any]]) -> None:
    """A field of another vendor's beside a message says nothing here, and takes the longer way."""
    short = told(*messages, tools=(tool(),))
    long = told(*({**one, "phase": "final"} for one in messages), tools=(tool(),))
    assert blocks_of(short) == blocks_of(long)


@pytest.mark.parametrize("call_id", ["call.1", "", "x" * 80, "functions.f:0", "ü", "a b"])
def test_ids_become_legal_in_calls_and_results_alike(call_id: str) -> None:
    messages = told(USER, calling(call(call_id)), result(call_id), tools=(tool(),))["messages"]
    assert messages[1]["content"][0]["id"] == messages[2]["content"][0]["tool_use_id"]


def test_ids_that_come_again_are_made_unique() -> None:
    messages = told(USER, calling(call("0")), result("0"), calling(call("0")), result("0"), tools=(tool(),))["messages"]
    assert messages[1]["content"][0]["id"] != messages[3]["content"][0]["id"]


@pytest.mark.parametrize(("arguments", "sent"), [
    ("", {}), ("  ", {}), ("null", {}), ("[1]", {"arguments": [1]}), ('{"a": ', {"arguments": '{"a": '}),
    ('{"a": 1e999}', {"arguments": '{"a": 1e999}'}), ('{"a": 1e200}', {"a": 1e200}),
    ({"a": 1}, {"a": 1}), ('{"a": NaN}', {"arguments": '{"a": NaN}'}),
])  # fmt: skip
def test_arguments_are_always_an_object(arguments: Any, sent: Any) -> None:
    messages = told(USER, calling(call(arguments=arguments)), result(), tools=(tool(),))["messages"]
    assert messages[1]["content"][0]["input"] == sent


def test_a_conversation_with_calls_has_tools_even_where_the_request_has_none() -> None:
    body = told(USER, calling(call(name="f.x"), call("b", name="g")), result(), result("b"))
    assert [one["name"] for one in body["tools"]] == ["f_x", "g"]
    assert body["tool_choice"] == {"type": "none"}


def test_a_result_without_its_call_becomes_text() -> None:
    messages = told(USER, result("gone", "12"))["messages"]
    assert [block["type"] for block in messages[0]["content"]] == ["text", "text", "text"]
