"""A stage of Ray Data answers each row of a batch in new columns. Ray itself is in `tests/real/test_real_ray.py`."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import pytest

from lee_llm_router import ConfigError, LLMConfig, load_config
from lee_llm_router.integrations.ray import RouterStage
from lee_llm_router.integrations.ray_columns import ANSWER_COLUMNS


def config(**mock: Any) -> LLMConfig:
    provider = {"type": "mock", **mock}
    return load_config({"llm": {"providers": {"m": provider}, "roles": {"r": {"provider": "m", "model": "x"}}}})


def test_each_row_has_its_answer_in_the_columns_and_keeps_its_own() -> None:
    stage = RouterStage(config(response_text="fine"), "r")
    answered = stage({"prompt": ["one", "two"], "number": [1, 2]})
    assert list(answered["number"]) == [1, 2]
    assert list(answered["answer_text"]) == ["fine", "fine"]
    assert list(answered["answer_model"]) == ["x", "x"]
    assert list(answered["answer_error"]) == [None, None]
    assert set(answered) == {"prompt", "number", *(f"answer_{name}" for name in ANSWER_COLUMNS)}


def test_a_row_that_fails_has_its_failure_in_the_columns_and_the_others_are_answered() -> None:
    stage = RouterStage(config(script=[{"error": "CONTENT_FILTER"}, {"text": "fine"}]), "r", concurrency=1)
    answered = stage({"prompt": ["bad", "good", "", None]})
    assert list(answered["answer_error"]) == ["CONTENT_FILTER", None, "BROKEN_ROW", "BROKEN_ROW"]
    assert list(answered["answer_text"]) == [None, "fine", None, None]
    assert all(answered["answer_message"][at] for at in (0, 2, 3))


@pytest.mark.parametrize(
    "messages", [[{"role": "user", "content": "hi", "name": None}], '[{"role": "user", "content": "hi"}]']
)
def test_messages_come_as_lists_or_as_json_text(messages: Any) -> None:
    """Arrow gives each mapping of a column a place for every key: what is null there was not given."""
    answered = RouterStage(config(), "r", messages="talk")({"talk": [messages]})
    assert list(answered["answer_error"]) == [None]


def test_a_template_makes_prompts_of_columns_and_the_answer_is_parsed_by_a_schema() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    stage = RouterStage(
        config(response_text='{"city": "Rome"}'), template="Where is {name}?", options={"schema": schema}, prefix=""
    )
    answered = stage({"name": ["he"]})
    assert list(answered["parsed"]) == ['{"city": "Rome"}']


@pytest.mark.parametrize(
    ("arguments", "batch", "said"),
    [
        ({}, {"question": ["?"]}, "no column 'prompt'"),
        ({"prefix": ""}, {"prompt": ["?"], "text": ["x"]}, "choose another prefix"),
        ({"id": "number"}, {"prompt": ["?"]}, "no column 'number'"),
        ({}, ["?"], "a batch of Ray is expected"),
    ],
)
def test_wrong_columns_are_an_error_that_names_them(arguments: Mapping[str, Any], batch: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RouterStage(config(), "r", **arguments)(batch)


@pytest.mark.parametrize("wrong", [{"prompt": "a", "messages": "b"}, {"concurrency": 0}, {"template": "none"}])
def test_wrong_arguments_are_an_error(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigError):
        RouterStage(config(), "r", **wrong)


def test_pickling_a_stage_says_how_it_is_given_to_ray() -> None:
    with pytest.raises(TypeError, match="fn_constructor_kwargs"):
        pickle.dumps(RouterStage(config(), "r"))
    assert pickle.loads(pickle.dumps((RouterStage, {"config": config()})))[0] is RouterStage
