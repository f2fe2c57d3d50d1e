"""What `--live` says of a server that fails midway: at the next key, the next page, the look at one model."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.support import FakeClock
from lee_llm_router.doctor.live import server_probe
from lee_llm_router.doctor.live.model_list import names_in
from lee_llm_router.doctor.live.outcomes import id_and_text_of_reply
from lee_llm_router.doctor.live.server_probe import ServerProbe
from lee_llm_router.errors import AuthenticationError, LLMRouterError, UnavailableError
from lee_llm_router.providers.http.dialects.base import HTTPReply

GONE = UnavailableError("connection refused")
Answer = Callable[[str, bool], Any]
"""What a server answers to a path, with a key or without; an exception is raised."""


class Dialect:
    """Says of each failure what its status is."""

    def failure(self, reply: HTTPReply) -> LLMRouterError:
        if reply.status == 418:
            raise ZeroDivisionError
        return AuthenticationError("no such key") if reply.status == 401 else LLMRouterError("odd")


class Provider:
    """A provider whose server answers by a function."""

    def __init__(self, answer: Answer, url: str, path: str | None, keys: dict[str, str], key: str = "A") -> None:
        self.answer, self.path, self.key, self.keys, self.url = answer, path, key, keys, url
        self.name, self.dialect, self.clock = "p", Dialect(), FakeClock()
        self.config = SimpleNamespace(
            base_url=url, several_keys=tuple(keys), origin=SimpleNamespace(variable=keys.get),
            changed=lambda changes: changes["api_key_env"],
        )  # fmt: skip

    def models_path(self) -> str | None:
        return self.path

    def with_settings(self, key: str) -> Provider:
        return Provider(self.answer, self.url, self.path, self.keys, key)

    def secrets(self) -> tuple[str, ...]:
        return ("sk-1",)

    def look_at(self, path: str, timeout: float, *, with_key: bool = True) -> HTTPReply:
        answer = self.answer(f"{self.key} {path}", with_key)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, HTTPReply) else HTTPReply(200, json.dumps(answer).encode())


def probed(
    answer: Answer, *models: str, url: str = "https://api.example/v1", path: str | None = "/models", **keys: str
) -> list[tuple[str, str]]:
    provider: Any = Provider(answer, url, path, keys)
    return [(result.id, result.message) for result in ServerProbe(provider, models, 5.0, None).results()]


LIST = {"data": [{"id": "m"}, {"id": "n"}]}


def test_each_further_key_is_tried_and_what_comes_of_it_is_said_of_it() -> None:
    """One that is not set is not."""

    def answer(asked: str, with_key: bool) -> Any:
        if asked.startswith("C"):
            return GONE
        return HTTPReply(401, b"{}") if asked.startswith("D") or not with_key else LIST

    found = probed(answer, "m", A="1", B="2", C="3", D="4", E=" ")
    assert found[0][0] == "LLR900" and "lists 2 models" in found[0][1]
    assert found[1:] == [
        ("LLR900", "api.example answers with B too"),
        ("LLR918", "with C: connection refused"),
        ("LLR909", "with D: 401: no such key"),
    ]


@pytest.mark.parametrize(("status", "check"), [(503, "LLR913"), (407, "LLR916"), (404, "LLR900")])
def test_of_an_api_without_a_list_an_answer_is_enough(status: int, check: str) -> None:
    """Unless it says that the server fails, or the proxy before it."""
    ((found, _),) = probed(lambda *_: HTTPReply(status, b"{}"), path=None)
    assert found == check


def test_a_server_that_goes_away_between_two_pages_is_told_of() -> None:
    def answer(asked: str, with_key: bool) -> Any:
        return GONE if "pageToken" in asked else {**LIST, "nextPageToken": "2"}

    assert probed(answer, "m") == [("LLR918", "connection refused")]


def test_a_page_that_is_refused_ends_the_list() -> None:
    """What came before it counts."""

    def answer(asked: str, with_key: bool) -> Any:
        return HTTPReply(400, b"{}") if "pageToken" in asked or not with_key else {**LIST, "nextPageToken": "2"}

    assert [check for check, _ in probed(answer, "m")] == ["LLR900"]


def test_a_model_that_is_not_listed_is_one_if_nobody_can_say_otherwise() -> None:
    """And a list that cannot be fetched without a key says something of the key."""

    def answer(asked: str, with_key: bool) -> Any:
        return LIST if asked.endswith("/models") and with_key else GONE

    ((check, text),) = probed(answer, "unheard-of")
    assert check == "LLR915" and "not among them" in text


def test_a_proxy_that_cannot_be_read_hides_no_other_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise LLMRouterError("HTTPS_PROXY is no address")

    monkeypatch.setattr(server_probe, "proxy_for", refuse)
    assert probed(lambda *_: GONE, "m") == [("LLR918", "connection refused")]


def test_names_are_read_as_far_as_they_are_some() -> None:
    rows = [7, {"id": ""}, {"id": 3, "name": "models/a"}, {"owner": "b"}, {"model": "c", "aliases": "d"}, "e"]
    assert names_in(HTTPReply(200, json.dumps(rows).encode())) == ({"a", "c", "e"}, None)


def test_a_dialect_of_somebody_else_s_that_fails_hides_no_status() -> None:
    dialect: Any = Dialect()
    assert id_and_text_of_reply(HTTPReply(418, b"{}"), dialect) == ("LLR923", "the server answered 418")
