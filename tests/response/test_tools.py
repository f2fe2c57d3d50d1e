"""Plain functions, methods and models are tools: their schema, and what cannot be one."""

from __future__ import annotations

import functools
import gc
import json
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, Field, RootModel

from helpers.support import config_for, provider_of, router_for
from helpers.tool_functions import Place, Stay, answer, book, call, get_weather, sphinx
from lee_llm_router import InvalidRequestError, LLMResponse, ToolCall, tool_of


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


def test_a_default_that_has_no_json_is_left_out() -> None:
    """Here warnings are errors; and so they are in programs of others."""
    unset = object()

    def look(city: str, when: Any = unset) -> str:
        return f"{city} {when is unset}"

    assert tool_of(look)["function"]["parameters"]["properties"]["when"] == {}
    call = ToolCall(id="1", name="look", arguments='{"city": "Faro"}')
    answer = LLMResponse(text="", tool_calls=(call,), finish_reason="tool_calls")
    assert answer.run_tools([look])[0]["content"] == "Faro True"
