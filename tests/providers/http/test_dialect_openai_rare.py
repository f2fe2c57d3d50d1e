"""Chat completions and the Responses API: what is rarely written, sent or refused. No network."""

from __future__ import annotations

import json
from collections import deque
from types import MappingProxyType
from typing import Any

import pytest

from helpers.responses_requests import HI, body_of, chat_call, input_of, unchecked_body
from helpers.responses_support import event, events_of, message, response, stream_of, thought
from helpers.stream_servers import DONE, delta
from lee_llm_router import FailureType, InvalidRequestError, LLMRequest, LLMResponse, LLMRouterError
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.json_body import encode_json
from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig
from lee_llm_router.providers.http.dialects.openai.stream_raw import merged_raw
from lee_llm_router.providers.http.dialects.openai_responses.dialect import ResponsesDialect
from lee_llm_router.providers.http.dialects.openai_responses.models import known_model
from lee_llm_router.providers.http.dialects.openai_responses.provider import OpenAIResponsesProvider
from lee_llm_router.providers.http.dialects.openai_responses.settings import ResponsesConfig
from lee_llm_router.providers.streams import AnswerParts

F = FailureType
URL = "https://llm.example.com/v1"
CHAT, CHAT_SETTINGS = ChatDialect(), OpenAIChatConfig(type="http", base_url=URL)
RESPONSES, RESPONSES_SETTINGS = ResponsesDialect(), ResponsesConfig(type="openai_responses", base_url=URL)


def _read(body: bytes, dialect: Any = CHAT, settings: Any = CHAT_SETTINGS) -> LLMResponse:
    """The answer in a body, whole or streamed."""
    return dialect.decode(  # type: ignore[no-any-return]
        HTTPReply(200, body, settings=settings, request=LLMRequest(messages=HI), asked={})
    )


def _streamed(body: bytes, dialect: Any = CHAT, settings: Any = CHAT_SETTINGS) -> LLMResponse:
    """The answer in the body of a stream, which comes byte by byte."""
    reply = HTTPReply(200, b"", settings=settings, request=LLMRequest(messages=HI), asked={})
    decoder, parts = dialect.decoder(reply, settings), AnswerParts()
    for piece in [*(bytes([byte]) for byte in body), b""]:
        if not decoder.done:
            decoder.feed(piece)
        while (chunk := decoder.next()) is not None:
            parts.add(chunk)
    return parts.response(decoder.whole_raw())


def _responses(body: bytes) -> LLMResponse:
    return _read(body, RESPONSES, RESPONSES_SETTINGS)


def _failure(body: bytes, read: Any = _responses) -> LLMRouterError:
    with pytest.raises(LLMRouterError) as caught:
        read(body)
    return caught.value


# The Responses API: what is asked


def _call(call_id: str = "a", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [chat_call(call_id)], **more}


def _result(content: Any = "done", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "a", "content": content, **more}


@pytest.mark.parametrize("messages", [
    (*HI, _call(), _result(own=1)),
    (*HI, _call(), _result([{"type": "text", "text": "done"}])),
    (*HI, {"role": "assistant", "tool_calls": [MappingProxyType(chat_call("a"))]}, _result()),
    (*HI, {"role": "assistant", "tool_calls": deque([chat_call("a")])}, _result()),
    (*HI, {"role": "assistant", "tool_calls": [chat_call("a", arguments={})]}, _result()),
    (*HI, {"role": "assistant", "tool_calls": [chat_call("a")], "refusal": None}, _result()),
])  # fmt: skip
def test_calls_of_an_odd_form_go_out_with_their_results(messages: Any) -> None:
    call, result = input_of(*messages)[-2:]
    assert (call["type"], call["name"], call["arguments"]) == ("function_call", "f", "{}")
    assert (result["type"], result["call_id"], result["output"]) == ("function_call_output", call["call_id"], "done")


def test_a_mark_for_the_cache_on_a_result_is_that_of_its_last_part() -> None:
    for content, marks in (([{"type": "text", "text": one} for one in "ab"], [False, False, True]), ([], [True])):
        marked = _result(content, cache=True, is_error=True)
        output = input_of(*HI, _call(), marked)[-1]["output"]
        assert output[0]["text"] == "Error:"
        assert ["prompt_cache_breakpoint" in one for one in output] == marks


def test_text_in_the_words_of_this_api_is_the_text_of_an_answer() -> None:
    texts: list[Any] = [{"type": "output_text", "text": text, "annotations": []} for text in ("Yes.", 7)]
    said = [*texts, {"type": "own"}]
    found = input_of(*HI, {"role": "assistant", "content": said}, *HI)[1]
    assert found["content"] == "Yes."


