"""The Responses API beside OpenAI's own SDK: the same bodies go out, and what its types can express is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from helpers.drawn_examples import examples
from helpers.late_module import late_module
from helpers.responses_support import (
    answer,
    call,
    events_of,
    failed,
    message,
    part,
    response,
    stream_of,
    thought,
)
from helpers.sdk_values import values_of, with_fields
from helpers.servers import Server, answering, http
from helpers.stream_support import router_to
from helpers.strict_openai_responses import check
from helpers.support import Memory
from lee_llm_router import LeeLLMRouter, LLMRouterError
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.openai_responses.whole_answer import whole_answer

openai = late_module("openai")
sdk = late_module("openai.types.responses")

PNG = "data:image/png;base64,iVBORw0KGgo="
QUICK = settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=8)

Pair = tuple[Any, Any]
"""One thing as a caller of the router writes it, and as one of the SDK does."""


def _user_parts() -> st.SearchStrategy[Pair]:
    image = st.sampled_from([PNG, "https://a.example/x.png"]).map(lambda url: (
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "input_image", "image_url": url, "detail": "auto"},
    ))  # fmt: skip
    file = TEXT.map(lambda name: (
        {"type": "file", "file": {"filename": name, "file_data": "data:application/pdf;base64,JVBERi0x"}},
        {"type": "input_file", "filename": name, "file_data": "data:application/pdf;base64,JVBERi0x"},
    ))  # fmt: skip
    text = TEXT.map(lambda one: ({"type": "text", "text": one}, {"type": "input_text", "text": one}))
    return st.one_of(text, image, file)


def _parts(role: str) -> st.SearchStrategy[Pair]:
    def listed(pairs: list[Pair]) -> Pair:
        return [{"role": role, "content": [one for one, _ in pairs]}], [
            {"role": role, "content": [other for _, other in pairs]}
        ]

    return st.lists(_user_parts(), min_size=2, max_size=3).map(listed)


def _tool_turn(drawn: tuple[str | None, list[tuple[str, Any]]], number: int) -> Pair:
    """An answer that calls tools, and their results."""
    said, results = drawn
    ids = [f"call_{number}_{place}" for place in range(len(results))]
    calls = [{"id": one, "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}} for one in ids]
    ours: list[Any] = [{"role": "assistant", "content": said, "tool_calls": calls}]
    theirs: list[Any] = [{"type": "message", "role": "assistant", "content": said}] if said else []
    theirs += [{"type": "function_call", "call_id": one, "name": "f", "arguments": '{"a": 1}'} for one in ids]
    for one, (text, picture) in zip(ids, results, strict=True):
        content: Any = text
        output: Any = text
        if picture:
            content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": picture}}]
            output = [{"type": "input_text", "text": text},
                      {"type": "input_image", "image_url": picture, "detail": "auto"}]  # fmt: skip
        ours.append({"role": "tool", "tool_call_id": one, "content": content})
        theirs.append({"type": "function_call_output", "call_id": one, "output": output})
    return ours, theirs


@st.composite
def _histories(draw: Any) -> Pair:
    ours: list[Any] = []
    theirs: list[Any] = []
    for role in draw(st.lists(st.sampled_from(["system", "developer"]), max_size=1)):
        text = draw(TEXT)
        ours.append({"role": role, "content": text})
        theirs.append({"role": role, "content": text})
    for number in range(draw(st.integers(1, 3))):
        text = draw(TEXT)
        pair: Pair = ([{"role": "user", "content": text}], [{"role": "user", "content": text}])
        if draw(st.booleans()):
            pair = draw(_parts("user"))
        ours, theirs = ours + pair[0], theirs + pair[1]
        if draw(st.booleans()):
            results = st.lists(st.tuples(TEXT, st.sampled_from([None, PNG])), min_size=1, max_size=2)
            pair = _tool_turn(draw(st.tuples(st.none() | TEXT, results)), number)
            ours, theirs = ours + pair[0], theirs + pair[1]
        text = draw(TEXT)
        ours.append({"role": "assistant", "content": text})
        theirs.append({"type": "message", "role": "assistant", "content": text})
    text = draw(TEXT)
    return [*ours, {"role": "user", "content": text}], [*theirs, {"role": "user", "content": text}]


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
PARAMETERS = {"type": "object", "properties": {"a": {"type": "integer"}}}
OPTIONS: dict[str, st.SearchStrategy[tuple[dict[str, Any], dict[str, Any]]]] = {
    "temperature": st.floats(0, 2).map(lambda one: ({"temperature": one}, {"temperature": one})),
    "top_p": st.floats(0.01, 1).map(lambda one: ({"top_p": one}, {"top_p": one})),
    "max_tokens": st.integers(16, 999).map(lambda one: ({"max_tokens": one}, {"max_output_tokens": one})),
    "effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"]).map(
        lambda one: ({"reasoning_effort": one}, {"reasoning": {"effort": one}})
    ),
    "tier": st.sampled_from(["flex", "priority"]).map(lambda one: ({"service_tier": one}, {"service_tier": one})),
    "logprobs": st.integers(0, 20).map(lambda one: (
        {"top_logprobs": one},
        {"top_logprobs": one, "include": ["reasoning.encrypted_content", "message.output_text.logprobs"]},
    )),
    "schema": st.just((
        {"schema": SCHEMA},
        {"text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}}},
    )),
    "tools": st.tuples(
        st.sampled_from(["auto", "none", "required", "f"]), st.booleans(), st.sampled_from([True, False, None])
    ).map(lambda drawn: _tools(*drawn)),
    "extra": TEXT.map(lambda one: ({"extra_body": {"user": one}}, {"user": one})),
}  # fmt: skip


def _tools(choice: str, parallel: bool, strict: bool | None) -> tuple[dict[str, Any], dict[str, Any]]:
    parameters = {**PARAMETERS, "additionalProperties": False} if strict else PARAMETERS
    tool: dict[str, Any] = {"name": "f", "description": "d", "parameters": parameters}
    ours = {"type": "function", "function": tool if strict is None else {**tool, "strict": strict}}
    named = {"type": "function", "function": {"name": "f"}} if choice == "f" else choice
    flat = {"type": "function", "name": "f"} if choice == "f" else choice
    return (
        {"tools": [ours], "tool_choice": named, "parallel_tool_calls": parallel},
        {"tools": [{"type": "function", **tool, "strict": bool(strict)}], "tool_choice": flat,
         "parallel_tool_calls": parallel},
    )  # fmt: skip


@contextmanager
def _recorder() -> Iterator[tuple[Server, LeeLLMRouter, Any]]:
    """A server that records what it is asked, the router, and the SDK."""
    with Server(answering(answer(response(message('{"a": "x"}'))))) as server:
        role = {"retry": {"attempts": 1}}
        with (
            router_to(server.url, role=role, memory=Memory(), type="openai_responses", model="gpt-6") as router,
            openai.OpenAI(base_url=server.url, api_key="x", max_retries=0) as client,
        ):
            yield server, router, client


def test_the_same_request_has_the_same_body_as_the_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 random requests: messages of all kinds and options, nothing lost, all taken by a strict server."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    adapter: TypeAdapter[Any] = TypeAdapter(sdk.response_create_params.ResponseCreateParamsNonStreaming)
    with _recorder() as (server, router, client):

        @QUICK
        @given(_histories(), st.fixed_dictionaries({}, optional=OPTIONS))
        def compare(history: Pair, options: dict[str, Any]) -> None:
            ours: dict[str, Any] = {}
            theirs: dict[str, Any] = {"include": ["reasoning.encrypted_content"]}
            for one, other in options.values():
                ours, theirs = ours | one, theirs | other
            server.requests.clear()
            router.complete("r", history[0], **ours)
            client.responses.create(model="gpt-6", input=history[1], store=False, **theirs)
            sent, wanted = (one.json for one in server.requests)
            assert sent == wanted
            assert check(sent, "/v1/responses", {}) is None
            adapter.validate_python(sent)

        compare()


RECORDED: list[dict[str, Any]] = [
    response(message("Hello")), response(thought("a", "b"), message("x", phase="commentary"), call()),
    response({"id": "c", "type": "custom_tool_call", "call_id": "call_9", "name": "sql", "input": "select 1"}),
    response({"id": "i", "type": "image_generation_call", "status": "completed", "result": "aGk="}),
    response(message(part("x", annotations=[
        {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 1}]))),
    response(message({"type": "refusal", "refusal": "No."})),
    response(message("Half"), status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
    failed("server_error"),
]  # fmt: skip


@pytest.mark.parametrize("whole", RECORDED)
def test_what_our_test_servers_send_is_what_the_sdk_reads(whole: dict[str, Any]) -> None:
    sdk.Response.model_validate(whole)
    adapter: TypeAdapter[Any] = TypeAdapter(sdk.ResponseStreamEvent)
    for one in events_of(whole):
        adapter.validate_python(one)


def test_the_sdk_reads_our_streams_as_we_do() -> None:
    whole = RECORDED[1]
    body = http(200, stream_of(whole), {"Content-Type": "text/event-stream"})
    with Server(answering(body)) as server:
        with openai.OpenAI(base_url=server.url, api_key="x", max_retries=0) as client:
            events: list[Any] = list(client.responses.create(model="m", input="hi", stream=True))
        with router_to(server.url, memory=Memory(), type="openai_responses") as router:
            stream = router.stream("r", "hi")
            chunks = list(stream)
    assert events[-1].response.model_dump(mode="json", exclude_unset=True) == stream.response.raw == whole
    deltas = [one.delta for one in events if one.type == "response.function_call_arguments.delta"]
    pieces = [call.arguments for chunk in chunks for call in chunk.tool_calls if call.arguments]
    assert pieces == deltas


@st.composite
def _responses(draw: Any) -> dict[str, Any]:
    kinds = get_args(get_args(sdk.response_output_item.ResponseOutputItem)[0])
    items = draw(st.lists(st.sampled_from(kinds).flatmap(values_of), max_size=4))
    whole = draw(with_fields(
        sdk.Response, output=items, tools=[], tool_choice="auto", error=None, instructions=None, prompt=None,
        moderation=None, status=st.sampled_from(["completed", "completed", "incomplete"]),
    ))  # fmt: skip
    sdk.Response.model_validate(whole)
    return dict(whole)


@QUICK
@given(_responses())
def test_what_the_sdks_types_can_express_is_read(whole: dict[str, Any]) -> None:
    """Texts, calls, reasoning, sources and tokens; nothing else than a typed error where it is no answer."""
    theirs = sdk.Response.model_validate(whole)
    try:
        ours = whole_answer(HTTPReply(200, json.dumps(whole).encode()), whole)
    except LLMRouterError:
        assert _is_no_answer(theirs)
        return
    assert (ours.details.id, ours.model) == (theirs.id or None, theirs.model or None)
    messages = [one for one in theirs.output if one.type == "message"]
    if not any(one.phase for one in messages):
        assert ours.text == theirs.output_text
        notes = [note for one in messages for content in one.content
                 if content.type == "output_text" for note in content.annotations]  # fmt: skip
        named = [note for note in notes if getattr(note, "url", "") or getattr(note, "title", "")
                 or getattr(note, "filename", "") or getattr(note, "file_id", "")]  # fmt: skip
        assert len(ours.details.citations) == len(named)
    calls = [one for one in theirs.output if one.type in ("function_call", "custom_tool_call")]
    assert [one.name for one in ours.tool_calls] == [one.name for one in calls]
    assert len({one.id for one in ours.tool_calls}) == len(calls)
    summaries = [text.text for one in theirs.output if one.type == "reasoning" for text in one.content or one.summary]
    assert all(text in (ours.reasoning or "") for text in summaries)
    if theirs.usage is not None:
        usage = ours.usage
        assert (usage.prompt_tokens, usage.completion_tokens) == (theirs.usage.input_tokens, theirs.usage.output_tokens)
        assert usage.cached_tokens == theirs.usage.input_tokens_details.cached_tokens
        assert usage.cache_write_tokens == theirs.usage.input_tokens_details.cache_write_tokens
        assert usage.reasoning_tokens == theirs.usage.output_tokens_details.reasoning_tokens
    pictures = [one for one in theirs.output if one.type == "image_generation_call" and one.result]
    assert len(ours.details.images) == len(pictures)
    assert ours.raw is whole


def _is_no_answer(theirs: Any) -> bool:
    """Whether a response holds a refusal, was broken off, has a call without a name, or says nothing."""
    reason = theirs.incomplete_details.reason if theirs.incomplete_details else None
    broken = theirs.status == "incomplete" and reason not in ("max_output_tokens", "max_messages")
    contents = [content for one in theirs.output if one.type == "message" for content in one.content]
    refused = any(content.type == "refusal" and content.refusal for content in contents)
    calls = [one for one in theirs.output if one.type in ("function_call", "custom_tool_call")]
    says = any(content.type == "output_text" for content in contents) or any(one.name for one in calls)
    return broken or refused or not says or any(not one.name for one in calls)
