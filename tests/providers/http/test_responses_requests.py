"""The Responses API: what is sent. Each body passes a server that refuses what OpenAI refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from helpers.responses_support import answer, message, response
from helpers.servers import Server, answering
from helpers.stream_support import router_to
from helpers.strict_openai_responses import check
from helpers.support import Memory
from lee_llm_router import ConfigError, InvalidRequestError, LLMRouterError, audio_part, file_part, image_part
from lee_llm_router.config import load_config
from lee_llm_router.providers.http.dialects.openai_responses.dialect import ResponsesDialect
from lee_llm_router.providers.http.dialects.openai_responses.provider import OpenAIResponsesProvider
from lee_llm_router.providers.http.dialects.openai_responses.settings import ResponsesConfig
from lee_llm_router.response import LLMRequest

OPENAI = "https://api.openai.com/v1"
HI = ({"role": "user", "content": "hi"},)
PNG = b"\x89PNG\r\n\x1a\n"
WEATHER: dict[str, Any] = {"type": "function", "function": {
    "name": "weather", "description": "Tells it.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}}  # fmt: skip


feature = pytest.mark.feature


def _body(
    *messages: Any, model: str = "gpt-6", config: dict[str, Any] | None = None, stream: bool = False, **options: Any
) -> dict[str, Any]:
    """The body of a request, which the vendor takes."""
    body = _unchecked(*messages, model=model, config=config, stream=stream, **options)
    problem = check(body, "/v1/responses", {})
    assert problem is None, f"{problem}: {body}"
    return body


def _unchecked(
    *messages: Any, model: str = "gpt-6", config: dict[str, Any] | None = None, stream: bool = False, **options: Any
) -> dict[str, Any]:
    settings = ResponsesConfig(type="openai_responses", **{"base_url": OPENAI, **(config or {})})
    provider = OpenAIResponsesProvider("p", settings)
    request = LLMRequest(messages=messages or HI, model=model, **options)
    body = ResponsesDialect().encode(request, settings, stream=stream)
    for extra in (settings.extra_body, request.extra_body):
        provider.add_extra(body, extra)
    return body


def _input(*messages: Any, **options: Any) -> Any:
    return _body(*messages, **options)["input"]


def test_the_least_that_is_sent() -> None:
    """Nothing is stored, and reasoning comes back in a form that can be sent again."""
    assert _body() == {
        "model": "gpt-6", "input": [{"role": "user", "content": "hi"}], "store": False,
        "include": ["reasoning.encrypted_content"],
    }  # fmt: skip
    assert _body(stream=True)["stream"] is True
    assert "model" not in _unchecked(model=None)  # type: ignore[arg-type]


@feature("openai_responses", "text")
@feature("openai_responses", "system")
def test_texts_are_sent_where_they_stand() -> None:
    """Instructions too, wherever; an answer says that it is a message, which llama.cpp wants."""
    assert _input(
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"}, {"role": "developer", "content": "c"}, {"role": "user", "content": "d"},
    ) == [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"},
        {"type": "message", "role": "assistant", "content": "b"}, {"role": "developer", "content": "c"},
        {"role": "user", "content": "d"},
    ]  # fmt: skip
    with_tools = _input(
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [_call("1")]}, {"role": "developer", "content": "c"},
        {"role": "tool", "tool_call_id": "1", "content": "x"}, {"role": "system", "content": "d"},
    )  # fmt: skip
    assert [one.get("role", one.get("type")) for one in with_tools] == [
        "system", "user", "function_call", "function_call_output", "developer", "system",
    ]  # fmt: skip


def _call(call_id: Any, name: Any = "f", arguments: Any = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_empty_texts_and_names_are_left_out() -> None:
    assert _input({"role": "user", "content": "a", "name": "bo"}, {"role": "assistant", "content": ""},
                  {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "b"}]}) == [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
    ]  # fmt: skip
    assert _unchecked({"role": "user", "content": ""})["input"] == [{"role": "user", "content": ""}]


@feature("openai_responses", "image_url")
@feature("openai_responses", "image_data")
def test_pictures_are_sent_by_address_and_as_data() -> None:
    given = _input({"role": "user", "content": [
        {"type": "text", "text": "Who?"}, image_part("https://a.example/x.png", detail="low"), image_part(PNG),
    ]})  # fmt: skip
    assert given[0]["content"] == [
        {"type": "input_text", "text": "Who?"},
        {"type": "input_image", "image_url": "https://a.example/x.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
    ]  # fmt: skip


@feature("openai_responses", "file")
def test_files_are_sent_as_data_by_address_and_by_id() -> None:
    parts = [
        file_part(b"%PDF-1.7", name="a.pdf"), file_part(b"%PDF-1.7"), file_part("https://a.example/x.pdf"),
        {"type": "file", "file": {"file_id": "file_1"}}, file_part(PNG),
    ]  # fmt: skip
    assert _input({"role": "user", "content": parts})[0]["content"] == [
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjc="},
        {"type": "input_file", "filename": "file.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjc="},
        {"type": "input_file", "file_url": "https://a.example/x.pdf"}, {"type": "input_file", "file_id": "file_1"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
    ]  # fmt: skip


def test_parts_in_the_words_of_the_api_are_sent_as_they_are() -> None:
    part = {"type": "input_image", "file_id": "file_1", "detail": "high"}
    assert _input({"role": "user", "content": [part]})[0]["content"] == [part]


@feature("openai_responses", "audio", supported=False)
def test_a_target_cannot_take_audio() -> None:
    """It is skipped before anything is sent."""
    sound = audio_part(b"RIFF0000WAVE")
    with pytest.raises(LLMRouterError, match="audio"):
        _ask({"role": "user", "content": [sound]})


def _ask(*messages: Any, settings: dict[str, Any] | None = None, **options: Any) -> list[Any]:
    """What a router sends when it asks once."""
    with Server(answering(answer(response(message("x"))))) as server:
        router = router_to(server.url, memory=Memory(), type="openai_responses", **(settings or {}))
        with router:
            router.complete("r", list(messages or HI), **options)
        return [one.json for one in server.requests]


@feature("openai_responses", "tools")
def test_tools_are_flat_and_strict_only_where_they_say_so() -> None:
    """Unsaid, this API takes a tool for strict."""
    strict = {
        **WEATHER["function"],
        "strict": True,
        "parameters": {**WEATHER["function"]["parameters"], "additionalProperties": False},
    }
    tools = _body(tools=(
        WEATHER, {"type": "function", "function": strict}, {"type": "function", "function": {"name": "now"}},
        {"type": "function", "name": "flat", "parameters": {"type": "object"}}, {"type": "web_search"},
    ))["tools"]  # fmt: skip
    assert [(one.get("name"), one.get("strict")) for one in tools] == [
        ("weather", False), ("weather", True), ("now", False), ("flat", False), (None, None),
    ]  # fmt: skip
    assert tools[0]["description"] == "Tells it." and tools[2]["parameters"] == {"type": "object", "properties": {}}
    assert tools[4] == {"type": "web_search"}


def test_custom_tools_are_flat() -> None:
    form = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a/"}}
    tool = {"type": "custom", "custom": {"name": "sql", "description": "Asks.", "format": form}}
    assert _body(tools=(tool,))["tools"] == [
        {"type": "custom", "name": "sql", "description": "Asks.",
         "format": {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}},
    ]  # fmt: skip


@feature("openai_responses", "tool_choice")
@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"), ("none", "none"), ("required", "required"),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "function", "name": "weather"}),
        ({"type": "function", "name": "weather"}, {"type": "function", "name": "weather"}),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
            {"type": "function", "function": {"name": "weather"}}]}},
         {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]}),
        ({"type": "web_search_preview"}, {"type": "web_search_preview"}),
    ],
)  # fmt: skip
def test_a_tool_that_is_to_be_called_is_named_flat(choice: Any, sent: Any) -> None:
    assert _body(tools=(WEATHER,), tool_choice=choice)["tool_choice"] == sent


@feature("openai_responses", "parallel_tool_calls")
def test_calls_at_once_can_be_forbidden() -> None:
    assert _body(tools=(WEATHER,), parallel_tool_calls=False)["parallel_tool_calls"] is False
    bare = _body(parallel_tool_calls=False, tool_choice="auto")
    assert not bare.keys() & {"parallel_tool_calls", "tool_choice"}, "they say nothing without tools"


@feature("openai_responses", "tool_results")
@feature("openai_responses", "tool_result_images")
@feature("openai_responses", "tool_errors")
def test_calls_and_results_become_items() -> None:
    given = _input(
        {"role": "user", "content": "a"},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [_call("1", "f", '{"a": 1}'), _call("2"), _call("3")],
        },
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "map"}, image_part(PNG)]},
        {"role": "tool", "tool_call_id": "3", "content": "no such city", "is_error": True},
    )
    assert given[1:] == [
        {"type": "message", "role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": '{"a": 1}'},
        {"type": "function_call", "call_id": "2", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "3", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "sunny"},
        {"type": "function_call_output", "call_id": "2", "output": [
            {"type": "input_text", "text": "map"},
            {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
        ]},
        {"type": "function_call_output", "call_id": "3", "output": "Error: no such city"},
    ]  # fmt: skip


ODD_HISTORIES: list[tuple[str, list[dict[str, Any]]]] = [
    ("a result without its call", [{"role": "tool", "tool_call_id": "x", "content": "lost"}]),
    ("a call without its result", [{"role": "assistant", "content": None, "tool_calls": [_call("x")]}]),
    ("a call without its result, and more", [
        {"role": "assistant", "content": None, "tool_calls": [_call("x")]}, {"role": "user", "content": "never mind"}]),
    ("doubled ids", [
        {"role": "assistant", "content": None, "tool_calls": [_call("x"), _call("x")]},
        {"role": "tool", "tool_call_id": "x", "content": "1"}, {"role": "tool", "tool_call_id": "x", "content": "2"}]),
    ("no ids", [
        {"role": "assistant", "content": None, "tool_calls": [_call(None), _call("")]},
        {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}]),
    ("ids of others", [
        {"role": "assistant", "content": None, "tool_calls": [_call("functions.f:0"), _call("x" * 90)]},
        {"role": "tool", "tool_call_id": "functions.f:0", "content": "1"},
        {"role": "tool", "tool_call_id": "x" * 90, "content": "2"}]),
    ("no name and no arguments", [
        {"role": "assistant", "tool_calls": [_call("x", None, ""), _call("y", "", None)]},
        {"role": "tool", "tool_call_id": "x", "content": "1"}, {"role": "tool", "tool_call_id": "y", "content": ""}]),
    ("an answer with a picture", [
        {"role": "assistant", "content": [{"type": "text", "text": "See"}, image_part(PNG)]},
        {"role": "user", "content": "thanks"}]),
    ("a refusal", [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}]),
    ("thinking of another vendor", [
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"},
                                          {"type": "text", "text": "hi"}],
         "provider_data": {"anthropic": {"origin": "x", "of": "y", "content": [{"type": "thinking"}]}}}]),
    ("a picture as a result, failed", [
        {"role": "assistant", "tool_calls": [_call("x")]},
        {"role": "tool", "tool_call_id": "x", "content": [image_part(PNG)], "is_error": True}]),
    ("results in another order, instructions between", [
        {"role": "assistant", "tool_calls": [_call("x"), _call("y")]}, {"role": "system", "content": "s"},
        {"role": "tool", "tool_call_id": "y", "content": "1"}, {"role": "tool", "tool_call_id": "x", "content": "2"}]),
    ("nothing but instructions", [{"role": "system", "content": [{"type": "text", "text": "s"}]}]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "messages"), ODD_HISTORIES)
def test_a_history_from_anywhere_is_sent_so_that_it_is_taken(what: str, messages: list[dict[str, Any]]) -> None:
    """Nothing is refused, and no text is lost."""
    del what
    sent = _input({"role": "user", "content": "hi", "name": "bo"}, *messages)
    said = str(sent)
    for one in messages:
        if isinstance(one.get("content"), str):
            assert one["content"] in said


@feature("openai_responses", "top_p")
@feature("openai_responses", "max_tokens")
@feature("openai_responses", "service_tier")
def test_options_have_their_fields() -> None:
    body = _body(temperature=0.5, top_p=0.9, max_tokens=100, service_tier="flex")
    assert (body["temperature"], body["top_p"], body["max_output_tokens"], body["service_tier"]) == (
        0.5,
        0.9,
        100,
        "flex",
    )


@feature("openai_responses", "logprobs")
def test_probabilities_are_asked_for() -> None:
    assert "message.output_text.logprobs" in _body(logprobs=True)["include"]
    body = _body(top_logprobs=3)
    assert body["top_logprobs"] == 3 and "message.output_text.logprobs" in body["include"]


@feature("openai_responses", "reasoning_effort")
@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("gpt-6", "max", "max"), ("some-model", "minimal", "minimal"), ("gpt-6", "turbo", None),
        ("gpt-5", "none", "minimal"), ("gpt-5", "xhigh", "high"), ("gpt-5-mini", "minimal", "minimal"),
        ("openai/gpt-5", "max", "high"), ("gpt-5-pro", "low", "high"), ("gpt-5-codex", "minimal", "low"),
        ("gpt-5.1", "minimal", "none"), ("gpt-5.1-codex-max", "max", "xhigh"), ("gpt-5.2", "max", "xhigh"),
        ("gpt-5.2-pro", "low", "medium"), ("gpt-5.6-sol", "max", "max"), ("o3", "none", "low"),
        ("o4-mini", "max", "high"),
        ("openai/gpt-oss-20b", "none", "low"), ("gpt-50", "max", "max"),
    ],
)  # fmt: skip
def test_how_much_to_think_is_the_nearest_that_the_model_has(model: str, asked: str, sent: str | None) -> None:
    """Never more than was asked, where there is less. A word that is not on the scale is the vendor's own."""
    body = _unchecked(model=model, reasoning_effort=asked)
    assert body["reasoning"] == {"effort": sent or asked}