def test_sound_cannot_be_sent() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    with pytest.raises(InvalidRequestError, match="takes no audio"):
        unchecked_body({"role": "user", "content": [sound]})


def test_calls_that_the_user_seems_to_make_are_nobodys() -> None:
    odd = {"role": "user", "content": "hi", "tool_calls": [chat_call("a")]}
    assert unchecked_body(odd)["input"] == unchecked_body(*HI)["input"]


def test_a_tool_of_free_text_may_say_its_format_flat() -> None:
    custom = {"type": "custom", "custom": {"name": "sh", "format": {"type": "text"}}}
    assert body_of(tools=(custom,))["tools"] == [{"type": "custom", "name": "sh", "format": {"type": "text"}}]


@pytest.mark.parametrize("name", ["gpt-2", "gpt-5.2-chat-latest", "gpt-" + "5" * 300, "somebody/own"])
def test_of_a_model_whose_name_says_nothing_nothing_is_known(name: str) -> None:
    assert known_model(name) == known_model(None)


# The Responses API: what comes


def test_a_picture_may_come_by_its_address() -> None:
    picture = {"id": "ig", "type": "image_generation_call", "status": "completed", "result": "https://g.test/1.png"}
    assert _responses(json.dumps(response(message("Here:"), picture)).encode()).details.images == (
        "https://g.test/1.png",
    )


@pytest.mark.parametrize("last", [
    {"type": "error", "code": "server_error", "message": "later"},
    {"type": "error", "error": {"type": "server_error", "code": "server_error", "message": "later"}},
])  # fmt: skip
def test_an_error_in_a_stream_is_what_it_says(last: dict[str, Any]) -> None:
    begun = events_of(response(message("Hello")))[:4]
    body = b"".join(map(event, [*begun, last]))
    assert _failure(body).failure_type is F.PROVIDER_ERROR
    assert _failure(body.replace(b"event: error\n", b"")).failure_type is F.PROVIDER_ERROR


def test_an_answer_that_is_only_a_word_about_a_failure_is_that_failure() -> None:
    body = json.dumps({"detail": "Rate limit reached, try again in 3 seconds"}).encode()
    assert _failure(body).failure_type is F.RATE_LIMIT


def test_reasoning_that_is_told_twice_is_handed_on_once() -> None:
    """As summary and as text: the first kind that comes counts."""
    item = thought("short", content=[{"type": "reasoning_text", "text": "long"}])
    found = _streamed(stream_of(response(item, message("Hi"))), RESPONSES, RESPONSES_SETTINGS)
    assert (found.text, found.reasoning) == ("Hi", "short")


def test_a_byte_order_mark_that_comes_byte_by_byte_is_no_part_of_the_answer() -> None:
    mark = b"\xef\xbb\xbf"
    assert _streamed(mark + stream_of(response(message("Hi"))), RESPONSES, RESPONSES_SETTINGS).text == "Hi"
    assert _streamed(mark + _events(delta(content="Hi"), delta("stop"))).text == "Hi"


def test_what_was_learned_once_is_not_learned_again() -> None:
    """A server that wants neither form would be asked for ever."""
    provider = OpenAIResponsesProvider("p", RESPONSES_SETTINGS)
    request = LLMRequest(messages=HI, model="m", reasoning_effort="high")
    said = "Unsupported value: 'high' is not supported with this model. Supported values are: 'low' and 'medium'."
    error = {"error": {"message": said, "param": "reasoning.effort", "code": "unsupported_value"}}
    asked = RESPONSES.encode(request, RESPONSES_SETTINGS, stream=False)
    reply = HTTPReply(400, json.dumps(error).encode(), asked=asked)
    assert provider.learns(request, provider.settings_for(request), reply)
    assert not provider.learns(request, provider.settings_for(request), reply)


# Chat completions: what is asked


def _sent(*messages: Any, config: OpenAIChatConfig = CHAT_SETTINGS) -> list[Any]:
    body = CHAT.encode(LLMRequest(messages=messages, model="m"), config, stream=False)
    found: list[Any] = json.loads(encode_json(body))["messages"]
    return found


def test_parts_of_no_form_are_left_out_and_media_of_no_form_are_the_servers_to_refuse() -> None:
    odd = {"type": "image_url", "image_url": 7}
    assert _sent({"role": "user", "content": ["odd", {"type": "text", "text": "a"}, odd]}) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, odd]}
    ]
    assert _sent({"role": "user", "content": 7}, *HI) == list(HI)


