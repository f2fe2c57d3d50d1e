"""Checking an answer against a JSON Schema is bounded, whatever the model writes, and quotes nothing of the answer."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field

from helpers.support import config_for, provider_of, router_for
from lee_llm_router import ConfigError, ContractViolationError, InvalidRequestError, load_config
from lee_llm_router._util.work_limit import QUICK_STEPS, WorkLimit, WorkLimitError, quick_limit
from lee_llm_router.engine.schema_check import schema_check_of


def _problem(schema: dict[str, Any], value: Any, steps: int = 10**9) -> str | None:
    return schema_check_of(schema)(value, WorkLimit(steps))


def _steps(schema: dict[str, Any], value: Any) -> int:
    """The steps that a check takes, found by halving."""
    low, high = 0, 1
    while _is_over(schema, value, high):
        low, high = high, high * 2
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (middle, high) if _is_over(schema, value, middle) else (low, middle)
    return high


def _is_over(schema: dict[str, Any], value: Any, steps: int) -> bool:
    try:
        _problem(schema, value, steps)
    except WorkLimitError:
        return True
    return False


UNIQUE = {"type": "array", "uniqueItems": True}
LONG_LISTS: dict[str, Any] = {
    "objects": lambda n: [{"id": i, "of": "x"} for i in range(n)],
    "lists": lambda n: [[i, "y"] for i in range(n)],
    "numbers whose hashes are one": lambda n: [i * (2**61 - 1) for i in range(n)],
    "fractions": lambda n: [i / 7 for i in range(n)],
    "texts": lambda n: [f"item {i}" for i in range(n)],
    "of all kinds": lambda n: [[i, str(i), {"a": i}, None][i % 4] for i in range(n - 1)],
}


@pytest.mark.parametrize("kind", LONG_LISTS)
def test_items_are_compared_in_work_that_grows_with_their_number(kind: str) -> None:
    make = LONG_LISTS[kind]
    assert _steps(UNIQUE, make(4000)) < 5 * _steps(UNIQUE, make(1000))


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, 1.0], False), ([1, True], True), ([0, False, None, "", [], {}], True), (["1", 1], True),
        ([{"a": 1, "b": 2}, {"b": 2.0, "a": 1}], False), ([[1, [2]], [1, [2]]], False), ([10**5000, 10**5000], False),
        ([10**5000, 10**5000 + 1], True), (["a", "b"], True), ([{"a,b": 1}, {"a": "b:1"}], True), ([0.5, 0.5], False),
        ([["a,b"], ["a", "b"]], True), ([{"a": {}}, {"a": []}], True), ([-1, 1], True), ([None, "None"], True),
    ],
)  # fmt: skip
def test_equal_is_what_json_schema_calls_equal(items: list[Any], unique: bool) -> None:
    assert (_problem(UNIQUE, items) is None) is unique


def _branches(keyword: str) -> dict[str, Any]:
    """A schema that refers to itself in two branches: the work doubles with each level of the value."""
    branches = [
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "required": [name]} for name in ("b", "c")
    ]
    return {"$defs": {"n": {keyword: branches}}, "$ref": "#/$defs/n"}


def _deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("dialect", [None, "https://json-schema.org/draft/2020-12/schema"])
@pytest.mark.parametrize("keyword", ["anyOf", "oneOf", "allOf"])
def test_work_that_doubles_with_each_level_ends(keyword: str, dialect: str | None) -> None:
    schema = _branches(keyword) | ({} if dialect is None else {"$schema": dialect})
    with pytest.raises(WorkLimitError):
        schema_check_of(schema)(_deep(60), quick_limit())


PATTERNS = [
    ({"type": "string", "pattern": "^(a+)+$"}, "a" * 5000 + "!"),
    ({"type": "string", "pattern": "^(x|x|xx)*y$"}, "x" * 3000),
    ({"patternProperties": {"^(k+)+$": {"type": "integer"}}, "additionalProperties": False}, {"k" * 3000 + "!": 1}),
    ({"propertyNames": {"pattern": "(.*)*z$"}}, {"q" * 2000: 1}),
    ({"type": "array", "items": {"pattern": r"^(\w+\s?)+$"}}, ["word " * 200 + "!"]),
]


@pytest.mark.parametrize(("schema", "value"), PATTERNS)
def test_a_pattern_is_searched_for_in_work_that_grows_with_the_text(schema: dict[str, Any], value: Any) -> None:
    """They take ages with Python's own engine."""
    assert schema_check_of(schema)(value, WorkLimit(QUICK_STEPS)) is not None


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ({"pattern": "^(?=.*[0-9])(?=.*[a-z]).{4,}$"}, "abc1", True),
        ({"pattern": "^(?=.*[0-9])(?=.*[a-z]).{4,}$"}, "abcd", False),
        ({"patternProperties": {"^n": {"type": "integer"}}}, {"n1": "x"}, False),
        ({"patternProperties": {"^n": {"type": "integer"}}, "additionalProperties": False}, {"n1": 1, "m": 1}, False),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "integer"}}, {"a": "x", "b": 1}, True),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "integer"}}, {"a": "x", "b": "x"}, False),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"a": "x"}, True),
    ],
)
def test_what_fits_is_as_before(schema: dict[str, Any], value: Any, fits: bool) -> None:
    assert (_problem(schema, value) is None) is fits


