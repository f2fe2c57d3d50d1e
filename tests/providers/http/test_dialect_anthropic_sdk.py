"""The vendor's own SDK as the measure: it sends what the dialect sends, and all that its types express is read."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from helpers.anthropic_messages import (
    CALL,
    CITED,
    FOUND,
    MODEL,
    REDACTED,
    SEARCH,
    TEXT,
    THOUGHT,
    events_of,
    message,
    sse,
)
from helpers.drawn_examples import examples
from helpers.late_module import late_module
from helpers.servers import Server, answering, json_answer
from helpers.stream_support import router_to
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.anthropic.dialect import MessagesDialect
from lee_llm_router.providers.http.dialects.anthropic.settings import AnthropicConfig
from lee_llm_router.response import LLMRequest, LLMResponse

anthropic = late_module("anthropic")

DIALECT = MessagesDialect()
SETTINGS = AnthropicConfig.model_validate({"type": "anthropic", "model": MODEL})
# Without shrinking: the examples are small, and it would ask servers for minutes.
QUICK = settings(
    max_examples=examples(100), deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)

# What is asked: one logical request, written twice. A pair is (ours, the vendor's).

_WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=12)
_NAMES = st.sampled_from(["f", "get_weather", "a-b"])
_DATA = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
_URL = {"type": "url", "url": "https://h.test/cat.png"}
_PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
_PARTS = st.one_of(
    _WORDS.map(lambda text: ({"type": "text", "text": text}, {"type": "text", "text": text})),
    st.just(({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_DATA['data']}"}},
             {"type": "image", "source": _DATA})),
    st.just(({"type": "image_url", "image_url": {"url": _URL["url"]}}, {"type": "image", "source": _URL})),
    st.just(({"type": "file", "file": {"file_data": f"data:application/pdf;base64,{_PDF['data']}"}},
             {"type": "document", "source": _PDF})),
)  # fmt: skip
_ARGUMENTS = st.dictionaries(_WORDS, st.one_of(st.integers(-9, 9), _WORDS, st.booleans(), st.none()), max_size=2)
_SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


@st.composite
def _conversation(draw: st.DrawFn) -> tuple[list[Any], list[Any]]:
    ours: list[Any] = []
    theirs: list[Any] = []
    for turn in range(draw(st.integers(1, 3))):
        parts = draw(st.lists(_PARTS, min_size=1, max_size=3))
        said = [part for _, part in parts]
        ours.append({"role": "user", "content": [part for part, _ in parts]})
        if theirs and theirs[-1]["role"] == "user":
            theirs[-1]["content"] += said
        else:
            theirs.append({"role": "user", "content": said})
        calls = [(f"id_{turn}_{number}", draw(_NAMES), draw(_ARGUMENTS)) for number in range(draw(st.integers(0, 2)))]
        text = draw(st.one_of(st.none(), _WORDS)) if calls else draw(_WORDS)
        ours.append({"role": "assistant", "content": text, "tool_calls": [
            {"id": one, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for one, name, arguments in calls
        ]})  # fmt: skip
        theirs.append({"role": "assistant", "content": [
            *([{"type": "text", "text": text}] if text else []),
            *({"type": "tool_use", "id": one, "name": name, "input": arguments} for one, name, arguments in calls),
        ]})  # fmt: skip
        if calls:
            theirs.append({"role": "user", "content": []})
        for one, _, _ in calls:
            result, failed = draw(_WORDS), draw(st.booleans())
            ours.append({"role": "tool", "tool_call_id": one, "content": result, "is_error": failed})
            theirs[-1]["content"].append(
                {"type": "tool_result", "tool_use_id": one, "content": result} | ({"is_error": True} if failed else {})
            )
    last = draw(_WORDS)
    ours.append({"role": "user", "content": last})
    if theirs[-1]["role"] == "user":
        theirs[-1]["content"].append({"type": "text", "text": last})
    else:
        theirs.append({"role": "user", "content": [{"type": "text", "text": last}]})
    return ours, theirs


_TOOLS = ["f", "get_weather", "a-b"]
_OUR_TOOLS = [
    {"type": "function", "function": {"name": name, "description": "d", "parameters": _SCHEMA, "strict": True}}
    for name in _TOOLS
]
_THEIR_TOOLS = [{"name": name, "description": "d", "input_schema": _SCHEMA, "strict": True} for name in _TOOLS]
_OPTIONS: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {
    "max_tokens": [({"max_tokens": 77}, {"max_tokens": 77}), ({}, {"max_tokens": 20_000})],
    "stop": [({}, {}), ({"stop": ("END", "###")}, {"stop_sequences": ["END", "###"]})],
    "tier": [({}, {}), ({"service_tier": "standard_only"}, {"service_tier": "standard_only"}),
             ({"service_tier": "fast"}, {"speed": "fast"})],
    "choice": [({}, {}), ({"tool_choice": "none"}, {"tool_choice": {"type": "none"}}),
               ({"tool_choice": "auto", "parallel_tool_calls": False},
                {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}})],
    "output": [
        ({}, {}),
        ({"reasoning_effort": "high"}, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ({"schema": _SCHEMA}, {"output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}}}),
        ({"schema": _SCHEMA, "reasoning_effort": "low"}, {
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": _SCHEMA}}}),
    ],
    "own": [({}, {}), ({"extra_body": {"metadata": {"user_id": "u1"}}}, {"metadata": {"user_id": "u1"}})],
    "system": [({}, {}), ({"instructions": "Be brief."}, {"system": "Be brief."})],
}  # fmt: skip


@pytest.fixture(scope="module")
def recorder() -> Iterator[Server]:
    with Server(answering(json_answer(message({"type": "text", "text": '{"a": 1}'})))) as server:
        yield server


@pytest.fixture(scope="module")
def client(recorder: Server) -> Iterator[Any]:
    with anthropic.Anthropic(
        api_key="key-0123456789", base_url=recorder.url.removesuffix("/v1"), max_retries=0
    ) as made:
        yield made


@pytest.fixture(scope="module")
def router(recorder: Server) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUR_KEY", "key-0123456789")
        made = router_to(recorder.url, type="anthropic", model=MODEL, api_key_env="OUR_KEY")
        yield made
        made.close()


def _normal(body: dict[str, Any]) -> dict[str, Any]:
    """A body whose texts are blocks in every place: a string is short for one."""

    def blocks(content: Any) -> Any:
        return [{"type": "text", "text": content}] if isinstance(content, str) else content

    messages = [
        {**one, "content": [{**block, "content": blocks(block["content"])} if "content" in block else block
                            for block in blocks(one["content"])]}
        for one in body["messages"]
    ]  # fmt: skip
    return {**body, "messages": messages} | ({"system": blocks(body["system"])} if "system" in body else {})


@QUICK
@given(_conversation(), st.fixed_dictionaries({name: st.sampled_from(pairs) for name, pairs in _OPTIONS.items()}))
def test_the_sdk_sends_the_same_request(
    recorder: Server, client: Any, router: Any, conversation: tuple[list[Any], list[Any]], options: dict[str, Any]
) -> None:
    """The same logical request, given to both, arrives as bodies of one meaning, with the same headers of the API's."""
    ours, theirs = conversation
    mine: dict[str, Any] = {name: value for pair in options.values() for name, value in pair[0].items()}
    vendors = {name: value for pair in options.values() for name, value in pair[1].items()}
    instructions = mine.pop("instructions", None)
    asked = ours if instructions is None else [{"role": "system", "content": instructions}, *ours]
    router.complete("r", asked, tools=_OUR_TOOLS, **mine)
    client.messages.create(model=MODEL, messages=theirs, tools=_THEIR_TOOLS, **vendors)
    first, second = recorder.requests[-2:]
    assert _normal(first.json) == _normal(second.json)
    for name in ("authorization", "anthropic-version", "content-type"):
        assert first.headers[name] == second.headers[name]
    assert first.line.split(" ")[:2] == second.line.split(" ")[:2]