def test_the_words_for_thinking_can_be_named() -> None:
    config = {"reasoning_efforts": ["low", "high"]}
    assert _body(reasoning_effort="medium", config=config)["reasoning"] == {"effort": "low"}
    assert _body(reasoning_effort="minimal", config=config)["reasoning"] == {"effort": "low"}


def test_a_summary_of_reasoning_is_asked_for_by_a_setting() -> None:
    config = {"reasoning_summary": "auto"}
    assert _body(config=config)["reasoning"] == {"summary": "auto"}
    assert _body(config=config, reasoning_effort="low")["reasoning"] == {"effort": "low", "summary": "auto"}


def test_a_model_that_does_not_reason_is_not_asked_for_reasoning() -> None:
    """It would refuse the request."""
    for model in ("gpt-4.1", "gpt-4o-mini", "openai/gpt-4o", "gpt-3.5-turbo", "chatgpt-4o-latest", "gpt-5-chat-latest"):
        body = _body(model=model, reasoning_effort="none")
        assert not body.keys() & {"include", "reasoning"}
    assert "include" not in _body(config={"encrypted_reasoning": False})


class Trip(BaseModel):
    city: str


@feature("openai_responses", "schema")
def test_a_schema_is_the_format_of_the_text() -> None:
    body = _body(schema=Trip)
    assert body["text"]["format"]["type"] == "json_schema" and body["text"]["format"]["name"] == "Trip"
    assert body["text"]["format"]["strict"] is False
    strict = {**Trip.model_json_schema(), "additionalProperties": False, "title": "Träume und Reisen!"}
    form = _body(schema=strict)["text"]["format"]
    assert (form["strict"], form["name"], form["schema"]) == (True, "Tr_ume_und_Reisen", strict)


