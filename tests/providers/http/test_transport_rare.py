"""Transports where the machine, the network or the environment is odd. No network."""

from __future__ import annotations

import sys
import urllib.request
from types import ModuleType
from typing import Any

import pytest

from lee_llm_router.errors import LLMRouterError, ProviderError
from lee_llm_router.providers.http.transport import choice, httpx_transport, proxies, watchers
from lee_llm_router.providers.http.transport.address import address_of
from lee_llm_router.providers.http.transport.choice import choose_transport
from lee_llm_router.providers.http.transport.chunks import ChunkReader

URL = "https://model.test/v1"


@pytest.mark.parametrize(("number", "said", "is_short"), [
    (24, "this machine has run out of", True), (13, "Permission denied", False),
])  # fmt: skip
def test_a_library_that_cannot_be_opened_is_a_typed_error_and_tried_again(
    number: int, said: str, is_short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = OSError(number, "Permission denied" if number == 13 else "Too many open files")
    monkeypatch.setattr(choice, "_httptools_problem", lambda: problem)
    with pytest.raises(ProviderError, match=said) as caught:
        choose_transport("httptools", URL)
    assert (caught.value.sent, caught.value.local_shortage) == (False, is_short)


def test_a_proxy_is_not_for_what_macos_excepts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": "proxy.test:3128"})
    monkeypatch.setattr(urllib.request, "getproxies_environment", dict)
    monkeypatch.setattr(urllib.request, "proxy_bypass", lambda host: host == "model.test")
    assert proxies.proxy_for(URL) is None
    assert proxies.proxy_for("https://other.test/v1") == "http://proxy.test:3128"


@pytest.mark.parametrize(
    "entry", ["model.test:port", "model.test:99999", "\N{LATIN SMALL LETTER U WITH DIAERESIS}..test", "[::1", ":0:"]
)
def test_an_exception_that_can_be_read_by_nobody_excepts_nothing(entry: str) -> None:
    assert not proxies.is_exempt(address_of(URL), entry)
    assert proxies.is_exempt(address_of(URL), f"{entry} model.test")


def test_a_socks_proxy_with_its_library_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "find_spec", lambda _: object())
    proxies.check_proxy("socks5://proxy.test:1080", ("socks5",))
    monkeypatch.setattr(proxies, "find_spec", lambda _: None)
    with pytest.raises(ProviderError, match=r"install httpx\[socks\]"):
        proxies.check_proxy("socks5://proxy.test:1080", ("socks5",))


def test_a_proxy_that_httpx_does_not_know_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpx_transport, "proxy_for", lambda _: "http://user:pa55@proxy.test:3128")
    monkeypatch.setattr(httpx_transport, "check_proxy", lambda *_: None)

    def refuse(*_: Any, **__: Any) -> Any:
        raise ValueError("pa55 stands in it")

    monkeypatch.setattr("httpx.Proxy", refuse)
    with pytest.raises(LLMRouterError, match="the proxy in the environment") as caught:
        httpx_transport._proxy(URL, None, "system")
    assert "pa55" not in str(caught.value)


def test_a_function_that_a_library_has_wrapped_is_seen_by_its_wrapper(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrapper:
        """Passes for what it wraps, as wrapt's do."""

    Wrapper.__module__ = "wrapt.wrappers"
    httpx = ModuleType("httpx")
    httpx.HTTPTransport = type("HTTPTransport", (), {"handle_request": Wrapper()})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "httpx", httpx)
    assert watchers._patched_by() == "wrapt.wrappers"


def test_a_line_of_a_body_that_never_ends_is_no_chunk() -> None:
    with pytest.raises(ValueError, match="a line without an end"):
        ChunkReader().feed(b"5" * 1_000_000)
