"""OpenAI's own SDK and this dialect say the same: bodies that they send, and answers that they read.

The SDK is imported when the first test runs. It is `Any` here, so that mypy need not read it.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from helpers.drawn_examples import examples
from helpers.servers import Server, answering, completion, json_answer
from helpers.stream_support import router_to
from helpers.strict_openai_chat import answers, check
from lee_llm_router import ContentFilterError, LLMResponse, file_part, image_part
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
from lee_llm_router.providers.http.dialects.openai.chat_stream import ChatDecoder
from lee_llm_router.providers.streams import AnswerParts

CHAT = ChatDialect()
TYPES: Any = None
PNG = b"\x89PNG\r\n\x1a\n~?"


@pytest.fixture(scope="module", autouse=True)
def _sdk() -> Iterator[None]:
    global TYPES  # noqa: PLW0603 - see above
    TYPES = importlib.import_module("openai.types.chat")
    yield


@pytest.fixture(scope="module")
def wire() -> Iterator[tuple[Server, Any, Any]]:
    """A server that records, with the SDK's client and a router that ask it."""
    with Server(answering(json_answer(completion('{"place": "Oslo", "days": 3}')))) as server:
        client = importlib.import_module("openai").OpenAI(api_key="k", base_url=server.url, max_retries=0)
        router = router_to(server.url, max_tokens_field="max_completion_tokens")
        yield server, client, router
        client.close()
        router.close()


# Requests


TEXTS = st.text("aß🙂 \n", min_size=1, max_size=8)
NAMES = st.sampled_from(["get_weather", "f", "look-up"])
ARGUMENTS = st.sampled_from(["{}", '{"city": "Köln", "n": 3}'])
FUNCTION = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "description": TEXTS,
        "parameters": st.just({"type": "object", "properties": {"a": {"type": "string"}}}),
        "strict": st.booleans(),
    },
)
TOOLS = st.lists(FUNCTION, min_size=1, max_size=3, unique_by=lambda function: function["name"]).map(
    lambda functions: [{"type": "function", "function": one} for one in functions]
)
CHOICE = st.one_of(
    st.sampled_from(["auto", "none", "required"]), NAMES.map(lambda n: {"type": "function", "function": {"name": n}})
)
PART = st.one_of(
    TEXTS.map(lambda t: {"type": "text", "text": t}),
    st.sampled_from([image_part(PNG), image_part("https://example.com/a.png", detail="low"),
                     file_part(b"%PDF-1.7", name="a.pdf"), {"type": "file", "file": {"file_id": "file-1"}},
                     {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}]),
)  # fmt: skip
USER = st.builds(
    lambda c, n: {"role": "user", "content": c, **n},
    st.one_of(TEXTS, st.lists(PART, min_size=1, max_size=3)),
    st.sampled_from([{}, {"name": "Ann"}]),
)
ANSWER = TEXTS.map(lambda t: {"role": "assistant", "content": t})
SYSTEM = TEXTS.map(lambda t: {"role": "system", "content": t})


