"""Messages that chat completions would refuse are mended: ids, names, calls and results that do not fit together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.chat_messages import PICTURE, calls, result, text, user
from helpers.chat_requests import sent, settings

NO_RESULT = "Error: no result is known"


def ids(found: list[Any]) -> list[Any]:
    return [
        [call["id"] for call in message["tool_calls"]] if message.get("tool_calls") else message.get("tool_call_id")
        for message in found
        if message.get("tool_calls") or message["role"] == "tool"
    ]


def test_missing_doubled_and_long_ids_are_replaced_in_calls_and_results_alike() -> None:
    long = "toolu_" + "x" * 60
    found = sent(
        user(), calls((long, "look"), ("", "look")), result(long), result(""),
        calls(("d", "look"), ("d", "take")), result("d", "1"), result("d", "2"), calls(("d", "look")), result("d", "3"),
        calls((None, "look")), {"role": "tool", "content": "4", "name": "look"},
    )  # fmt: skip
    groups = ids(found)
    for one, many in ((0, groups[1:3]), (3, groups[4:6]), (6, groups[7:8]), (8, groups[9:10])):
        assert groups[one] == many
    assert [message["content"] for message in found if message["role"] == "tool"][2:] == ["1", "2", "3", "4"]
    assert found[-1]["tool_call_id"] == found[-2]["tool_calls"][0]["id"]


def test_ids_have_the_length_that_a_server_wants() -> None:
    config = settings(tool_id={"length": 9, "pattern": "[a-zA-Z0-9]+"})
    found = sent(
        user(),
        calls(("call_123", "look"), ("abcDEF123", "look")),
        result("abcDEF123"),
        result("call_123"),
        config=config,
    )
    [[first, second], *answered] = ids(found)
    assert len(first) == 9 and first.isalnum() and second == "abcDEF123" and answered == [second, first]


def test_an_id_becomes_the_same_one_in_every_request() -> None:
    """Else no vendor's cache would know the prompt again."""
    long = "x" * 50
    turns = [user(), calls((long, "look"), (long, "look")), result(long), result(long)]
    again = sent(*turns, calls(("c", "look")), result("c"))
    assert again[:4] == sent(*turns)


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    for rest in (
        [],
        [user("never mind")],
        [{"role": "assistant", "content": "well"}],
        [user("and?"), calls(("b", "look")), result("b")],
    ):
        found = sent(user(), calls(("a", "look"), ("z", "look")), *rest)
        assert found[2:4] == [result("a", NO_RESULT), result("z", NO_RESULT)]


def test_a_result_without_a_call_becomes_text_of_the_user() -> None:
    found = sent(
        result("a", "42", name="look"), user(), calls(("b", "look")), result("b"), result("b", "twice"), result("c")
    )
    assert found[0] == user("Result of a tool (look):\n42")
    assert found[-2:] == [user("Result of a tool:\ntwice"), user("Result of a tool:\ndone")]
    [shown] = sent(result("a", [text("see"), PICTURE]))
    assert shown == user([text("Result of a tool:\nsee"), PICTURE])


def test_results_that_stand_elsewhere_are_moved_behind_their_calls() -> None:
    hm, well = user("hm"), {"role": "assistant", "content": "well"}
    found = sent(user(), calls(("a", "look"), ("b", "look")), hm, result("b"), well, result("a"))
    assert found[2:] == [result("b"), result("a"), hm, well]


def test_calls_in_messages_of_their_own_are_one_turn() -> None:
    found = sent(user(), calls(("a", "look"), content="1"), calls(("b", "look"), content="2"), result("a"), result("b"))
    assert ids(found) == [["a", "b"], "a", "b"] and found[1]["content"] == "1\n2"


@pytest.mark.parametrize(
    "nothing",
    [
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None},
        {"role": "assistant"},
        {"role": "assistant", "content": [], "tool_calls": []},
        {"role": "assistant", "content": [text("")], "refusal": None, "annotations": []},
        user([text("")]),
        user([]),
        user(""),
        {"role": "system", "content": ""},
    ],
)
def test_messages_that_say_nothing_are_left_out(nothing: dict[str, Any]) -> None:
    assert sent(user("a"), nothing, user("b")) == [user("a"), user("b")]


@pytest.mark.parametrize("nothing", [user(""), result("a", "", is_error=True), {"role": "assistant", "content": None}])
def test_a_conversation_that_says_nothing_at_all_is_an_empty_message(nothing: dict[str, Any]) -> None:
    """The server says what it thinks of that."""
    assert sent({**nothing, "cache": True}, strict=False) == [user("")]


