"""`doctor --live` tells apart why a server is not reached, asks all at once, and knows providers of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.live_checks import KEY, LIST, asked, config, ids
from helpers.servers import (
    Server,
    answering,
    http,
    json_answer,
    make_certificate,
    make_old_certificate,
    once,
)
from lee_llm_router.doctor import CheckResult, diagnose_live
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import Provider, ProviderConfig
from lee_llm_router.response import LLMRequest, LLMResponse

pytestmark = pytest.mark.usefixtures("key_to_ask")

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