@st.composite
def rounds(draw: Any, first: int) -> list[dict[str, Any]]:
    """A message of the user, the calls of tools that it leads to, and their results."""
    count = draw(st.integers(0, 3))
    if not count:
        return [draw(USER), draw(ANSWER)]
    calls = [
        {"id": f"call_{first}_{n}", "type": "function", "function": {"name": draw(NAMES), "arguments": draw(ARGUMENTS)}}
        for n in range(count)
    ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": draw(TEXTS)} for call in calls]
    return [draw(USER), {"role": "assistant", "content": draw(st.none() | TEXTS), "tool_calls": calls}, *results]


@st.composite
def histories(draw: Any) -> list[dict[str, Any]]:
    system = draw(st.lists(SYSTEM, max_size=1))
    turns = [message for n in range(draw(st.integers(0, 3))) for message in draw(rounds(n))]
    return [*system, *turns, draw(USER)]


OPTIONS = st.fixed_dictionaries({}, optional={
    "temperature": st.sampled_from([0.0, 0.5, 2.0]), "top_p": st.sampled_from([0.1, 1.0]),
    "stop": st.lists(TEXTS, min_size=1, max_size=4), "seed": st.integers(0, 99),
    "frequency_penalty": st.sampled_from([-2.0, 0.5]), "presence_penalty": st.sampled_from([-1.0, 2.0]),
    "reasoning_effort": st.sampled_from(["none", "minimal", "low", "high", "xhigh", "max"]),
    "service_tier": st.sampled_from(["auto", "flex", "priority"]), "max_tokens": st.integers(1, 99),
    "top_logprobs": st.integers(0, 20),
})  # fmt: skip


def body_of(server: Server) -> dict[str, Any]:
    received = server.requests[-1]
    assert received.line.startswith("POST /v1/chat/completions "), received.line
    body: dict[str, Any] = received.json
    return {name: value for name, value in body.items() if (name, value) != ("stream", False)}


@settings(max_examples=examples(100))
@given(histories(), OPTIONS, st.one_of(st.just({}), st.fixed_dictionaries(
    {"tools": TOOLS}, optional={"tool_choice": CHOICE, "parallel_tool_calls": st.booleans()},
)))  # fmt: skip
def test_the_same_request_is_the_same_body(
    wire: tuple[Server, Any, Any], messages: list[Any], options: dict[str, Any], tools: dict[str, Any]
) -> None:
    """And one that a strict server takes."""
    server, client, router = wire
    router.complete("r", messages, **options, **tools)
    ours = body_of(server)
    assert check(ours, "/v1/chat/completions", {}) is None
    given = {"max_completion_tokens" if name == "max_tokens" else name: value for name, value in options.items()}
    if "top_logprobs" in given:
        given["logprobs"] = True
    client.chat.completions.create(model="m", messages=messages, **given, **tools)
    assert ours == body_of(server)


class Trip(BaseModel):
    model_config = ConfigDict(extra="forbid")
    place: str
    days: int


def test_a_schema_is_asked_for_as_the_sdk_does(wire: tuple[Server, Any, Any]) -> None:
    server, client, router = wire
    router.complete("r", "where?", schema=Trip)
    ours = body_of(server)
    client.chat.completions.parse(model="m", messages=[{"role": "user", "content": "where?"}], response_format=Trip)
    assert ours == body_of(server)


def test_a_stream_is_asked_for_as_the_sdk_does(wire: tuple[Server, Any, Any]) -> None:
    server, client, router = wire
    list(router.stream("r", "hi"))
    ours = body_of(server)
    hi = [{"role": "user", "content": "hi"}]
    client.chat.completions.create(model="m", messages=hi, stream=True, stream_options={"include_usage": True}).close()
    assert ours == body_of(server)


# Answers


def decoded(body: bytes, **asked: Any) -> LLMResponse:
    return CHAT.decode(HTTPReply(200, body, asked=asked))


def streamed(chunks: list[Any], **asked: Any) -> LLMResponse:
    body = b"".join(b"data: %b\n\n" % one.model_dump_json(exclude_unset=True).encode() for one in chunks)
    decoder, parts = ChatDecoder(HTTPReply(200, b"", asked=asked), 1_000_000), AnswerParts()
    decoder.feed(body + b"data: [DONE]\n\n")
    while (chunk := decoder.next()) is not None:
        parts.add(chunk)
    assert decoder.done
    return parts.response()


def test_what_our_test_server_sends_parses_as_the_sdk_s_types() -> None:
    for turn in (1, 2, 3):
        state: dict[str, Any] = {}
        whole = TYPES.ChatCompletion.model_validate_json(answers(turn, False, state))
        ours = decoded(answers(turn, False, {}))
        assert (whole.choices[0].message.content or "") == ours.text
        events = answers(turn, True, {}).decode().removesuffix("data: [DONE]\n\n").split("\n\n")[:-1]
        chunks = [TYPES.ChatCompletionChunk.model_validate_json(one.removeprefix("data: ")) for one in events]
        assert chunks[-1].usage.total_tokens == 14
        assert streamed(chunks) == ours


READ = {
    "ChatCompletion": {"id", "choices", "model", "service_tier", "usage"},
    "Choice": {"finish_reason", "index", "logprobs", "message"},
    "ChatCompletionMessage": {"content", "refusal", "role", "annotations", "audio", "function_call", "tool_calls"},
    "ChatCompletionChunk": {"id", "choices", "model", "service_tier", "usage"},
    "ChoiceDelta": {"content", "refusal", "role", "audio", "function_call", "tool_calls"},
    "CompletionUsage": {"completion_tokens", "prompt_tokens", "total_tokens", "completion_tokens_details",
                        "prompt_tokens_details"},
    "PromptTokensDetails": {"cached_tokens", "cache_write_tokens"},
    "CompletionTokensDetails": {"reasoning_tokens"},
}  # fmt: skip
"""What is read of an answer; the tests below read each."""
ONLY_IN_RAW = {
    "created", "object", "system_fingerprint", "metadata", "moderation", "obfuscation", "audio_tokens", "text_tokens",
    "image_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens", "delta",
}  # fmt: skip


def test_every_field_of_the_sdk_s_answers_is_read_or_known() -> None:
    """A field that a later SDK adds breaks this test, so that somebody looks at it."""
    usage = importlib.import_module("openai.types.completion_usage")
    whole = importlib.import_module("openai.types.chat.chat_completion")
    chunk = importlib.import_module("openai.types.chat.chat_completion_chunk")
    for name, fields in READ.items():
        places = [place for place in (TYPES, usage, whole, chunk) if hasattr(place, name)]
        for place in places:
            assert getattr(place, name).model_fields.keys() - fields <= ONLY_IN_RAW, name


COUNTS = st.integers(0, 10_000)
TOKEN = st.builds(lambda t, p: {"token": t, "logprob": p, "bytes": None}, TEXTS, st.floats(-50, 0))
USAGES = st.fixed_dictionaries(
    {"prompt_tokens": COUNTS, "completion_tokens": COUNTS, "total_tokens": COUNTS},
    optional={
        "prompt_tokens_details": st.fixed_dictionaries(
            {}, optional={"cached_tokens": COUNTS, "cache_write_tokens": COUNTS, "audio_tokens": COUNTS}
        ),
        "completion_tokens_details": st.fixed_dictionaries({}, optional={"reasoning_tokens": COUNTS}),
    },
)
CITED = st.builds(
    lambda t, s, e: {"url": "https://a.test", "title": t, "start_index": s, "end_index": e}, TEXTS, COUNTS, COUNTS
)
ANNOTATIONS = CITED.map(lambda cited: {"type": "url_citation", "url_citation": cited})
CALLS = st.lists(st.tuples(NAMES, ARGUMENTS), min_size=1, max_size=3).map(
    lambda pairs: [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(pairs)
    ]
)
AUDIO = TEXTS.map(lambda t: {"id": "audio_1", "data": "UklGRg==", "expires_at": 9, "transcript": t})
MESSAGES = st.one_of(
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": TEXTS},
        optional={"annotations": st.lists(ANNOTATIONS, max_size=2), "refusal": st.none(), "tool_calls": CALLS},
    ),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": st.none(), "tool_calls": CALLS}),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": st.none(), "audio": AUDIO}),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": st.none() | st.just(""), "refusal": TEXTS}),
)


