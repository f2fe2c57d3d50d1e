"""The dialect of Anthropic's messages: what is asked. No network."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pydantic import BaseModel, Field, ValidationError

from helpers.strict_anthropic import check
from lee_llm_router import file_part, image_part
from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.http.dialects.anthropic.dialect import MessagesDialect
from lee_llm_router.providers.http.dialects.anthropic.provider import AnthropicProvider
from lee_llm_router.providers.http.dialects.anthropic.settings import AnthropicConfig
from lee_llm_router.providers.http.dialects.json_body import encode_json
from lee_llm_router.response import REASONING_EFFORTS, LLMRequest

DIALECT = MessagesDialect()
NEWER, OLDER = "claude-sonnet-5", "claude-sonnet-4-5"
USER = {"role": "user", "content": "hi"}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
PDF = b"%PDF-1.7 " + bytes(8)


def settings(**fields: Any) -> AnthropicConfig:
    return AnthropicConfig.model_validate({"type": "anthropic", "model": NEWER, **fields})


def encoded(config: AnthropicConfig | None = None, *, stream: bool = False, **fields: Any) -> dict[str, Any]:
    """The body of a request, which the vendor's own checks let pass."""
    config = config or settings()
    request = LLMRequest(**{"messages": (USER,), **fields})
    assert not AnthropicProvider.unsupported(request, config)
    body = DIALECT.encode(request, config, stream=stream)
    decoded: dict[str, Any] = json.loads(encode_json(body))
    if config.platform == "messages":
        assert check(decoded, "/v1/messages", {"signed": {}}) is None
    return decoded


