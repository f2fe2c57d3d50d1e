"""What no field holds reaches the caller in `raw`; that of a stream is put together, as the unstreamed one is."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.all_forms import answers, each_form, json_of, stream_of
from helpers.servers import Server, completion
from helpers.stream_servers import DONE, HEL, LO, STOP, USAGE, delta, event, streaming, usage
from helpers.stream_support import Read, router_to
from lee_llm_router import LLMResponse
from lee_llm_router.providers.http.dialects.openai.stream_raw import merged_raw


def _choice(part: dict[str, Any], finish_reason: str | None = None, **beside: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [
        {"index": 0, "delta": part, "finish_reason": finish_reason, **beside},
    ]}  # fmt: skip


END = _choice({}, "stop")
PIECES: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "signatures": (
        [_choice({"content": "a", "reasoning_details": [{"type": "reasoning.encrypted", "index": 0, "data": "SIG-1"}]}),
         _choice({"content": ""}), END],
        {"content": "a", "reasoning_details": [{"type": "reasoning.encrypted", "index": 0, "data": "SIG-1"}]},
    ),
    "reasoning in pieces, then its signature": (
        [_choice({"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "Hm", "format": "x-v1"}]}),
         _choice({"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "m.", "format": "x-v1"}]}),
         _choice({"reasoning_details": [{"type": "reasoning.text", "index": 0, "signature": "SIG"}]}),
         _choice({"reasoning_details": [{"type": "reasoning.encrypted", "index": 0, "data": "E"}]}),
         _choice({"content": "4"}), END],
        {"content": "4", "reasoning_details": [
            {"type": "reasoning.text", "index": 0, "text": "Hmm.", "format": "x-v1", "signature": "SIG"},
            {"type": "reasoning.encrypted", "index": 0, "data": "E"},
        ]},
    ),
    "an opaque text": (
        [_choice({"content": "4", "reasoning_opaque": "aaa="}), END], {"content": "4", "reasoning_opaque": "aaa="},
    ),
    "citations beside the text": (
        [_choice({"content": "a", "annotations": [{"type": "url_citation", "url": "u"}]}),
         _choice({"annotations": [{"type": "url_citation", "url": "v"}]}), END],
        {"content": "a", "annotations": [{"type": "url_citation", "url": "u"}, {"type": "url_citation", "url": "v"}]},
    ),
    "sound in pieces": (
        [_choice({"audio": {"id": "a1", "transcript": "Mo"}}), _choice({"audio": {"id": "a1", "transcript": "o."}}),
         _choice({"audio": {"data": "QUJD"}}), _choice({"audio": {"data": "REVG", "expires_at": 7}}), END],
        {"audio": {"id": "a1", "transcript": "Moo.", "data": "QUJDREVG", "expires_at": 7}},
    ),
    "parts in pieces": (
        [_choice({"content": [{"type": "text", "text": "a"}]}), _choice({"content": "b"}),
         _choice({"content": [{"type": "image_url", "image_url": {"url": "u"}}]}), END],
        {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"},
                     {"type": "image_url", "image_url": {"url": "u"}}]},
    ),
    "text, then parts": (
        [_choice({"content": "a"}), _choice({"content": [{"type": "text", "text": "b"}]}), END],
        {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ),
    "the role and other names in each piece": (
        [_choice({"role": "assistant", "content": "a", "name": "bot"}),
         _choice({"role": "assistant", "content": "b"}), END],
        {"role": "assistant", "content": "ab", "name": "bot"},
    ),
    "null before and behind": (
        [_choice({"content": None, "refusal": None}), _choice({"content": "a"}), _choice({"content": None}), END],
        {"content": "a", "refusal": None},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PIECES)
def test_the_pieces_of_a_message_are_one_message(kind: str) -> None:
    chunks, message = PIECES[kind]
    raw = answers(stream_of(*chunks)).raw
    assert raw["object"] == "chat.completion"
    [choice] = raw["choices"]
    assert choice == {"index": 0, "message": message, "finish_reason": "stop"}


def test_a_streamed_raw_is_the_unstreamed_one() -> None:
    """The fields of the reference, tool calls in pieces included."""
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    whole = completion("hello", tool_calls=[call])
    chunks = [
        delta(role="assistant", content=""), delta(content="hel"), delta(content="lo"),
        delta(tool_calls=[{"index": 0, **call, "function": {"name": "look", "arguments": ""}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"at": '}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]), delta("tool_calls"), usage(),
    ]  # fmt: skip
    raw = answers(stream_of(*chunks)).raw
    [streamed_call] = raw["choices"][0]["message"]["tool_calls"]
    assert streamed_call.pop("index") == 0
    assert raw == whole


def test_what_stands_beside_the_message_is_kept() -> None:
    """Log probabilities grow, a filter's reports are filled in, and elsewhere what came last counts."""
    chunks = [
        {"prompt_filter_results": [{"index": 0}], "choices": []},
        _choice({"content": "a"}, logprobs={"content": [{"token": "a"}]}, token_ids=[1]) | {"citations": ["u"], "x": 1},
        _choice({}, logprobs={"content": [{"token": "b"}]}, token_ids=[2, 3]) | {"citations": ["u"], "x": None},
        _choice({"content": "b"}, content_filter_results={"hate": {"filtered": False}}) | {"timings": {"ms": 1}},
        _choice({}, "stop", content_filter_results={"self_harm": {"filtered": False}}, matched_stop=7)
        | {"timings": {"ms": 2, "n": 5}, "system_fingerprint": "f"},
    ]  # fmt: skip
    raw = answers(stream_of(*chunks)).raw
    [choice] = raw.pop("choices")
    assert choice == {
        "index": 0, "message": {"content": "ab"}, "finish_reason": "stop", "matched_stop": 7, "token_ids": [1, 2, 3],
        "logprobs": {"content": [{"token": "a"}, {"token": "b"}]},
        "content_filter_results": {"hate": {"filtered": False}, "self_harm": {"filtered": False}},
    }  # fmt: skip
    assert raw == {
        "object": "chat.completion", "prompt_filter_results": [{"index": 0}], "citations": ["u"], "x": 1,
        "timings": {"ms": 2, "n": 5}, "system_fingerprint": "f",
    }  # fmt: skip