@feature("openai_responses", "json_mode")
def test_json_is_asked_for_in_a_word_too() -> None:
    """A request without the word would be refused."""
    body = _body(json_mode=True)
    assert body["text"] == {"format": {"type": "json_object"}}
    assert "JSON" in body["input"][0]["content"]
    told = _body({"role": "user", "content": "Answer in json"}, json_mode=True)
    assert len(told["input"]) == 1
    words = _body(schema=Trip, config={"structured_output": "prompt"})
    assert "text" not in words and "city" in str(words["input"])
    weaker = _body(schema=Trip, config={"structured_output": "json_object"})
    assert weaker["text"] == {"format": {"type": "json_object"}} and "city" in str(weaker["input"])


@feature("openai_responses", "cache")
def test_marks_for_the_cache_become_breakpoints_where_the_model_has_them() -> None:
    """At most four, the last ones; others cache by themselves, and are sent no marks."""
    messages = [{"role": "user", "content": f"{number}", "cache": True} for number in range(3)]
    messages += [{"role": "system", "content": "s", "cache": True}, {"role": "user", "content": "x"}]
    tools: list[Any] = [
        {"role": "assistant", "tool_calls": [_call("1")]},
        {"role": "tool", "tool_call_id": "1", "content": "r", "cache": True}, {"role": "user", "content": "end"},
    ]  # fmt: skip
    given = _input(*messages, *tools, model="gpt-5.6")
    marked = [part["text"] for item in given for part in _listed(item) if "prompt_cache_breakpoint" in part]
    assert marked == ["1", "2", "s", "r"]
    for model, config in (
        ("gpt-5", {}),
        ("gpt-6", {"base_url": "http://x.example/v1"}),
        ("gpt-6", {"cache_marks": "none"}),
    ):
        assert "breakpoint" not in str(_input(*messages, *tools, model=model, config=config))
    forced = _input(*messages, model="x", config={"cache_marks": "prompt_cache_breakpoint"})
    assert "breakpoint" in str(forced)