@pytest.mark.parametrize("calls_of", [True, 7, "look", {"id": "a"}, [None, 3], ()])
def test_calls_that_are_none_are_left_out(calls_of: Any) -> None:
    found = sent(user(), {"role": "assistant", "content": "yes", "tool_calls": calls_of}, user("b"))
    assert found == [user(), {"role": "assistant", "content": "yes"}, user("b")]


def test_an_empty_list_of_calls_is_not_sent() -> None:
    found = sent(user(), {"role": "assistant", "content": "yes", "tool_calls": []})
    assert found[1] == {"role": "assistant", "content": "yes"}


def test_calls_that_are_not_as_the_api_wants_them_are_mended() -> None:
    odd = {"role": "assistant", "tool_calls": [
        {"id": "a", "function": {"name": "look", "arguments": {"at": "ü"}}},
        {"id": "b", "type": "function", "function": {"name": "functions.look up", "arguments": ""}},
        {"id": "c", "function": {"name": "", "arguments": None}}, {"id": "d"}, "none",
    ]}  # fmt: skip
    found = sent(user(), odd, result("a"), result("b"), result("c"), result("d"))
    made = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in found[1]["tool_calls"]]
    assert made == [
        ("a", "look", '{"at":"ü"}'),
        ("b", "functions_look_up", "{}"),
        ("c", "unknown", "{}"),
        ("d", "unknown", "{}"),
    ]


def test_a_tool_that_the_request_offers_keeps_its_name() -> None:
    tool = {"type": "function", "function": {"name": "files.read"}}
    messages = [user(), calls(("a", "files.read")), result("a")]
    assert sent(*messages, tools=(tool,), strict=False) == messages


def test_a_custom_tool_s_call_stays() -> None:
    call = {"id": "a", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert sent(user(), message, result("a"), strict=False)[1:] == [message, result("a")]


def test_names_that_the_api_refuses_are_made_legal() -> None:
    found = sent(user(name="John <J> Smith"), user(name="ok-1"), user(name=" / "), user(name="x" * 80))
    assert [message.get("name") for message in found] == ["John_J_Smith", "ok-1", None, "x" * 64]


IDS = st.sampled_from(["a", "b", "x" * 50, "", None, "toolu_01"])
TEXTS = st.sampled_from(["hi", "", "Error: x", "ü"])
PART = st.one_of(
    TEXTS.map(text), st.just(PICTURE), st.just({"type": "refusal", "refusal": "no"}),
    st.builds(lambda part, cache: {**part, "cache": cache}, TEXTS.map(text), st.booleans()),
)  # fmt: skip
CONTENT = st.one_of(st.sampled_from(["hi", "ü"]), st.lists(PART, max_size=3))
OWN = st.fixed_dictionaries({}, optional={
    "cache": st.booleans(), "provider_data": st.just({"gemini": {}}), "name": st.sampled_from(["Ann", "a b", "<>"]),
})  # fmt: skip
CALL = st.one_of(
    st.builds(lambda i, n, a: {"id": i, "type": "function", "function": {"name": n, "arguments": a}},
              IDS, st.sampled_from(["look", "a.b", ""]), st.sampled_from(["{}", "", {"a": 1}, None])),
    st.builds(lambda i: {"id": i, "function": {"name": "look"}}, IDS),
)  # fmt: skip
ONE_MESSAGE = st.one_of(
    st.builds(lambda c, o: {"role": "user", "content": c, **o}, CONTENT, OWN),
    st.builds(lambda c, r: {"role": r, "content": c}, TEXTS.filter(bool), st.sampled_from(["system", "developer"])),
    st.builds(lambda c, k, o: {"role": "assistant", "content": c, "tool_calls": k, **o},
              st.one_of(TEXTS, st.none(), st.lists(TEXTS.map(text), max_size=2)), st.lists(CALL, max_size=3), OWN),
    st.builds(lambda c: {"role": "assistant", "content": c}, st.one_of(TEXTS, st.none())),
    st.builds(lambda i, c, e: {"role": "tool", "tool_call_id": i, "content": c, "is_error": e},
              IDS, st.one_of(TEXTS, CONTENT), st.booleans()),
)  # fmt: skip


@given(
    st.lists(ONE_MESSAGE, min_size=1, max_size=8), st.sampled_from(["https://api.openai.com/v1", "https://e.com/v1"])
)
def test_any_history_is_one_that_a_strict_server_takes(messages: list[Any], url: str) -> None:
    before = json.dumps(messages)
    sent(user("begin"), *messages, config=settings(url))
    assert json.dumps(messages) == before, "the caller's own messages were changed"
