"""Any history becomes contents that Google takes; its own answers go back as they came, signatures included."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.chat_messages import calls, result, user
from helpers.gemini_wire import MODEL, SETTINGS, answer, body, call, config, events, piece, read, text, thought, whole
from helpers.servers import Conversation, Server, http
from helpers.stream_support import router_to
from helpers.strict_gemini import SKIP, answers, check
from lee_llm_router import UnavailableError, file_part, image_part

feature = pytest.mark.feature
PNG = "data:image/png;base64,iVBORw0KGgo="
OLD, NEW = "gemini-2.5-flash", MODEL


def contents(*messages: Any, **options: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = body(messages, **options)["contents"]
    return sent


def refusal(messages: Any, model: str = MODEL, **options: Any) -> str | None:
    """Return why Google's server would refuse what is sent for `messages`."""
    return check(body(messages, model=model, **options), f"/v1/models/{model}:generateContent", {})


@feature("gemini", "system")
@feature("gemini", "text")
def test_instructions_stand_apart_wherever_they_are() -> None:
    sent = body([
        {"role": "system", "content": "Be brief."}, user("a"), {"role": "developer", "content": "Be kind."},
        {"role": "assistant", "content": "b"}, user("c"),
    ])  # fmt: skip
    assert sent["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}
    assert [content["role"] for content in sent["contents"]] == ["user", "model", "user"]


def test_instructions_alone_are_what_the_user_says() -> None:
    assert body([{"role": "system", "content": "Say hi."}]) == {
        "contents": [{"role": "user", "parts": [{"text": "Say hi."}]}]
    }


@pytest.mark.parametrize("messages", [
    [{"role": "assistant", "content": "Hello!"}, user("hi")],
    [user("hi"), {"role": "assistant", "content": "The answer is"}],
    [user("a"), user("b"), {"role": "assistant", "content": "c"}, {"role": "assistant", "content": "d"}],
    [user(""), {"role": "assistant", "content": None}, user("  ")],
    [calls(("a", "f")), result("a")],
    [user("x"), calls(("a", "f"), ("b", "g")), result("b"), result("a"), user("and?")],
    [user("x"), calls(("a", "f"))],
    [user("x"), calls(("a", "f"), ("a", "f")), result("a"), result("a")],
    [user("x"), calls(("", "f"), ("", "f")), result(""), result("")],
    [user("x"), result("lost")],
    [user("x"), calls(("a", "größe"), arguments="[1]"), result("a", "")],
    [user("x"), calls(("a", ""), arguments="{broken"), result("a", [])],
])  # fmt: skip
@pytest.mark.parametrize("model", [OLD, NEW])
def test_no_history_is_refused(messages: Any, model: str) -> None:
    assert refusal(messages, model) is None


ROLES = st.sampled_from(["user", "assistant", "system", "tool"])
TEXTS = st.sampled_from(["", " ", "a", "ü", "long " * 9])
PARTS = st.lists(st.sampled_from([
    {"type": "text", "text": "t"}, {"type": "text", "text": ""}, {"type": "image_url", "image_url": {"url": PNG}},
]), max_size=3)  # fmt: skip
IDS = st.sampled_from(["a", "b", "", "c d/é", "x" * 300])
CALLS = st.lists(st.tuples(IDS, st.sampled_from(["f", "g", "no name"])), max_size=3)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 7))):
        role = draw(ROLES)
        message: dict[str, Any] = {"role": role, "content": draw(TEXTS | PARTS)}
        if role == "tool":
            message |= {"tool_call_id": draw(IDS), "is_error": draw(st.booleans())}
        if role == "assistant":
            message |= calls(*draw(CALLS), content=draw(TEXTS))
        found.append(message)
    return found


@given(histories(), st.sampled_from([OLD, NEW]))
def test_no_random_history_is_refused(messages: list[dict[str, Any]], model: str) -> None:
    assert refusal(messages, model) is None


# Pictures, sounds, files