def _listed(item: dict[str, Any]) -> list[dict[str, Any]]:
    content = item.get("content", item.get("output"))
    return content if isinstance(content, list) else []


@feature("openai_responses", "extra_body")
def test_further_fields_are_filled_in() -> None:
    """`text` and `reasoning` keep what the call asks for, `include` grows, all else is replaced."""
    body = _body(
        config={"extra_body": {"text": {"verbosity": "low"}, "user": "u"}}, schema=Trip, reasoning_effort="low",
        extra_body={"reasoning": {"summary": "auto"}, "include": ["file_search_call.results"], "user": "v"},
    )  # fmt: skip
    assert body["text"]["verbosity"] == "low" and body["text"]["format"]["type"] == "json_schema"
    assert body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert body["include"] == ["reasoning.encrypted_content", "file_search_call.results"]
    assert body["user"] == "v"


@pytest.mark.parametrize(
    "extra", [{"stream": True}, {"stream": False}, {"background": True}, {"conversation": "conv_1"},
              {"conversation": {"id": "conv_1"}}, {"previous_response_id": "resp_1"}],
)  # fmt: skip
def test_what_is_out_of_scope_is_refused_with_a_reason(extra: dict[str, Any]) -> None:
    """In a call before anything is sent, in a file when it is loaded."""
    name = next(iter(extra))
    with pytest.raises(InvalidRequestError, match=name) as caught:
        _unchecked(extra_body=extra)
    assert not caught.value.sent
    with pytest.raises(ConfigError, match=name):
        load_config({"llm": {
            "providers": {"p": {"type": "openai_responses", "extra_body": extra}}, "roles": {"r": {"provider": "p"}},
        }})  # fmt: skip


