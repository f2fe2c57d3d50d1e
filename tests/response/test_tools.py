"""Plain functions as tools: their schema, checked arguments, and the messages that go back."""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from pydantic import BaseModel, Field, RootModel

from helpers.support import Memory, config_for, provider_of, router_for
from lee_llm_router import InvalidRequestError, LLMResponse, ToolCall, image_part, tool_of
from lee_llm_router.telemetry.settings import TraceConfig


class Unit(StrEnum):
    C = "celsius"
    F = "fahrenheit"


class Place(BaseModel):
    city: str
    country: str = "PT"


@dataclass
class Stay:
    nights: int


def get_weather(place: Place, day: date, unit: Unit = Unit.C, *, detailed: bool = False) -> dict[str, Any]:
    """Return the weather of a day.

    Only for the next week.

    Args:
        place: Where,
            as exactly as possible.
        day (date): When.
        unit: In which unit.

    Returns:
        The weather.
    """
    return {"city": place.city, "day": day, "unit": unit, "detailed": detailed}


def book(stay: Stay, tags: list[Literal["a", "b"]] | None = None) -> str:
    """Book a room.

    Parameters
    ----------
    stay : Stay
        How long.
    tags : list, optional
        Wishes.
    """
    return f"{stay.nights} nights, {tags}"


def sphinx(first: int, /, second: Annotated[int, Field(ge=0)] = 1) -> int:
    """Add.

    :param first: one
        number
    :param int second: another
    :returns: the sum
    """
    return first + second


async def slow(x: int) -> int:
    """Return x later."""
    await asyncio.sleep(0)
    return x + 1


def call(name: str, arguments: str = "{}", call_id: str = "c1") -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments)


def answer(*calls: ToolCall) -> LLMResponse:
    return LLMResponse(text="", tool_calls=calls, finish_reason="tool_calls")


def properties(function: Callable[..., Any]) -> dict[str, Any]:
    found: dict[str, Any] = tool_of(function)["function"]["parameters"]["properties"]
    return found


def test_a_function_becomes_a_tool_in_the_openai_shape() -> None:
    tool = tool_of(get_weather)
    function = tool["function"]
    assert (tool["type"], function["name"]) == ("function", "get_weather")
    assert function["description"] == "Return the weather of a day.\n\nOnly for the next week."
    parameters = function["parameters"]
    assert parameters["required"] == ["place", "day"] and parameters["additionalProperties"] is False
    assert parameters["properties"]["day"]["format"] == "date"
    assert json.loads(json.dumps(tool)) == tool


@pytest.mark.parametrize(
    ("function", "described"),
    [
        (get_weather, {"place": "Where, as exactly as possible.", "day": "When.", "unit": "In which unit."}),
        (book, {"stay": "How long.", "tags": "Wishes."}),
        (sphinx, {"first": "one number", "second": "another"}),
    ],
)
def test_docstrings_of_all_forms_describe_the_parameters(function: Any, described: dict[str, str]) -> None:
    found = {name: field.get("description") for name, field in properties(function).items()}
    assert {name: text for name, text in found.items() if text} == described


def test_methods_partials_classes_and_objects_are_functions_too() -> None:
    class Shop:
        def price_of(self, item: str) -> str:
            return f"{item}: 3"

        def __call__(self, item: str) -> str:
            return f"called {item}"

    shop = Shop()
    assert list(properties(shop.price_of)) == ["item"]
    assert list(properties(functools.partial(book, Stay(2)))) == ["tags"]
    assert list(properties(Place)) == ["city", "country"]
    tools: dict[str, Callable[..., Any]] = {
        "price": shop.price_of,
        "shop": shop,
        "book": functools.partial(book, Stay(2)),
        "place": Place,
    }
    given = answer(
        call("price", '{"item": "tea"}'), call("shop", '{"item": "tea"}'), call("book"), call("place", '{"city": "x"}')
    )
    assert [message["content"] for message in given.run_tools(tools)] == [
        "tea: 3", "called tea", "2 nights, None", '{"city":"x","country":"PT"}',
    ]  # fmt: skip


def odd_names(self: int, model_config: int = 1, _x: int = 2, json: int = 3, **more: int) -> Any:
    """Parameters that are called as methods of a model are."""
    return [self, model_config, _x, json, more]


def test_parameters_may_have_any_name_and_further_ones_are_taken_where_the_function_does() -> None:
    (message,) = answer(call("odd_names", '{"self": 9, "_x": 5, "json": 7, "z": 8}')).run_tools([odd_names])
    assert json.loads(message["content"]) == [9, 1, 5, 7, {"z": 8}]


def no_hints(x, y=2):  # type: ignore[no-untyped-def]
    return [x, y]


