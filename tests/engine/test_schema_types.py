"""`schema` takes any type that pydantic can validate: what is parsed has that type, whatever the provider."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NewType

import pytest
from pydantic import BaseModel, Field, TypeAdapter
from typing_extensions import TypedDict

from helpers.support import config_for, provider_of, router_for
from lee_llm_router import ContractViolationError, InvalidRequestError, LLMResponse, RoleConfig
from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig
from lee_llm_router.response import LLMRequest


class Trip(BaseModel):
    place: str
    days: int = 1


@dataclass
class Stop:
    name: str


class Note(TypedDict):
    text: str


Days = NewType("Days", int)
UNHASHABLE = Annotated[int, Field(json_schema_extra={"unit": "day"}), ["a list"]]

CASES: list[tuple[Any, str, Any]] = [
    (Trip, '{"place": "Oslo"}', Trip(place="Oslo")),
    (Stop, '{"name": "fjord"}', Stop("fjord")),
    (Note, '{"text": "hm"}', {"text": "hm"}),
    (list[Trip], '[{"place": "Oslo"}]', [Trip(place="Oslo")]),
    (dict[str, Stop], '{"a": {"name": "b"}}', {"a": Stop("b")}),
    (Trip | Stop, '{"name": "fjord"}', Stop("fjord")),
    (Trip | None, "null", None),
    (TypeAdapter(Trip | Stop), '{"place": "Oslo"}', Trip(place="Oslo")),
    (Literal["yes", "no"], '"no"', "no"),
    (int, "3", 3),
    (Days, "3", 3),
    (UNHASHABLE, "3", 3),
    (tuple[int, str], '[1, "a"]', (1, "a")),
]
IDS = [str(schema) for schema, _, _ in CASES]


@pytest.mark.parametrize(("schema", "text", "wanted"), CASES, ids=IDS)
def test_what_is_parsed_has_the_type_asked_for(schema: Any, text: str, wanted: Any) -> None:
    """Also with words around it, and where there is one value."""
    router, _, _ = router_for(config_for({"a": [text, f"```json\n{text}\n```"]}))
    for _ in range(2):
        parsed = router.complete("r", "hi", schema=schema).parsed
        assert parsed == wanted and type(parsed) is type(wanted)


@pytest.mark.parametrize(("schema", "text", "wanted"), CASES, ids=IDS)
def test_an_answer_of_another_type_breaks_the_contract(schema: Any, text: str, wanted: Any) -> None:
    router, _, _ = router_for(config_for({"a": ['{"other": ["thing"]}', text]}))
    assert router.complete("r", "hi", schema=schema).parsed == wanted
    assert len(provider_of(router, "a").calls) == 2
    router, _, _ = router_for(config_for({"a": ['{"other": ["thing"]}']}))
    with pytest.raises(ContractViolationError):
        router.complete("r", "hi", schema=schema)


@pytest.mark.parametrize(("schema", "text", "wanted"), CASES, ids=IDS)
def test_the_api_is_sent_its_json_schema(schema: Any, text: str, wanted: Any) -> None:
    settings = OpenAIChatConfig(type="http", base_url="http://h/v1")
    body = ChatDialect().encode(LLMRequest(messages=(), schema=schema), settings, stream=False)
    sent = body["response_format"]["json_schema"]["schema"]
    assert sent == TypeAdapter(schema).json_schema() if not isinstance(schema, TypeAdapter) else schema.json_schema()
    json.dumps(sent)


class NoType:
    """Pydantic knows no way to validate it."""


@pytest.mark.parametrize("schema", [42, "Trip", [Trip], Trip(place="x"), (Trip,), NoType, list[NoType], 1.5, True])
def test_what_is_no_type_is_refused_before_anything_is_sent(schema: Any) -> None:
    router, memory, _ = router_for(config_for({"a": ["{}"]}))
    with pytest.raises(InvalidRequestError, match=r"schema|NoType"):
        router.complete("r", "hi", schema=schema)
    assert not provider_of(router, "a").calls and memory.records[0].attempt is None


def test_a_role_in_code_may_have_any_type() -> None:
    assert RoleConfig(provider="a", response_schema=list[Trip]).response_schema == list[Trip]


def test_the_complaint_names_the_place_inside_a_list() -> None:
    router, _, _ = router_for(config_for({"a": ['[{"place": "Oslo", "days": "many"}]']}))
    with pytest.raises(ContractViolationError, match=r"Trip\]\.0\.days"):
        router.complete("r", "hi", schema=list[Trip])


def test_an_answer_can_be_made_with_its_type() -> None:
    """For the tests of applications."""
    assert LLMResponse[Trip](text="", parsed=Trip(place="x")).parsed.place == "x"
    with pytest.raises(AttributeError):
        LLMResponse(text="").other = 1  # type: ignore[attr-defined]
