"""The parts of an answer, in the ways that servers have of their own: choices, reasoning, usage, ends, errors.

Each case is asked for in every form of a call.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.all_forms import JSON, answers, each_form, failures, json_of, stream_of
from helpers.servers import completion
from helpers.stream_servers import DONE, HEL, LO, ROLE, ROLE_ONLY, STOP, USAGE, delta, event, named, usage
from lee_llm_router import FailureType, LLMUsage

F = FailureType


def choice(index: int | None, finish_reason: str | None = None, **part: Any) -> dict[str, Any]:
    return {**({} if index is None else {"index": index}), "delta": part, "finish_reason": finish_reason}


def choices(*entries: Any) -> dict[str, Any]:
    return {"model": "served-1", "choices": list(entries)}


WORDS_OF_IT = ["It ", "rai", "ns."]
ONE_CHOICE: dict[str, list[Any]] = {
    "two entries with one number": [choices(choice(0, content="It "), choice(0, content="rains.")), STOP],
    "entries without numbers": [choices(choice(None, content="It "), choice(None, content="rains.")), STOP],
    "numbers that count tokens": [*(choices(choice(n, content=t)) for n, t in enumerate(WORDS_OF_IT, 1)), STOP],
    "numbers that count from 0": [*(choices(choice(n, content=t)) for n, t in enumerate(WORDS_OF_IT)),
                                  choices(choice(3, "stop"))],
    "a number that is not 0": [choices(choice(7, content="It rains.")), choices(choice(7, "stop"))],
    "a number that is text": [choices({**choice(0, content="It rains."), "index": "0"}), STOP],
    "the end beside the text": [choices(choice(0, content="It rains."), choice(0, "stop"))],
}  # fmt: skip


@pytest.mark.parametrize("kind", ONE_CHOICE)
def test_where_one_answer_was_asked_for_all_entries_are_of_it(kind: str) -> None:
    chunks = [json.loads(c.removeprefix(b"data: ")) if isinstance(c, bytes) else c for c in ONE_CHOICE[kind]]
    response = answers(stream_of(*chunks))
    assert (response.text, response.finish_reason) == ("It rains.", "stop")
    [raw] = response.raw["choices"]
    assert raw["message"]["content"] == "It rains."


def test_text_and_calls_in_entries_of_their_own_are_one_answer() -> None:
    call = named("look", "{}", id="c")
    for reasons in (("tool_calls", "tool_calls"), ("stop", "tool_calls"), ("stop", "stop")):
        entries = [
            {"finish_reason": reasons[0], "message": {"role": "assistant", "content": "I look."}},
            {"finish_reason": reasons[1], "message": {"role": "assistant", "content": None, "tool_calls": [call]}},
        ]
        response = answers(json_of(choices(*entries)))
        assert (response.text, response.tool_calls[0].name) == ("I look.", "look")
        assert response.finish_reason == "tool_calls"


def test_of_several_answers_that_were_asked_for_the_first_is_taken() -> None:
    """All its entries; `raw` has the others."""
    chunks = [
        choices(choice(1, content="No ")),
        choices(choice(0, content="Y"), choice(1, content="way"), choice(0, content="es")),
        choices(choice(1, "stop")), choices(choice(0, "stop")),
    ]  # fmt: skip
    whole = choices(
        {"index": 1, "message": {"content": "No way"}, "finish_reason": "stop"},
        {"index": 0, "message": {"content": "Yes"}, "finish_reason": "stop"},
    )
    for body in (stream_of(*chunks), json_of(whole)):
        response = answers(body, extra_body={"n": 2})
        assert response.text == "Yes"
        assert {entry["message"]["content"] for entry in response.raw["choices"]} == {"Yes", "No way"}


PICTURE = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
SOUND = {"id": "a1", "data": "UklGRg==", "expires_at": 9, "transcript": "Moo."}
CONTENTS: dict[str, dict[str, Any]] = {
    "pictures": {"images": PICTURE},
    "a sound": {"audio": SOUND},
    "a film": {"video": {"url": "https://model.test/v.mp4"}},
    "a field of the server's own": {"x_sketch": ["M0 0L9 9"]},
    "parts that are no text": {"content": PICTURE},
}  # fmt: skip


@pytest.mark.parametrize("kind", CONTENTS)
def test_content_that_is_no_text_is_an_answer(kind: str) -> None:
    """Its text is empty, or what was said aloud; `raw` has it, and in a stream its chunk is handed on."""
    content = CONTENTS[kind]
    whole = completion(None, **{"content": None, **content} if "content" not in content else {})
    whole["choices"][0]["message"].update(content)
    for body in (json_of(whole), stream_of(ROLE_ONLY, delta(**{"content": None, **content}), delta("stop"))):
        for form, ended in each_form(body):
            assert ended.response is not None, f"{form}: {ended.error}"
            assert ended.response.text == ("Moo." if content == {"audio": SOUND} else "")
            [name] = content
            assert ended.response.raw["choices"][0]["message"][name] == content[name], form
            if "stream" in form:
                assert any(chunk.output_in_raw for chunk in ended.chunks), form


@pytest.mark.parametrize(
    "message",
    [{"content": None}, {}, {"content": None, "reasoning": "hm"}, {"content": None, "annotations": [{"a": 1}]},
     {"content": None, "images": []}, {"content": None, "reasoning_details": [{"type": "reasoning.encrypted"}]}],
)  # fmt: skip
def test_a_message_that_says_nothing_is_none(message: dict[str, Any]) -> None:
    whole = choices({"message": {"role": "assistant", **message}, "finish_reason": "stop"})
    assert {error.failure_type for error in failures(json_of(whole))} == {F.INVALID_RESPONSE}
    body = stream_of(delta(role="assistant", **message), delta("stop"))
    assert {error.failure_type for error in failures(body)} == {F.INVALID_RESPONSE}


REASONING: dict[str, tuple[dict[str, Any], str]] = {
    "reasoning_text": ({"reasoning_text": "Hm."}, "Hm."),
    "thinking": ({"thinking": "Hm."}, "Hm."),
    "thinking parts": ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]}, "Hm."),
    "thinking parts of text": ({"content": [{"type": "thinking", "thinking": "Hm."}]}, "Hm."),
    "reasoning parts": ({"content": [{"type": "reasoning", "text": "Hm."}]}, "Hm."),
    "details": ({"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]}, "Hm."),
    "summaries": ({"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm."}]}, "Hm."),
    "details beside the same": ({"reasoning": "Hm.", "reasoning_details": [{"text": "Hm."}]}, "Hm."),
    "an empty name first": ({"reasoning_content": "", "reasoning": "Hm."}, "Hm."),
}


@pytest.mark.parametrize("kind", REASONING)
@pytest.mark.feature("openai_chat", "reasoning")
def test_reasoning_is_read_under_every_name(kind: str) -> None:
    message, wanted = REASONING[kind]
    parts = [*message.pop("content", []), {"type": "text", "text": "4"}] if "content" in message else "4"
    message = dict(message)
    whole = choices({"message": {"content": parts, **message}, "finish_reason": "stop"})
    streamed = [delta(content=parts[:1]) if isinstance(parts, list) else delta(content="", **message)]
    for body in (json_of(whole), stream_of(*streamed, delta(content="4"), delta("stop"))):
        response = answers(body)
        assert (response.text, response.reasoning) == ("4", wanted)
    if isinstance(parts, list):
        message["content"] = parts[:1]


REASONS: dict[str, tuple[FailureType, list[str]]] = {
    "a filter": (F.CONTENT_FILTER, ["PROHIBITED_CONTENT", "Safety", "image_safety", "contentFilter", "moderation_block",
                                    "guardrail_intervened", "RECITATION", "blocklist", "SPII", "policy_violation"]),
    "a call that is none": (F.INVALID_RESPONSE, ["MALFORMED_FUNCTION_CALL", "unexpected_tool_call", "invalid_tool_call",
                                                 "OTHER", "FINISH_REASON_UNSPECIFIED", "TOO_MANY_TOOL_CALLS"]),
    "a failure": (F.PROVIDER_ERROR, ["ERROR", "server_error", "Cancelled", "aborted", "failed"]),
    "no room": (F.OVERLOADED, ["overloaded", "capacity_exceeded"]),
    "no time": (F.TIMEOUT, ["timeout", "TIMED_OUT"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", REASONS)
def test_a_reason_that_says_broken_off_is_believed_in_any_words(kind: str) -> None:
    """The error has what came of the answer."""
    failure, reasons = REASONS[kind]
    for reason in reasons:
        whole = completion("Half an ans")
        whole["choices"][0]["finish_reason"] = reason
        for body in (json_of(whole), stream_of(delta(content="Half an ans"), delta(reason))):
            for error in failures(body):
                assert error.failure_type is failure, (reason, error)
                assert error.response is not None and error.response.text == "Half an ans", reason


WORDS = {
    "STOP": "stop", "MAX_TOKENS": "length", "max_output_tokens": "length", "Length": "length", "model_length": "length",
    "eos_token": "eos_token", "end_turn": "end_turn", "stop_sequence": "stop_sequence", "whatever": "whatever",
}  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_other_words_for_an_end_are_ends(word: str) -> None:
    """Those that say "cut" are `length`, by which a JSON contract knows a cut answer."""
    whole = completion("All of it.")
    whole["choices"][0]["finish_reason"] = word
    for body in (json_of(whole), stream_of(delta(content="All of it."), delta(word))):
        assert answers(body).finish_reason == WORDS[word]


def test_a_word_that_nobody_knows_and_no_text_are_no_answer() -> None:
    for text, word, is_answer in [("", "whatever", False), ("", "stop", True), ("", "EOS", True), ("", "length", True)]:
        whole = completion(text)
        whole["choices"][0]["finish_reason"] = word
        for body in (json_of(whole), stream_of(delta(content=text), delta(word))):
            for form, ended in each_form(body):
                assert (ended.error is None) is is_answer, (form, word)


USAGES: list[tuple[dict[str, Any], LLMUsage]] = [
    ({"cached_tokens": 5}, LLMUsage(cached_tokens=5)),
    ({"prompt_cache_hit_tokens": 5, "prompt_cache_miss_tokens": 2}, LLMUsage(cached_tokens=5)),
    ({"cache_read_input_tokens": 5}, LLMUsage(cached_tokens=5)),
    ({"cached_tokens": 9, "prompt_tokens_details": {"cached_tokens": 5}}, LLMUsage(cached_tokens=5)),
    ({"cached_tokens": 5, "prompt_tokens_details": {"audio_tokens": 1}}, LLMUsage(cached_tokens=5)),
    ({"reasoning_tokens": 4}, LLMUsage(reasoning_tokens=4)),
    ({"input_tokens": 8, "output_tokens": 2}, LLMUsage(prompt_tokens=8, completion_tokens=2)),
    ({"input_tokens_details": {"cached_tokens": 5}, "cached_tokens": -1}, LLMUsage(cached_tokens=5)),
    ({"prompt_tokens_details": None, "cached_tokens": None}, LLMUsage()),
]  # fmt: skip


@pytest.mark.parametrize(("counts", "wanted"), USAGES)
def test_token_counts_are_read_where_servers_put_them(counts: dict[str, Any], wanted: LLMUsage) -> None:
    counts = {"total_tokens": 10, **counts}
    whole = completion("hi") | {"usage": counts}
    for body in (json_of(whole), stream_of(delta(content="hi"), delta("stop"), usage() | {"usage": counts})):
        found = answers(body).usage
        assert found is not None
        names = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
        assert [getattr(found, name) for name in names] == [getattr(wanted, name) for name in names]
        assert found.total_tokens == 10


def test_a_later_frame_of_usage_fills_in_and_erases_nothing() -> None:
    frames = [USAGE, {"completion_tokens_details": {"reasoning_tokens": 2}}, {"cost": 0.5}, {"prompt_tokens": None}]
    body = stream_of(delta(content="hi"), delta("stop"), *({"choices": [], "usage": frame} for frame in frames))
    response = answers(body)
    assert response.usage == LLMUsage(prompt_tokens=7, completion_tokens=3, total_tokens=10, reasoning_tokens=2)
    assert response.cost_usd == 0.5
    growing = [{"prompt_tokens": 7, "completion_tokens": n, "total_tokens": 7 + n} for n in (1, 2, 3)]
    body = stream_of(*(delta(content="x") | {"usage": frame} for frame in growing), delta("stop"))
    assert answers(body).usage == LLMUsage(prompt_tokens=7, completion_tokens=3, total_tokens=10)


def test_usage_in_places_of_the_vendors_own_is_read() -> None:
    for last in (
        delta("stop") | {"x_groq": {"usage": USAGE}},
        {"choices": [{"delta": {}, "finish_reason": "stop", "usage": USAGE}]},
    ):
        assert answers(stream_of(delta(content="hi"), last)).usage == LLMUsage(
            prompt_tokens=7, completion_tokens=3, total_tokens=10
        )


# Half characters, and numbers that are none


HALVES: dict[str, tuple[list[bytes], str]] = {
    "two pieces": ([rb"It \ud83d", rb"\ude00 rains"], "It \U0001f600 rains"),
    "three pieces": ([rb"\uD83D", rb"\uDE00\uD83D", rb"\uDE01!"], "\U0001f600\U0001f601!"),
    "an empty piece between them": ([rb"\ud83d", b"", rb"\ude00"], "\U0001f600"),
    "a first half alone": ([rb"a\ud83d", b"b"], "a\ufffdb"),
    "a second half alone": ([b"a", rb"\ude00b"], "a\ufffdb"),
    "a half at the end": ([b"a", rb"b\ud83d"], "ab\ufffd"),
    "the wrong way round": ([rb"\ude00\ud83d", b"x"], "\ufffd\ufffdx"),
    "as bytes": ([b"a\xed\xa0\xbd", b"\xed\xb8\x80b"], "a\U0001f600b"),
}


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("field", ["content", "reasoning_content", "arguments"])
def test_half_characters_find_their_other_half(kind: str, field: str) -> None:
    """In text, reasoning and arguments; one that finds none is U+FFFD, and no answer is lost for it."""
    texts, wanted = HALVES[kind]
    template = {
        "content": b'{"content": "%b"}', "reasoning_content": b'{"content": "", "reasoning_content": "%b"}',
        "arguments": b'{"tool_calls": [{"index": 0, "function": {"arguments": "%b"}}]}',
    }[field]  # fmt: skip
    first = delta(tool_calls=[named("f", "", index=0, id="c")]) if field == "arguments" else delta(content="")
    events = [event(b'{"choices": [{"delta": %b}]}' % (template % text)) for text in texts]
    response = answers(b"".join([event(first), *events, event(delta("stop")), DONE]))
    message = response.raw["choices"][0]["message"]
    found = {
        "content": (response.text, message.get("content")),
        "reasoning_content": (response.reasoning, message.get("reasoning_content")),
        "arguments": tuple(c.arguments for c in response.tool_calls)
        + tuple(c["function"]["arguments"] for c in message.get("tool_calls", ())),
    }[field]
    assert found == (wanted, wanted)
    response.text.encode()
    json.dumps(response.raw, ensure_ascii=False).encode()


def test_half_characters_in_a_whole_answer_are_replaced() -> None:
    body = json_of(completion("Hi @!")).replace(b"@", rb"\udcaf")
    response = answers(body, JSON)
    assert response.text == "Hi \ufffd!"
    assert response.raw["choices"][0]["message"]["content"] == "Hi \ufffd!"


def test_half_characters_in_the_json_of_an_answer_do_not_break_its_contract() -> None:
    """`json_mode` and `schema`: in the text of the answer they are escaped once more."""
    text = r'{"face": "\ud83d", "smile": "\ud83d\ude00", "path": "C:\\ud83d"}'
    wanted = {"face": "\ufffd", "smile": "\U0001f600", "path": "C:\\ud83d"}
    schemas: list[Any] = [dict, {"type": "object", "required": ["face"]}]
    for options in ({"json_mode": True}, *({"schema": schema} for schema in schemas)):
        for form, ended in each_form(json_of(completion(text)), JSON, options=options):
            assert ended.response is not None and ended.response.parsed == wanted, f"{form}: {ended.error}"


def test_numbers_that_are_none_are_null_and_spoil_nothing() -> None:
    """NaN and Infinity are no JSON: believed nowhere, and a good text is not lost for them."""
    for word in (b"NaN", b"Infinity", b"-Infinity"):
        odd = b'"usage": {"prompt_tokens": %b, "completion_tokens": 3}, "x_speed": %b' % (word, word)
        whole = b'{"choices": [{"message": {"content": "NaN"}, "finish_reason": "stop"}], %b}' % odd
        streamed = event(b'{"choices": [{"delta": {"content": "NaN"}, "x_logprob": %b}]}' % word) + STOP
        for body in (whole, streamed + event(b'{"choices": [], %b}' % odd) + DONE):
            response = answers(body)
            assert response.text == "NaN"
            assert response.usage == LLMUsage(completion_tokens=3)
            assert response.raw["x_speed"] is None
    for body in (b'{"choices": [{"message": {"content": NaN}, "finish_reason": "stop"}]}', b"NaN"):
        assert {error.failure_type for error in failures(body, JSON)} == {F.INVALID_RESPONSE}


# Errors with 200


SAID: dict[str, tuple[dict[str, Any], FailureType, str]] = {
    "a status beside the choices": (
        {"choices": None, "base_resp": {"status_code": 1000, "status_msg": "it failed"}}, F.PROVIDER_ERROR, "it failed",
    ),
    "an object called error": (
        {"object": "error", "message": "maximum context length is 9 tokens", "code": 40303}, F.CONTEXT_LENGTH, "length",
    ),
    "a type called error": ({"type": "error", "error": {"message": "no", "http_code": "429"}}, F.RATE_LIMIT, "no"),
    "a status in the error": ({"error": {"message": "no", "status_code": 503}}, F.OVERLOADED, "no"),
    "a status beside the error": ({"error": {"message": "no"}, "status_code": 401}, F.AUTH, "no"),
    "a status of text": ({"error": {"message": "no"}, "http_status": "402"}, F.QUOTA, "no"),
    "an error that is true": ({"error": True, "message": "slow down", "code": 429}, F.RATE_LIMIT, "slow down"),
    "an error that is a word": ({"error": "no such thing", "status": 404}, F.MODEL_NOT_FOUND, "no such thing"),
    "an error that is a number": ({"error": 1, "msg": "it broke"}, F.PROVIDER_ERROR, "it broke"),
    "no error, and a status": ({"status": 503, "message": "warming up"}, F.OVERLOADED, "warming up"),
    "no success": ({"success": False, "message": "nothing today"}, F.PROVIDER_ERROR, "nothing today"),
    "an error without a word": ({"error": {"odd": 17}}, F.PROVIDER_ERROR, "17"),
    "a code in the error that is no status": ({"error": {"code": "overloaded", "message": "x"}}, F.OVERLOADED, "x"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAID)
def test_an_error_with_200_is_the_error_that_it_says(kind: str) -> None:
    """Whole, as an event, and as an event behind text."""
    said, failure, words = SAID[kind]
    for body in (json_of(said), event(said) + DONE, ROLE + HEL + event(said), event(said)):
        for error in failures(body):
            assert error.failure_type is failure, (body, error)
            assert words in error.message


@pytest.mark.parametrize("body", [{"detail": "Not today"}, {"msg": "Not today"}, {"errors": ["Not today"]}])
def test_a_whole_body_that_only_has_a_message_is_an_error_too(body: Any) -> None:
    for error in failures(json_of(body), JSON):
        assert error.failure_type is F.PROVIDER_ERROR and "Not today" in error.message


@pytest.mark.parametrize(
    "body", [{"id": "x", "choices": []}, {"data": [1]}, {"choices": [{"text": "old"}]}, {"choices": ["odd"]}]
)
def test_a_body_that_is_no_answer_is_quoted(body: Any) -> None:
    for error in failures(json_of(body), JSON):
        assert error.failure_type is F.INVALID_RESPONSE
        assert json.dumps(body)[1:-1] in error.message


def test_what_says_that_there_was_no_error_is_no_error() -> None:
    for beside in ({"error": None}, {"error": {"code": 0, "message": ""}}, {"base_resp": {"status_code": 0}}):
        whole = completion("hello") | beside
        assert answers(json_of(whole)).text == "hello"
        chunks = [delta(content="hello") | beside, delta("stop") | beside]
        assert answers(stream_of(*chunks)).text == "hello"
    note = {"type": "ping", "message": "still here"}
    assert answers(event(note) + HEL + LO + STOP + DONE).text == "hello"
