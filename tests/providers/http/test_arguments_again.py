"""Calls of tools whose arguments come in several forms, by Anthropic's and OpenAI's Responses API: they count once."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from helpers.all_forms import each_form, json_of, stream_of
from lee_llm_router.providers.http.dialects.arguments_so_far import ArgumentsSoFar

_DELTA = "response.function_call_arguments.delta"
_DONE = "response.function_call_arguments.done"
_TEXT = "response.output_text.done"


def _blocks(pieces: list[str], given: dict[str, Any], reason: str) -> bytes:
    """A message of Anthropic's with one call."""
    block = {"type": "tool_use", "id": "c1", "name": "look_up", "input": given}
    return stream_of(
        {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}}
          for piece in pieces),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    )  # fmt: skip


def _item(arguments: str) -> dict[str, Any]:
    return {"type": "function_call", "id": "fc", "call_id": "c1", "name": "look_up", "arguments": arguments}


def _items(*events: dict[str, Any], given: str = "", whole: str | None = None) -> bytes:
    """A response with one call; with `whole`, its arguments stand in the whole response at the end too."""
    about = {"item_id": "fc", "output_index": 0}
    output = [] if whole is None else [_item(whole)]
    return stream_of(
        {"type": "response.output_item.added", "output_index": 0, "item": _item(given)},
        *({**about, **event} for event in events),
        {"type": "response.completed", "response": {"status": "completed", "output": output}},
    )


def _arguments(body: bytes, kind: str) -> set[str]:
    """The arguments of the one call in `body`, in every form of a call."""
    found = set()
    for form, ended in each_form(body, type=kind):
        assert ended.response is not None, (form, ended.error)
        (call,) = ended.response.tool_calls
        pieces = "".join(piece.arguments for chunk in ended.chunks for piece in chunk.tool_calls)
        assert (call.id, call.name) == ("c1", "look_up") and pieces in ("", call.arguments), form
        found.add(call.arguments)
    return found


@pytest.mark.parametrize(
    ("pieces", "given", "wanted"),
    [
        (["{}", '{"p": 1}'], {}, '{"p": 1}'),
        (['{"p"', ": 1}", '{"p": 1}'], {}, '{"p": 1}'),
        (["{}"], {}, "{}"),
        (["null"], {}, "{}"),
        (["{}"], {"p": 1}, '{"p":1}'),
        (["", " "], {"p": 1}, '{"p":1}'),
        (["", " ", '{"p": 2}'], {"p": 1}, '{"p": 2}'),
        (['{"p": ', "{}", "}"], {}, '{"p": {}}'),
    ],
)
def test_arguments_of_a_block_count_once(pieces: list[str], given: dict[str, Any], wanted: str) -> None:
    """Whole and streamed, they differ in blanks alone: an unstreamed message has an object."""
    assert {found.replace(" ", "") for found in _arguments(_blocks(pieces, given, "tool_use"), "anthropic")} == {
        wanted.replace(" ", "")
    }


def test_a_block_without_arguments_that_was_cut_keeps_its_empty_object() -> None:
    assert _arguments(_blocks(["{}"], {}, "max_tokens"), "anthropic") == {"{}"}


@pytest.mark.parametrize("whole", [None, '{"p": 1}'])
@pytest.mark.parametrize(
    ("events", "given"),
    [
        ([{"type": _DONE, "arguments": '{"p": 1}'}], ""),
        ([{"type": _DONE, "arguments": '{"p": 1}'}], "{}"),
        ([{"type": _DELTA, "delta": '{"p": 1}'}, {"type": _DONE, "arguments": '{"p": 1}'}], '{"p": 1}'),
        ([{"type": _DELTA, "delta": "{}"}, {"type": _DELTA, "delta": '{"p": 1}'}], ""),
        ([{"type": _DELTA, "delta": '{"p": 1}'}, {"type": _DELTA, "delta": '{"p": 1}'}], ""),
        ([{"type": _DELTA, "delta": '{"p"'}, {"type": _DONE, "arguments": '{"p": 1}'}], ""),
        ([], '{"p": 1}'),
    ],
)
def test_arguments_of_an_item_count_once(events: list[dict[str, Any]], given: str, whole: str | None) -> None:
    """Wherever they stand: where the item begins, in pieces, at its end, in the whole response or not."""
    assert _arguments(_items(*events, given=given, whole=whole), "openai_responses") == {'{"p": 1}'}


def test_text_that_comes_only_at_the_end_of_its_part_is_text() -> None:
    parts = [{"type": _TEXT, "item_id": "m", "content_index": place, "text": text} for place, text in enumerate("ab")]
    body = stream_of(*parts, {"type": "response.completed", "response": {"status": "completed", "output": []}})
    for form, ended in each_form(body, type="openai_responses"):
        assert ended.response is not None and ended.response.text == "ab", (form, ended.error)


def test_content_that_is_a_text_is_one_block() -> None:
    """Servers that translate to Anthropic's API send what their own has."""
    body = json_of({"type": "message", "content": "Hello", "stop_reason": "end_turn"})
    for form, ended in each_form(body, type="anthropic"):
        assert ended.response is not None and ended.response.text == "Hello", (form, ended.error)


@pytest.mark.parametrize("args", [{"p": 1}, '{"p": 1}'])
def test_arguments_of_a_function_call_may_be_json_text(args: Any) -> None:
    """As the gateways' own API has them."""
    body = stream_of(_candidate({"functionCall": {"name": "look_up", "id": "c1", "args": args}}, finishReason="STOP"))
    assert _arguments(body, "gemini") == {'{"p":1}'}


@pytest.mark.parametrize("reason", [0, 1])
def test_parts_that_are_candidates_of_their_own_are_one_answer(reason: int) -> None:
    """Gateways give each part an entry, all numbered 0 or not at all; the reason stands in any of them."""
    parts: list[dict[str, Any]] = [{"text": "Blue "}, {"functionCall": {"name": "look_up"}}]
    entries = [_candidate(part)["candidates"][0] for part in parts]
    entries[reason]["finishReason"] = "STOP"
    for form, ended in each_form(stream_of({"candidates": entries}), type="gemini"):
        assert ended.response is not None, (form, ended.error)
        assert (ended.response.text, len(ended.response.tool_calls)) == ("Blue ", 1), form


def _candidate(part: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}, **more}]}


@pytest.mark.parametrize("pieces", [[" ", "n"], ["5", "{"], ["{}", " ", "{"]])
def test_each_piece_is_looked_at_once_however_many_there_are(pieces: list[str]) -> None:
    """Otherwise a stream of a few megabytes would take hours, in an event loop."""
    counts = []
    for times in (100, 400):
        arguments, calls = ArgumentsSoFar(), 0

        def count(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event == "c_call"

        sys.setprofile(count)
        try:
            for piece in pieces:
                for _ in range(times):
                    arguments.take(piece)
        finally:
            sys.setprofile(None)
        counts.append(calls)
    assert counts[1] < 5 * counts[0]


def test_arguments_that_are_no_object_stay_as_they_are() -> None:
    """They say something, also once it was looked whether they are whole."""
    arguments = ArgumentsSoFar()
    assert (arguments.take("5"), arguments.is_whole, arguments.is_empty) == ("5", False, False)