@pytest.mark.parametrize(
    "value", [10**5000, [10**400, 0.1], _deep(150), [[[[[]]]]], {"a": 10**5000}, "x" * 10**6], ids=range(6)
)
@pytest.mark.parametrize(
    "schema", [{"multipleOf": 0.1}, {"type": "array", "items": {"multipleOf": 0.01}}, {"$ref": "#"},
               {"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, {"maxLength": 3}],
)  # fmt: skip
def test_a_value_that_the_library_chokes_on_is_a_broken_contract(schema: dict[str, Any], value: Any) -> None:
    problem = _problem(schema, value)
    assert problem is None or len(problem) < 700


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_call_whose_answer_takes_too_long_to_check_goes_to_the_next_target(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a repair: the next answer may be the same."""
    monkeypatch.setattr("lee_llm_router._util.work_limit.MOST_SECONDS", 0.2)
    router, memory, _ = router_for(config_for({"a": [json.dumps(_deep(60))], "b": ['{"b": 1}']}))
    schema = _branches("anyOf")
    if way == "sync":
        assert router.complete("r", "hi", schema=schema).parsed == {"b": 1}
    else:
        assert asyncio.run(router.complete_async("r", "hi", schema=schema)).parsed == {"b": 1}
    assert [(record.failure_type, record.verdict) for record in memory.records] == [
        ("CONTRACT_VIOLATION", "next"), (None, "return"),
    ]  # fmt: skip
    assert "takes too long" in str(memory.records[0].error)


def test_a_long_check_does_not_hold_up_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lee_llm_router._util.work_limit.MOST_SECONDS", 0.4)
    router, _, _ = router_for(config_for({"a": [json.dumps(_deep(60))]}))

    async def run() -> int:
        beats = 0
        call = asyncio.ensure_future(router.complete_async("r", "hi", schema=_branches("anyOf")))
        while not call.done():
            await asyncio.sleep(0.01)
            beats += 1
        assert isinstance(call.exception(), ContractViolationError)
        return beats

    assert asyncio.run(run()) >= 3


@pytest.mark.parametrize(
    ("schema", "answer", "told"),
    [
        ({"properties": {"note": {"type": "integer"}}}, {"note": "a rash"}, r"\$\.note: not of type 'integer'"),
        ({"properties": {"note": {"enum": ["yes", "no"]}}}, {"note": "a rash"}, r"\$\.note: breaks enum: \[\"yes"),
        ({"properties": {"note": {"const": "ok"}}}, {"note": "rash"}, r"\$\.note: breaks const"),
        ({"additionalProperties": {"type": "integer"}}, {"rash": "rash"}, r"\$\.\*: not of type 'integer'"),
        ({"properties": {}, "additionalProperties": False}, {"rash": 1}, "properties that are not allowed"),
        ({"required": ["name"]}, {"rash": 1}, "lacks 'name'"),
        ({"items": {"maxLength": 2}}, ["rash"], r"\$\.0: breaks maxLength: 2"),
        ({"uniqueItems": True}, ["rash", "rash"], "not unique"),
        ({"not": {"type": "array"}}, ["rash"], "breaks not"),
        ({"properties": {"a": {"anyOf": [{"type": "null"}, {"maxLength": 1}]}}}, {"a": "rash"}, r"\$\.a: "),
        ({"propertyNames": {"maxLength": 2}}, {"rash": 1}, "maxLength"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": "rash"}, "dependentRequired"),
    ],
)
def test_what_broke_is_told_by_place_and_rule_alone(
    schema: dict[str, Any], answer: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    _assert_told_without_the_answer(schema, json.dumps(answer), told, caplog)


class Patient(BaseModel):
    note: int
    mood: Literal["good", "bad"] = "good"


def _refuse(value: str) -> str:
    raise ValueError(f"what a {value}")


def _break(value: str) -> str:
    raise KeyError(value)


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Extra(BaseModel, extra="forbid"):
    a: int = 0


@pytest.mark.parametrize(
    ("schema", "answer", "told"),
    [
        (Patient, {"note": "a rash"}, r"Patient\.note: Input should be a valid integer"),
        (Patient, {"note": 1, "mood": "rash"}, r"Patient\.mood: Input should be 'good' or 'bad'"),
        (Annotated[str, AfterValidator(_refuse)], "rash", "value_error"),
        (Annotated[str, AfterValidator(_break)], "rash", "its validator raised KeyError"),
        (dict[str, int], {"rash": "rash"}, r"\.\*: Input should"),
        (Extra, {"rash": 1}, r"Extra\.\*: Extra inputs"),
        (Annotated[Cat | Dog, Field(discriminator="kind")], {"kind": "rash"}, "union_tag_invalid"),
        (list[Patient], [{"note": 1}, {"note": "rash"}], r"\.1\.note"),
    ],
)
def test_a_type_too_tells_by_place_and_rule_alone(
    schema: Any, answer: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where a validator's own words quote the value, or a key is one that the model made up."""
    _assert_told_without_the_answer(schema, json.dumps(answer), told, caplog)


def _assert_told_without_the_answer(schema: Any, answer: str, told: str, caplog: pytest.LogCaptureFixture) -> None:
    router, memory, _ = router_for(config_for({"a": [answer]}, {"contract": {"repair": 1}}))
    with caplog.at_level(logging.DEBUG), pytest.raises(ContractViolationError, match=told) as raised:
        router.complete("r", "hi", schema=schema)
    assert raised.value.response is not None and "rash" in raised.value.response.text
    shown = [
        str(raised.value),
        repr(raised.value.cause),
        caplog.text,
        *(str(record.error) for record in memory.records),
    ]
    assert not [text for text in shown if "rash" in text]


def _number(_: Any) -> str:
    return "schema"


def _nested(objects: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(objects):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


ODD_SCHEMAS: list[Any] = [
    {"$schema": 7}, {"$schema": ["x"]}, {"$schema": None}, {"maximum": 10**5000}, {"const": -(10**4999)},
    {"enum": [float("nan")]}, {"minimum": float("inf")}, {"default": {1, 2}}, {"const": object()}, {3: {}},
    {"properties": {None: {}}}, {"title": "\ud800"}, _nested(130), _nested(400), {"items": [[[[{}]] * 2] * 2] * 2},
    {"type": 5}, {"type": ["string", 5]}, {"pattern": "["}, {"required": "a"}, {"properties": []}, {"items": 5},
    {"patternProperties": {"(": {}}}, {"$ref": 5}, {"minLength": "x"}, {"anyOf": {}}, {"$schema": {}},
]  # fmt: skip


@pytest.mark.parametrize("schema", ODD_SCHEMAS, ids=_number)
def test_an_odd_schema_is_a_typed_error_before_anything_is_sent(schema: Any) -> None:
    router, memory, _ = router_for(config_for({"a": ["{}"]}))
    with pytest.raises(InvalidRequestError):
        router.complete("r", "hi", schema=schema)
    assert not provider_of(router, "a").calls and memory.records[-1].attempt is None


@pytest.mark.parametrize("schema", [*ODD_SCHEMAS[:5], _nested(130), _nested(400)], ids=_number)
def test_an_odd_schema_of_a_role_is_found_when_it_is_loaded(schema: Any) -> None:
    config = {"providers": {"p": {"type": "mock"}}, "roles": {"r": {"provider": "p", "schema": schema}}}
    with pytest.raises(ConfigError):
        load_config({"llm": config})


@pytest.mark.parametrize("objects", [10, 40, 80])
def test_schemas_as_deep_as_people_write_them_work(objects: int) -> None:
    value: Any = "x"
    for _ in range(objects):
        value = {"a": value}
    router, _, _ = router_for(config_for({"a": [json.dumps(value)]}))
    assert router.complete("r", "hi", schema=_nested(objects)).parsed == value
