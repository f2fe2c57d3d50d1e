"""Calls of tools in answers, in the ways that servers have of their own; each asked for in every form of a call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.all_forms import JSON, answers, each_form, json_of, stream_of
from helpers.servers import completion
from helpers.stream_servers import ROLE_ONLY, delta, named

CALLED = delta("tool_calls")


def pieces(*groups: Any) -> bytes:
    """A stream whose deltas hold these tool calls, a list for each event."""
    return stream_of(ROLE_ONLY, *(delta(tool_calls=[*group]) for group in groups), CALLED)


def more(text: str, **call: Any) -> dict[str, Any]:
    return {"function": {"arguments": text}, **call}


TWO = [("look", '{"at": "a"}'), ("take", '{"at": "b"}')]
SAME_TOOL = [("look", '{"at": "a"}'), ("look", '{"at": "}"}')]
ONE = [("look", '{"at": "{b"}')]
CALLS: dict[str, tuple[list[list[dict[str, Any]]], list[tuple[str, str]]]] = {
    "whole calls, all numbered 0": ([[named(*TWO[0], index=0)], [named(*TWO[1], index=0)]], TWO),
    "whole calls of one tool, all numbered 0": ([[named(*call, index=0)] for call in SAME_TOOL], SAME_TOOL),
    "whole calls of one tool in one event": ([[named(*call, index=0) for call in SAME_TOOL]], SAME_TOOL),
    "whole calls without numbers": ([[named(*call)] for call in SAME_TOOL], SAME_TOOL),
    "calls in pieces, all numbered 0": (
        [[named("look", index=0)], [more('{"at": ', index=0)], [more('"a"}', index=0)],
         [named("take", index=0)], [more('{"at": "b"}', index=0)]], TWO,
    ),
    "calls of one tool in pieces, all numbered 0": (
        [[named("look", index=0)], [more('{"at": "a"}', index=0)], [named("look", index=0)],
         [more('{"at": ', index=0)], [more('"}"}', index=0)]], SAME_TOOL,
    ),
    "the name in each piece": (
        [[named("look", "", index=0)], [named("look", '{"at": "{', index=0)], [named("look", 'b"}', index=0)]], ONE,
    ),
    "the name in each piece, without numbers": (
        [[named("look", '{"at": "{')], [named("look", 'b"}')], [named("look", "")]], ONE,
    ),
    "the name in each piece, and once more at the end": (
        [[named("look", '{"at": "{b"', index=0)], [named("look", "}", index=0)], [named("look", "", index=0)]], ONE,
    ),
    "one id for all calls": ([[named(*call, index=0, id="same")] for call in TWO], TWO),
    "the second call has an id, the first none": ([[named(*TWO[0], index=0)], [named(*TWO[1], index=0, id="b")]], TWO),
    "arguments as objects": ([[named(name, json.loads(text), index=0)] for name, text in TWO], [
        (name, json.dumps(json.loads(text), separators=(",", ":"))) for name, text in TWO
    ]),
    "numbers as usual, no ids": (
        [[named(*TWO[0], index=0)], [named("take", "", index=1)], [more(TWO[1][1], index=1)]], TWO,
    ),
    "text numbers": ([[named(*call, index=str(number))] for number, call in enumerate(TWO)], TWO),
    "a quote and a bracket inside": (
        [[named("look", '{"at": "\\', index=0)], [named("look", '"{"}', index=0)]], [("look", '{"at": "\\"{"}')],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CALLS)
def test_calls_are_told_apart_by_what_they_hold(kind: str) -> None:
    """Each call has an id of its own, and `raw` has as many calls as the response."""
    groups, wanted = CALLS[kind]
    response = answers(pieces(*groups))
    assert [(call.name, call.arguments) for call in response.tool_calls] == wanted
    assert len({call.id for call in response.tool_calls}) == len(wanted)
    assert response.finish_reason == "tool_calls"
    assert len(response.raw["choices"][0]["message"]["tool_calls"]) == len(wanted)


def test_whole_calls_with_one_id_get_ids_of_their_own() -> None:
    calls = [named(name, text, id="x") for name, text in TWO]
    response = answers(json_of(completion(None, tool_calls=calls)), JSON)
    assert response.tool_calls[0].id == "x" and response.tool_calls[1].id != "x"


NO_ARGUMENTS = [{"name": "now", "arguments": ""}, {"name": "now", "arguments": None}, {"name": "now"},
                {"name": "now", "arguments": " \n"}, {"name": "now", "arguments": {}}]  # fmt: skip


@pytest.mark.parametrize("function", NO_ARGUMENTS)
def test_a_call_without_arguments_has_an_empty_object(function: Any) -> None:
    """`ToolCall.arguments` is JSON text, and so are the pieces of a stream, joined."""
    call = {"index": 0, "id": "c", "function": function}
    for body in (json_of(completion(None, tool_calls=[call])), pieces([call])):
        for form, ended in each_form(body):
            assert ended.response is not None, ended.error
            assert json.loads(ended.response.tool_calls[0].arguments) == {}, form
            if "stream" in form:
                deltas = [call for chunk in ended.chunks for call in chunk.tool_calls]
                assert json.loads("".join(delta.arguments for delta in deltas)) == {}


def test_arguments_that_were_cut_are_not_taken_for_none() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "now", "arguments": ""}}
    body = stream_of(ROLE_ONLY, delta(tool_calls=[call]), delta("length"))
    assert answers(body).tool_calls[0].arguments == ""


LEGACY = {"name": "look", "arguments": '{"at": 1}'}


def test_the_older_spelling_of_a_tool_call_is_read() -> None:
    """`function_call`, where there are no `tool_calls`; text beside it stays."""
    whole = completion("look\n{}", function_call=LEGACY)
    whole["choices"][0]["finish_reason"] = "function_call"
    chunks = [
        delta(content="look\n{}"), delta(function_call={"name": "look", "arguments": ""}),
        delta(function_call={"arguments": '{"at": '}), delta(function_call={"arguments": "1}"}), delta("function_call"),
    ]  # fmt: skip
    for body in (
        json_of(whole),
        stream_of(*chunks),
        json_of(whole | {"choices": [whole["choices"][0] | {"index": 3}]}),
    ):
        response = answers(body)
        assert response.text == "look\n{}" and response.finish_reason == "tool_calls"
        assert [(call.name, json.loads(call.arguments)) for call in response.tool_calls] == [("look", {"at": 1})]
    both = completion(None, tool_calls=[named("look", '{"at": 1}', id="c")], function_call=LEGACY)
    assert [call.id for call in answers(json_of(both)).tool_calls] == ["c"]
    empty = completion("hi", function_call=None, tool_calls=[])
    assert answers(json_of(empty)).tool_calls == ()


def test_an_answer_that_calls_tools_ends_with_tool_calls() -> None:
    """Whatever the server says, and whatever it says later."""
    call = named("look", "{}", index=0, id="c")
    for reasons in (["stop"], ["tool_calls", "stop"], ["stop", "tool_calls"], ["function_call"], ["tool_use"]):
        body = stream_of(delta(tool_calls=[call]), *map(delta, reasons))
        response = answers(body)
        assert response.finish_reason == "tool_calls"
        whole = completion(None, tool_calls=[call])
        whole["choices"][0]["finish_reason"] = reasons[-1]
        assert answers(json_of(whole)).finish_reason == "tool_calls"