@pytest.mark.parametrize(
    "extra",
    [{"images": [{"image_url": {"url": "data:,A"}}]}, {"reasoning_details": [{"type": "reasoning.encrypted"}]},
     {"x_signature": "S"}, {"annotations": [{"url": "u"}]}, {"audio": {"data": "QQ=="}}],
)  # fmt: skip
def test_a_chunk_that_only_raw_speaks_for_is_handed_on(extra: dict[str, Any]) -> None:
    body = stream_of(delta(content="a"), delta(content="", **extra), delta("stop"))
    for form, ended in each_form(body):
        if "stream" in form:
            assert [chunk.output_in_raw for chunk in ended.chunks] == [False, True, False], form
            assert ended.chunks[1].raw["choices"][0]["delta"] == {"content": "", **extra}
            assert ended.chunks[1].is_output and not ended.chunks[1].text


def test_what_says_something_about_an_answer_is_no_output() -> None:
    """Nothing is handed on for it before the first output, so that a failure behind it is retried unseen."""
    first = delta(
        role="assistant", content="", provider_specific_fields={"a": 1}, token_ids=[1], x_null=None, x_no=False
    )
    broken = stream_of(first, end=b"")
    for form, ended in each_form(broken):
        assert ended.error is not None and not ended.chunks, form


def _streamed(read: Read, *events: bytes, **options: Any) -> LLMResponse:
    with Server(streaming(*events)) as server:
        ended = read(router_to(server.url), **options)
    assert ended.response is not None, ended.error
    return ended.response


COPIES: dict[str, Callable[[LLMResponse], LLMResponse]] = {
    "itself": lambda response: response,
    "replaced": lambda response: replace(response, text="other"),
    "copied": copy.copy,
    "pickled": lambda response: pickle.loads(pickle.dumps(response)),
}


@pytest.mark.parametrize("way", COPIES)
def test_raw_is_a_plain_value_however_it_is_got_at(read: Read, way: str) -> None:
    """It is put together when it is looked at; nobody sees that."""
    response = COPIES[way](_streamed(read, HEL, LO, STOP, event(usage(cost=0.5)), DONE))
    assert type(response.raw) is dict
    assert json.loads(json.dumps(response.raw)) == response.raw
    assert response.raw is response.raw
    assert response.raw["usage"] == USAGE | {"cost": 0.5}
    assert "raw" not in repr(response)


def test_raw_is_there_under_a_json_contract_too(read: Read) -> None:
    events = [event(delta(content='{"a"')), event(delta(content=": 1}")), STOP, DONE]
    response = _streamed(read, *events, json_mode=True)
    assert response.parsed == {"a": 1}
    assert response.raw["choices"][0]["message"]["content"] == '{"a": 1}'


FIELDS = ["index", "type", "id", "content", "text", "tool_calls", "function", "name"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(FIELDS), inner),
    max_leaves=6,
)  # fmt: skip


@given(st.lists(st.tuples(JSON, JSON, JSON), max_size=4))
def test_no_shape_of_events_breaks_the_putting_together(shapes: list[tuple[Any, Any, Any]]) -> None:
    """Whatever the server adds, the result is JSON, or nothing."""
    chunks = [{"choices": [{"index": a, "delta": b, "x": c}], "y": a} for a, b, c in shapes]
    for several in (False, True):
        raw = merged_raw(stream_of(*chunks, *shapes), several=several)
        assert raw is None or json.loads(json.dumps(raw)) == raw


def test_putting_together_takes_each_piece_once() -> None:
    """Ten times the pieces, each a text, an item and a call of its own, take no hundred times the work."""

    def body(pieces: int) -> bytes:
        return stream_of(*(
            _choice({"content": "x" * 50, "items": [{"index": n, "text": "y"}],
                     "tool_calls": [{"index": n, "function": {"name": "f", "arguments": "{}"}}]})
            for n in range(pieces)
        ))  # fmt: skip

    raw = merged_raw(body(5000))
    assert raw is not None
    message = raw["choices"][0]["message"]
    assert len(message["content"]) == 250_000
    assert len(message["items"]) == len(message["tool_calls"]) == 5000


def test_whole_json_is_its_own_raw() -> None:
    whole = completion("hello") | {"x_own": {"a": [1]}}
    assert answers(json_of(whole)).raw == whole
