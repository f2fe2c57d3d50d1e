"""Messages of any history go out as every server of chat completions takes them; clean ones go out as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.chat_messages import PICTURE, calls, result, text, user
from helpers.chat_requests import sent, settings
from lee_llm_router import LLMRequest, load_config
from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
from lee_llm_router.providers.http.dialects.openai.provider import OpenAIChatProvider
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig

feature = pytest.mark.feature


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
