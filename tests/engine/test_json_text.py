"""Text around the JSON of an answer: set aside where exactly one JSON value is left, a broken contract otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from helpers.support import config_for, router_for
from lee_llm_router import ContractViolationError

VALUE = {"place": "Oslo", "stops": [{"name": "fjord"}, {"name": "ship {1}"}], "note": 'a "quoted" ] word'}
TEXT = json.dumps(VALUE)
NO_REPAIR = {"contract": {"repair": 0}}


class Stop(BaseModel):
    name: str


class Trip(BaseModel):
    place: str
    stops: list[Stop]
    note: str


def _parsed(text: str, **options: Any) -> Any:
    router, _, _ = router_for(config_for({"a": [text]}, role=NO_REPAIR))
    answer = router.complete("r", "hi", **options)
    assert answer.text == text, "the text stays as the model wrote it"
    return answer.parsed


AROUND = [
    "{}", " \n{}\n", "\ufeff{}", "```json\n{}\n```", "```\n{}```", "```JSON\n{}\n```\n", "```json\n{}", "{}\n```",
    "Here it is:\n\n```json\n{}\n```\nEnjoy the trip!", "Sure! Here is your trip: {} Have fun.", "Answer: {}.",
    "<think>I need a place, {{maybe}} Oslo: [1, 2]</think>\n{}", "<think>\nhm\n</think>\n\n```json\n{}\n```",
    "<thinking>hm</thinking>The trip: {}", "<THINK></THINK>{}", "Oslo is nice: [1], {{2}}\n</think>\n\n{}",
    "<think>a</think>\n<answer>{}</answer>", "It's 3 days, \"at least\": {}",
]  # fmt: skip


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("contract", [{"json_mode": True}, {"schema": Trip}, {"schema": {"required": ["place"]}}])
def test_what_stands_around_one_value_is_set_aside(around: str, contract: dict[str, Any]) -> None:
    found = _parsed(around.format(TEXT), **contract)
    assert found == (Trip.model_validate(VALUE) if contract.get("schema") is Trip else VALUE)


@pytest.mark.parametrize(
    "text",
    [
        "{} {}", "[1] {}", "{}\n{}", "```json\n{}\n```\nor\n```json\n{}\n```", "{}}}", "}} {}", "{}, \"more\": [1]",
        "Either {} or []", "{} 2", "true {}", "see [note]: {}", "<think>{}", "<think>\n{}\n", "<think>x</think>",
        "<think>x</think> {} and {}",
    ],
)  # fmt: skip
def test_where_one_value_cannot_be_told_the_contract_is_broken(text: str) -> None:
    with pytest.raises(ContractViolationError):
        _parsed(text.format(TEXT, TEXT), json_mode=True)


@pytest.mark.parametrize(
    "text",
    [
        '{"n": 1, "items": [1, 2], oops}', '{"n": 1, "items": [1, 2]', '{"n": [1, 2]', '[{"n": 1}, {"n": 2}',
        "{'n': [1]}", 'So: {"n": 1, "items": {"a": 1}', '{"n": NaN}', '{n: {"a": 1}}', "The answer is 42", "yes", "",
        '{"n": 1, // a comment\n "m": [2]}',
    ],
)  # fmt: skip
def test_no_part_of_a_broken_value_is_taken_for_the_whole(text: str) -> None:
    """A list inside a broken object is valid JSON, and not the answer."""
    with pytest.raises(ContractViolationError):
        _parsed(text, json_mode=True)


def test_an_end_of_thoughts_inside_a_string_belongs_to_the_value() -> None:
    assert _parsed('It is: {"tag": "</think>"}', json_mode=True) == {"tag": "</think>"}


@pytest.mark.parametrize("text", ["42", "<think>so</think> 42", "```json\n42\n```", "<think>so</think>\n```\n42\n```"])
def test_a_number_alone_is_a_value(text: str) -> None:
    assert _parsed(text, json_mode=True) == 42


def test_the_complaint_names_the_place_in_the_value_not_in_the_words_before_it() -> None:
    with pytest.raises(ContractViolationError, match="line 1 column 7"):
        _parsed("Of course!\nHere you are:\n\n" + '{"n": oops}', json_mode=True)


@given(st.text(alphabet='{}[]",:1a \n`<>/think', max_size=60), st.booleans())
def test_any_text_is_parsed_or_refused(text: str, before: bool) -> None:
    """Nothing else happens; and what comes out is in the text."""
    text = text + TEXT if before else TEXT + text
    try:
        found = _parsed(text, json_mode=True)
    except ContractViolationError:
        return
    assert found == VALUE or found in (None, "", 1, 11) or json.dumps(found)[0] in '[{"1'


@pytest.mark.parametrize("text", ["[" * 200_000, "{" * 200_000, "[1]" * 100_000, '{"a":' * 100_000, " " * 500_000 + "{",
                                  "```\n" + " " * 300_000, "<think>" * 50_000, "</think>" * 50_000])  # fmt: skip
def test_a_long_wrong_text_is_refused_at_once(text: str) -> None:
    """In a time that grows with its length, not with the square of it: that would be minutes."""
    with pytest.raises(ContractViolationError):
        _parsed(text, json_mode=True)
