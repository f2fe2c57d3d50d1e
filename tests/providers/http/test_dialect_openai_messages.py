"""Messages of any history go out as every server of chat completions takes them; clean ones go out as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.strict_openai_chat import check
from lee_llm_router import LLMRequest, load_config
from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
from lee_llm_router.providers.http.dialects.openai.provider import OpenAIChatProvider
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig

feature = pytest.mark.feature
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
NO_RESULT = "Error: no result is known"


def settings(base_url: str = "https://llm.example.com/v1", **given: Any) -> OpenAIChatConfig:
    return OpenAIChatConfig(type="http", base_url=base_url, **given)


def sent(*messages: Any, config: OpenAIChatConfig | None = None, strict: bool = True, **options: Any) -> list[Any]:
    """The messages as they go out; the strict server takes them."""
    request = LLMRequest(messages=tuple(messages), model="m", **options)
    body = json.loads(json.dumps(ChatDialect().encode(request, config or settings(), stream=False)))
    if strict:
        assert check(body, "/v1/chat/completions", {}) is None
    found: list[Any] = body["messages"]
    return found


def user(content: Any = "hi", **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def calls(*pairs: tuple[Any, str], content: Any = None, **more: Any) -> dict[str, Any]:
    made = [{"id": i, "type": "function", "function": {"name": n, "arguments": "{}"}} for i, n in pairs]
    return {"role": "assistant", "content": content, "tool_calls": made, **more}


def result(call_id: Any, content: Any = "done", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


CLEAN: list[list[Any]] = [
    [user()],
    [{"role": "system", "content": "be brief"}, user(), {"role": "assistant", "content": "yes"}, user("why?")],
    [user(), calls(("a", "look"), ("b", "look")), result("b"), result("a"), {"role": "assistant", "content": "ok"}],
    [user(), calls(("a", "look"), content="I look."), result("a"), calls(("b", "look")), result("b"), user("more")],
    [user([text("who?"), PICTURE], name="Ann")],
    [user(), {"role": "assistant", "content": "no", "refusal": None}],
]  # fmt: skip


@feature("openai_chat", "text")
@feature("openai_chat", "system")
@feature("openai_chat", "tool_results")
@pytest.mark.parametrize("messages", CLEAN)
def test_what_needs_nothing_goes_out_as_it_is(messages: list[Any]) -> None:
    assert sent(*messages) == messages


def test_a_list_of_plain_texts_is_not_even_copied() -> None:
    request = LLMRequest(messages=tuple(CLEAN[1]))
    assert ChatDialect().encode(request, settings(), stream=False)["messages"] is request.messages


def test_our_own_fields_never_go_out() -> None:
    own = {"provider_data": {"anthropic": {"origin": "x", "of": "y", "content": [1]}}, "cache": True, "is_error": True}
    found = sent(
        {"role": "system", "content": "s", **own}, user([{**text("a"), "cache": True}], **own),
        calls(("a", "look"), **own), result("a", **own), {"role": "assistant", "content": "t", **own},
        calls(("b", "look"), **own), result("b", [{**text("a"), "cache": False}], **own),
    )  # fmt: skip
    words = json.dumps(found)
    assert not any(name in words for name in ("provider_data", "cache", "is_error"))
    assert [message["role"] for message in found] == [
        "system", "user", "assistant", "tool", "assistant", "assistant", "tool",
    ]  # fmt: skip


@feature("openai_chat", "tool_errors")
@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("no such city", "Error: no such city"),
        ("Error: no such city", "Error: no such city"),
        ("ERROR 7", "ERROR 7"),
        ("", "Error:"),
        ([text("no"), text("city")], "Error: no\ncity"),
    ],
)
def test_a_tool_error_says_so_in_its_text(content: Any, wanted: str) -> None:
    assert sent(user(), calls(("a", "look")), result("a", content, is_error=True))[-1] == result("a", wanted)


@feature("openai_chat", "tool_result_images")
def test_a_picture_in_a_result_follows_in_a_message_of_the_user() -> None:
    """After all results of the turn, and it says which result it belongs to."""
    found = sent(
        user(), calls(("a", "look"), ("b", "look")), result("a", [text("a cat"), PICTURE]), result("b", [PICTURE]),
        {"role": "assistant", "content": "I see."},
    )  # fmt: skip
    assert found[2:4] == [
        result("a", "a cat"), result("b", "Its content follows in the next message of the user."),
    ]  # fmt: skip
    assert found[4]["role"] == "user"
    assert [part.get("text") or part["type"] for part in found[4]["content"]] == [
        "Content of the result of look (a):", "image_url", "Content of the result of look (b):", "image_url",
    ]  # fmt: skip
    assert found[5]["content"] == "I see."


def test_a_server_that_takes_pictures_in_results_gets_them_there() -> None:
    config = settings(media_in_results=True)
    found = sent(user(), calls(("a", "look")), result("a", [text("a cat"), PICTURE]), config=config, strict=False)
    assert found[-1] == result("a", [text("a cat"), PICTURE])


def test_a_result_of_several_texts_is_one_and_what_is_unknown_is_told_as_json() -> None:
    odd = {"type": "json", "value": {"t": 3}}
    found = sent(user(), calls(("a", "look")), result("a", [text("a"), text(""), text("b"), odd]))
    assert found[-1]["content"] == 'a\nb\n{"type": "json", "value": {"t": 3}}'


A_CACHED = [
    ("cache_control", {"cache_control": {"type": "ephemeral"}}),
    ("prompt_cache_breakpoint", {"prompt_cache_breakpoint": {"mode": "explicit"}}),
]


@feature("openai_chat", "cache")
@pytest.mark.parametrize(("kind", "mark"), A_CACHED)
def test_a_cache_mark_is_sent_in_the_word_of_the_server(kind: str, mark: dict[str, Any]) -> None:
    config = settings(cache_marks=kind)
    found = sent(
        {"role": "system", "content": "long", "cache": True}, user([{**text("a"), "cache": True}, text("b")]),
        user([text("a"), PICTURE], cache=True), calls(("a", "look")), result("a", [text("x"), text("y")], cache=True),
        config=config, strict=False,
    )  # fmt: skip
    assert found[0]["content"] == [{**text("long"), **mark}]
    assert found[1]["content"] == [{**text("a"), **mark}, text("b")]
    assert found[2]["content"] == [text("a"), {**PICTURE, **mark}]
    assert found[4]["content"] == [{**text("x\ny"), **mark}]


def test_the_last_four_cache_marks_are_sent() -> None:
    """Vendors refuse a fifth; the last ones cover the most."""
    config = settings(cache_marks="cache_control")
    found = sent(*(user(str(n), cache=True) for n in range(6)), config=config, strict=False)
    assert ["cache_control" in message["content"][0] for message in found] == [False, False, True, True, True, True]


def test_a_caller_s_own_mark_stays() -> None:
    part = {**text("a"), "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert sent(user([part], cache=True), config=settings(cache_marks="cache_control"), strict=False)[0]["content"] == [
        part
    ]


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


@feature("openai_chat", "system")
def test_developers_speak_as_the_system_where_the_server_knows_no_developer() -> None:
    told = {"role": "developer", "content": "be brief"}
    assert sent(told, user())[0] == {"role": "system", "content": "be brief"}
    for url in ("https://api.openai.com/v1", "https://res.openai.azure.com/openai/v1"):
        assert sent(told, user(), config=settings(url))[0] == told


MEDIA = [
    ({"type": "image_url", "image_url": "https://example.com/a.png"}, {"url": "https://example.com/a.png"}),
    ({"type": "image_url", "image_url": {"url": "https://e.com/a.png", "detail": "low"}},
     {"url": "https://e.com/a.png", "detail": "low"}),
    (PICTURE, PICTURE["image_url"]),
    ({"type": "input_audio", "input_audio": {"data": "UklG"}}, {"data": "UklG", "format": "wav"}),
    ({"type": "input_audio", "input_audio": {"data": "UklG", "format": "mp3"}}, {"data": "UklG", "format": "mp3"}),
    ({"type": "file", "file": {"file_id": "file-1"}}, {"file_id": "file-1"}),
    ({"type": "file", "file": {"file_data": "JVBERi0=", "filename": "a.pdf"}},
     {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}),
    ({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
     {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}),
]  # fmt: skip


@feature("openai_chat", "image_url")
@feature("openai_chat", "image_data")
@feature("openai_chat", "audio")
@feature("openai_chat", "file")
@pytest.mark.parametrize(("part", "wanted"), MEDIA)
def test_pictures_sounds_and_files_have_the_shape_of_the_api(part: dict[str, Any], wanted: Any) -> None:
    [message] = sent(user([text("what?"), part]))
    assert message["content"] == [text("what?"), {"type": part["type"], part["type"]: wanted}]


def test_parts_of_types_that_are_not_known_are_the_caller_s_own() -> None:
    part = {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}
    assert sent(user([text("what?"), part]), strict=False)[0]["content"][1] == part


def test_a_server_that_refuses_to_hear_the_user_after_results_hears_the_assistant() -> None:
    config = settings(after_results="Noted.")
    noted = {"role": "assistant", "content": "Noted."}
    asked = [user(), calls(("a", "look")), result("a"), user("and?")]
    assert sent(*asked, config=config) == [*asked[:3], noted, asked[3]]
    assert sent(user(), calls(("a", "look")), result("a", [PICTURE]), config=config)[3] == noted
    clean = [*CLEAN[2], user("more")]
    assert sent(*clean, config=config) == clean


def test_a_server_that_takes_no_names_gets_none() -> None:
    found = sent(
        user(name="Ann"),
        calls(("a", "look"), name="Bo"),
        result("a", name="look"),
        config=settings(message_names=False),
    )
    assert [message.get("name") for message in found] == [None, None, "look"]


SOUND = {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}
BY_ADDRESS = {"type": "file", "file": {"file_data": "https://example.com/a.pdf"}}
UNTAKABLE = [
    ("https://e.com/v1", None, [PICTURE, SOUND, BY_ADDRESS], False),
    ("https://e.com/v1", ["image"], [PICTURE], False),
    ("https://e.com/v1", ["image"], [PICTURE, SOUND], True),
    ("https://e.com/v1", [], [PICTURE], True),
    ("https://api.openai.com/v1", None, [PICTURE, SOUND], False),
    ("https://api.openai.com/v1", None, [BY_ADDRESS], True),
]


@pytest.mark.parametrize(("url", "media", "parts", "is_skipped"), UNTAKABLE)
def test_a_target_that_cannot_take_a_part_is_skipped(url: str, media: Any, parts: list[Any], is_skipped: bool) -> None:
    provider = OpenAIChatProvider("p", settings(url, media=media))
    assert (provider.untakable(LLMRequest(messages=(user([text("see"), *parts]),))) is not None) is is_skipped


def test_a_server_that_wants_thinking_beside_calls_gets_a_placeholder_for_that_of_others() -> None:
    config = settings(missing_reasoning=" ")
    found = sent(
        user(), calls(("a", "look")), result("a"), {"role": "assistant", "content": "ok"}, user("and?"),
        {"role": "assistant", "content": "no"}, config=config, strict=False,
    )  # fmt: skip
    assert [message.get("reasoning_content") for message in found] == [None, " ", None, " ", None, None]


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


def of_vendor(name: str) -> OpenAIChatConfig:
    config = load_config({"llm": {"providers": {"p": {"type": name}}, "roles": {"r": {"provider": "p"}}}}).providers[
        "p"
    ]
    assert isinstance(config, OpenAIChatConfig)
    return config


def test_vendors_get_what_is_theirs() -> None:
    """The table of vendors knows their ways; a history of others is one that they take."""
    asked = [
        user("hi", name="Ann", cache=True),
        calls(("call_1234567890", "look")),
        result("call_1234567890"),
        user("and?"),
    ]
    mistral = sent(*asked, config=of_vendor("mistral"))
    assert len(mistral[1]["tool_calls"][0]["id"]) == 9 and [m["role"] for m in mistral][-2:] == ["assistant", "user"]
    assert sent(*asked, config=of_vendor("deepseek"), strict=False)[1]["reasoning_content"] == ""
    assert sent(*asked, config=of_vendor("moonshot"), strict=False)[1]["reasoning_content"] == " "
    assert "name" not in sent(*asked, config=of_vendor("groq"))[0]
    for gateway in ("openrouter", "litellm_proxy"):
        assert "cache_control" in sent(*asked, config=of_vendor(gateway), strict=False)[0]["content"][0]
    body = ChatDialect().encode(LLMRequest(messages=(user(),), seed=3), of_vendor("mistral"), stream=False)
    assert body["random_seed"] == 3 and "seed" not in body
