"""Any history becomes a conversation that every vendor takes: order, ids, results, no empty texts."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.chat_messages import calls, result, user
from lee_llm_router.providers.http.dialects.conversation import (
    NO_RESULT,
    CallItem,
    Conversation,
    LegalIds,
    MediaItem,
    OtherItem,
    ResultItem,
    TextItem,
    conversation_of,
)

IDS = LegalIds()


def told(conversation: Conversation) -> list[Any]:
    def one(item: Any) -> Any:
        if isinstance(item, TextItem):
            return item.text
        if isinstance(item, CallItem):
            return ("call", item.call.id, item.call.name)
        if isinstance(item, ResultItem):
            return ("result", item.call_id, item.name, item.text, item.is_error)
        return type(item).__name__

    return [(turn.role, [one(item) for item in turn.items]) for turn in conversation.turns]


def test_instructions_are_taken_out_wherever_they_stand() -> None:
    found = conversation_of(
        [{"role": "system", "content": "be brief"}, user("a"), {"role": "developer", "content": "be kind"}, user("b")],
        IDS,
    )
    assert [item.text for item in found.system] == ["be brief", "be kind"]
    assert told(found) == [("user", ["a", "b"])]


def test_results_follow_their_calls_in_the_next_turn_before_what_the_user_says() -> None:
    found = conversation_of(
        [user("go"), calls(("1", "f"), ("2", "g")), result("2"), result("1", is_error=True), user("and")], IDS
    )
    assert told(found) == [
        ("user", ["go"]),
        ("assistant", [("call", "1", "f"), ("call", "2", "g")]),
        ("user", [("result", "2", "g", "done", False), ("result", "1", "f", "done", True), "and"]),
    ]


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ([user("go"), calls(("1", "f"))], [("result", "1", "f", NO_RESULT, True)]),
        ([user("go"), calls(("1", "f")), user("well?")], [("result", "1", "f", NO_RESULT, True), "well?"]),
        ([user("go"), calls((None, "f")), result(None)], [("result", "call_1", "f", "done", False)]),
        (
            [user("go"), calls((None, "f"), (None, "g")), result(None, name="g"), result(None, name="f")],
            [("result", "call_2", "g", "done", False), ("result", "call_1", "f", "done", False)],
        ),
    ],
    ids=["no result", "no result, and the user goes on", "no ids", "no ids, by name"],
)
def test_each_call_has_one_result(messages: list[Any], turns: list[Any]) -> None:
    assert told(conversation_of(messages, IDS))[-1] == ("user", turns)


def test_a_result_without_a_call_becomes_text() -> None:
    found = told(conversation_of([user("go"), result("gone", "42", name="sum")], IDS))
    assert found == [("user", ["go", "Result of a tool (sum):", "42"])]


def test_ids_are_legal_unique_and_the_same_in_call_and_result() -> None:
    messages = [
        user("go"), calls(("a/b:c", "f"), ("a/b:c", "g")), result("a/b:c", "1"), result("a/b:c", "2"),
        calls(("a/b:c", "f")), result("a/b:c", "3"),
    ]  # fmt: skip
    found = conversation_of(messages, LegalIds(r"[a-zA-Z0-9]+", length=9))
    asked = [item.call.id for turn in found.turns for item in turn.items if isinstance(item, CallItem)]
    answered = [item.call_id for turn in found.turns for item in turn.items if isinstance(item, ResultItem)]
    assert asked == answered and len(set(asked)) == 3
    assert all(len(call_id) == 9 and call_id.isalnum() for call_id in asked)


def test_legal_ids_stay_as_they_are() -> None:
    assert LegalIds().legal("toolu_01-x") == "toolu_01-x"
    assert LegalIds(max_length=40).legal("x" * 41) != "x" * 41
    assert LegalIds(None).legal("any thing") == "any thing"
    assert LegalIds().legal("a b") == LegalIds().legal("a b")


def test_empty_texts_and_empty_turns_are_left_out() -> None:
    messages = [
        user("a"), {"role": "assistant", "content": ""}, user([{"type": "text", "text": " "}]),
        user([{"type": "text", "text": "b"}, {"type": "text", "text": ""}]),
    ]  # fmt: skip
    assert told(conversation_of(messages, IDS)) == [("user", ["a", "b"])]


def test_parts_of_all_kinds_are_kept_in_order_with_their_marks() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    found = conversation_of(
        [user([{"type": "text", "text": "see", "cache": True}, image, {"type": "odd", "x": 1}], cache=True)], IDS
    )
    text, media, other = found.turns[0].items
    assert isinstance(text, TextItem) and text.cache
    assert isinstance(media, MediaItem) and media.media.url == "https://example.com/a.png" and not media.cache
    assert isinstance(other, OtherItem) and other.part["x"] == 1 and other.cache


MESSAGES = st.lists(
    st.one_of(
        st.builds(user, st.text(max_size=3)),
        st.builds(lambda ids, text: calls(*[(i, "f") for i in ids], content=text),
                  st.lists(st.sampled_from(["a", "b", "a b", "", None]), max_size=3), st.sampled_from([None, "", "t"])),
        st.builds(result, st.sampled_from(["a", "b", "a b", "", None, "x"])),
        st.just({"role": "system", "content": "s"}),
    ),
    max_size=10,
)  # fmt: skip


@given(MESSAGES)
def test_any_history_ends_up_in_order(messages: list[Any]) -> None:
    """Turns alternate; calls are answered once each, first thing in the next turn; ids are legal and unique."""
    found = conversation_of(messages, IDS)
    roles = [turn.role for turn in found.turns]
    assert all(one != other for one, other in itertools.pairwise(roles))
    seen: set[str] = set()
    open_ids: list[str] = []
    for turn in found.turns:
        assert turn.items
        answered = [item.call_id for item in turn.items if isinstance(item, ResultItem)]
        assert sorted(answered) == sorted(open_ids)
        assert all(isinstance(item, ResultItem) for item in turn.items[: len(answered)])
        open_ids = [item.call.id for item in turn.items if isinstance(item, CallItem)]
        assert not seen & set(open_ids) and len(set(open_ids)) == len(open_ids)
        assert all(IDS.legal(call_id) == call_id for call_id in open_ids)
        seen.update(open_ids)
    assert open_ids == []


def test_a_result_is_found_behind_what_the_user_said_meanwhile() -> None:
    """And behind a result of a call that is not known."""
    found = conversation_of(
        [calls(("a", "look"), ("b", "look")), user("hm"), result("zzz"), result("b"), user("x")], IDS
    )
    [_, (role, items)] = told(found)
    assert role == "user" and [item for item in items if isinstance(item, tuple)] == [
        ("result", "b", "look", "done", False), ("result", "a", "look", NO_RESULT, True),
    ]  # fmt: skip
    assert items[:2] == [item for item in items if isinstance(item, tuple)], "results stand first"


def test_calls_in_messages_of_their_own_are_one_turn() -> None:
    found = conversation_of([user("u"), calls(("a", "look")), calls(("b", "take")), result("a"), result("b")], IDS)
    assert told(found)[1:] == [
        ("assistant", [("call", "a", "look"), ("call", "b", "take")]),
        ("user", [("result", "a", "look", "done", False), ("result", "b", "take", "done", False)]),
    ]


def test_an_answer_without_text_and_calls_stays_where_its_vendor_wants_it_back() -> None:
    """It may be a picture, which stands in the vendor's own form alone."""
    picture = {"role": "assistant", "content": "", "provider_data": {"x": {}}}
    messages = [user("Draw."), picture, user("Again, in red.")]
    assert [turn.role for turn in conversation_of(messages, IDS).turns] == ["user"]
    kept = conversation_of(messages, IDS, keeps=lambda message: "provider_data" in message)
    assert [turn.role for turn in kept.turns] == ["user", "assistant", "user"]
    assert kept.turns[1].sources == [(picture, [])]


def test_an_empty_result_without_its_call_does_not_part_the_turns_of_the_assistant() -> None:
    messages = [user("a"), {"role": "assistant", "content": "b"}, result("lost", ""), calls(("c", "f")), result("c")]
    assert [turn.role for turn in conversation_of(messages, IDS).turns] == ["user", "assistant", "user"]


def test_instructions_and_refusals_without_words_are_no_turns() -> None:
    refusals = [{"type": "refusal", "refusal": text} for text in (" ", "No.")]
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "a"}, {"role": "system", "content": " "}, {"role": "developer", "content": []},
        {"role": "assistant", "content": refusals},
    ]  # fmt: skip
    found = conversation_of(messages, IDS)
    assert [turn.role for turn in found.turns] == ["user", "assistant"] and not found.system
    assert [getattr(item, "text", None) for item in found.turns[1].items] == ["No."]
