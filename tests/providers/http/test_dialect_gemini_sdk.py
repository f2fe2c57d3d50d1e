"""Google's own SDK and this dialect say the same: bodies that they send, and answers that they read.

The SDK is imported when the first test runs: that takes seconds. It is `Any` here, so that mypy need not read it.
"""

from __future__ import annotations

import importlib
import json
import logging
import random
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.drawn_examples import examples
from helpers.gemini_wire import MODEL, SETTINGS, answer, array, call, events, piece, read, text, thought, whole
from helpers.servers import Server, answering, http, json_answer
from helpers.stream_support import router_to
from helpers.strict_gemini import answers, check
from lee_llm_router import FailureType, LLMRouterError

SDK: Any = None
PNG, PDF, WAV = (b64encode(data).decode() for data in (b"\x89PNG\r\n\x1a\n~?", b"%PDF-1.7", b"RIFF~~~~WAVE"))


@pytest.fixture(scope="module", autouse=True)
def _sdk() -> Iterator[None]:
    global SDK  # noqa: PLW0603 - see above
    SDK = importlib.import_module("google.genai.types")
    yield


@pytest.fixture(scope="module")
def wire() -> Iterator[tuple[Server, Any, Any]]:
    """A server that records, with the SDK's client and a router that ask it."""
    with Server(answering(json_answer(answer(text('{"a_b": 1}'))))) as server:
        genai = importlib.import_module("google.genai")
        url = server.url.removesuffix("/v1")
        client = genai.Client(api_key="k", http_options=SDK.HttpOptions(base_url=url, api_version="v1"))
        router = router_to(server.url, **SETTINGS)
        yield server, client, router
        client.close()
        router.close()


# Requests


_AS_WRITTEN = ("parametersJsonSchema", "responseJsonSchema", "args", "response")


def meaning(value: Any, name: str = "") -> Any:
    """A body without what says nothing: snake or camel case, base64 in either alphabet, the role of instructions."""
    if name in _AS_WRITTEN:
        return value
    if isinstance(value, dict):
        camel = {_camel(key): inner for key, inner in value.items()}
        if name == "systemInstruction":
            camel.pop("role", None)
        return {key: meaning(inner, key) for key, inner in camel.items() if inner != {} or key in _AS_WRITTEN}
    if isinstance(value, list):
        return [meaning(inner, name) for inner in value]
    if name in ("data", "thoughtSignature") and isinstance(value, str):
        return b64decode(value.replace("-", "+").replace("_", "/"))
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


TEXTS = st.text("aß🙂 \n", min_size=1, max_size=8).filter(str.strip)
NAMES = st.sampled_from(["get_weather", "f", "a.b:c-d", "_x1"])
ARGS = st.dictionaries(st.sampled_from(["city", "n_days"]), st.sampled_from(["Köln", 3, None, [1, {"a": True}]]))
MEDIA = st.sampled_from(["image", "image_url", "audio", "file"])


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """A logical request: turns of texts, media, calls and results; options."""
    turns: list[Any] = []
    for number in range(draw(st.integers(1, 3))):
        turns.append(
            ("user", draw(st.lists(st.one_of(TEXTS, MEDIA.map(lambda kind: (kind,))), min_size=1, max_size=3)))
        )
        if draw(st.booleans()):
            called = draw(st.lists(st.tuples(NAMES, ARGS), min_size=1, max_size=2))
            said = draw(st.none() | TEXTS)
            results = [(draw(TEXTS), draw(st.booleans())) for _ in called]
            turns.append(("calls", said, [(f"id_{number}_{at}", *one) for at, one in enumerate(called)], results))
        if draw(st.booleans()):
            turns.append(("model", draw(TEXTS)))
    turns.append(("user", [draw(TEXTS)]))
    schema = {"type": "object", "properties": {"a_b": {"type": "integer"}}, "required": ["a_b"]}
    options = {
        "temperature": st.floats(0, 2), "top_p": st.floats(0.1, 1), "top_k": st.integers(1, 40),
        "max_tokens": st.integers(1, 999), "stop": st.lists(TEXTS, min_size=1, max_size=5),
        "seed": st.integers(-(2**31), 2**31 - 1), "presence_penalty": st.floats(-2, 2),
        "frequency_penalty": st.floats(-2, 2), "top_logprobs": st.integers(1, 20),
        "reasoning_effort": st.sampled_from(["minimal", "low", "medium", "high"]),
        "service_tier": st.sampled_from(["flex", "priority", "standard"]), "schema": st.just(schema),
    }  # fmt: skip
    chosen = {name: draw(values) for name, values in options.items() if draw(st.booleans())}
    tools = draw(st.lists(NAMES, unique=True, max_size=3))
    choices = ["auto", "none", "required", *tools] if tools else []
    return {
        "system": draw(st.none() | TEXTS), "turns": turns, "options": chosen, "tools": tools,
        "choice": draw(st.none() | st.sampled_from(choices)) if choices else None,
    }  # fmt: skip


PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}, "n_days": {"type": "integer"}}}


def our_part(item: Any) -> dict[str, Any]:
    if isinstance(item, str):
        return {"type": "text", "text": item}
    return {
        "image": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        "image_url": {"type": "image_url", "image_url": {"url": "https://server.test/cat.png"}},
        "audio": {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
        "file": {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}"}},
    }[item[0]]


def sdk_part(item: Any) -> Any:
    if isinstance(item, str):
        return SDK.Part(text=item)
    if item[0] == "image_url":
        return SDK.Part.from_uri(file_uri="https://server.test/cat.png", mime_type="image/png")
    data, kind = {"image": (PNG, "image/png"), "audio": (WAV, "audio/wav"), "file": (PDF, "application/pdf")}[item[0]]
    return SDK.Part.from_bytes(data=b64decode(data), mime_type=kind)


def in_our_words(asked: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    messages: list[Any] = [{"role": "system", "content": asked["system"]}] if asked["system"] else []
    for kind, *rest in asked["turns"]:
        if kind == "user":
            messages.append({"role": "user", "content": [our_part(item) for item in rest[0]]})
        elif kind == "model":
            messages.append({"role": "assistant", "content": rest[0]})
        else:
            said, called, results = rest
            messages.append({"role": "assistant", "content": said, "tool_calls": [
                {"id": i, "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
                for i, name, args in called
            ]})  # fmt: skip
            given = [
                {"role": "tool", "tool_call_id": i, "content": words, "is_error": wrong}
                for (i, *_), (words, wrong) in zip(called, results, strict=True)
            ]
            messages += random.Random(len(said or "")).sample(given, len(given))
    options = dict(asked["options"])
    if asked["tools"]:
        options["tools"] = [
            {"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in asked["tools"]
        ]
    if asked["choice"]:
        named = {"type": "function", "function": {"name": asked["choice"]}}
        options["tool_choice"] = asked["choice"] if asked["choice"] in ("auto", "none", "required") else named
    return messages, options


def in_the_sdks_words(asked: dict[str, Any]) -> tuple[list[Any], Any]:
    contents: list[Any] = []

    def add(role: str, parts: list[Any]) -> None:
        if contents and contents[-1].role == role:
            contents[-1].parts.extend(parts)
        else:
            contents.append(SDK.Content(role=role, parts=parts))

    for kind, *rest in asked["turns"]:
        if kind == "user":
            add("user", [sdk_part(item) for item in rest[0]])
        elif kind == "model":
            add("model", [SDK.Part(text=rest[0])])
        else:
            said, called, results = rest
            parts = [SDK.Part(text=said)] if said else []
            for number, (i, name, args) in enumerate(called):
                signature = b64decode("skip_thought_signature_validator".replace("_", "/")) if number == 0 else None
                function = SDK.FunctionCall(id=i, name=name, args=args)
                parts.append(SDK.Part(function_call=function, thought_signature=signature))
            add("model", parts)
            add("user", [
                SDK.Part(function_response=SDK.FunctionResponse(
                    id=i, name=name, response={"error" if wrong else "result": words}
                ))
                for (i, name, _), (words, wrong) in zip(called, results, strict=True)
            ])  # fmt: skip
    return contents, _config(asked)


def _config(asked: dict[str, Any]) -> Any:
    given = asked["options"]
    same = ("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty", "service_tier")
    fields: dict[str, Any] = {name: given[name] for name in same if name in given}
    if asked["system"]:
        fields["system_instruction"] = asked["system"]
    if "max_tokens" in given:
        fields["max_output_tokens"] = given["max_tokens"]
    if "stop" in given:
        fields["stop_sequences"] = given["stop"]
    if "top_logprobs" in given:
        fields |= {"response_logprobs": True, "logprobs": given["top_logprobs"]}
    if "schema" in given:
        fields |= {"response_mime_type": "application/json", "response_json_schema": given["schema"]}
    if "reasoning_effort" in given:
        level = given["reasoning_effort"].upper()
        fields["thinking_config"] = SDK.ThinkingConfig(thinking_level=level, include_thoughts=True)
    if asked["tools"]:
        functions = [SDK.FunctionDeclaration(name=name, parameters_json_schema=PARAMETERS) for name in asked["tools"]]
        fields["tools"] = [SDK.Tool(function_declarations=functions)]
    if asked["choice"]:
        modes = {"auto": {"mode": "AUTO"}, "none": {"mode": "NONE"}, "required": {"mode": "ANY"}}
        chosen = modes.get(asked["choice"], {"mode": "ANY", "allowed_function_names": [asked["choice"]]})
        fields["tool_config"] = SDK.ToolConfig(function_calling_config=SDK.FunctionCallingConfig(**chosen))
    return SDK.GenerateContentConfig(**fields)


@settings(max_examples=examples(100))
@given(asked=requests())
def test_the_sdk_and_this_dialect_send_bodies_of_one_meaning(wire: Any, asked: dict[str, Any]) -> None:
    """100 random requests: nothing is lost of texts, media, calls, results and options."""
    server, client, router = wire
    before = len(server.requests)
    contents, config = in_the_sdks_words(asked)
    client.models.generate_content(model=MODEL, contents=contents, config=config)
    messages, options = in_our_words(asked)
    router.complete("r", messages, **options)
    theirs, ours = server.requests[before], server.requests[before + 1]
    assert ours.line == theirs.line
    assert meaning(ours.json) == meaning(theirs.json)
    assert check(ours.json, ours.line.split()[1], {}) is None


def test_the_sdk_asks_for_streams_at_the_same_address(wire: Any) -> None:
    server, client, router = wire
    before = len(server.requests)
    list(client.models.generate_content_stream(model="tunedModels/mine", contents="hi"))
    list(router.stream("r", "hi", model="tunedModels/mine"))
    assert server.requests[before].line == server.requests[-1].line


# Answers


def test_what_the_servers_of_these_tests_send_is_what_the_sdk_reads(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    genai = importlib.import_module("google.genai")
    for turn in (1, 2, 3):
        bodies = [answers(turn, stream, {}) for stream in (False, True)]
        ours = read(bodies[0])
        for body, stream in zip(bodies, (False, True), strict=True):
            assert read(body) == ours
            with Server(answering(http(200, body, {"Content-Type": "application/json"}))) as server:
                options = SDK.HttpOptions(base_url=server.url.removesuffix("/v1"))
                client = genai.Client(api_key="k", http_options=options)
                ask = client.models.generate_content_stream if stream else client.models.generate_content
                found = ask(model=MODEL, contents="hi")
                pieces = list(found) if stream else [found]
                client.close()
            parts = [part for one in pieces for part in one.candidates[0].content.parts or []]
            assert "".join(part.text for part in parts if part.text and not part.thought) == ours.text
            assert [part.function_call.name for part in parts if part.function_call] == [
                one.name for one in ours.tool_calls
            ]
            assert pieces[-1].usage_metadata.total_token_count == ours.usage.total_tokens


def test_the_words_of_the_sdk_are_all_known() -> None:
    """Finish reasons and reasons of refused prompts."""
    for reason in SDK.FinishReason:
        try:
            got = read(whole(answer(text("a"), reason=reason.value)))
        except LLMRouterError as error:
            assert error.failure_type in (
                FailureType.CONTENT_FILTER, FailureType.INVALID_RESPONSE, FailureType.AUTH
            ), reason  # fmt: skip
        else:
            assert got.finish_reason in ("stop", "length", "pause"), reason
    for blocked in SDK.BlockedReason:
        with pytest.raises(LLMRouterError) as caught:
            read(whole({"promptFeedback": {"blockReason": blocked.value}}))
        assert caught.value.failure_type is FailureType.CONTENT_FILTER
    levels = {level.value for level in SDK.ThinkingLevel} - {"THINKING_LEVEL_UNSPECIFIED"}
    assert levels == {"MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"}


def sdk_parts() -> Any:
    """Strategies for the SDK's parts of an answer."""
    raw, words = st.sampled_from([b"~?", b"abc", b"\xff\xfe"]), st.text(max_size=6)
    blob = st.builds(SDK.Blob, data=raw, mime_type=st.sampled_from(["image/png", "audio/wav", "video/mp4"]))
    function = st.builds(
        SDK.FunctionCall, id=st.none() | st.sampled_from(["a", "b"]), name=NAMES, args=st.none() | ARGS
    )
    code = st.builds(SDK.ExecutableCode, code=words, language=st.just("PYTHON"))
    ran = st.builds(SDK.CodeExecutionResult, outcome=st.just("OUTCOME_OK"), output=words)
    signature = st.none() | raw
    return st.one_of(
        st.builds(SDK.Part, text=words, thought=st.sampled_from([None, True, False]), thought_signature=signature),
        st.builds(SDK.Part, inline_data=blob, thought_signature=signature),
        st.builds(SDK.Part, function_call=function, thought_signature=signature),
        st.builds(SDK.Part, executable_code=code), st.builds(SDK.Part, code_execution_result=ran),
    )  # fmt: skip


def sdk_answers() -> Any:
    numbers = st.none() | st.integers(0, 10**6)
    usage = st.builds(
        SDK.GenerateContentResponseUsageMetadata, prompt_token_count=st.integers(0, 10**6),
        candidates_token_count=numbers, thoughts_token_count=numbers, cached_content_token_count=numbers,
        tool_use_prompt_token_count=numbers,
    )  # fmt: skip
    likely = st.builds(SDK.LogprobsResultCandidate, token=st.text(max_size=3), log_probability=st.floats(-9, 0))
    probable = st.builds(SDK.LogprobsResult, chosen_candidates=st.lists(likely, max_size=3))
    candidate = st.builds(
        SDK.Candidate,
        content=st.builds(SDK.Content, role=st.just("model"), parts=st.lists(sdk_parts(), min_size=1, max_size=5)),
        finish_reason=st.sampled_from(["STOP", "MAX_TOKENS"]), index=st.none() | st.just(0),
        logprobs_result=st.none() | probable, avg_logprobs=st.none() | st.floats(-9, 0),
        citation_metadata=st.none() | st.builds(SDK.CitationMetadata, citations=st.lists(
            st.builds(SDK.Citation, uri=st.text(max_size=4), start_index=numbers, end_index=numbers), max_size=2
        )),
        safety_ratings=st.just(None), token_count=numbers, finish_message=st.none() | st.text(max_size=3),
    )  # fmt: skip
    return st.builds(
        SDK.GenerateContentResponse, candidates=st.lists(candidate, min_size=1, max_size=1), usage_metadata=usage,
        model_version=st.none() | st.text(max_size=5), response_id=st.none() | st.text(max_size=5),
    )  # fmt: skip


def test_what_the_sdks_types_can_express_of_an_answer_is_read() -> None:
    @settings(max_examples=examples(100))
    @given(sdk_answers())
    def reads(told: Any) -> None:
        fields = told.model_dump(mode="json", by_alias=True, exclude_none=True)
        parts = told.candidates[0].content.parts
        texts = "".join(part.text for part in parts if part.text and not part.thought)
        thoughts = "".join(part.text for part in parts if part.text and part.thought)
        called = [part.function_call for part in parts if part.function_call]
        blobs = [part.inline_data for part in parts if part.inline_data]
        try:
            got = read(whole(fields))
        except LLMRouterError as error:
            assert error.failure_type is FailureType.INVALID_RESPONSE
            assert not texts and not called and not blobs
            return
        assert (got.text, got.reasoning or "") == (texts, thoughts)
        assert [(one.name, json.loads(one.arguments)) for one in got.tool_calls] == [
            (f.name, f.args or {}) for f in called
        ]
        assert len({one.id for one in got.tool_calls}) == len(called)
        found = [part for part in got.details.parts if part["type"] in ("image_url", "input_audio", "file")]
        for part, blob in zip(found, blobs, strict=True):
            data = part.get("input_audio", {}).get("data") or json.dumps(part).partition("base64,")[2].partition('"')[0]
            assert b64decode(data) == blob.data
        assert (got.model or "", got.details.id or "") == (told.model_version or "", told.response_id or "")
        counted = told.usage_metadata
        assert got.usage.prompt_tokens == counted.prompt_token_count + (counted.tool_use_prompt_token_count or 0)
        assert got.usage.cached_tokens == counted.cached_content_token_count
        assert got.usage.reasoning_tokens == counted.thoughts_token_count
        if counted.candidates_token_count is not None:
            whole_count = counted.candidates_token_count + (counted.thoughts_token_count or 0)
            assert got.usage.completion_tokens == whole_count
        likely = told.candidates[0].logprobs_result
        assert [one.token for one in got.details.logprobs] == [
            one.token for one in (likely.chosen_candidates if likely else [])
        ]
        streamed = read(events(*(piece(part) for part in fields["candidates"][0]["content"]["parts"]), {
            **fields, "candidates": [{**fields["candidates"][0], "content": {"role": "model"}}]
        }))  # fmt: skip
        assert (streamed.text, streamed.tool_calls, streamed.usage) == (got.text, got.tool_calls, got.usage)

    reads()


def test_a_list_in_place_of_a_stream_is_one_answer() -> None:
    values = [piece(thought("Hm.")), piece(text("a")), answer(call("f"))]
    assert read(array(*values)) == read(events(*values))
