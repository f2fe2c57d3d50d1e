"""`doctor --live` asks as calls ask, says which way it failed by an id, and never shows a key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from helpers import support  # noqa: F401 - registers the scripted provider
from helpers.servers import (
    Received,
    Server,
    answering,
    answering_by,
    completion,
    http,
    json_answer,
    make_certificate,
    make_old_certificate,
    once,
)
from lee_llm_router.config import load_config
from lee_llm_router.doctor import CheckResult, diagnose_live
from lee_llm_router.doctor.live.call_probe import CallPlan, TargetCall, lines_of_plan, planned_calls
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import Provider, ProviderConfig
from lee_llm_router.response import LLMRequest, LLMResponse

KEY = "sk-proj-abcdefghijklmnop1234"
LIST = {"object": "list", "data": [{"id": "m1"}, {"id": "m2"}, {"id": "gpt-5-mini"}]}
PAGE = {"Content-Type": "text/html"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MY_KEY", KEY)


def config(url: str, *models: str | None, **settings: Any) -> dict[str, Any]:
    """One provider at `url`, and a role for each model."""
    provider = {"type": "http", "base_url": url, "api_key_env": "MY_KEY", **settings}
    roles = {
        f"r{number}": {"provider": "p", **({"model": model} if model else {})}
        for number, model in enumerate(models or ("m1",))
    }
    return {"llm": {"default_role": "r0", "providers": {"p": provider}, "roles": roles}}


def ids(results: list[CheckResult]) -> list[str]:
    return [result.id for result in results]


def asked(script: Any, *models: str | None, **settings: Any) -> list[CheckResult]:
    with Server(script) as server:
        return diagnose_live(config(server.url, *models, **settings), timeout=5)


# --- the list of models ---


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


# --- connections ---


def test_no_name_no_port_and_no_answer_are_told_apart() -> None:
    assert ids(diagnose_live(config("http://nowhere.invalid/v1"), timeout=5)) == ["LLR901"]
    with Server(answering(b"")) as server:
        url = server.url
    assert ids(diagnose_live(config(url), timeout=5)) == ["LLR902"]
    assert ids(_stalled()) == ["LLR903"]
    assert ids(asked(once(lambda conversation: conversation.reset()))) == ["LLR918"]


def _stalled() -> list[CheckResult]:
    with Server(once(lambda conversation: conversation.stall())) as server:
        return diagnose_live(config(server.url), timeout=0.2)


def test_certificates_that_are_old_for_another_or_of_nobody_known_are_told_apart(tmp_path: Path) -> None:
    """What helps differs: the clock or the owner, the address, or an authority to trust."""
    for name in ("old", "early", "other", "own"):
        (tmp_path / name).mkdir()
    made = {
        "LLR904": make_old_certificate(tmp_path / "old", "20200101000000Z", "20210101000000Z"),
        "LLR905": make_certificate(tmp_path / "other", "DNS:model.test"),
    }
    for check, (file, context) in made.items():
        with Server(answering(json_answer(LIST)), tls=context) as server:
            assert ids(diagnose_live(config(server.url, ca_file=str(file)), timeout=5)) == [check]
    file, context = make_old_certificate(tmp_path / "early", "21200101000000Z", "21210101000000Z")
    with Server(answering(json_answer(LIST)), tls=context) as server:
        assert ids(diagnose_live(config(server.url, ca_file=str(file)), timeout=5)) == ["LLR904"]
    file, context = make_certificate(tmp_path / "own")
    with Server(answering(json_answer(LIST)), tls=context) as server:
        assert ids(diagnose_live(config(server.url), timeout=5)) == ["LLR906"]
        assert ids(diagnose_live(config(server.url, ca_file=str(file)), timeout=5)) == ["LLR900"]


def test_https_to_a_server_without_tls_is_told_of() -> None:
    with Server(lambda conversation: conversation.send(http(400, b""))) as server:
        found = ids(diagnose_live(config(server.url.replace("http:", "https:")), timeout=5))
    assert found == ["LLR907"]


def test_a_proxy_that_fails_is_told_from_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy's answer, and one that is not there, are not taken for the server's."""
    with Server(answering(http(407, b""))) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        assert ids(diagnose_live(config("http://model.test/v1"), timeout=5)) == ["LLR916"]
    assert ids(diagnose_live(config("http://model.test/v1"), timeout=5)) == ["LLR916"]


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


# --- other providers, and many at once ---


class OddConfig(ProviderConfig):
    does: str = "raise"


class Odd(Provider[OddConfig]):
    """A provider of somebody else's whose check raises, or says that something is missing."""

    config_model = OddConfig

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        return LLMResponse(text="OK")

    def check(self) -> Any:
        if self.config.does == "raise":
            raise RuntimeError(f"broken with {KEY}")
        return [("error", "no program")] if self.config.does == "lack" else []


registry.register("odd_live", Odd, replace=True)


@pytest.mark.parametrize(("does", "check"), [("raise", "LLR501"), ("lack", "LLR919"), ("serve", "LLR900")])
def test_providers_of_others_are_asked_what_they_know(does: str, check: str) -> None:
    source = {"llm": {"providers": {"p": {"type": "odd_live", "does": does}}, "roles": {"r": {"provider": "p"}}}}
    results = diagnose_live(source)
    assert ids(results) == [check]
    assert KEY not in repr(results)


