"""Histories that no vendor wrote: each dialect sends what its vendor takes, or says before sending what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers import strict_anthropic, strict_gemini, strict_openai_chat, strict_openai_responses
from helpers.servers import Received, Server, answering_by, json_answer
from helpers.stream_support import router_to
from helpers.support import Memory
from lee_llm_router import InvalidRequestError, LLMRouterError

TYPES = ["http", "openai_responses", "anthropic", "gemini"]


def _deep(value: Any = None) -> Any:
    for _ in range(50_000):
        value = [value]
    return value


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


def _history(arguments: Any = "{}", call_id: Any = "c", result_id: Any = "c", name: Any = "look") -> list[Any]:
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": result_id, "content": "seen"},
    ]


def _asked(kind: str, messages: list[Any]) -> tuple[list[Any], LLMRouterError, Memory]:
    """Return the bodies that went out, the error of a server that refuses all, and the records."""
    bodies: list[Any] = []
    memory = Memory()

    def refuse(received: Received) -> bytes:
        bodies.append(json.loads(received.body))
        return json_answer({"error": {"message": "enough"}}, 400)

    with (
        Server(answering_by(refuse)) as server,
        router_to(server.url, type=kind, memory=memory) as router,
        pytest.raises(LLMRouterError) as caught,
    ):
        router.complete("r", messages)
    return bodies, caught.value, memory


STRICT = {
    "http": strict_openai_chat, "openai_responses": strict_openai_responses, "anthropic": strict_anthropic,
    "gemini": strict_gemini,
}  # fmt: skip
BROKEN = ['{"a": 1', "{broken", "", " ", "null", "[1]", "3", '"text"', "NaN", '{"a": NaN}', '{"a": 1}}', "{'a': 1}",
          "[" * 9000, "\x00", '{"a": "\n"}', "ключ", "'" * 9]  # fmt: skip
MODELS = {"http": "m", "openai_responses": "gpt-5.4", "anthropic": "claude-sonnet-5", "gemini": "gemini-3-pro"}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("extra", [{}, {"name": "look"}], ids=["clean", "mended"])
def test_arguments_that_are_no_object_are_sent_as_one(kind: str, extra: dict[str, Any]) -> None:
    """A model wrote them, or its answer was cut. What it wrote is still there to be read."""
    seen: list[str | None] = []

    def script(received: Received) -> bytes:
        seen.append(STRICT[kind].check(json.loads(received.body), received.line.split()[1], {}))
        return json_answer({"error": {"message": "enough"}}, 400)

    with (
        Server(answering_by(script)) as server,
        router_to(server.url, type=kind, model=MODELS[kind]) as router,
    ):
        for arguments in BROKEN:
            messages = _history(arguments)
            messages[1] |= extra
            with pytest.raises(LLMRouterError):
                router.complete("r", messages)
    assert dict(zip(BROKEN, seen, strict=True)) == dict.fromkeys(BROKEN)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("arguments", [_deep(), CYCLE, {"a": object()}], ids=["deep", "cycle", "object"])
def test_arguments_that_json_cannot_express_are_a_wrong_request(kind: str, arguments: Any) -> None:
    """Nothing is sent, nothing is tried again, and the target is not to blame."""
    bodies, error, memory = _asked(kind, _history(arguments))
    assert isinstance(error, InvalidRequestError) and not bodies, error
    assert [record.failure_type for record in memory.records] == ["INVALID_REQUEST"]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("odd", [{"a": 1}, ["c"], 5, None, True])
@pytest.mark.parametrize("place", ["call_id", "result_id", "name"])
def test_ids_and_names_of_any_type_are_mended(kind: str, odd: Any, place: str) -> None:
    """A call keeps its result, whatever stands in the place of its id."""
    bodies, error, _ = _asked(kind, _history(**{place: odd}))
    assert len(bodies) == 1 and "enough" in str(error)


@pytest.mark.parametrize("name", ["a.b", "a b", "ä", "x" * 200, "", "a:b/c"])
def test_the_responses_api_gets_legal_names_of_tools(name: str) -> None:
    """Other vendors' models call what they like; OpenAI refuses a name that is none in any item."""
    (body,), _, _ = _asked("openai_responses", _history(name=name))
    assert strict_openai_responses.check(body, strict_openai_responses.PATH, {}) is None


def test_fields_of_functions_that_nobody_knows_are_left_out_of_a_call_that_is_mended() -> None:
    """A call without a name gets one, and loses what no server takes."""
    messages = _history()
    messages[1]["tool_calls"][0]["function"] = {"name ": "look", "arguments": "{}"}
    (body,), _, _ = _asked("http", messages)
    assert body["messages"][1]["tool_calls"][0]["function"] == {"name": "unknown", "arguments": "{}"}