@pytest.mark.parametrize("call", [MappingProxyType(chat_call("a")), chat_call("a")])
def test_a_result_of_parts_that_failed_says_so(call: Any) -> None:
    parts = [{"type": "text", "text": "no such file"}]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    asking = {"role": "assistant", "content": None, "tool_calls": [call]}
    for content in (parts, [*parts, picture]):
        failed = {**_result(content), "is_error": True}
        assert _sent(*HI, asking, failed)[2]["content"] == "Error: no such file"
        whole = CHAT_SETTINGS.model_copy(update={"media_in_results": True})
        sent = _sent(*HI, asking, failed, config=whole)[2]["content"]
        assert sent == [{"type": "text", "text": "Error:"}, *content]


# Chat completions: what comes


def _events(*values: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values) + DONE


def test_a_lone_message_that_goes_on_in_deltas_is_one_answer() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hel"}}
    for first in (choice, {**choice, "finish_reason": None}):
        assert _streamed(_events({"choices": [first]}, delta(content="lo"), delta("stop"))).text == "Hello"


@pytest.mark.parametrize("sound", ["QQ=QQ=", "QUI=QUI="])
def test_sound_whose_pieces_cannot_be_joined_is_handed_on_as_it_came(sound: str) -> None:
    answer = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "a", "audio": {"data": sound}}}]}
    (found,) = [one for one in _read(json.dumps(answer).encode()).details.parts if one["type"] == "input_audio"]
    assert found["input_audio"]["data"] in (sound, "QUJBQg==")


def test_pictures_without_content_are_no_parts() -> None:
    images = [{"image_url": {"url": ""}}, {"b64_json": "AAAA"}, 7]
    audio: dict[str, Any] = {"id": "a", "transcript": "said"}
    answer = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"images": images, "audio": audio}}]}
    found = _read(json.dumps(answer).encode())
    assert (found.text, found.details.images) == ("said", ("data:image/png;base64,AAAA",))


@pytest.mark.parametrize("body", [
    b'[{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}]',
    b'{"choices": [], "error": {"message": "overloaded", "code": "503"}}',
    b'{"error": {"message": "x", "status": "503"}}',
])  # fmt: skip
def test_an_error_that_came_with_200_has_the_status_that_it_names(body: bytes) -> None:
    assert _failure(body, _read).failure_type is F.OVERLOADED


def test_calls_that_are_no_list_are_no_answer() -> None:
    answer = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "a", "tool_calls": {"a": 1}}}]}
    assert "tool_calls is not a list" in str(_failure(json.dumps(answer).encode(), _read))


def test_an_answer_whose_stream_ends_in_a_line_that_is_cut_is_not_whole() -> None:
    for end in (b'data: {"choices": [{"finish_rea', b"data: [1]"):
        body = _events(delta(content="Hi"))[: -len(DONE)] + end
        assert _failure(body, _streamed).failure_type is F.INVALID_RESPONSE


def test_what_comes_before_the_first_event_may_be_long() -> None:
    """Servers keep a connection open by comments while a model is loaded."""
    comments = b": still loading\n\n" * 1000
    reply = HTTPReply(200, b"", settings=RESPONSES_SETTINGS, request=LLMRequest(messages=HI), asked={})
    decoder = RESPONSES.decoder(reply, RESPONSES_SETTINGS)
    for place in range(0, len(comments), 1000):
        decoder.feed(comments[place : place + 1000])
    decoder.feed(stream_of(response(message("Hi"))))
    chunks = iter(decoder.next, None)
    assert next(chunk.text for chunk in chunks if chunk.text) == "Hi"


def test_the_pieces_of_an_odd_stream_are_put_together_as_far_as_they_go() -> None:
    def of(**fields: Any) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": fields}, "odd"]}

    pieces = [
        of(role="assistant", parts="said"), of(role="", parts=[{"type": "text", "text": "!"}]), of(parts=""),
        of(parts="?"), of(more=None), of(content="Hi"),
    ]  # fmt: skip
    raw = merged_raw(_events(*pieces))
    assert raw is not None
    found = raw["choices"][0]["message"]
    assert (found["role"], found["content"], found["more"]) == ("assistant", "Hi", None)
    assert [part["text"] for part in found["parts"]] == ["said", "!", "?"]


# Bodies


def test_any_mapping_sequence_or_set_is_written_as_json() -> None:
    assert json.loads(encode_json({"a": MappingProxyType({"b": deque([1])}), "c": {2}})) == {
        "a": {"b": [1]}, "c": [2],
    }  # fmt: skip
    with pytest.raises(InvalidRequestError, match="no JSON for the type object"):
        encode_json({"a": object()})
