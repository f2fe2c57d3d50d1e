"""What an answer holds beside text and calls: sources, pictures, sound, probabilities; the same whole and streamed."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from helpers.all_forms import JSON, answers, each_form, json_of, stream_of
from helpers.stream_servers import delta, usage
from lee_llm_router import AnswerDetails, Citation, LLMResponse, LLMUsage, TokenLogprob

feature = pytest.mark.feature
PNG = "data:image/png;base64,iVBORw0KGgo="
IMAGE = {"type": "image_url", "image_url": {"url": PNG}}


def whole(message: dict[str, Any], finish_reason: str = "stop", choice: Any = None, **more: Any) -> bytes:
    entry = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason, **(choice or {})}
    return json_of({"id": "c1", "object": "chat.completion", "model": "served-1", "choices": [entry], **more})


def streamed(*deltas: dict[str, Any], finish_reason: str = "stop", choice: Any = None, **more: Any) -> bytes:
    chunks = [delta(**one) for one in deltas]
    if choice:
        chunks[0]["choices"][0].update(choice)
    return stream_of(*chunks, {**delta(finish_reason), **more}, usage())


def of_one_server(details: AnswerDetails) -> AnswerDetails:
    native = details.native
    return details if native is None else replace(details, native=replace(native, origin=""))


def same(
    message: dict[str, Any], *deltas: dict[str, Any], more: Any = None, choice: Any = None, **asked: Any
) -> LLMResponse:
    """The answer, whose details are the same in every form, whole and in these deltas."""
    one = answers(whole(message, choice=choice, **(more or {})), JSON, options=asked)
    other = answers(streamed(*(deltas or [message]), choice=choice, **(more or {})), options=asked)
    assert of_one_server(other.details) == of_one_server(one.details) and other.text == one.text
    return one


def test_a_plain_answer_says_who_gave_it_and_why_it_ended() -> None:
    response = same({"content": "hi"}, more={"service_tier": "flex"})
    assert response.details == AnswerDetails(id="c1", service_tier="flex", finish_reason="stop")


def test_the_vendor_s_own_word_for_the_end_is_kept() -> None:
    for reason in ("MAX_TOKENS", "eos", "stop_sequence"):
        for body in (whole({"content": "hi"}, reason), streamed({"content": "hi"}, finish_reason=reason)):
            assert answers(body).details.finish_reason == reason


@feature("openai_chat", "service_tier")
def test_the_tier_that_served_is_told_wherever_it_is_said() -> None:
    """In each event, or in the last one alone."""
    late = stream_of(delta(content="hi"), delta("stop"), {**usage(), "service_tier": "priority"})
    early = stream_of({**delta(content="hi"), "service_tier": "priority"}, delta("stop"), usage())
    for body in (late, early):
        assert answers(body).details.service_tier == "priority"
        for form, ended in each_form(body):
            if "stream" in form:
                told = [chunk.details for chunk in ended.chunks if chunk.details is not None]
                assert told and told[-1].service_tier == "priority", form


URL = {
    "type": "url_citation",
    "url_citation": {"url": "https://a.test", "title": "A", "start_index": 0, "end_index": 2},
}
SOURCES: list[tuple[dict[str, Any], dict[str, Any], tuple[Citation, ...]]] = [
    ({"annotations": [URL]}, {}, (Citation(url="https://a.test", title="A", start=0, end=2),)),
    ({"annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.test", "content": "said"}}]}, {},
     (Citation(url="https://a.test", quote="said"),)),
    ({"annotations": [{"type": "url_citation", "url": "https://a.test", "title": "A"}]}, {},
     (Citation(url="https://a.test", title="A"),)),
    ({}, {"citations": ["https://a.test", "https://b.test"]},
     (Citation(url="https://a.test"), Citation(url="https://b.test"))),
    ({}, {"citations": ["https://a.test"], "search_results": [{"url": "https://a.test", "title": "A", "snippet": "s"}]},
     (Citation(url="https://a.test", title="A", quote="s"),)),
    ({"context": {"citations": [{"title": "A", "url": None, "content": "c"}]}}, {}, (Citation(title="A", quote="c"),)),
    ({"annotations": [None, 3, {"type": "x"}, {"type": "url_citation", "url_citation": {"url": 7}}]}, {}, ()),
    ({"annotations": [{"url": "https://a.test", "start_index": -1, "end_index": "x"}]}, {}, (Citation(url="https://a.test"),)),
    ({}, {"citations": [None, {"a": 1}], "search_results": "x"}, ()),
]  # fmt: skip


@feature("openai_chat", "citations")
@pytest.mark.parametrize(("message", "beside", "wanted"), SOURCES)
def test_sources_are_read_wherever_servers_put_them(
    message: dict[str, Any], beside: dict[str, Any], wanted: tuple[Citation, ...]
) -> None:
    assert (
        same({"content": "hi", **message}, {"content": "hi"}, {"content": "", **message}, more=beside).details.citations
        == wanted
    )


def test_sources_that_come_in_pieces_are_put_together() -> None:
    second = {**URL, "url_citation": {**URL["url_citation"], "url": "https://b.test"}}  # type: ignore[dict-item]
    response = same(
        {"content": "hi", "annotations": [URL, second]},
        {"content": "hi"},
        {"annotations": [URL]},
        {"annotations": [second]},
    )
    assert [cited.url for cited in response.details.citations] == ["https://a.test", "https://b.test"]


PICTURES: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    ({"content": None, "images": [IMAGE]}, [IMAGE]),
    ({"content": "here", "images": [IMAGE, {"image_url": {"url": "https://a.test/b.png"}}]},
     [{"type": "text", "text": "here"}, IMAGE, {"type": "image_url", "image_url": {"url": "https://a.test/b.png"}}]),
    ({"content": None, "images": [PNG, {"b64_json": "iVBORw0KGgo="}, {"url": PNG}, 7, {}]}, [IMAGE, IMAGE, IMAGE]),
    ({"content": [{"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"}]},
     [{"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"}]),
    ({"content": [{"type": "image_url", "image_url": PNG}]}, [IMAGE]),
    ({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "x_map", "at": 1}]}, [{"type": "x_map", "at": 1}]),
]  # fmt: skip


@feature("openai_chat", "pictures")
@pytest.mark.parametrize(("message", "parts"), PICTURES)
def test_pictures_are_parts_in_the_order_they_came(message: dict[str, Any], parts: list[Any]) -> None:
    details = same(message).details
    assert list(details.parts) == parts
    assert details.images == tuple(part["image_url"]["url"] for part in parts if part["type"] == "image_url")


def test_an_answer_of_text_alone_has_no_parts() -> None:
    for content in (
        "hi",
        [{"type": "text", "text": "hi"}],
        [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "hi"}],
    ):
        assert same({"content": content}).details.parts == ()


def test_a_spoken_answer_has_its_words_as_text_and_its_sound_as_a_part() -> None:
    """Each piece of a streamed sound has its own end."""
    sound = [b64encode(piece).decode() for piece in (b"RIF", b"Fx", b"yz")]
    joined = b64encode(b"RIFFxyz").decode()
    audio = {"id": "a1", "data": joined, "expires_at": 9, "transcript": "Moo, she said."}
    pieces: list[dict[str, Any]] = [
              {"audio": {"id": "a1", "transcript": "Moo, "}}, {"audio": {"transcript": "she said."}},
              *({"audio": {"data": data}} for data in sound), {"audio": {"expires_at": 9}}]  # fmt: skip
    body = {"audio": {"format": "pcm16", "voice": "ash"}, "modalities": ["text", "audio"]}
    response = same({"content": None, "audio": audio}, *pieces, extra_body=body)
    assert response.text == "Moo, she said."
    assert response.details.parts == (
        {"type": "text", "text": "Moo, she said."},
        {"type": "input_audio", "input_audio": {"data": joined, "format": "pcm16"}},
    )  # fmt: skip
    assert response.message["content"] == "Moo, she said.", "it survives a fallback"


def token(text: Any, logprob: Any, **more: Any) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": None, **more}


@feature("openai_chat", "logprobs")
def test_probabilities_come_where_they_were_asked_for() -> None:
    first = {"content": [token("h", -0.5, top_logprobs=[token("h", -0.5), token("H", -2)])], "refusal": None}
    second = {"content": [token("i", 0.0, top_logprobs=[])]}
    both = {"content": first["content"] + second["content"]}  # type: ignore[operator]
    wanted = (
        TokenLogprob(token="h", logprob=-0.5, top=(("h", -0.5), ("H", -2.0))),
        TokenLogprob(token="i", logprob=0.0),
    )
    chunks = [delta(content="h"), delta(content="i")]
    chunks[0]["choices"][0]["logprobs"], chunks[1]["choices"][0]["logprobs"] = first, second
    for body in (whole({"content": "hi"}, choice={"logprobs": both}), stream_of(*chunks, delta("stop"), usage())):
        assert answers(body, options={"top_logprobs": 2}).details.logprobs == wanted
    older = {"tokens": ["h", "i"], "token_logprobs": [-0.5, None], "token_ids": [1, 2]}
    response = same({"content": "hi"}, choice={"logprobs": older}, logprobs=True)
    assert response.details.logprobs == (TokenLogprob(token="h", logprob=-0.5),)


ODD = [None, "x", {}, {"content": "x"}, {"tokens": 3}, {"content": [
    None, 3, {}, token("a", "x"), token(7, -1), token("b", float("nan")), token("c", 5.0), token("d", True),
    token("e", -1e300),
]}]  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_probabilities_that_cannot_be_true_are_left_out(odd: Any) -> None:
    assert same({"content": "hi"}, choice={"logprobs": odd}, logprobs=True).details.logprobs == ()


@feature("openai_chat", "cached_usage")
@pytest.mark.parametrize(
    "counts",
    [
        {"prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5}},
        {"prompt_tokens_details": {"cached_tokens": 4}, "cache_creation_input_tokens": 5},
        {"cache_read_input_tokens": 4, "cache_creation_input_tokens": 5},
    ],
)
def test_tokens_read_from_and_written_to_the_cache_are_told(counts: dict[str, Any]) -> None:
    told = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, **counts}
    wanted = LLMUsage(prompt_tokens=7, completion_tokens=3, total_tokens=10, cached_tokens=4, cache_write_tokens=5)
    for body in (
        whole({"content": "hi"}, usage=told),
        stream_of(delta(content="hi"), delta("stop"), {**usage(), "usage": told}),
    ):
        assert answers(body).usage == wanted


CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
SIGNED = {**CALL, "extra_content": {"google": {"thought_signature": "abc=="}}}
DETAIL = {"type": "reasoning.encrypted", "data": "xyz", "index": 0}
NATIVE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"content": None, "tool_calls": [CALL], "reasoning_content": "hm"}, {"message": {"reasoning_content": "hm"}}),
    ({"content": None, "tool_calls": [SIGNED]}, {"calls": [{"extra_content": SIGNED["extra_content"]}]}),
    ({"content": "a", "reasoning": "hm", "reasoning_details": [DETAIL]}, {"message": {"reasoning_details": [DETAIL]}}),
    ({"content": "a", "thinking_blocks": [{"type": "thinking", "thinking": "x", "signature": "s"}]},
     {"message": {"thinking_blocks": [{"type": "thinking", "thinking": "x", "signature": "s"}]}}),
    ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "x"}]}, {"type": "text", "text": "a"}]},
     {"message": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "x"}]},
                              {"type": "text", "text": "a"}]}}),
    ({"content": "a", "reasoning_opaque": "zzz"}, {"message": {"reasoning_opaque": "zzz"}}),
]  # fmt: skip


def with_numbers(message: dict[str, Any]) -> dict[str, Any]:
    calls = [{**call, "index": number} for number, call in enumerate(message.get("tool_calls", []))]
    return {**message, "tool_calls": calls} if calls else message


@feature("openai_chat", "native_turns")
@pytest.mark.parametrize(("message", "content"), NATIVE)
def test_what_a_server_wants_back_is_kept_as_it_came(message: dict[str, Any], content: dict[str, Any]) -> None:
    native = same(message, with_numbers(message)).details.native
    assert native is not None and native.dialect == "openai_chat" and native.content == content
    assert native.origin.endswith("/m") and "127.0.0.1" in native.origin


@pytest.mark.parametrize(
    "message",
    [
        {"content": "a", "reasoning_content": "hm"},
        {"content": "a", "reasoning": "hm", "annotations": [URL], "refusal": None},
        {"content": None, "tool_calls": [CALL]},
        {"content": "a", "images": [IMAGE]},
    ],
)
def test_what_is_for_the_reader_alone_does_not_go_back(message: dict[str, Any]) -> None:
    """Older models of DeepSeek refuse the thinking of an answer that calls no tools."""
    assert same(message, with_numbers(message)).details.native is None


def test_thinking_goes_back_throughout_a_tool_loop() -> None:
    """DeepSeek and Moonshot want that of every answer of it, the last one too."""
    from lee_llm_router.providers.http.dialects.base import HTTPReply
    from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect

    body = whole({"content": "a", "reasoning_content": "hm"})
    asked = [{"role": "user", "content": "hi"}, {"role": "tool", "tool_call_id": "c", "content": "x"}]
    for messages, wanted in ((asked[:1], None), (asked, {"message": {"reasoning_content": "hm"}})):
        native = ChatDialect().decode(HTTPReply(200, body, asked={"messages": messages})).details.native
        assert (native and native.content) == wanted


def test_thinking_in_pieces_goes_back_whole() -> None:
    pieces: list[dict[str, Any]] = [
        {"reasoning_content": "first "}, {"reasoning_content": "this", "content": None},
        {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "look", "arguments": ""},
                         "extra_content": {"google": {"thought_signature": "s"}}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "a", "index": 0}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "b", "signature": "s", "index": 0}]},
    ]  # fmt: skip
    native = answers(streamed(*pieces, finish_reason="tool_calls")).details.native
    assert native is not None and native.content == {
        "message": {
            "reasoning_content": "first this",
            "reasoning_details": [{"type": "reasoning.text", "text": "ab", "signature": "s", "index": 0}],
        },
        "calls": [{"extra_content": {"google": {"thought_signature": "s"}}}],
    }


def test_details_are_json_however_the_answer_was_written() -> None:
    """Half characters too, which some servers send."""
    message = rb'{"role":"assistant","content":"a","reasoning_details":[{"text":"\ud83d"}]}'
    body = b'{"id":"c","choices":[{"index":0,"message":' + message + b',"finish_reason":"stop"}]}'
    stream = (
        b'data: {"choices":[{"delta":'
        + message
        + b'}]}\n\ndata: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    for one in (body, stream):
        native = answers(one).details.native
        assert native is not None
        json.dumps(native.content, ensure_ascii=False).encode()


def test_a_streamed_answer_tells_its_details_once_it_ends() -> None:
    for form, ended in each_form(streamed({"content": "h"}, {"content": "i"}, service_tier="flex")):
        if "stream" in form:
            told = [chunk for chunk in ended.chunks if chunk.details is not None]
            assert [chunk.finish_reason for chunk in told] == ["stop"], form
            assert ended.response is not None and told[0].details == ended.response.details


def test_a_whole_answer_in_a_stream_s_place_has_its_details() -> None:
    body = whole({"content": "a", "images": [IMAGE]})
    response = answers(body)
    assert response.details.images == (PNG,) and replace(response, details=AnswerDetails()) != response
