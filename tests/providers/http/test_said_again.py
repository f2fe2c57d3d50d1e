"""Servers that say a thing twice, or in another form: nothing is handed on doubled, and nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.all_forms import answers, each_form, failures, json_of, stream_of
from helpers.stream_servers import delta
from lee_llm_router import FailureType

CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"p": 1}'}}


def finished(**message: Any) -> dict[str, Any]:
    """The last event of a stream, with a whole message beside an empty delta, or in place of one."""
    return {"choices": [{"index": 0, "delta": {}, "message": message, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        (["Blue ", "whales"], "Blue whales"),
        (["Blue "], "Blue whales"),
        ([], "Blue whales"),
        (["Blue whales"], "Blue whales."),
        (["Blue ", "whales"], "A summary of it"),
    ],
)
def test_a_message_after_its_deltas_adds_only_what_they_have_not_said(pieces: list[str], message: str) -> None:
    whole = message if message.startswith("".join(pieces)) else "".join(pieces)
    for last in (finished(role="assistant", content=message), finished(content=[{"type": "text", "text": message}])):
        body = stream_of(delta(role="assistant", content=""), *(delta(content=piece) for piece in pieces), last)
        for form, ended in each_form(body):
            assert ended.response is not None and ended.response.text == whole, form
            assert "stream" not in form or ended.text == whole, form
    response = answers(stream_of(*(delta(content=piece) for piece in pieces), finished(content=message)))
    assert response.raw["choices"][0]["message"]["content"] == message


def test_reasoning_and_calls_are_not_said_again_either() -> None:
    said: dict[str, Any] = {"reasoning_content": "Hm.", "tool_calls": [{"index": 0, **CALL}]}
    sent: list[list[dict[str, Any]]] = [
        [{"reasoning_content": "Hm."}, {"tool_calls": [{"index": 0, **CALL}]}],
        [{"role": "assistant"}],
    ]
    for pieces in sent:
        response = answers(stream_of(*(delta(**piece) for piece in pieces), finished(content="", **said)))
        assert (response.text, response.reasoning) == ("", "Hm.")
        assert [(call.id, call.arguments) for call in response.tool_calls] == [("c1", '{"p": 1}')]


def test_messages_in_place_of_deltas_are_pieces() -> None:
    """Some servers know no deltas: a piece that says the same once more is the next piece."""
    pieces = [{"choices": [{"index": 0, "message": {"content": "ha"}, "finish_reason": None}]}] * 2
    assert answers(stream_of(*pieces, delta("stop"))).text == "haha"


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": {"value": "Hello"}}],
        [{"type": "output_text", "text": "Hello", "annotations": []}],
        [{"text": "Hello"}],
        ["Hel", "lo"],
        [{"type": "text", "text": "Hel"}, {"type": "output_text", "text": "lo"}],
    ],
)
def test_text_in_parts_is_text_whatever_the_form(content: list[Any]) -> None:
    """Of the Assistants and the Responses API, and of servers that hand on what a model library made."""
    for body in (
        json_of({"choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]}),
        stream_of(delta(content=content), delta("stop")),
    ):
        for form, ended in each_form(body):
            assert ended.response is not None and ended.response.text == "Hello", form
            assert not ended.response.details.parts, form


@pytest.mark.parametrize("reason", ["tool_calls", "function_call", "tool_use", "TOOL_CALLS"])
@pytest.mark.parametrize("calls", [None, []])
def test_an_end_for_calls_that_did_not_come_is_no_answer(reason: str, calls: Any) -> None:
    """Another try brings them; an agent that got nothing would have nothing to go on with."""
    message = {"role": "assistant", "content": "", "tool_calls": calls}
    bodies = [json_of({"choices": [{"message": message, "finish_reason": reason}]})]
    bodies.append(stream_of(delta(**message), delta(reason)))
    for body in bodies:
        for error in failures(body):
            assert error.failure_type is FailureType.INVALID_RESPONSE and "without the tool calls" in error.message
    spoken = json_of({"choices": [{"message": {**message, "content": "Let me look."}, "finish_reason": reason}]})
    assert answers(spoken).text == "Let me look."


def piece(arguments: str, **more: Any) -> dict[str, Any]:
    name = more.pop("name", None)
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return delta(tool_calls=[{"index": 0, "function": function, **more}])


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        (["", "{}", '{"p": 1}'], '{"p": 1}'),
        (["{}", '{"p"', ": 1}"], '{"p": 1}'),
        (["{}"], "{}"),
        (["null"], "{}"),
        (["", "null"], "{}"),
        (["{", "}"], "{}"),
        (['{"p"', ": 1}", '{"p": 1}'], '{"p": 1}'),
        (['{"p": {', '"q": 1}}', '{"p": {"q": 1}}'], '{"p": {"q": 1}}'),
        (['{"p": ', "{}", "}"], '{"p": {}}'),
        (['{"p": "', "{", '"}'], '{"p": "{"}'),
    ],
)
@pytest.mark.parametrize("again", [{}, {"id": "c1"}, {"id": "c1", "name": "look_up"}])
def test_arguments_are_whole_json_once(pieces: list[str], arguments: str, again: dict[str, Any]) -> None:
    """Servers that translate begin with an empty object, or say all once more at the end."""
    first, *rest = pieces
    body = stream_of(piece(first, id="c1", name="look_up"), *(piece(one, **again) for one in rest), delta("tool_calls"))
    for form, ended in each_form(body):
        assert ended.response is not None, form
        assert [call.arguments for call in ended.response.tool_calls] == [arguments], form


def test_a_call_without_arguments_that_was_cut_keeps_its_empty_object() -> None:
    body = stream_of(piece("{}", id="c1", name="look_up"), delta("length"))
    assert answers(body).tool_calls[0].arguments == "{}"


def test_a_new_id_in_the_middle_of_arguments_is_no_new_call() -> None:
    """Some gateways make one for each piece, and name the function in each."""
    pieces = [piece('{"p"', id="a1", name="look_up"), piece(": 1}", id="a2", name="look_up")]
    more = piece('{"p": 2}', id="a3", name="look_up")
    calls = answers(stream_of(*pieces, more, delta("tool_calls"))).tool_calls
    assert [(call.id, call.arguments) for call in calls] == [("a1", '{"p": 1}'), ("a3", '{"p": 2}')]