@st.composite
def completions(draw: Any) -> Any:
    """A chat completion as the SDK's type."""
    message = draw(MESSAGES)
    reason = "tool_calls" if "tool_calls" in message else draw(st.sampled_from(["stop", "length"]))
    logprobs = draw(st.none() | st.builds(
        lambda tokens, top: {"content": [{**one, "top_logprobs": top} for one in tokens], "refusal": None},
        st.lists(TOKEN, max_size=3), st.lists(TOKEN, max_size=2)))  # fmt: skip
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": logprobs}
    whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-x", "choices": [choice],
             "usage": draw(USAGES), "service_tier": draw(st.none() | st.sampled_from(["flex", "default"]))}  # fmt: skip
    return TYPES.ChatCompletion.model_validate(whole)


def as_chunks(whole: Any) -> list[Any]:
    """The chunks in which OpenAI sends an answer."""
    choice, message = whole.choices[0], whole.choices[0].message
    head = {"id": whole.id, "object": "chat.completion.chunk", "created": 1, "model": whole.model,
            "service_tier": whole.service_tier}  # fmt: skip
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": text} for text in message.content or ""]
    deltas += [{"refusal": text} for text in message.refusal or ""]
    for index, call in enumerate(message.tool_calls or ()):
        first = {
            "index": index,
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": ""},
        }
        deltas += [{"tool_calls": [first]}]
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in call.function.arguments
        ]
    if message.audio:
        deltas += [{"audio": {"id": message.audio.id, "transcript": piece}} for piece in message.audio.transcript]
        deltas += [{"audio": {"data": message.audio.data}}, {"audio": {"expires_at": message.audio.expires_at}}]
    if message.annotations:
        deltas += [{"annotations": [one.model_dump() for one in message.annotations]}]
    logprobs = [None] * len(deltas)
    if choice.logprobs:
        logprobs[0] = choice.logprobs.model_dump()
    chunks = [head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None, "logprobs": some}]}
              for delta, some in zip(deltas, logprobs, strict=True)]  # fmt: skip
    chunks += [head | {"choices": [{"index": 0, "delta": {}, "finish_reason": choice.finish_reason, "logprobs": None}]}]
    chunks += [head | {"choices": [], "usage": whole.usage.model_dump()}]
    return [TYPES.ChatCompletionChunk.model_validate(chunk) for chunk in chunks]


