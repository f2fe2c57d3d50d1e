"""`doctor --live` asks each server which models it offers, says which way it failed by an id, and never shows a key."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.live_checks import KEY, LIST, asked, config, ids
from helpers.servers import (
    Received,
    Server,
    answering,
    answering_by,
    http,
    json_answer,
)
from lee_llm_router.doctor import diagnose_live

pytestmark = pytest.mark.usefixtures("key_to_ask")

PAGE = {"Content-Type": "text/html"}


def test_a_server_that_offers_the_model_is_reached() -> None:
    """It is asked once for all its models, with the provider's own key and headers."""
    with Server(answering(json_answer(LIST))) as server:
        results = diagnose_live(config(server.url, "m1", "m2", headers={"X-Team": "a"}))
    assert ids(results) == ["LLR900", "LLR900"]
    assert [result.subject for result in results] == ["p/m1", "p/m2"]
    assert server.requests[0].line == "GET /v1/models HTTP/1.1"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.requests[0].headers["x-team"] == "a"


@pytest.mark.parametrize(
    ("model", "near"),
    [("gpt-5-mni", "'gpt-5-mini'"), ("M1", "'m1'"), ("openai/gpt-5-mini", "'gpt-5-mini'"), ("llama-99b-unknown", "")],
)
def test_a_model_that_is_not_offered_is_an_error_that_names_near_ones(model: str, near: str) -> None:
    def answer(received: Received) -> bytes:
        return json_answer(LIST) if received.line.split()[1] == "/v1/models" else json_answer({"error": "no"}, 404)

    (result,) = asked(answering_by(answer), model)
    assert (result.id, result.level) == ("LLR915", "error")
    assert ("did you mean" in result.message) == bool(near)
    assert near in result.message


@pytest.mark.parametrize(
    ("given", "model"),
    [
        ({"data": [{"id": "llama3:latest"}, {"id": "b"}]}, "llama3"),
        ({"data": [{"id": "x/y"}, {"id": "b"}]}, "x/y:free"),
        ({"models": [{"name": "models/gemini-flash"}, {"name": "models/b"}]}, "gemini-flash"),
        ([{"id": "a"}, {"id": "b"}], "a"),
        (["a", "b"], "a"),
        ({"data": [{"id": "mistral-large-2512", "aliases": ["mistral-large-latest"]}]}, "mistral-large-latest"),
        ({"models": [{"model": "a"}]}, "a"),
    ],
)
def test_lists_are_read_in_the_forms_that_servers_give_them(given: Any, model: str) -> None:
    assert ids(asked(answering(json_answer(given)), model)) == ["LLR900"]


def test_a_model_that_is_known_and_not_listed_is_no_fault() -> None:
    """Some APIs list no aliases, and describe a model that is asked for by one."""

    def answer(received: Received) -> bytes:
        alone = received.line.split()[1] == "/v1/models/claude-latest"
        return json_answer({"id": "claude-latest"} if alone else LIST)

    assert ids(asked(answering_by(answer), "claude-latest")) == ["LLR900"]


def test_a_local_server_with_one_model_serves_it_under_any_name() -> None:
    def answer(received: Received) -> bytes:
        is_list = received.line.split()[1] == "/v1/models"
        return json_answer({"data": [{"id": "file.gguf"}]}) if is_list else http(404)

    (result,) = asked(answering_by(answer), "anything")
    assert (result.id, result.level) == ("LLR915", "warning")