def test_servers_are_asked_at_once_and_told_of_in_the_order_of_the_file() -> None:
    """A server that hangs holds no other; only the providers of the roles are asked."""
    with Server(answering(json_answer(LIST))) as good, Server(once(lambda c: c.stall())) as slow:
        providers = {
            "slow": {"type": "http", "base_url": slow.url},
            "good": {"type": "http", "base_url": good.url},
            "idle": {"type": "http", "base_url": "http://nowhere.invalid/v1"},
        }
        roles = {"r": {"provider": "slow", "model": "m", "fallback_providers": [{"provider": "good", "model": "m1"}]}}
        seen: list[tuple[int, int]] = []
        results = diagnose_live(
            {"llm": {"providers": providers, "roles": roles}},
            timeout=0.3,
            on_progress=lambda done, total: seen.append((done, total)),
        )
    assert [(result.id, result.subject) for result in results] == [("LLR903", "slow"), ("LLR900", "good/m1")]
    assert seen[0] == (0, 2) and seen[-1] == (2, 2)


def test_a_role_that_is_named_is_asked_for_alone() -> None:
    with Server(answering(json_answer(LIST))) as server:
        results = diagnose_live(config(server.url, "m1", "m2"), "r1")
    assert [result.subject for result in results] == ["p/m2"]


def test_nothing_can_be_asked_by_a_file_that_cannot_be_read() -> None:
    assert diagnose_live("llm: [") == []


# --- calls ---


def test_each_target_is_asked_one_small_question_by_the_roles_settings() -> None:
    """A chain's targets are asked each; what differs in nothing is asked once; no trace is left."""

    def answer(received: Received) -> bytes:
        if received.line.startswith("GET"):
            return json_answer(LIST)
        return json_answer(completion("OK"))

    with Server(answering_by(answer)) as server:
        source = config(server.url, "m1", "m1", "m2", extra_body={"store": False})
        source["llm"]["roles"]["r2"] |= {"temperature": 0.5, "max_tokens": 7}
        plans: list[CallPlan] = []

        def agree(plan: CallPlan) -> bool:
            plans.append(plan)
            return True

        results = diagnose_live(source, call=True, agree=agree)
    assert [result.id for result in results].count("LLR931") == 2
    bodies = [request.json for request in server.requests if request.line.startswith("POST")]
    assert sorted(body["model"] for body in bodies) == ["m1", "m2"]
    second = next(body for body in bodies if body["model"] == "m2")
    assert (second["temperature"], second["max_tokens"], second["store"]) == (0.5, 7, False)
    assert plans[0].unknown == ["p/m1", "p/m2"]


def test_a_call_that_fails_says_as_what_and_is_made_once() -> None:
    """No retry, no fallback: each target stands for itself."""

    def answer(received: Received) -> bytes:
        if received.line.startswith("GET"):
            return json_answer(LIST)
        return json_answer({"error": {"message": f"temperature is not supported {KEY}"}}, 400)

    with Server(answering_by(answer)) as server:
        results = diagnose_live(config(server.url, "m1"), call=True)
    assert [result.id for result in results] == ["LLR900", "LLR930"]
    assert results[1].message.startswith("INVALID_REQUEST: ")
    assert KEY not in repr(results)
    assert sum(request.line.startswith("POST") for request in server.requests) == 1


def test_nothing_is_asked_without_leave() -> None:
    with Server(answering(json_answer(LIST))) as server:
        results = diagnose_live(config(server.url, "m1"), call=True, agree=lambda plan: False)
    assert [(result.id, result.level) for result in results] == [("LLR900", "ok"), ("LLR932", "info")]
    assert all(request.line.startswith("GET") for request in server.requests)


def test_the_price_is_known_beforehand_where_the_table_has_it() -> None:
    """It is an upper bound: of a prompt longer than ours, and an answer as long as it may be."""
    pytest.importorskip("genai_prices")
    provider = {"type": "openai", "base_url": "https://api.openai.com/v1", "api_key_env": "MY_KEY"}
    source = {
        "llm": {
            "providers": {"p": provider, "local": {"type": "mock"}},
            "roles": {"r": {"provider": "p", "model": "gpt-4o-mini", "fallback_providers": ["local"]}},
        }
    }
    plan = planned_calls(load_config(source), ["r"], 10)
    # 300 tokens at $0.15 and 256 at $0.60 a million.
    assert plan.most_usd == pytest.approx(300 * 0.15e-6 + 256 * 0.6e-6)
    assert plan.unknown == []


@pytest.mark.parametrize(
    ("prices", "told"),
    [
        ([0.0, 0.0], "2 questions that cost nothing"),
        ([0.000_01], "1 question of at most $0.0001 together"),
        ([0.01, 0.002_31], "2 questions of at most $0.0124 together"),
    ],
)
def test_what_questions_cost_at_most_is_never_said_to_be_less(prices: list[float], told: str) -> None:
    """A small cost is not shown as none."""
    config = load_config({"llm": {"providers": {"a": {"type": "mock"}}, "roles": {"r": {"provider": "a"}}}})
    calls = [TargetCall(name="a", config=config, most_usd=usd) for usd in prices]
    assert list(lines_of_plan(CallPlan(calls=calls, refused=[]))) == [told]


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
