"""Calls of tools are run with checked arguments, and each has a message that goes back, errors included."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from helpers.support import Memory, config_for, provider_of, router_for
from helpers.tool_functions import Place, Unit, answer, book, call, get_weather, sphinx
from lee_llm_router import InvalidRequestError, LLMResponse, ToolCall, image_part
from lee_llm_router.telemetry.settings import TraceConfig


async def slow(x: int) -> int:
    """Return x later."""
    await asyncio.sleep(0)
    return x + 1


WEATHER = '{"place": {"city": "Porto"}, "day": "2026-01-02", "unit": "fahrenheit"}'


@pytest.mark.parametrize("stream", [False, True])
def test_arguments_come_checked_and_the_text_stays(stream: bool) -> None:
    mapping = {"type": "function", "function": {"name": "plain", "parameters": {}}}
    given = answer(call("get_weather", WEATHER), call("plain", '{"b": [1]}', "c2"), call("plain", "[1]", "c3"))
    config = config_for({"a": [given]})
    router, memory, _ = router_for(config.model_copy(update={"trace": TraceConfig(capture="full")}))
    if stream:
        with router.stream("r", "hi", tools=[get_weather, mapping]) as chunks:
            list(chunks)
        response = chunks.response
    else:
        response = router.complete("r", "hi", tools=[get_weather, mapping])
    weather, plain, wrong = response.tool_calls
    assert weather.parsed == {"place": Place(city="Porto"), "day": date(2026, 1, 2), "unit": Unit.F}
    assert weather.arguments == WEATHER
    assert (plain.parsed, wrong.parsed) == ({"b": [1]}, None)
    (request,) = provider_of(router, "a").calls
    assert [tool["function"]["name"] for tool in request.tools or ()] == ["get_weather", "plain"]
    (record,) = memory.records
    assert record.tool_calls is not None
    assert record.tool_calls[0] == {"id": "c1", "name": "get_weather", "arguments": WEATHER}


@pytest.mark.parametrize(
    "arguments", ["", "{", "[]", '{"day": "x"}', '{"place": {"city": "P"}, "day": "2026-01-02", "x": 1}']
)
def test_arguments_that_do_not_fit_are_not_parsed_and_the_model_is_told(arguments: str) -> None:
    router, _, _ = router_for(config_for({"a": [answer(call("get_weather", arguments))]}))
    response = router.complete("r", "hi", tools=[get_weather])
    assert response.tool_calls[0].parsed is None
    (message,) = response.run_tools([get_weather])
    assert message["is_error"] and message["content"].startswith("Error: the arguments do not fit: ")
    assert "pydantic.dev" not in message["content"]


def broken(x: int) -> int:
    raise RuntimeError(f"no {x}" + "x" * 5000)


def picture() -> Any:
    return image_part(b"GIF89a")


def nothing() -> None:
    pass


def test_each_call_has_its_message_errors_included() -> None:
    given = answer(
        call("broken", '{"x": 1}', "1"), call("gone", "{}", "2"), call("book", '{"stay": {"nights": 2}}', "3"),
        call("picture", "", "4"), call("nothing", "{}", "5"), call("sphinx", '{"first": 2}', "6"),
    )  # fmt: skip
    messages = given.run_tools([broken, book, picture, nothing, sphinx])
    assert [(m["role"], m["tool_call_id"]) for m in messages] == [("tool", str(i)) for i in range(1, 7)]
    assert messages[0]["content"].startswith("Error: RuntimeError: no 1") and len(messages[0]["content"]) == 2000
    assert "there are: book, broken" in messages[1]["content"]
    assert [m.get("is_error", False) for m in messages] == [True, True, False, False, False, False]
    assert messages[2]["content"] == "2 nights, None"
    assert messages[3]["content"] == [image_part(b"GIF89a")]
    assert (messages[4]["content"], messages[5]["content"]) == ("null", "3")


def test_async_functions_run_at_once_and_others_in_threads() -> None:
    given = answer(call("slow", '{"x": 1}', "1"), call("sphinx", '{"first": 2}', "2"), call("broken", '{"x": 1}', "3"))
    messages = asyncio.run(given.run_tools_async([slow, sphinx, broken]))
    assert [m["content"][:5] for m in messages] == ["2", "3", "Error"]
    (message,) = answer(call("slow", '{"x": 1}')).run_tools([slow])
    assert message["is_error"] and "run_tools_async" in message["content"]


@pytest.mark.parametrize("way", ["sync", "async"])
def test_an_interrupt_in_a_function_is_no_error_of_the_tool(way: str) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        if way == "sync":
            answer(call("stop")).run_tools([stop])
        else:
            asyncio.run(answer(call("stop")).run_tools_async([stop]))


def test_the_whole_loop() -> None:
    """Question, call, result, answer: messages are appended as they come."""
    router, _, _ = router_for(config_for({"a": [answer(call("sphinx", '{"first": 2}')), "3, I think"]}))
    messages: list[Any] = [{"role": "user", "content": "2 + 1?"}]
    while (response := router.complete("r", messages, tools=[sphinx])).tool_calls:
        messages += [response.message, *response.run_tools([sphinx])]
    assert response.text == "3, I think"
    sent = provider_of(router, "a").calls[1].messages
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[2]["content"] == "3"
    assert isinstance(router.trace_store, Memory)


@pytest.mark.parametrize("functions", [None, get_weather, "get_weather", 7])
def test_what_is_no_list_of_functions_is_told_so(functions: Any) -> None:
    answer = LLMResponse(text="", tool_calls=(), finish_reason="stop")
    with pytest.raises(InvalidRequestError, match="functions must be a list of functions, not "):
        answer.run_tools(functions)
    with pytest.raises(InvalidRequestError, match="functions must be a list of functions, not "):
        asyncio.run(answer.run_tools_async(functions))


class Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize("way", ["run_tools", "run_tools_async"])
def test_whatever_a_function_says_can_be_told_to_the_model(way: str) -> None:
    """Errors without words, halves of characters, and a million wrong values: a message that can be sent, and short."""

    def wordless() -> str:
        raise Wordless

    def half() -> str:
        return "a\ud800"

    def raises_half() -> str:
        raise ValueError("a\ud800")

    def numbers(them: list[int]) -> int:
        return len(them)

    wrong = json.dumps({"them": ["x"] * 100_000})
    given = [("wordless", "{}"), ("half", "{}"), ("raises_half", "{}"), ("numbers", wrong)]
    calls = tuple(ToolCall(id=name, name=name, arguments=arguments) for name, arguments in given)
    answer = LLMResponse(text="", tool_calls=calls)
    functions: list[Callable[..., Any]] = [wordless, half, raises_half, numbers]
    found = answer.run_tools(functions) if way == "run_tools" else asyncio.run(answer.run_tools_async(functions))
    assert [message["content"] for message in found] == [
        "Error: Wordless", "a\ufffd", "Error: ValueError: a\ufffd",
        "Error: the arguments do not fit: 100000 values do not fit the schema",
    ]  # fmt: skip
