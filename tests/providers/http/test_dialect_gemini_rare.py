"""The dialect of Gemini: what is rarely written, sent or refused. No network."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from helpers.gemini_wire import DIALECT, answer, body, call, config, events, info, piece, read, rpc_error, text, whole
from lee_llm_router import FailureType, InvalidResponseError, LLMRequest, LLMRouterError, LLMUsage
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.gemini.embeddings import GeminiEmbeddings
from lee_llm_router.providers.http.dialects.gemini.lessons import refused_in
from lee_llm_router.providers.http.dialects.gemini.models import traits_of

F = FailureType
USER = {"role": "user", "content": "hi"}
TOP_K = {"generationConfig": {"topK": 1}}


def failure(data: bytes) -> LLMRouterError:
    with pytest.raises(LLMRouterError) as caught:
        read(data)
    return caught.value


# What is asked


def test_a_picture_in_an_answer_of_another_vendor_is_told_as_one() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    said = {"role": "assistant", "content": [{"type": "text", "text": "Here:"}, picture, {"type": "own_of_somebody"}]}
    turn = body([USER, said, USER])["contents"][1]
    assert [sorted(part) for part in turn["parts"]] == [["text"], ["inlineData"]]


@pytest.mark.parametrize("message", [
    {"role": "user", "content": [{"type": "own_of_somebody", "x": 1}]},
    {"role": "assistant", "content": [{"type": "own_of_somebody", "x": 1}]},
])  # fmt: skip
def test_a_turn_of_which_nothing_can_be_told_is_left_out(message: dict[str, Any]) -> None:
    assert body([USER, message])["contents"] == body([USER])["contents"]


def test_an_answer_that_came_with_other_calls_than_it_has_now_is_written_anew() -> None:
    """The history was edited since: the caller's word counts."""
    came = read(whole(answer(text("I look."), call("f", {"a": 1}, thoughtSignature="c2ln")))).message
    tools: Any = ({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},)
    edited = {**came, "content": "I think.", "tool_calls": []}
    turns = body([USER, edited, USER], tools=tools)["contents"]
    assert turns[1]["parts"] == [{"text": "I think."}]