def test_without_hints_anything_is_taken() -> None:
    (message,) = answer(call("no_hints", '{"x": {"a": 1}}')).run_tools([no_hints])
    assert message["content"] == '[{"a":1},2]'


def takes_more(*numbers: int) -> int:
    return sum(numbers)


def takes_a_socket(x: Callable[[], int]) -> int:
    return x()


def takes_unknown(x: Nowhere) -> Any:  # type: ignore[name-defined]  # noqa: F821
    return x


@pytest.mark.parametrize("function", [takes_more, takes_a_socket, takes_unknown, lambda x: x, "get_weather", 7, None])
def test_what_cannot_be_a_tool_is_refused_before_anything_is_sent(function: Any) -> None:
    router, memory, _ = router_for(config_for({"a": ["no"]}))
    with pytest.raises(InvalidRequestError):
        router.complete("r", "hi", tools=[function])
    assert provider_of(router, "a").calls == [] and memory.records[0].failure_type == "INVALID_REQUEST"


def test_two_tools_of_one_name_are_refused() -> None:
    router, _, _ = router_for(config_for({"a": ["no"]}))
    with pytest.raises(InvalidRequestError, match="same name"):
        router.complete("r", "hi", tools=[book, book])


# In a call


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


def test_a_function_is_not_kept_alive_by_having_been_a_tool() -> None:
    def make() -> tuple[weakref.ref[Any], Any]:
        def local(x: int) -> int:
            return x

        router, _, _ = router_for(config_for({"a": [answer(call("local", '{"x": 1}'))]}))
        for _ in range(2):
            assert router.complete("r", "hi", tools=[local]).tool_calls[0].parsed == {"x": 1}
        router.close()
        return weakref.ref(local), None

    ref, _ = make()
    gc.collect()
    assert ref() is None


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


class Booking(BaseModel):
    """Book a table."""

    guests: int = Field(ge=1, description="How many come.")
    tags: list[str] = Field(default_factory=list)


class Unsaid(BaseModel):
    city: str


class Count(RootModel[int]):
    """A number alone."""


class Point(NamedTuple):
    x: int
    y: int = 0


@dataclass
class Basket:
    """Fill a basket."""

    items: list[str] = field(default_factory=list)


def test_a_model_is_a_tool_that_makes_one() -> None:
    """Its fields have their types, limits and descriptions, and what it calls itself by is its own docstring."""
    made = tool_of(Booking)["function"]
    assert made["description"] == "Book a table." and made["parameters"]["required"] == ["guests"]
    assert made["parameters"]["properties"]["guests"] == {
        "type": "integer",
        "minimum": 1,
        "description": "How many come.",
    }
    unsaid = tool_of(Unsaid)["function"]
    assert "description" not in unsaid and "description" not in unsaid["parameters"]
    assert unsaid["parameters"]["properties"] == {"city": {"type": "string"}}
    call = ToolCall(id="1", name="Booking", arguments='{"guests": 2}')
    answer = LLMResponse(text="", tool_calls=(call,), finish_reason="tool_calls")
    assert json.loads(answer.run_tools([Booking])[0]["content"]) == {"guests": 2, "tags": []}


@pytest.mark.parametrize(
    ("made_of", "hints"), [(Point, {"x": "integer", "y": "integer"}), (Basket, {"items": "array"})]
)
def test_the_hints_of_a_class_are_found_where_they_are(made_of: type, hints: dict[str, str]) -> None:
    found = tool_of(made_of)["function"]["parameters"]["properties"]
    assert {name: each["type"] for name, each in found.items()} == hints


def test_a_model_that_is_no_object_is_no_tool() -> None:
    with pytest.raises(InvalidRequestError, match="arguments are an object"):
        tool_of(Count)


@pytest.mark.parametrize("functions", [None, get_weather, "get_weather", 7])
def test_what_is_no_list_of_functions_is_told_so(functions: Any) -> None:
    answer = LLMResponse(text="", tool_calls=(), finish_reason="stop")
    with pytest.raises(InvalidRequestError, match="functions must be a list of functions, not "):
        answer.run_tools(functions)
    with pytest.raises(InvalidRequestError, match="functions must be a list of functions, not "):
        asyncio.run(answer.run_tools_async(functions))


def test_a_default_that_has_no_json_is_left_out() -> None:
    """Here warnings are errors; and so they are in programs of others."""
    unset = object()

    def look(city: str, when: Any = unset) -> str:
        return f"{city} {when is unset}"

    assert tool_of(look)["function"]["parameters"]["properties"]["when"] == {}
    call = ToolCall(id="1", name="look", arguments='{"city": "Faro"}')
    answer = LLMResponse(text="", tool_calls=(call,), finish_reason="tool_calls")
    assert answer.run_tools([look])[0]["content"] == "Faro True"


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
        "Error: the arguments do not fit: 100000 values are not as the schema wants them",
    ]  # fmt: skip
