"""The header fields of an answer, and the id that the vendor gave the request."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

import pytest

from helpers.servers import Server, answering, completion, http, json_answer, once
from helpers.transports import TRANSPORTS
from lee_llm_router import LeeLLMRouter, ProviderChoice
from lee_llm_router._util.answer_headers import MAX_HEADERS, NO_HEADERS, AnswerHeaders, request_id_in
from lee_llm_router._util.scrubbing import MAX_TEXT
from lee_llm_router.errors import LLMRouterError, ProviderError, RateLimitError
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import Provider
from lee_llm_router.response import LLMRequest, LLMResponse
from lee_llm_router.telemetry.records import TraceRecord

Ask = Callable[[LeeLLMRouter], LLMResponse]
EVENTS = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def _streamed(router: LeeLLMRouter) -> LLMResponse:
    with router.stream("r", "hi") as stream:
        list(stream)
        return stream.response


async def _streamed_async(router: LeeLLMRouter) -> LLMResponse:
    async with router.stream_async("r", "hi") as stream:
        async for _ in stream:
            pass
        return stream.response


WAYS: dict[str, Ask] = {
    "sync": lambda router: router.complete("r", "hi"),
    "async": lambda router: asyncio.run(router.complete_async("r", "hi")),
    "stream": _streamed,
    "async stream": lambda router: asyncio.run(_streamed_async(router)),
}


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest) -> Ask:
    return WAYS[request.param]


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _error(router: LeeLLMRouter, ask: Ask) -> LLMRouterError:
    with router, pytest.raises(LLMRouterError) as caught:
        ask(router)
    return caught.value


def _router(url: str, transport: str = "auto") -> LeeLLMRouter:
    provider = {"type": "http", "base_url": url, "model": "m", "transport": transport, "api_key_env": "HEADER_KEY"}
    config = {"llm": {"providers": {"p": provider}, "roles": {"r": {"provider": "p", "retry": {"attempts": 1}}}}}
    return LeeLLMRouter(config, trace_store=False)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADER_KEY", "hk-4711-secret")


FIELDS = {
    "X-Request-Id": "req_1",
    "x-ratelimit-remaining-requests": "59",
    "X-Echo": "key hk-4711-secret!",
    "Set-Cookie": "session=abc",
    "X-Long": "a" * 5000,
}


def _check(headers: Mapping[str, str]) -> None:
    assert headers["x-request-id"] == headers["X-REQUEST-ID"] == "req_1"
    assert headers["X-Ratelimit-Remaining-Requests"] == "59"
    assert headers["x-echo"] == "key ***!"
    assert headers["set-cookie"] == "***"
    assert len(headers["x-long"]) == MAX_TEXT
    assert "x-request-id" in list(headers) and "X-Request-Id" in headers and "x-other" not in headers
    assert headers.get("nothing") is None


@pytest.mark.parametrize("body", ["whole", "events"])
def test_an_answer_has_the_header_fields_that_came_with_it(ask: Ask, transport: str, body: str) -> None:
    """By name in any case; bounded, and without keys."""
    if body == "events":
        if ask not in (WAYS["stream"], WAYS["async stream"]):
            pytest.skip("no stream is asked for")
        answer = http(200, EVENTS, {**FIELDS, "Content-Type": "text/event-stream"})
    else:
        answer = json_answer(completion("hi"), 200, FIELDS)
    with Server(answering(answer)) as server, _router(server.url, transport) as router:
        response = ask(router)
    assert response.text == "hi"
    assert response.provider_request_id == "req_1"
    _check(response.headers)
    assert "hk-4711" not in f"{response!r} {response.headers!r} {dict(response.headers)}"


FAILING = {
    "a refusal": json_answer({"error": {"message": "slow down"}}, 429, FIELDS),
    "no answer": http(200, b"<html>", FIELDS),
    "no JSON": http(200, b"{", FIELDS),
    "a redirect": http(302, b"", FIELDS),
}


@pytest.mark.parametrize("fault", FAILING)
def test_so_has_the_error_of_an_answer_that_is_none(ask: Ask, transport: str, fault: str) -> None:
    with Server(answering(FAILING[fault])) as server:
        error = _error(_router(server.url, transport), ask)
    assert error.provider_request_id == "req_1"
    _check(error.headers)
    assert {record.provider_request_id for record in error.attempts} == {"req_1"}
    assert json.loads(error.attempts[0].to_json())["provider_request_id"] == "req_1"
    assert TraceRecord.from_json(error.attempts[0].to_json()).provider_request_id == "req_1"


@pytest.mark.parametrize(
    "wish",
    [{"accept": {"must_match": "yes"}}, {"accept": lambda _: "no"}, {"json_mode": True, "contract": {"repair": 0}}],
)
def test_so_has_the_error_of_an_answer_that_was_refused(transport: str, wish: dict[str, Any]) -> None:
    """In each form alike: the router refused it after it had come."""
    answer = json_answer(completion("hi"), 200, FIELDS)
    for ask in (
        lambda router: router.complete("r", "hi", **wish),
        lambda router: asyncio.run(router.complete_async("r", "hi", **wish)),
    ):
        with Server(answering(answer)) as server:
            error = _error(_router(server.url, transport), ask)
        _check(error.headers)
        assert {record.provider_request_id for record in error.attempts} == {"req_1"}


def test_an_error_shows_no_value_that_only_the_router_knows(
    ask: Ask, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A policy that replaces the settings which a value was filled into has not made it public."""
    monkeypatch.setenv("HEADER_FILLED", "filled-8812-value")

    class Replaces:
        def choose(self, role: str, config: Any) -> ProviderChoice:
            return ProviderChoice("p", provider_overrides={"extra_body": {config.providers["p"].extra_body["a"]: 1}})

    refusal = json_answer({"error": {"message": "no"}}, 403, {"X-Echo": "got filled-8812-value"})
    with Server(answering(refusal)) as server:
        provider = {"type": "http", "base_url": server.url, "model": "m", "transport": transport,
                    "extra_body": {"a": "${HEADER_FILLED}"}}  # fmt: skip
        config = {"llm": {"providers": {"p": provider}, "roles": {"r": {"provider": "p"}}}}
        error = _error(LeeLLMRouter(config, policy=Replaces(), trace_store=False), ask)
    assert error.headers["x-echo"] == "got ***"