# What comes back: all that the SDK's types express.


def _values(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of JSON that the type `annotation` of the SDK's takes."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _values(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(_values, arguments))
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is list:
        return st.lists(_values(arguments[0]), max_size=2)
    if origin is dict:
        return _ARGUMENTS
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        values = {part.alias or name: _values(part.annotation) for name, part in fields}
        return st.fixed_dictionaries(values | ({"name": _NAMES} if annotation is anthropic.types.ToolUseBlock else {}))
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=6), int: st.integers(0, 10**6), float: st.floats(0, 9), bool: st.booleans(),
        type(None): st.none(),
    }  # fmt: skip
    return simple.get(annotation, st.just("2026-11-26T00:00:00Z"))


def _read(body: bytes) -> LLMResponse:
    reply = HTTPReply(200, body, settings=SETTINGS, request=LLMRequest(messages=()))
    return DIALECT.decode(reply)


_BLOCKS = st.deferred(lambda: _values(anthropic.types.ContentBlock))
_REASONS = ["end_turn", "max_tokens", "stop_sequence", "pause_turn", "model_context_window_exceeded"]


@QUICK
@given(st.data())
def test_all_that_an_answer_may_hold_is_read(data: st.DataObject) -> None:
    """Texts, thinking, calls, citations, the vendor's own blocks, usage, ids: whole and streamed."""
    fields = data.draw(_values(anthropic.types.Message))
    blocks = data.draw(st.lists(_BLOCKS, max_size=4))
    whole = {**fields, "content": blocks, "stop_reason": data.draw(st.sampled_from(_REASONS)), "stop_details": None}
    anthropic.types.Message.model_validate(whole)
    answer = _read(json.dumps(whole).encode())
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    calls = [block for block in blocks if block["type"] == "tool_use"]
    others = [block for block in blocks if block["type"] not in ("text", "tool_use", "thinking", "redacted_thinking")]
    assert answer.text == "".join(texts)
    assert [json.loads(call.arguments) for call in answer.tool_calls] == [block["input"] for block in calls]
    assert "".join(block["thinking"] for block in blocks if block["type"] == "thinking") in (
        answer.reasoning or ""
    ).replace("\n\n", "") or "\n" in (answer.reasoning or "")
    assert [part for part in answer.details.parts if part["type"] != "text"] == others
    cited = [one for block in blocks if block["type"] == "text" for one in block["citations"] or ()]
    assert [one.quote or "" for one in answer.details.citations] == [one["cited_text"] for one in cited]
    usage = whole["usage"]
    counted = [usage[name] or 0 for name in
               ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")]  # fmt: skip
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (sum(counted), usage["output_tokens"])
    assert answer.usage.cached_tokens == usage["cache_read_input_tokens"]
    assert (answer.model or "", answer.details.id or "") == (whole["model"], whole["id"])
    assert answer.details.finish_reason == whole["stop_reason"]
    streamed = _read(sse(*events_of(whole)))
    assert (streamed.text, streamed.reasoning, streamed.finish_reason) == (
        answer.text, answer.reasoning, answer.finish_reason,
    )  # fmt: skip
    assert streamed.raw["content"] == answer.raw["content"]
    assert streamed.details.parts == answer.details.parts and streamed.details.native == answer.details.native


@pytest.mark.parametrize("blocks", [
    [TEXT], [THOUGHT, REDACTED, TEXT, CALL], [SEARCH, FOUND, {**TEXT, "citations": [CITED]}], [],
])  # fmt: skip
def test_what_the_test_servers_send_are_messages_of_the_sdks(blocks: list[Any]) -> None:
    """And the SDK puts the stream together as the dialect does."""
    from anthropic.lib.streaming._messages import accumulate_event

    whole = message(*blocks)
    anthropic.types.Message.model_validate(whole, strict=True)
    adapter = TypeAdapter(anthropic.types.RawMessageStreamEvent)
    snapshot, buffers = None, {}  # type: ignore[var-annotated]
    for event in events_of(whole):
        if event["type"] == "ping":
            continue
        snapshot = accumulate_event(event=adapter.validate_python(event), current_snapshot=snapshot, json_bufs=buffers)
    assert snapshot is not None
    own = _read(sse(*events_of(whole))).raw
    assert [block.to_dict() for block in snapshot.content] == own["content"]
    assert (snapshot.stop_reason, snapshot.usage.output_tokens) == (own["stop_reason"], own["usage"]["output_tokens"])
