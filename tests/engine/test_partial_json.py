"""`partial` of a stream under a contract: the JSON so far, parsed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from helpers.support import END, Pieces, config_for, router_for
from lee_llm_router import ContractViolationError
from lee_llm_router.errors import FailureType, error_for


class Plan(BaseModel):
    title: str
    steps: list[str]


def _seen(pieces: Sequence[Any], asynchronous: bool, **options: Any) -> list[Any]:
    """What `partial` was before the first chunk, after each, and after the end."""
    router, _, _ = router_for(config_for({"a": [Pieces(*pieces)]}))
    options = {"json_mode": True, **options}
    if not asynchronous:
        stream = router.stream("r", "hi", **options)
        return [stream.partial, *(stream.partial for _ in stream), stream.partial]

    async def read() -> list[Any]:
        stream = router.stream_async("r", "hi", **options)
        return [stream.partial, *[stream.partial async for _ in stream], stream.partial]

    return asyncio.run(read())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_value_grows_with_the_answer(asynchronous: bool) -> None:
    pieces = ['{"tit', 'le": "Me', 'nd it", "steps": ["te', 'st"', ', "mend"]', "}", END]
    assert _seen(pieces, asynchronous, schema=Plan) == [
        None,
        {},
        {"title": "Me"},
        {"title": "Mend it", "steps": ["te"]},
        {"title": "Mend it", "steps": ["test"]},
        {"title": "Mend it", "steps": ["test", "mend"]},
        {"title": "Mend it", "steps": ["test", "mend"]},
        {"title": "Mend it", "steps": ["test", "mend"]},
        {"title": "Mend it", "steps": ["test", "mend"]},
    ]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_stands_around_the_value_is_set_aside(asynchronous: bool) -> None:
    pieces = ["<think>{", "1}</think>", "Sure:\n```json\n", "[1, ", "2]", "\n```", "Bye", END]
    assert _seen(pieces, asynchronous) == [None, None, None, None, [1], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2]]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_text_alone_grows_too(asynchronous: bool) -> None:
    assert _seen(['"a [', 'b"', END], asynchronous) == [None, "a [", "a [b", "a [b", "a [b"]


@pytest.mark.parametrize("broken", ['{"a": [1] oops', '{"a": [1], oops'])
def test_a_broken_value_is_what_came_before_the_break_or_none(broken: str) -> None:
    stream = router_for(config_for({"a": [Pieces(broken, END)]}))[0].stream("r", "hi", json_mode=True)
    with pytest.raises(ContractViolationError):
        list(stream)
    assert stream.partial in (None, {"a": [1]})


def test_words_alone_are_no_value() -> None:
    stream = router_for(config_for({"a": [Pieces("I see", " nothing.", END)]}))[0].stream("r", "hi", json_mode=True)
    with pytest.raises(ContractViolationError):
        list(stream)
    assert stream.partial is None


def test_after_a_restart_it_is_that_of_the_new_answer() -> None:
    plays = [Pieces('{"a": [1', error_for(FailureType.PROVIDER_ERROR, "down")), Pieces('{"b": ', "2}", END)]
    router, _, _ = router_for(config_for({"a": plays}, role={"stream": {"on_break": "restart"}}))
    stream = router.stream("r", "hi", json_mode=True)
    seen = [(chunk.restart, stream.partial) for chunk in stream]
    assert seen == [(False, {"a": [1]}), (True, {}), (False, {}), (False, {"b": 2}), (False, {"b": 2})]


def test_a_stream_that_is_left_keeps_what_came() -> None:
    router, _, _ = router_for(config_for({"a": [Pieces('{"a": "on', 'e"}', END)]}))
    with router.stream("r", "hi", json_mode=True) as stream:
        next(stream)
    assert stream.partial == {"a": "on"}