@pytest.mark.parametrize("way", ["stream", "async stream"])
@pytest.mark.parametrize("rest", [b"", b"data: {broken\n\n", b'data: {"error":{"message":"overloaded"}}\n\n'])
def test_so_has_the_error_of_a_stream_that_breaks(way: str, rest: bytes) -> None:
    begun = b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n' + rest
    answer = http(200, begun, {**FIELDS, "Content-Type": "text/event-stream"})
    with Server(once(answer)) as server, _router(server.url) as router, pytest.raises(LLMRouterError) as caught:
        WAYS[way](router)
    assert caught.value.provider_request_id == "req_1"


def test_an_error_without_an_answer_has_none(ask: Ask) -> None:
    with Server(lambda _: None) as server, _router(server.url) as router, pytest.raises(ProviderError) as caught:
        ask(router)
    assert (caught.value.provider_request_id, dict(caught.value.headers)) == (None, {})


def test_nothing_is_made_of_them_before_they_are_looked_at(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    real = AnswerHeaders._made

    def note(self: AnswerHeaders) -> dict[str, str]:
        made.append(self)
        return real(self)

    monkeypatch.setattr(AnswerHeaders, "_made", note)
    with Server(answering(json_answer(completion(), 200, FIELDS))) as server, _router(server.url) as router:
        response = ask(router)
        assert made == []
        assert response.provider_request_id == "req_1" and made


IDS = [
    ({"x-request-id": "a"}, "a"),
    ({"X-Request-ID": "a", "cf-ray": "b"}, "a"),
    ({"request-id": "a"}, "a"),
    ({"x-amzn-RequestId": "a"}, "a"),
    ({"apim-request-id": "a", "x-ms-client-request-id": "mine"}, "a"),
    ({"x-ms-request-id": "a"}, "a"),
    ({"x-typhoon-request-id": "long", "x-request-id": "a"}, "a"),
    ({"openai-requestid": "a"}, "a"),
    ({"x-correlation-id": "a"}, "a"),
    ({"cf-ray": "a"}, "a"),
    ({"x-request-id": "", "cf-ray": "a"}, "a"),
    ({"x-ms-client-request-id": "mine"}, None),
    ({"x-request-id-count": "3", "date": "today"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("fields", "expected"), IDS)
def test_the_id_of_the_vendor_is_found_by_the_form_of_its_name(fields: dict[str, str], expected: str | None) -> None:
    assert request_id_in(AnswerHeaders.from_mapping(fields)) == expected


def test_a_copy_holds_no_key() -> None:
    """Pickled, deep or as plain data: what it was made from is left behind."""
    headers = AnswerHeaders([(b"X-Echo", b"hk-4711-secret"), (b"Date", b"today")], ("hk-4711-secret",))
    response = LLMResponse(text="", headers=headers)
    assert b"hk-4711" not in pickle.dumps(response)
    assert pickle.loads(pickle.dumps(response)).headers == headers == {"x-echo": "***", "date": "today"}
    assert copy.deepcopy(headers) == {"x-echo": "***", "date": "today"}
    assert "hk-4711" not in str(asdict(response))
    assert replace(response, text="x").headers is headers
    assert response == LLMResponse(text="")


def test_they_are_bounded_in_number_and_size() -> None:
    many = [(b"X-%d" % number, b"v") for number in range(5000)]
    assert len(AnswerHeaders(many)) == MAX_HEADERS
    repeated = AnswerHeaders([(b"X-A", b"v" * 90)] * 5000 + [(b"N" * 9000, b"\xff\x1b[2J\x00")])
    assert len(repeated["x-a"]) == MAX_TEXT
    (long_name,) = [name for name in repeated if name.startswith("n")]
    assert len(long_name) <= MAX_TEXT and repeated[long_name].isprintable()
    assert AnswerHeaders([(b"Link", b"a"), (b"LINK", b"b")])["link"] == "a, b"


class _Broken(dict[str, str]):
    def items(self) -> Any:
        raise RuntimeError("broken")


STRANGE: list[tuple[Any, dict[str, str]]] = [
    ({"X-Request-ID": "own"}, {"x-request-id": "own"}),
    (MappingProxyType({"X-Request-ID": "own"}), {"x-request-id": "own"}),
    ({"A": 5, 7: "x", "B": "b\x1b"}, {"b": "b\\x1b"}),
    ({"Long": "x" * 9000}, {"long": "x" * (MAX_TEXT - 1) + "…"}),
    (None, {}),
    (7, {}),
    ("text", {}),
    (_Broken(), {}),
]


@pytest.mark.parametrize(("given", "expected"), STRANGE)
@pytest.mark.parametrize("on", ["response", "error"])
def test_what_another_provider_gives_as_headers_is_checked(on: str, given: Any, expected: dict[str, str]) -> None:
    class Own(Provider[Any]):
        def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
            if on == "error":
                raise RateLimitError("no", headers=given)
            return LLMResponse(text="hi", headers=given)

    registry.register("own-headers", Own, replace=True)
    config = {"llm": {"providers": {"p": {"type": "own-headers"}}, "roles": {"r": {"provider": "p", "model": "m"}}}}
    with LeeLLMRouter(config, trace_store=False) as router:
        try:
            headers = router.complete("r", "hi", deadline=0.2).headers
        except LLMRouterError as error:
            headers = error.headers
    assert dict(headers) == expected


def test_the_mock_has_none() -> None:
    assert LLMResponse(text="").headers is NO_HEADERS
    assert LLMResponse(text="").provider_request_id is None


def test_a_response_can_be_written_as_json() -> None:
    """With its header fields, as `dataclasses.asdict` gives it."""
    response = LLMResponse(text="x", headers=AnswerHeaders([(b"X-Request-Id", b"r-1")]))
    assert json.loads(json.dumps(asdict(response)))["headers"] == {"x-request-id": "r-1"}