def test_what_is_out_of_scope_may_be_switched_off() -> None:
    assert _body(extra_body={"background": False})["background"] is False


@feature("openai_responses", "extra_query")
@feature("openai_responses", "headers")
def test_queries_headers_and_the_key_travel_as_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONSES_KEY", "sk-abc")
    with Server(answering(answer(response(message("x"))))) as server:
        router = router_to(
            server.url, type="openai_responses", api_key_env="RESPONSES_KEY", organization="org", project="proj"
        )
        with router:
            router.complete("r", "hi", headers={"X-A": "b"}, extra_query={"api-version": "v1"})
        seen = server.requests[0]
    assert seen.line.startswith("POST /v1/responses?api-version=v1 ")
    assert seen.headers["authorization"] == "Bearer sk-abc" and seen.headers["x-a"] == "b"
    assert (seen.headers["openai-organization"], seen.headers["openai-project"]) == ("org", "proj")


def test_openais_key_goes_to_openai_only() -> None:
    """The address and the key have defaults that belong together."""

    def config(**settings: Any) -> Any:
        loaded = load_config({"llm": {
            "providers": {"p": {"type": "openai_responses", **settings}},
            "roles": {"r": {"provider": "p", "model": "m"}},
        }})  # fmt: skip
        return loaded.providers["p"]

    assert (config().base_url, config().api_key_env) == (OPENAI, "OPENAI_API_KEY")
    assert config(base_url="http://127.0.0.1:8080/v1").api_key_env is None
    assert config(api_key_env="OTHER").api_key_env == "OTHER"
    assert config(api_key_file="key").api_key_env is None
    assert ResponsesConfig(type="openai_responses").api_key_env == "OPENAI_API_KEY"
    with pytest.raises(ConfigError, match="/responses"):
        config(base_url=f"{OPENAI}/responses")