@pytest.mark.parametrize(
    ("answer", "check"),
    [
        (json_answer({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 401), "LLR909"),
        (json_answer({"error": {"message": "not for you"}}, 403), "LLR910"),
        (json_answer({"error": {"message": "insufficient balance"}}, 402), "LLR917"),
        (json_answer({"error": "not found"}, 404), "LLR911"),
        (http(405, b""), "LLR911"),
        (json_answer({"error": {"message": "slow down"}}, 429), "LLR912"),
        (json_answer({"error": {"message": "quota", "code": "insufficient_quota"}}, 429), "LLR917"),
        (http(500, b"oops"), "LLR913"),
        (http(503, b"<html>busy</html>", PAGE), "LLR913"),
        (http(418, b"{}"), "LLR923"),
        (http(200, b"<!doctype html><p>log in</p>", PAGE), "LLR914"),
        (http(200, b"\n <html>"), "LLR914"),
        (http(404, b"<html>no such page</html>", PAGE), "LLR914"),
        (http(200, b"hello"), "LLR921"),
        (http(200, b""), "LLR921"),
        (json_answer({"status": "ok"}), "LLR921"),
        (json_answer({"data": {"a": 1}}), "LLR921"),
        (http(301, b"", {"Location": "https://elsewhere.example/v1/models"}), "LLR920"),
        (http(407, b""), "LLR916"),
    ],
)
def test_each_answer_that_is_none_has_an_id(answer: bytes, check: str) -> None:
    """The status, and where it says more the vendor's words, tell them apart; a key that is echoed is masked."""
    results = asked(answering(answer))
    assert ids(results) == [check]
    assert KEY not in repr(results)


def test_a_key_that_gemini_refuses_with_400_is_a_key_that_is_refused() -> None:
    """The dialect knows how its vendor says it."""
    refused = {
        "error": {
            "code": 400,
            "message": "API key not valid. Please pass a valid API key.",
            "status": "INVALID_ARGUMENT",
            "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
        }
    }
    assert ids(asked(answering(json_answer(refused, 400)), "gemini-flash", type="gemini")) == ["LLR909"]


@pytest.mark.parametrize(
    ("kind", "path", "header"),
    [
        ("http", "/v1/models", "authorization"),
        ("openai_responses", "/v1/models", "authorization"),
        ("anthropic", "/v1/models?limit=1000", "authorization"),
        ("gemini", "/v1/models?pageSize=1000", "x-goog-api-key"),
    ],
)
def test_every_dialect_asks_with_its_own_path_and_key(kind: str, path: str, header: str) -> None:
    with Server(answering(json_answer(LIST))) as server:
        results = diagnose_live(config(server.url, "m1", type=kind))
    assert ids(results) == ["LLR900"]
    assert server.requests[0].line.split()[1] == path
    assert KEY in server.requests[0].headers[header]


def test_a_list_of_several_pages_is_read_to_its_end() -> None:
    """Gemini's and Anthropic's lists come in pages."""

    def pages(received: Received) -> bytes:
        target = received.line.split()[1]
        if "pageToken=two" in target:
            return json_answer({"models": [{"name": "models/b"}]})
        return json_answer({"models": [{"name": "models/a"}], "nextPageToken": "two"})

    assert ids(asked(answering_by(pages), "b", type="gemini")) == ["LLR900"]

    def others(received: Received) -> bytes:
        if "after_id=a" in received.line:
            return json_answer({"data": [{"id": "b"}], "has_more": False})
        return json_answer({"data": [{"id": "a"}], "has_more": True, "last_id": "a"})

    assert ids(asked(answering_by(others), "b", type="anthropic")) == ["LLR900"]


def test_pages_without_end_are_not_followed_for_ever() -> None:
    endless = json_answer({"models": [{"name": "models/a"}], "nextPageToken": "again"})
    with Server(answering(endless)) as server:
        assert ids(diagnose_live(config(server.url, "a", type="gemini"))) == ["LLR900"]
    assert len(server.requests) < 50


def test_an_api_without_a_list_is_reached_by_any_answer() -> None:
    """Vertex lists no models; that something answers is all that can be seen without a call."""
    settings = {"type": "anthropic", "platform": "vertex"}
    (result,) = asked(answering(http(404, b"{}")), "claude", **settings)
    assert (result.id, "--live=call" in result.message) == ("LLR900", True)


def test_clocks_that_differ_are_told_of() -> None:
    """Signatures and certificates depend on the time; the answer counts all the same."""
    old = json_answer(LIST, headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"})
    assert ids(asked(answering(old))) == ["LLR908", "LLR900"]
    odd = json_answer(LIST, headers={"Date": "yesterday"})
    assert ids(asked(answering(odd))) == ["LLR900"]


def test_a_list_that_needs_no_key_proves_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the list is public, the key was not tried, and that is said; the key is not sent then."""

    def answer(received: Received) -> bytes:
        return json_answer(LIST)

    with Server(answering_by(answer)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        assert ids(diagnose_live(config("http://model.test/v1"), timeout=5)) == ["LLR922", "LLR900"]
    assert ["authorization" in request.headers for request in proxy.requests] == [True, False]


def test_a_key_that_is_missing_is_told_of_and_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY")
    with Server(answering(json_answer(LIST))) as server:
        assert ids(diagnose_live(config(server.url))) == ["LLR919"]
    assert not server.requests


def test_each_of_several_keys_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the server refuses is named by its variable; one that is not set is passed over; no key is shown."""
    monkeypatch.setenv("KEY_2", "second-key-revoked")

    def answer(received: Received) -> bytes:
        revoked = "second" in received.headers.get("authorization", "")
        return json_answer({"error": {"message": "revoked"}}, 401) if revoked else json_answer(LIST)

    results = asked(answering_by(answer), api_key_env=["NOT_SET_ANYWHERE", "MY_KEY", "KEY_2"])
    told = [result for result in results if result.id not in ("LLR309", "LLR922")]
    assert [result.level for result in told] == ["ok", "error"]
    assert "with KEY_2" in told[1].message and "second-key" not in repr(results) and KEY not in repr(results)