@pytest.mark.parametrize(("choice", "found"), [
    ({"type": "required"}, {"mode": "ANY"}), ({"type": "odd"}, None), (7, None),
])  # fmt: skip
def test_a_choice_among_tools_may_be_told_by_its_type_alone(choice: Any, found: Any) -> None:
    tools: Any = ({"type": "function", "function": {"name": "f", "parameters": {"items": True}}},)
    sent = body(tools=tools, tool_choice=choice)
    assert sent["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == {"items": True}
    assert sent.get("toolConfig", {}).get("functionCallingConfig") == found


def test_the_budget_of_thinking_stays_within_what_the_model_has_said() -> None:
    """Other things that it has refused do not matter."""
    known = replace(traits_of("gemini-2.5-flash"), refused=frozenset({"top_k", "budget 128 1024"}))
    assert [known.thinking(effort)["thinkingBudget"] for effort in ("none", "high")] == [128, 1024]


# What comes


def _with_pieces(*pieces: Any, **first: Any) -> str:
    """The arguments of a call that comes in pieces."""
    begun = {"functionCall": {"name": "f", "willContinue": True, **first}}
    middle = [{"functionCall": {"partialArgs": [one] if isinstance(one, dict) else one, "willContinue": True}}
              for one in pieces]  # fmt: skip
    values = [*map(piece, [begun, *middle]), answer({"functionCall": {}})]
    (found,) = read(events(*values)).tool_calls
    return found.arguments


@pytest.mark.parametrize(("pieces", "arguments"), [
    (({"jsonPath": "$.a", "stringValue": "x"}, {"jsonPath": "$.a", "stringValue": "y"}), {"k": 1, "a": "xy"}),
    (({"jsonPath": "$.a[1].b", "numberValue": 2.0}, {"jsonPath": "$.a[1].c", "boolValue": True}),
     {"k": 1, "a": [None, {"b": 2, "c": True}]}),
    ((["odd", {"jsonPath": "$", "stringValue": "x"}, {"jsonPath": "$.a"}], {"jsonPath": "$.k", "nullValue": None}),
     {"k": None}),
    (({"jsonPath": "$.a[1]", "stringValue": "x"}, {"jsonPath": "$.a.b", "stringValue": "c"}),
     {"k": 1, "a": [None, "x"]}),
])  # fmt: skip
def test_arguments_in_pieces_are_put_where_their_paths_say(pieces: Any, arguments: Any) -> None:
    """A piece without a sound path changes nothing else."""
    assert json.loads(_with_pieces(*pieces, args={"k": 1})) == arguments


@pytest.mark.parametrize("paths", [
    [f"$.a{number}[99999]" for number in range(1000)],
    ["$" + "[999999]" * 5000],
    ["$.a" + "[900]" * 90] * 5,
    ["$" + ".a" * 1_000_000],
], ids=["far out, often", "far out within far out", "out, within each other", "deep"])  # fmt: skip
def test_no_small_stream_of_arguments_takes_much_memory(paths: list[str]) -> None:
    """It is an answer that cannot be used: what would be left out might be what the call is about."""
    tracemalloc.start()
    with pytest.raises(InvalidResponseError, match="cannot be put together"):
        _with_pieces(*({"jsonPath": path, "stringValue": "x"} for path in paths))
    assert tracemalloc.get_traced_memory()[1] < 200_000_000
    tracemalloc.stop()


def test_a_byte_order_mark_that_comes_byte_by_byte_is_no_part_of_the_answer() -> None:
    decoder = DIALECT.decoder(
        HTTPReply(200, b"", settings=config(), request=LLMRequest(messages=()), asked={}), config()
    )
    for byte in b"\xef\xbb\xbf" + events(answer(text("Hi"))):
        decoder.feed(bytes([byte]))
    decoder.feed(b"")
    chunks = []
    while (chunk := decoder.next()) is not None:
        chunks.append(chunk.text)
    assert "".join(chunks) == "Hi"


@pytest.mark.parametrize(("data", "kind"), [
    (b"event: error\ndata: the model is overloaded\n\n", F.OVERLOADED),
    (b"event: error\ndata: " + whole(rpc_error(429, "RESOURCE_EXHAUSTED", "slow")) + b"\n\n", F.RATE_LIMIT),
    (b"x\n{\"odd\": 1} {not} {\"error\": {\"code\": 503, \"status\": \"UNAVAILABLE\", \"message\": \"later\"}}\n",
     F.OVERLOADED),
    (b"x\n{\"odd\": 1}\n\n", F.INVALID_RESPONSE),
    (b"x\n" + events(answer(text("cut"), reason=None)), F.INVALID_RESPONSE),
])  # fmt: skip
def test_an_error_in_place_of_an_answer_is_told_as_what_it_says(data: bytes, kind: FailureType) -> None:
    decoder = DIALECT.decoder(
        HTTPReply(200, b"", settings=config(), request=LLMRequest(messages=()), asked={}), config()
    )
    decoder.feed(data)
    decoder.feed(b"")
    with pytest.raises(LLMRouterError) as caught:
        while decoder.next() is not None:
            pass
    assert caught.value.failure_type is kind


def test_what_a_whole_answer_in_one_object_said_before_it_broke_is_kept() -> None:
    error = failure(whole(answer(text("Once upon"), reason="SAFETY")))
    assert error.failure_type is F.CONTENT_FILTER
    assert error.response is not None and error.response.text == "Once upon"


@pytest.mark.parametrize("candidate", [{"finishReason": 7}, {"finishReason": ["STOP"]}])
def test_a_malformed_reason_to_stop_is_no_answer(candidate: dict[str, Any]) -> None:
    assert failure(whole(answer(text("Hi"), **{"reason": None, **candidate}))).failure_type is F.INVALID_RESPONSE


def test_the_answer_is_the_candidate_that_was_asked_for() -> None:
    """One alone counts whatever its number, and among several the first."""
    lone = answer(text("only"), index=3)
    assert read(whole(lone)).text == "only"
    several = {**answer(text("second"), index=1)}
    several["candidates"] += answer(text("first"))["candidates"]
    assert read(whole(several)).text == "first"
    others = {**answer(text("third"), index=2)}
    others["candidates"] += answer(text("second"), index=1)["candidates"]
    assert read(whole(others)).text == "third"


def test_usage_that_comes_with_every_piece_counts_as_the_last_says() -> None:
    usages = [{"promptTokenCount": 7, "candidatesTokenCount": n, "totalTokenCount": 7 + n} for n in (1, 2)]
    first = {"candidates": [{"content": {"role": "model", "parts": [text("Hi")]}}], "usageMetadata": usages[0]}
    second = {"candidates": [{"content": {"role": "model", "parts": [text("!")]}}], "usageMetadata": usages[1]}
    last = answer(usage=None)
    found = read(events(piece(text("")), first, second, last))
    assert (found.text, found.usage) == ("Hi!", LLMUsage(prompt_tokens=7, completion_tokens=2, total_tokens=9))


def test_the_pieces_of_a_stream_are_put_together_as_one_answer_whatever_they_hold() -> None:
    """`raw` is read by whoever debugs a vendor's oddities: they must not break it."""
    probable = {"chosenCandidates": [{"token": "Hi", "logProbability": -0.1}]}
    values = [
        piece(text("Hi"), logprobsResult=probable),
        piece(text("!"), logprobsResult={"topCandidates": []}),
        {**piece(), "candidates": [{"index": 0, "safetyRatings": [], "content": "odd"}]},
        {"candidates": [{"index": 0}, "odd"]},
        {"promptFeedback": {}},
        answer(),
    ]
    raw = read(events(*values)).raw
    assert raw["candidates"][0]["logprobsResult"]["chosenCandidates"] == probable["chosenCandidates"]
    assert raw["candidates"][0]["finishReason"] == "STOP"


def test_sources_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lee_llm_router.providers.http.dialects.gemini.citations._MAX_CITATIONS", 10)
    quoted = [{"startIndex": 0, "endIndex": 2, "uri": f"https://s.test/{number}"} for number in range(15)]
    found = read(whole(answer(text("Hi"), citationMetadata={"citationSources": quoted})))
    assert len(found.details.citations) == 10


# Embeddings


@pytest.mark.parametrize("odd", [None, "3", 2.5, -1, True])
def test_the_tokens_of_embeddings_are_unknown_if_those_of_one_are(odd: Any) -> None:
    entries = [{"values": [1.0], "statistics": {"token_count": number}} for number in (4.0, odd)]
    data = whole({"predictions": [{"embeddings": entry} for entry in entries]})
    assert GeminiEmbeddings().decode(HTTPReply(200, data), 2).usage == LLMUsage()
    entries[1]["statistics"] = {"token_count": 3}
    data = whole({"predictions": [{"embeddings": entry} for entry in entries]})
    assert GeminiEmbeddings().decode(HTTPReply(200, data), 2).usage.prompt_tokens == 7


# What an error says


@pytest.mark.parametrize(("reply", "kind"), [
    (HTTPReply(503, b"{" + b" " * 2_000_000), F.OVERLOADED),
    (HTTPReply(400, whole(rpc_error(400, "INVALID_ARGUMENT", "no", info("SOMETHING_ELSE")))), F.INVALID_REQUEST),
    (HTTPReply(400, whole(rpc_error(400, "INVALID_ARGUMENT", "no", info("X"), info("API_KEY_INVALID")))), F.AUTH),
])  # fmt: skip
def test_a_failure_is_told_by_the_first_reason_that_says_something(reply: HTTPReply, kind: FailureType) -> None:
    assert DIALECT.failure(reply).failure_type is kind


@pytest.mark.parametrize("reply", [
    HTTPReply(500, whole(rpc_error(500, "INTERNAL", "top_k is not supported")), asked=TOP_K),
    HTTPReply(400, b"top_k is not supported", asked=TOP_K),
    HTTPReply(400, whole(rpc_error(400, "X", "topK is not supported")), asked={}),
])  # fmt: skip
def test_what_is_no_refusal_of_something_asked_teaches_nothing(reply: HTTPReply) -> None:
    assert not refused_in(reply)