def told(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return encoded(messages=messages, **fields)


def unsupported(config: AnthropicConfig | None = None, **fields: Any) -> set[str]:
    request = LLMRequest(**{"messages": (USER,), **fields})
    return set(AnthropicProvider.unsupported(request, config or settings()))


def call(call_id: str = "toolu_1", name: str = "f", arguments: Any = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: dict[str, Any], text: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": text, "tool_calls": list(calls)}


def result(call_id: str = "toolu_1", content: Any = "ok", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def tool(name: str = "f", **more: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"a": {"type": "integer"}}}
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


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
    (message,) = encoded(config, messages=messages, schema=Answer)["messages"]
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


def blocks_of(body: dict[str, Any]) -> dict[str, Any]:
    """A body whose texts are blocks in every place: a string is short for one."""

    def blocks(content: Any) -> Any:
        return [{"type": "text", "text": content}] if isinstance(content, str) else content

    return {**body, "messages": [{**one, "content": blocks(one["content"])} for one in body["messages"]]}


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


# Options


@pytest.mark.feature("anthropic", "stop")
def test_stop_sequences_have_another_name_and_must_not_be_blank() -> None:
    assert encoded(stop=("END",))["stop_sequences"] == ["END"]
    assert unsupported(stop=("END", "\n")) == {"stop"}
    assert not unsupported(settings(base_url="http://localhost:1/v1", model="smollm2"), stop=("\n",))


@pytest.mark.feature("anthropic", "top_p")
@pytest.mark.feature("anthropic", "top_k")
def test_sampling_is_told_as_it_is() -> None:
    body = encoded(settings(model=OLDER), temperature=0.0, top_p=0.5, top_k=3)
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.0, 0.5, 3)


def test_a_temperature_above_one_is_no_claudes() -> None:
    assert unsupported(temperature=1.5) == {"temperature"}
    assert not unsupported(settings(base_url="http://localhost:1/v1", model="smollm2"), temperature=1.5)


@pytest.mark.feature("anthropic", "seed", supported=False)
@pytest.mark.feature("anthropic", "penalties", supported=False)
@pytest.mark.feature("anthropic", "logprobs", supported=False)
@pytest.mark.parametrize("option", [
    {"seed": 1}, {"frequency_penalty": 0.5}, {"presence_penalty": -0.5}, {"logprobs": True}, {"top_logprobs": 2},
])  # fmt: skip
def test_what_the_vendor_has_not_is_known_before_the_call(option: dict[str, Any]) -> None:
    assert unsupported(**option) == option.keys()


def test_a_penalty_of_nothing_is_none() -> None:
    assert not unsupported(frequency_penalty=0.0, presence_penalty=0)


@pytest.mark.feature("anthropic", "service_tier")
@pytest.mark.parametrize(("tier", "sent"), [
    ("auto", {"service_tier": "auto"}), ("standard_only", {"service_tier": "standard_only"}),
    ("default", {"service_tier": "standard_only"}), ("priority", {"service_tier": "auto"}), ("fast", {"speed": "fast"}),
])  # fmt: skip
def test_service_tiers_have_the_vendors_words(tier: str, sent: dict[str, str]) -> None:
    assert encoded(service_tier=tier).items() >= sent.items()
    assert unsupported(service_tier="flex") == {"service_tier"}


# Thinking


@pytest.mark.feature("anthropic", "reasoning_effort")
@pytest.mark.parametrize("effort", REASONING_EFFORTS)
def test_a_newer_model_is_told_an_effort_that_is_not_above_what_is_asked(effort: str) -> None:
    body = encoded(reasoning_effort=effort)
    if effort == "none":
        assert (body["thinking"], body.get("output_config")) == ({"type": "disabled"}, None)
    elif effort == "minimal":
        assert (body["thinking"], body["output_config"]) == ({"type": "disabled"}, {"effort": "low"})
    else:
        assert (body["thinking"], body["output_config"]) == ({"type": "adaptive"}, {"effort": effort})


@pytest.mark.parametrize("max_tokens", [None, 500, 1024, 1366, 4096, 64_000])
def test_an_older_model_is_told_a_budget_that_leaves_room_for_the_answer(max_tokens: int | None) -> None:
    budgets = []
    for effort in REASONING_EFFORTS[1:]:
        body = encoded(settings(model=OLDER), reasoning_effort=effort, max_tokens=max_tokens)
        assert "output_config" not in body
        budgets.append(body.get("thinking", {}).get("budget_tokens", 0))
    assert budgets == sorted(budgets)
    assert (budgets[0] == 0) == ((max_tokens or 9999) * 3 // 4 < 1024)
    assert encoded(settings(model=OLDER), reasoning_effort="none")["thinking"] == {"type": "disabled"}


def test_the_settings_say_how_thinking_is_told_and_shown() -> None:
    config = settings(model=OLDER, thinking_display="omitted")
    assert encoded(config, reasoning_effort="low")["thinking"]["display"] == "omitted"
    other = settings(model="kimi-k2", base_url="https://moonshot.test/anthropic/v1", thinking="adaptive")
    request = LLMRequest(messages=(USER,), reasoning_effort="high")
    assert DIALECT.encode(request, other, stream=False)["thinking"] == {"type": "adaptive"}


def test_a_forced_call_leaves_the_effort_and_no_thinking() -> None:
    body = encoded(tools=(tool(),), tool_choice="required", reasoning_effort="high")
    assert ("thinking" in body, body["output_config"]) == (False, {"effort": "high"})
    older = settings(model=OLDER)
    assert unsupported(older, tools=(tool(),), tool_choice="required", reasoning_effort="high") == {"reasoning_effort"}


def test_sampling_goes_with_no_thinking() -> None:
    options: dict[str, Any] = {"temperature": 0.5, "top_k": 3, "top_p": 0.5}
    assert unsupported(reasoning_effort="high", **options) == options.keys()
    assert not unsupported(reasoning_effort="high", temperature=1, top_p=0.99)
    assert not unsupported(reasoning_effort="none", **options)


def test_within_a_loop_that_another_vendor_began_an_older_model_does_not_think() -> None:
    """It refuses to think where the calls before were made without thinking of its own."""
    config, loop = settings(model=OLDER), (USER, calling(call()), result())
    assert "thinking" not in encoded(config, messages=loop, tools=(tool(),), reasoning_effort="high")
    body = encoded(config, messages=(*loop, calling(text="ok"), USER), tools=(tool(),), reasoning_effort="high")
    assert "thinking" in body
    assert "thinking" in encoded(messages=loop, tools=(tool(),), reasoning_effort="high")


# JSON


class Answer(BaseModel):
    city: str = Field(min_length=2)
    days: int | None = Field(ge=0)
    tags: list[str] = []


@pytest.mark.feature("anthropic", "schema")
def test_a_schema_goes_in_the_part_of_json_schema_that_the_vendor_takes() -> None:
    schema = encoded(schema=Answer)["output_config"]["format"]["schema"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["city"] == {"title": "City", "type": "string", "description": "minLength: 2"}
    assert schema["properties"]["days"]["anyOf"] == [{"type": "integer", "description": "minimum: 0"}, {"type": "null"}]
    assert schema["properties"]["tags"] == {"title": "Tags", "type": "array", "items": {"type": "string"}}


class Node(BaseModel):
    children: list[Node]


@pytest.mark.parametrize("schema", [
    dict[str, int], Node, Any, {"type": "object"}, {"type": "string", "not": {"const": "x"}},
    {"type": "array", "prefixItems": [{"type": "string"}]}, {"$ref": "https://h.test/schema"},
])  # fmt: skip
def test_a_schema_that_the_vendor_has_no_words_for_is_told_in_words(schema: Any) -> None:
    body = encoded(schema=schema) if schema is not Any else encoded(schema={})
    assert "output_config" not in body
    assert "JSON Schema" in body["system"]


@pytest.mark.feature("anthropic", "json_mode")
def test_json_without_a_schema_is_asked_for_in_words() -> None:
    assert encoded(json_mode=True)["system"] == "Answer with one JSON value and nothing else."
    body = told({"role": "system", "content": "s"}, USER, json_mode=True)
    assert body["system"] == "s\n\nAnswer with one JSON value and nothing else."
    assert "output_config" not in encoded(settings(structured_output="prompt"), schema=Answer)


def test_other_vendors_models_are_told_the_schema_in_words_too() -> None:
    """Their servers may leave out a form that they do not know without a word."""
    config = settings(base_url="http://localhost:8080/v1", model="smollm2")
    body = DIALECT.encode(LLMRequest(messages=(USER,), schema=Answer), config, stream=False)
    assert "JSON Schema" in body["system"] and "format" in body["output_config"]


def test_effort_and_schema_stand_side_by_side() -> None:
    assert encoded(schema=Answer, reasoning_effort="low")["output_config"].keys() == {"effort", "format"}


# The cache


@pytest.mark.feature("anthropic", "cache")
def test_what_is_marked_is_kept_in_the_cache() -> None:
    body = told(
        {"role": "system", "content": "s", "cache": True},
        {"role": "user", "content": [{"type": "text", "text": "a", "cache": True}, {"type": "text", "text": "b"}]},
    )
    assert body["system"] == [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]
    first, second = body["messages"][0]["content"]
    assert (first["cache_control"], "cache_control" in second) == ({"type": "ephemeral"}, False)
    body = encoded(settings(cache_ttl="1h"), messages=({**USER, "cache": True},))
    assert body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


def marks(body: dict[str, Any]) -> int:
    return json.dumps(body).count("cache_control")


def test_of_many_marks_the_last_ones_are_kept() -> None:
    many = [{"role": role, "content": str(number), "cache": True}
            for number, role in enumerate(["user", "assistant"] * 4 + ["user"])]  # fmt: skip
    body = told({"role": "system", "content": "s", "cache": True}, *many, tools=({**tool(), "cache": True},))
    assert marks(body) == 4 and marks({"x": body["messages"][-4:]}) == 4
    automatic = encoded(settings(auto_cache=True), messages=tuple(many))
    assert automatic["cache_control"] == {"type": "ephemeral"} and marks(automatic) == 4
    by_caller = encoded(messages=tuple(many), extra_body={"cache_control": {"type": "ephemeral"}})
    assert marks(by_caller) == 3


def test_tools_results_and_answers_can_be_marked() -> None:
    body = told(
        USER, {**calling(call(), text="x"), "cache": True}, result(cache=True), tools=({**tool(), "cache": True},)
    )
    assert "cache_control" in body["tools"][0] and "cache" not in body["tools"][0]
    assert "cache_control" in body["messages"][2]["content"][0]
    assert marks(body) == 3