def outcome(read: Any, *arguments: Any) -> tuple[LLMResponse | None, bool]:
    """The answer, and whether it was refused."""
    try:
        return read(*arguments), False
    except ContentFilterError as error:
        return error.response, True


@settings(max_examples=examples(100))
@given(st.data())
def test_what_the_sdk_s_types_can_express_of_an_answer_is_read(data: Any) -> None:
    """Whole and streamed, without loss."""
    whole = data.draw(completions())
    message, usage = whole.choices[0].message, whole.usage
    response, refused = outcome(lambda: decoded(whole.model_dump_json(exclude_unset=True).encode(), logprobs=True))
    again, also = outcome(lambda: streamed(as_chunks(whole), logprobs=True))
    assert refused is also is bool(message.refusal) and response is not None
    if refused:
        assert response.text == message.refusal and again is not None and again.text == message.refusal
        return
    assert again == response
    assert response.text == (message.content or (message.audio.transcript if message.audio else ""))
    assert [(c.id, c.name, c.arguments) for c in response.tool_calls] == [
        (c.id, c.function.name, c.function.arguments) for c in message.tool_calls or ()
    ]
    assert response.finish_reason == whole.choices[0].finish_reason == response.details.finish_reason
    assert (response.model, response.details.id, response.details.service_tier) == (
        whole.model,
        whole.id,
        whole.service_tier,
    )
    told = response.usage
    assert (told.prompt_tokens, told.completion_tokens, told.total_tokens) == (
        usage.prompt_tokens, usage.completion_tokens, usage.total_tokens,
    )  # fmt: skip
    prompt, output = usage.prompt_tokens_details, usage.completion_tokens_details
    assert told.cached_tokens == (prompt.cached_tokens if prompt else None)
    assert told.cache_write_tokens == (prompt.cache_write_tokens if prompt else None)
    assert told.reasoning_tokens == (output.reasoning_tokens if output else None)
    cited = [one.url_citation for one in message.annotations or ()]
    assert [(c.url, c.title, c.start, c.end) for c in response.details.citations] == [
        (c.url, c.title, c.start_index, c.end_index) for c in cited
    ]
    tokens = (whole.choices[0].logprobs.content or ()) if whole.choices[0].logprobs else ()
    assert [(t.token, t.logprob, list(t.top)) for t in response.details.logprobs] == [
        (t.token, t.logprob, [(top.token, top.logprob) for top in t.top_logprobs]) for t in tokens
    ]
    assert json.loads(json.dumps(response.message))["role"] == "assistant"
