"""`structured_output`: the forms in which JSON is asked for, and a server that refuses one is asked in a weaker one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from helpers.servers import Conversation, Received, Server, completion, http, json_answer
from helpers.stream_support import router_to
from helpers.support import Memory
from lee_llm_router import ConfigError, InvalidRequestError, LeeLLMRouter
from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig
from lee_llm_router.response import LLMRequest


class Trip(BaseModel):
    place: str


GOOD = '{"place": "Oslo"}'
MESSAGES = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where to?"})


def _body(form: str, messages: Sequence[Any] = MESSAGES, **asked: Any) -> dict[str, Any]:
    settings = OpenAIChatConfig(type="http", base_url="http://h/v1", structured_output=form)
    return ChatDialect().encode(LLMRequest(messages=tuple(messages), **asked), settings, stream=False)


# The forms


@pytest.mark.parametrize("form", ["json_object", "prompt"])
def test_a_weaker_form_says_the_schema_in_words(form: str) -> None:
    body = _body(form, schema=Trip)
    assert body.get("response_format") == ({"type": "json_object"} if form == "json_object" else None)
    system, user = body["messages"]
    assert system["content"].startswith("Be brief.\n\n") and user == MESSAGES[1]
    assert json.loads(system["content"][system["content"].index("{") :]) == Trip.model_json_schema()


def test_the_strongest_form_says_nothing_in_words() -> None:
    body = _body("json_schema", schema=Trip)
    assert body["messages"] == MESSAGES and body["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize(("form", "sent"), [("json_schema", True), ("json_object", True), ("prompt", False)])
@pytest.mark.feature("openai_chat", "json_mode")
def test_json_mode_is_asked_for_in_words_only_by_prompt(form: str, sent: bool) -> None:
    body = _body(form, json_mode=True)
    assert body.get("response_format") == ({"type": "json_object"} if sent else None)
    assert (body["messages"] == MESSAGES) is sent
    assert sent or "JSON" in body["messages"][0]["content"]


def test_a_list_is_not_asked_for_where_an_object_is_forced() -> None:
    assert "response_format" not in _body("json_object", schema=list[Trip])
    assert "response_format" in _body("json_schema", schema=list[Trip])


@pytest.mark.parametrize("form", ["json_schema", "json_object", "prompt"])
def test_without_a_contract_nothing_changes(form: str) -> None:
    assert _body(form) == _body("json_schema")


@pytest.mark.parametrize(
    ("messages", "first"),
    [
        ([{"role": "user", "content": "hi"}], {"role": "system"}),
        ([{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "hi"}], {"role": "system"}),
        ([{"role": "system", "content": "", "name": "n"}, {"role": "user", "content": "hi"}], {"name": "n"}),
        ([{"role": "system", "content": [{"type": "text", "text": "x"}]}, {"role": "user", "content": "hi"}], {}),
    ],
)
def test_the_words_stand_in_the_system_text_whatever_its_shape(messages: list[Any], first: dict[str, Any]) -> None:
    before = json.dumps(messages)
    sent = _body("prompt", messages, schema=Trip)["messages"]
    assert "place" in json.dumps(sent[0]["content"]) and first.items() <= sent[0].items()
    assert sent[1:] == tuple(m for m in messages if m["role"] == "user")
    assert json.dumps(messages) == before, "the caller's messages are not written to"


def test_a_form_nobody_knows_is_a_finding() -> None:
    with pytest.raises(ConfigError, match="structured_output"):
        router_to("http://127.0.0.1:1/v1", structured_output="grammar")


# Refusals

REFUSALS: list[tuple[int, Any]] = [
    (400, {"error": {"message": "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this"
                     " model. Learn more about supported models", "type": "invalid_request_error", "code": None}}),
    (400, {"error": {"message": "Unknown parameter: 'response_format'.", "param": "response_format",
                     "code": "unknown_parameter"}}),
    (400, {"error": {"message": "Not here.", "param": "response_format.type", "code": "unsupported_value"}}),
    (400, {"error": "'response_format.type' must be 'text'"}),
    (400, {"error": {"message": "This response_format type is unavailable now"}}),
    (400, {"error": {"message": "This model does not support response format `json_schema`. See our models."}}),
    (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "response_format"],
                       "msg": "Extra inputs are not permitted", "input": {"type": "json_schema"}}]}),
    (422, {"detail": [{"type": "literal_error", "loc": ["body", "response_format", "type"],
                       "msg": "Input should be 'text'"}]}),
    (400, {"object": "error", "message": "structured output is not enabled for this model", "code": 400}),
    (400, {"message": "Unrecognized request argument supplied: response_format"}),
    (422, {"error": {"message": "got an unexpected keyword argument 'response_format'"}}),
    (400, "response_format is not implemented"),
    (400, {"error": {"message": "JSON mode and json_schema can't yet be used: this engine doesn't support them"}}),
]  # fmt: skip
OTHER_ERRORS: list[tuple[int, Any]] = [
    (400, {"error": {"message": "'messages' must contain the word 'json' in some form, to use 'response_format' of"
                     " type 'json_object'.", "type": "invalid_request_error", "param": "messages"}}),
    (400, {"error": {"message": "Invalid schema for response_format 'Trip': In context=(), 'minLength' is not"
                     " permitted.", "param": "response_format", "code": "invalid_schema"}}),
    (400, {"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model."}}),
    (400, {"error": {"message": "temperature must be one of 0, 1"}}),
    (422, {"detail": [{"type": "missing", "loc": ["body", "model"], "msg": "Field required",
                       "input": {"response_format": {"type": "json_schema"}, "note": "not supported"}}]}),
    (400, {"error": {"message": "bad request"}}),
    (400, ""),
]  # fmt: skip


class Picky:
    """A server that refuses a request until `takes` says yes to its body; then it answers."""

    def __init__(self, takes: Callable[[dict[str, Any]], bool], status: int, error: Any, text: str = GOOD) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._takes, self._text = takes, text
        body = error.encode() if isinstance(error, str) else json.dumps(error).encode()
        self._refusal = http(status, body, {"Content-Type": "application/json"})

    def __call__(self, conversation: Conversation) -> None:
        while received := conversation.receive():
            conversation.send(self.answer(received))

    def answer(self, received: Received) -> bytes:
        self.bodies.append(received.json)
        return json_answer(completion(self._text)) if self._takes(self.bodies[-1]) else self._refusal

    @property
    def forms(self) -> list[str | None]:
        return [body.get("response_format", {}).get("type") for body in self.bodies]


def _streamed(router: LeeLLMRouter, **options: Any) -> Any:
    with router.stream("r", "hi", **options) as stream:
        list(stream)
    return stream.response


async def _streamed_async(router: LeeLLMRouter, **options: Any) -> Any:
    async with router.stream_async("r", "hi", **options) as stream:
        async for _ in stream:
            pass
    return stream.response


WAYS: dict[str, Callable[..., Any]] = {
    "sync": lambda router, **options: router.complete("r", "hi", **options),
    "async": lambda router, **options: asyncio.run(router.complete_async("r", "hi", **options)),
    "stream": _streamed,
    "stream_async": lambda router, **options: asyncio.run(_streamed_async(router, **options)),
}


def _in_words_only(body: dict[str, Any]) -> bool:
    return "response_format" not in body


@pytest.mark.parametrize(("status", "error"), REFUSALS)
def test_a_server_that_refuses_the_feature_is_asked_in_weaker_forms(status: int, error: Any) -> None:
    """One attempt a form, at once, each with its record; the form that works is remembered."""
    picky, memory = Picky(_in_words_only, status, error), Memory()
    with Server(picky) as server, router_to(server.url + "/v1", memory=memory) as router:
        assert router.complete("r", "hi", schema=Trip).parsed == Trip(place="Oslo")
        assert picky.forms == ["json_schema", "json_object", None]
        assert router.complete("r", "hi", schema=Trip).parsed == Trip(place="Oslo")
        assert picky.forms[3:] == [None]
    trail = [(r.failure_type, r.status_code, r.verdict, r.wait_ms) for r in memory.records[:3]]
    assert trail == [("INVALID_REQUEST", status, "retry", 0.0)] * 2 + [(None, None, "return", 0.0)]


@pytest.mark.parametrize(("status", "error"), OTHER_ERRORS)
def test_another_error_ends_the_call_as_ever(status: int, error: Any) -> None:
    picky = Picky(_in_words_only, status, error)
    with Server(picky) as server, router_to(server.url + "/v1") as router:
        for _ in range(2):
            with pytest.raises(InvalidRequestError):
                router.complete("r", "hi", schema=Trip)
    assert picky.forms == ["json_schema"] * 2


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_asking_goes_on_in_a_weaker_form(way: str) -> None:
    picky = Picky(_in_words_only, *REFUSALS[0])
    with Server(picky) as server, router_to(server.url + "/v1", role={"retry": {"attempts": 1}}) as router:
        assert WAYS[way](router, schema=Trip).parsed == Trip(place="Oslo")
        router.close()
    assert picky.forms == ["json_schema", "json_object", None], "it costs none of the attempts"


def test_what_is_remembered_holds_for_the_model_and_the_kind_of_json() -> None:
    picky = Picky(lambda body: body["model"] == "new" or _in_words_only(body), *REFUSALS[0])
    with Server(picky) as server, router_to(server.url + "/v1") as router:
        router.complete("r", "hi", schema=Trip)
        router.complete("r", "hi", schema=Trip, model="new")
        router.complete("r", "hi", json_mode=True)
        router.complete("r", "hi", schema={"type": "object"})
    assert picky.forms == ["json_schema", "json_object", None, "json_schema", "json_object", None, None]


def test_a_server_that_forces_objects_is_asked_for_a_list_in_words() -> None:
    """OpenAI takes a schema only of an object: that blames the schema, and is a refusal of lists."""
    error = {"error": {"message": "Invalid schema for response_format 'answer': schema must be a JSON Schema of 'type:"
                       " \"object\"', got 'type: \"array\"'.", "param": "response_format"}}  # fmt: skip
    picky = Picky(lambda body: "array" not in json.dumps(body.get("response_format")), 400, error, f"[{GOOD}]")
    with Server(picky) as server, router_to(server.url + "/v1") as router:
        assert router.complete("r", "hi", schema=list[Trip]).parsed == [Trip(place="Oslo")]
    assert picky.forms == ["json_schema", None]


def test_a_format_of_the_callers_own_is_not_replaced() -> None:
    picky = Picky(_in_words_only, *REFUSALS[0])
    with Server(picky) as server, router_to(server.url + "/v1") as router, pytest.raises(InvalidRequestError):
        router.complete("r", "hi", schema=Trip, extra_body={"response_format": {"type": "grammar"}})
    assert picky.forms == ["grammar"]


def test_a_server_that_refuses_words_too_ends_the_call() -> None:
    """No form is left, and the attempts of a call bound them all."""
    picky = Picky(lambda body: False, *REFUSALS[0])
    with Server(picky) as server, router_to(server.url + "/v1") as router:
        with pytest.raises(InvalidRequestError):
            router.complete("r", "hi", schema=Trip)
        assert len(picky.bodies) == 3
        with pytest.raises(InvalidRequestError):
            router.complete("r", "hi", schema=Trip)
    assert len(picky.bodies) == 4


def test_calls_refused_at_the_same_time_all_go_on() -> None:
    picky = Picky(_in_words_only, *REFUSALS[0])

    async def calls(router: LeeLLMRouter) -> list[Any]:
        answers = [router.complete_async("r", "hi", schema=Trip) for _ in range(20)]
        ended = [answer.parsed for answer in await asyncio.gather(*answers)]
        await router.aclose()
        return ended

    with Server(picky) as server:
        assert asyncio.run(calls(router_to(server.url + "/v1"))) == [Trip(place="Oslo")] * 20


def test_a_configured_form_is_the_strongest_that_is_sent() -> None:
    picky = Picky(_in_words_only, *REFUSALS[0])
    with Server(picky) as server, router_to(server.url + "/v1", structured_output="prompt") as router:
        router.complete("r", "hi", schema=Trip)
    assert picky.forms == [None]