@feature("gemini", "image_data")
@feature("gemini", "image_url")
@feature("gemini", "audio")
@feature("gemini", "file")
def test_media_go_inline_or_by_their_address() -> None:
    sent = contents(user([
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        image_part("https://server.test/cat.webp?x=1"),
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "mp3"}},
        file_part(b"%PDF-1.7", name="a.pdf"),
        {"type": "file", "file": {"file_id": "files/abc"}},
        {"type": "file", "file": {"file_data": "gs://bucket/film.mp4"}},
        {"type": "video_url", "video_url": {"url": "https://www.youtube.com/watch?v=1"}},
        {"type": "input_audio", "input_audio": {"data": "_-A=", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/json;base64,e30="}},
        {"type": "inlineData", "inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
    ]))  # fmt: skip
    base = "https://generativelanguage.googleapis.com/v1beta"
    assert sent == [{"role": "user", "parts": [
        {"text": "What is this?"},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
        {"fileData": {"mimeType": "image/webp", "fileUri": "https://server.test/cat.webp?x=1"}},
        {"inlineData": {"mimeType": "audio/mpeg", "data": "UklGRg=="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0xLjc="}},
        {"fileData": {"fileUri": f"{base}/files/abc"}},
        {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://bucket/film.mp4"}},
        {"fileData": {"fileUri": "https://www.youtube.com/watch?v=1"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "/+A="}},
        {"inlineData": {"mimeType": "text/plain", "data": "e30="}},
        {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
    ]}]  # fmt: skip


def test_vertex_is_told_a_type_in_any_case() -> None:
    vertex = config(
        base_url="https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google"
    )
    sent = body([user([{"type": "image_url", "image_url": {"url": "https://server.test/1"}}])], settings=vertex)
    assert sent["contents"][0]["parts"][0]["fileData"]["mimeType"] == "image/jpeg"


@pytest.mark.parametrize(("part", "why"), [
    ({"type": "file", "file": {"file_id": "file-abc"}}, "uploaded to Google"),
    ({"type": "hologram", "hologram": {}}, "no parts of the type hologram"),
])  # fmt: skip
def test_a_part_that_is_another_vendors_is_known_before(part: Any, why: str) -> None:
    router = router_to("http://127.0.0.1:9/v1", **SETTINGS)
    with pytest.raises(UnavailableError, match=why):
        router.complete("r", [user([{"type": "text", "text": "a"}, part])])
    if part["type"] == "file":
        with pytest.raises(UnavailableError, match=why):
            router.complete("r", [user("x"), calls(("a", "f")), result("a", [part])])
    router.close()


def test_a_part_of_an_unknown_kind_in_a_result_is_told_as_json() -> None:
    sent = contents(
        user("x"), calls(("a", "f")), result("a", [{"type": "text", "text": "r"}, {"type": "row", "row": [1]}])
    )
    response = sent[2]["parts"][0]["functionResponse"]["response"]
    assert response == {"result": 'r\n{"type":"row","row":[1]}'}


@feature("gemini", "cache")
def test_marks_of_a_cache_are_not_needed() -> None:
    """Google caches by itself."""
    marked = [
        {**user("a"), "cache": True},
        {"role": "assistant", "content": "b"},
        user([{"type": "text", "text": "c", "cache": True}]),
    ]
    assert refusal(marked) is None


# Tools


@feature("gemini", "tool_results")
@feature("gemini", "tool_errors")
def test_results_are_objects_in_the_order_of_the_calls() -> None:
    sent = contents(
        user("x"), calls(("a", "f"), ("b", "g"), arguments='{"n": 1}'), result("b", "B", is_error=True),
        result("a", "A"), user("And?"),
    )  # fmt: skip
    assert sent[1]["parts"] == [
        {"functionCall": {"id": "a", "name": "f", "args": {"n": 1}}, "thoughtSignature": SKIP},
        {"functionCall": {"id": "b", "name": "g", "args": {"n": 1}}},
    ]
    assert sent[2]["parts"] == [
        {"functionResponse": {"id": "a", "name": "f", "response": {"result": "A"}}},
        {"functionResponse": {"id": "b", "name": "g", "response": {"error": "B"}}},
        {"text": "And?"},
    ]


@feature("gemini", "tool_result_images")
def test_pictures_in_results_stand_within_them_or_beside_them() -> None:
    """Models before Gemini 3 take none within."""
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    sound = {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}
    content = [
        {"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]  # fmt: skip
    messages = [user("x"), calls(("a", "f"), ("b", "g")), result("a", content), result("b", "B")]
    first, second, *beside = contents(*messages)[2]["parts"]
    assert first["functionResponse"]["parts"] == [picture]
    assert first["functionResponse"]["response"] == {"result": "see"}
    assert beside == [sound]
    first, second, *beside = contents(*messages, model=OLD)[2]["parts"]
    assert "parts" not in first["functionResponse"]
    assert beside == [picture, sound]
    assert second["functionResponse"]["name"] == "g"


@pytest.mark.parametrize(("model", "signed"), [
    ("gemini-3-pro-preview", True), ("gemini-3.5-flash", True), ("models/gemini-4-neon", True),
    ("gemini-flash-latest", True), ("gemini-2.5-pro", False), ("gemini-2.0-flash", False), ("gemma-4-9b", False),
    ("tunedModels/gemini-3-mine", False), ("own-model", False),
])  # fmt: skip
def test_calls_made_elsewhere_get_the_signature_for_that_from_gemini_3_on(model: str, signed: bool) -> None:
    sent = contents(user("x"), calls(("a", "f"), ("b", "g")), result("a"), result("b"), model=model)
    first, second = sent[1]["parts"]
    assert first.get("thoughtSignature") == (SKIP if signed else None)
    assert "thoughtSignature" not in second


def test_arguments_that_are_no_object_stand_in_one() -> None:
    for written, args in {
        "": {},
        "[1]": {"arguments": [1]},
        "{x": {"arguments": "{x"},
        '{"a": NaN}': {"a": None},
    }.items():
        sent = contents(user("x"), calls(("a", "f"), arguments=written), result("a"))
        assert sent[1]["parts"][0]["functionCall"]["args"] == args


# Answers of its own

PARTS_BACK: dict[str, list[Any]] = {
    "a signature on a call": [call("f", {"a": 1}, call_id="x", thoughtSignature="QUI=")],
    "on the first of two calls": [call("f", thoughtSignature="QUI="), call("g", {"b": [1, 2]})],
    "on a text": [text("Hi.", thoughtSignature="QUI=")],
    "on an empty text at the end": [text("Hi."), text("", thoughtSignature="QUI=")],
    "thoughts": [thought("Hm."), text("Hi.", thoughtSignature="QUI="), call("f", thoughtSignature="Q0Q=")],
    "a picture": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "QUI="}],
    "code": [{"executableCode": {"language": "PYTHON", "code": "1"}},
             {"codeExecutionResult": {"outcome": "OUTCOME_OK"}}, text("1")],
    "fields nobody knows": [text("Hi.", thoughtSignature="QUI=", later={"x": 1})],
}  # fmt: skip


@feature("gemini", "native_turns")
@pytest.mark.parametrize("kind", PARTS_BACK)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_goes_back_as_it_came_to_the_same_model_at_the_same_host(kind: str, stream: bool) -> None:
    parts = PARTS_BACK[kind]
    data = events(*(piece(part) for part in parts), answer()) if stream else whole(answer(*parts))
    got = read(data)
    message = json.loads(json.dumps(got.message))
    results = [result(one.id) for one in got.tool_calls]
    back = [user("x"), message, *results, user("y")]
    sent = contents(*back)
    assert sent[1]["parts"] == parts
    for name, part in zip([one.name for one in got.tool_calls], sent[2]["parts"], strict=False):
        assert part["functionResponse"]["name"] == name
    for other in ({"model": "gemini-3.1-pro-preview"}, {"settings": config(base_url="https://other.test/v1")}):
        assert "QUI=" not in json.dumps(contents(*back, **other))
        assert refusal(back, "gemini-3.1-pro-preview") is None


def test_an_answer_that_was_changed_goes_back_as_it_is_now() -> None:
    message = read(whole(answer(text("Hi.", thoughtSignature="QUI=")))).message
    sent = contents(user("x"), {**message, "content": "Bye."}, user("y"))
    assert sent[1]["parts"] == [{"text": "Bye."}]


def test_an_answer_that_is_text_alone_carries_nothing_else() -> None:
    assert read(events(piece(text("a")), answer(text("b")))).message == {"role": "assistant", "content": "ab"}


def test_calls_that_came_without_ids_go_back_without_and_so_do_their_results() -> None:
    got = read(whole(answer(call("f", thoughtSignature="QUI="), call("f"))))
    assert [one.id for one in got.tool_calls] == ["call_0", "call_1"]
    sent = contents(user("x"), got.message, result("call_1", "second"), result("call_0", "first"))
    assert [part["functionResponse"] for part in sent[2]["parts"]] == [
        {"name": "f", "response": {"result": "first"}}, {"name": "f", "response": {"result": "second"}}
    ]  # fmt: skip


def test_turns_without_ids_twice_do_not_mix_up_their_results() -> None:
    got = read(whole(answer(call("f", thoughtSignature="QUI="))))
    again = read(whole(answer(call("g", thoughtSignature="Q0Q="))))
    sent = contents(user("x"), got.message, result("call_0", "1"), again.message, result("call_0", "2"))
    assert [sent[turn]["parts"][0]["functionResponse"]["response"] for turn in (2, 4)] == [
        {"result": "1"},
        {"result": "2"},
    ]


def test_an_answer_that_was_not_finished_is_taken_up_by_its_token() -> None:
    first = read(whole(answer(text("Part one. "), reason="CONTINUATION", continuationToken="dG9r")))
    assert (first.finish_reason, first.details.finish_reason) == ("pause", "CONTINUATION")
    asked = [user("A long story.")]
    sent = body([*asked, first.message])
    assert sent == {**body(asked), "continuationToken": "dG9r"}
    elsewhere = contents(*asked, first.message, model="gemini-3.1-pro-preview")
    assert [content["role"] for content in elsewhere] == ["user", "model", "user"]
    later = body([*asked, first.message, user("Stop.")])
    assert "continuationToken" not in later
    assert later["contents"][1]["parts"] == [{"text": "Part one. "}]


# The loop

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("get_weather", "get_time")]


@feature("gemini", "tools")
@feature("gemini", "native_turns")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [OLD, NEW, "gemini-4-neon"])
def test_a_loop_of_three_turns_passes_a_server_that_checks_what_google_checks(model: str, stream: bool) -> None:
    state: dict[str, Any] = {}
    refused: list[str] = []

    def serve(conversation: Conversation) -> None:
        while (asked := conversation.receive()) is not None:
            state["turn"] = state.get("turn", 0) + 1
            wrong = check(asked.json, asked.line.split()[1], state)
            if wrong:
                refused.append(wrong)
            conversation.send(http(200, answers(state["turn"], stream, state)))

    with Server(serve) as server:
        router = router_to(server.url, **{**SETTINGS, "model": model})
        messages: list[Any] = [user("How warm is it?")]
        texts = []
        for _ in range(3):
            if stream:
                running = router.stream("r", messages, tools=TOOLS)
                list(running)
                got = running.response
            else:
                got = router.complete("r", messages, tools=TOOLS)
            assert got is not None
            texts.append(got.text)
            messages = json.loads(json.dumps([*messages, got.message, *(result(one.id) for one in got.tool_calls)]))
        router.close()
        again = body([*messages, user("Thanks.")], model=model, settings=config(base_url=server.url))
    assert refused == []
    assert texts == ["", "One more look. ", "It is warm."]
    assert check(again, f"/v1/models/{model}:generateContent", state) is None
    assert json.dumps(again).count("c2ln") == 3


def test_the_strict_server_is_strict() -> None:
    good = body([user("x"), calls(("a", "f")), result("a")])
    path = f"/v1/models/{MODEL}:generateContent"
    assert check(good, path, {}) is None
    unsigned = json.loads(json.dumps(good).replace(f', "thoughtSignature": "{SKIP}"', ""))
    wrong: list[dict[str, Any]] = [
        unsigned,
        {**good, "contents": good["contents"][1:]},
        {**good, "contents": good["contents"][:2]},
        {**good, "messages": []},
        {**good, "toolConfig": {}},
        {**good, "generationConfig": {"top_p": 1}},
        json.loads(json.dumps(good).replace(SKIP, "QUI=")),
        json.loads(json.dumps(good).replace('"response": {"result": "done"}', '"response": "done"')),
    ]
    assert all(check(one, path, {}) for one in wrong)
