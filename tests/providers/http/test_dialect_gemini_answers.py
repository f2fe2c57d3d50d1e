"""What an answer of Gemini holds: text, parts, calls, reasoning, usage, sources, probabilities."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.gemini_wire import answer, call, events, failure, piece, read, text, thought, whole
from lee_llm_router import Citation, FailureType, LLMResponse, LLMRouterError, LLMUsage, ToolCall
from lee_llm_router.response.details import TokenLogprob

feature = pytest.mark.feature
F = FailureType


@feature("gemini", "reasoning")
def test_thoughts_are_reasoning_and_no_text() -> None:
    got = read(whole(answer(thought("Hm. "), text("Hi"), thought("So."), text(" there."))))
    assert (got.text, got.reasoning) == ("Hi there.", "Hm. So.")
    assert got.details.parts == ()


@feature("gemini", "tools")
def test_calls_have_arguments_as_text_and_ids_of_their_own() -> None:
    got = read(
        whole(
            answer(
                text("Both."), call("f", {"a": "ü", "b": [1.5, None]}, call_id="x"), call("f", call_id="x"),
                {"functionCall": {"name": "g"}}, call("g", call_id="call_2"),
            )
        )
    )  # fmt: skip
    assert got.tool_calls == (
        ToolCall(id="x", name="f", arguments='{"a":"ü","b":[1.5,null]}'),
        ToolCall(id="x_1", name="f", arguments="{}"),
        ToolCall(id="call_2", name="g", arguments="{}"),
        ToolCall(id="call_2_3", name="g", arguments="{}"),
    )
    assert (got.text, got.finish_reason, got.details.finish_reason) == ("Both.", "tool_calls", "STOP")


@feature("gemini", "pictures")
def test_pictures_sounds_and_files_are_parts_in_their_order() -> None:
    got = read(events(
        piece(text("Here: ")),
        piece(text("a cat.")),
        piece({"inlineData": {"mimeType": "image/png", "data": "_-A="}}),
        piece({"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": "AAAA"}}),
        piece({"inlineData": {"mimeType": "audio/mpeg", "data": "AAAA"}}),
        piece({"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}),
        piece({"fileData": {"mimeType": "image/jpeg", "fileUri": "https://g.test/1"}}),
        piece({"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/2"}}),
        answer(text("Done.")),
    ))  # fmt: skip
    assert got.text == "Here: a cat.Done."
    assert got.details.images == ("data:image/png;base64,/+A=", "https://g.test/1")
    assert got.details.parts == (
        {"type": "text", "text": "Here: a cat."},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,/+A="}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "L16;codec=pcm;rate=24000"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        {"type": "file", "file": {"file_data": "data:video/mp4;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://g.test/1"}},
        {"type": "file", "file": {"file_data": "gs://b/2"}},
        {"type": "text", "text": "Done."},
    )


def test_a_picture_alone_is_an_answer() -> None:
    got = read(whole(answer({"inlineData": {"mimeType": "image/png", "data": "AAAA"}})))
    assert (got.text, len(got.details.images)) == ("", 1)


def test_code_that_google_ran_and_parts_of_unknown_kinds_are_parts_and_no_text() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
    ran = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
    got = read(whole(answer(code, ran, {"hologram": {"x": 1}}, text("One."))))
    assert got.text == "One."
    assert got.details.parts == (
        {"type": "executableCode", **code}, {"type": "codeExecutionResult", **ran},
        {"type": "hologram", "hologram": {"x": 1}}, {"type": "text", "text": "One."},
    )  # fmt: skip


def test_ids_and_the_served_model_are_read() -> None:
    got = read(whole(answer(text("a"))))
    assert (got.details.id, got.model) == ("r-1", "served-1")


USAGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": (
        {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10},
        {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    ),
    "thoughts, which are not in the answer's count": (
        {"promptTokenCount": 7, "candidatesTokenCount": 3, "thoughtsTokenCount": 20, "totalTokenCount": 30},
        {"prompt_tokens": 7, "completion_tokens": 23, "total_tokens": 30, "reasoning_tokens": 20},
    ),
    "thoughts that a gateway has counted in": (
        {"promptTokenCount": 7, "candidatesTokenCount": 23, "thoughtsTokenCount": 20, "totalTokenCount": 30},
        {"prompt_tokens": 7, "completion_tokens": 23, "total_tokens": 30, "reasoning_tokens": 20},
    ),
    "cached tokens, which are in the prompt's count": (
        {"promptTokenCount": 90, "cachedContentTokenCount": 80, "candidatesTokenCount": 1, "totalTokenCount": 91},
        {"prompt_tokens": 90, "completion_tokens": 1, "total_tokens": 91, "cached_tokens": 80},
    ),
    "results of Google's own tools, which are not": (
        {"promptTokenCount": 7, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 15},
        {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
    ),
    "a count of 0, which is left out": (
        {"promptTokenCount": 7, "thoughtsTokenCount": 9, "totalTokenCount": 16},
        {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16, "reasoning_tokens": 9},
    ),
    "numbers that cannot be": (
        {"promptTokenCount": -1, "candidatesTokenCount": "3", "totalTokenCount": True, "thoughtsTokenCount": 1e30},
        {},
    ),
}


@feature("gemini", "usage")
@feature("gemini", "cached_usage")
@pytest.mark.parametrize("kind", USAGES)
def test_usage_is_counted_as_everywhere(kind: str) -> None:
    sent, counted = USAGES[kind]
    assert read(whole(answer(text("a"), usage=sent))).usage == LLMUsage(**counted)


def test_the_usage_that_comes_last_counts_wherever_it_comes() -> None:
    first, last = (
        {"promptTokenCount": 7, "totalTokenCount": 7},
        {"promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 9},
    )
    for stream in (
        [answer(text("a"), reason=None, usage=first), answer(text("b"), usage=last)],
        [piece(text("a")), answer(text("b"), usage=first), {"usageMetadata": last}],
        [
            {"usageMetadata": first},
            piece(text("a")),
            answer(text("b"), usage=None),
            {"candidates": [], "usageMetadata": last},
        ],
        [answer(text("ab"), usage=last), {"modelVersion": "served-1"}],
    ):
        got = read(events(*stream))
        assert (got.text, got.usage) == ("ab", LLMUsage(prompt_tokens=7, completion_tokens=2, total_tokens=9))
    assert not read(events(answer(text("a"), usage=None))).usage


def test_of_several_candidates_the_first_is_the_answer_and_raw_has_all() -> None:
    def both(first: str, second: str, **more: Any) -> dict[str, Any]:
        one, other = ({"content": {"role": "model", "parts": [text(said)]}, **more} for said in (first, second))
        return {"candidates": [{**other, "index": 1}, {**one, "index": 0}]}

    for data in (
        whole(both("ab", "cd", finishReason="STOP")),
        events(both("a", "c"), both("b", "d", finishReason="STOP")),
    ):
        got = read(data)
        assert got.text == "ab"
        texts = {one["index"]: one["content"]["parts"][0]["text"] for one in got.raw["candidates"]}
        assert texts == {0: "ab", 1: "cd"}


# Sources


SAID = "Größe: 5 km. Rome is old."
FIRST, SECOND = "Größe: 5 km.", "Rome is old."


def place(words: str, **more: Any) -> dict[str, Any]:
    start = SAID.encode().index(words.encode())
    found = {"startIndex": start, "endIndex": start + len(words.encode()), "text": words, **more}
    return {name: value for name, value in found.items() if value != 0}


def grounded(*supports: Any) -> dict[str, Any]:
    chunks = [
        {"web": {"uri": "https://a.test", "title": "A"}},
        {"retrievedContext": {"uri": "gs://b/c.pdf", "title": "C", "text": "Its words."}},
        {"maps": {"uri": "https://maps.test", "title": "M"}},
    ]
    return {"groundingMetadata": {"groundingChunks": chunks, "groundingSupports": list(supports)}}


@feature("gemini", "citations")
@pytest.mark.parametrize("split", range(len(SAID) + 1))
def test_places_of_sources_are_characters_of_the_text_however_it_was_cut(split: int) -> None:
    """Google counts bytes of UTF-8."""
    found = grounded(
        {"segment": place(FIRST), "groundingChunkIndices": [0, 1]},
        {"segment": place(SECOND), "groundingChunkIndices": [0, 9]},
    )
    pieces = [text(SAID[:split]), text(SAID[split:])]
    got = read(events(piece(pieces[0]), answer(pieces[1], **found)))
    assert got.text == SAID
    assert got.details.citations == (
        Citation(url="https://a.test", title="A", start=0, end=12),
        Citation(url="gs://b/c.pdf", title="C", quote="Its words.", start=0, end=12),
        Citation(url="https://a.test", title="A", start=13, end=25),
        Citation(url="https://maps.test", title="M"),
    )
    first = got.details.citations[0]
    assert got.text[first.start : first.end] == FIRST


def test_a_place_within_a_part_is_a_place_in_the_whole_text() -> None:
    segment = {"partIndex": 2, "endIndex": len(SECOND), "text": SECOND}
    found = grounded({"segment": segment, "groundingChunkIndices": [0]})
    got = read(whole(answer(thought("Größe?"), text(SAID[:13]), text(SECOND), **found)))
    assert (got.details.citations[0].start, got.details.citations[0].end) == (13, 25)


@pytest.mark.parametrize("segment", [
    {}, {"startIndex": 5}, {"startIndex": 9, "endIndex": 4}, {"endIndex": 10**9}, {"startIndex": "a", "endIndex": 3},
    {"startIndex": -4, "endIndex": 3}, {"startIndex": 0, "endIndex": 3, "text": "nowhere"},
])  # fmt: skip
def test_a_place_that_cannot_be_is_not_believed(segment: Any) -> None:
    got = read(whole(answer(text(SAID), **grounded({"segment": segment, "groundingChunkIndices": [0]}))))
    assert got.details.citations[0] == Citation(url="https://a.test", title="A")


def test_quotations_are_sources_under_both_names() -> None:
    start = len("Größe: 5 km. ".encode())
    quoted = {"startIndex": start, "endIndex": start + 12, "uri": "https://q.test", "title": "Q", "license": "MIT"}
    for name in ("citations", "citationSources"):
        got = read(events(piece(text(SAID)), answer(citationMetadata={name: [quoted, "odd"]})) if name else b"")
        assert got.details.citations == (Citation(url="https://q.test", title="Q", start=13, end=25),)


@pytest.mark.parametrize("odd", [
    {"groundingMetadata": None}, {"groundingMetadata": []}, {"groundingMetadata": {"groundingChunks": {"a": 1}}},
    {"groundingMetadata": {"groundingChunks": [None, {}, {"web": None}], "groundingSupports": [None, {"segment": 1}]}},
    {"groundingMetadata": {"groundingSupports": [{"groundingChunkIndices": [0, "1", True]}]}},
    {"citationMetadata": "x"}, {"citationMetadata": {"citations": 3}}, {"logprobsResult": []},
    {"logprobsResult": {"chosenCandidates": [1, {}, {"token": 3}, {"token": "a", "logProbability": "x"}]}},
    {"safetyRatings": [{"category": "C"}], "tokenCount": 3, "avgLogprobs": -0.1, "later": {"x": 1}},
])  # fmt: skip
def test_odd_notes_beside_an_answer_do_no_harm(odd: Any) -> None:
    assert read(whole(answer(text("a"), **odd))).text == "a"


@feature("gemini", "logprobs")
def test_probabilities_of_tokens_are_read_across_events() -> None:
    def told(token: str, *top: tuple[str, float]) -> dict[str, Any]:
        likely = [{"token": name, "logProbability": value} for name, value in top]
        return {"logprobsResult": {
            "chosenCandidates": [{"token": token, "logProbability": -0.5, "tokenId": 1}],
            "topCandidates": [{"candidates": likely}] if top else [],
        }}  # fmt: skip

    got = read(events(piece(text("a"), **told("a", ("a", -0.5), ("b", -1))), answer(text("b"), **told("b"))))
    assert got.details.logprobs == (
        TokenLogprob(token="a", logprob=-0.5, top=(("a", -0.5), ("b", -1.0))), TokenLogprob(token="b", logprob=-0.5)
    )  # fmt: skip
    assert len(got.raw["candidates"][0]["logprobsResult"]["chosenCandidates"]) == 2


# Calls whose arguments come in pieces


def part_of_call(*pieces: dict[str, Any], more: bool = True, **fields: Any) -> dict[str, Any]:
    function: dict[str, Any] = {**fields, **({"partialArgs": list(pieces)} if pieces else {})}
    return {"functionCall": {**function, "willContinue": True} if more else function}


def test_arguments_in_pieces_become_one_call() -> None:
    """Vertex, with streamFunctionCallArguments."""
    got = read(events(
        piece({**part_of_call(name="f", id="x"), "thoughtSignature": "QUI="}),
        piece(part_of_call({"jsonPath": "$.city", "stringValue": "New ", "willContinue": True})),
        piece(part_of_call({"jsonPath": "$.city", "stringValue": "York"}, {"jsonPath": "$.days", "numberValue": 3.0})),
        piece(part_of_call({"jsonPath": "$.stops[1].name", "stringValue": "b"})),
        piece(part_of_call({"jsonPath": "$['odd key']", "boolValue": True})),
        piece(part_of_call({"jsonPath": "$.none", "nullValue": "NULL_VALUE"}, {"jsonPath": "", "stringValue": "x"})),
        piece(part_of_call(more=False)),
        answer(),
    ))  # fmt: skip
    assert got.tool_calls == (ToolCall(
        id="x", name="f",
        arguments='{"city":"New York","days":3,"stops":[null,{"name":"b"}],"odd key":true,"none":null}',
    ),)  # fmt: skip
    assert got.details.native is not None
    assert got.details.native.content["parts"][0]["thoughtSignature"] == "QUI="


def test_half_a_call_is_no_call() -> None:
    assert failure(piece(part_of_call(name="f")), answer()).failure_type is F.INVALID_RESPONSE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "candidates", "content", "parts", "text", "thought", "functionCall", "name", "args", "finishReason", "index",
        "usageMetadata", "promptFeedback", "blockReason", "error", "code", "groundingMetadata", "inlineData",
        "partialArgs", "jsonPath", "citationMetadata", "logprobsResult", "modelVersion", "responseId",
    ]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["candidates", "promptFeedback", "usageMetadata", "error"]), JSON, max_size=4))
def test_nothing_but_an_answer_or_an_error_of_the_router_comes_of_any_json(value: dict[str, Any]) -> None:
    for data in (whole(value), events(value), events(value, answer(text("a")))):
        with contextlib.suppress(LLMRouterError):
            assert isinstance(read(data), LLMResponse)


@given(JSON, JSON, JSON)
def test_odd_parts_and_notes_do_not_break_the_reader(part: Any, note: Any, usage: Any) -> None:
    value = answer(text("a"), part, groundingMetadata=note, citationMetadata=note, logprobsResult=note, usage=usage)
    for data in (whole(value), events(piece(text("x"), part), value)):
        with contextlib.suppress(LLMRouterError):
            assert "a" in read(data).text