@feature("openai_responses", "stop", supported=False)
@feature("openai_responses", "seed", supported=False)
@feature("openai_responses", "top_k", supported=False)
@feature("openai_responses", "penalties", supported=False)
@pytest.mark.parametrize(
    "options",
    [{"stop": ["a"]}, {"seed": 3}, {"top_k": 4}, {"frequency_penalty": 0.5}, {"presence_penalty": 0.5}],
)
def test_a_target_is_skipped_where_the_api_has_no_field(options: dict[str, Any]) -> None:
    """Or asked without it, where the call says so."""
    with pytest.raises(LLMRouterError, match="no such field"):
        _ask(**options)
    (sent,) = _ask(**options, drop_unsupported=True)
    assert not sent.keys() & options.keys()


REFUSED_BY_MODELS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("gpt-4.1", {"reasoning_effort": "low"}, {"reasoning_effort"}), ("gpt-4.1", {"reasoning_effort": "none"}, set()),
    ("gpt-4.1", {"temperature": 0.5}, set()), ("o3", {"temperature": 0.5, "top_p": 0.5}, {"temperature", "top_p"}),
    ("gpt-5", {"temperature": 0.5}, {"temperature"}), ("gpt-5-chat-latest", {"temperature": 0.5}, set()),
    ("gpt-5.2", {"temperature": 0.5}, set()), ("gpt-5.2", {"temperature": 0.5, "reasoning_effort": "none"}, set()),
    ("gpt-5.2", {"temperature": 0.5, "reasoning_effort": "low"}, {"temperature"}), ("x", {"temperature": 0.5}, set()),
    ("gpt-6", {"max_tokens": 5}, {"max_tokens"}), ("gpt-6", {"max_tokens": 16}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("model", "options", "refused"), REFUSED_BY_MODELS)
def test_what_openais_models_are_known_to_refuse_is_known_before(
    model: str, options: dict[str, Any], refused: set[str]
) -> None:
    settings = ResponsesConfig(type="openai_responses")
    request = LLMRequest(messages=HI, model=model, **options)
    assert OpenAIResponsesProvider.unsupported(request, settings).keys() == refused
