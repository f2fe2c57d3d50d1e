"""Which way requests go: through the proxy that the environment names, or directly; which hosts are this machine."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
from pydantic import ValidationError

from lee_llm_router._util.hosts import is_this_machine
from lee_llm_router.errors import InvalidRequestError, ProviderError
from lee_llm_router.providers.http import OpenAIChatConfig
from lee_llm_router.providers.http.transport.address import address_of
from lee_llm_router.providers.http.transport.proxies import proxy_for

PROXY = "http://proxy.test:3128"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setattr(socket, "gethostname", lambda: "Box17.lab.example")


DIRECT = [
    # Ranges.
    ("http://172.16.9.1:8000/v1", "172.16.0.0/12"),
    ("https://192.168.7.7/v1", "10.0.0.0/8, 192.168.0.0/16"),
    ("http://10.9.8.7/v1", "10.9.8.1/24"),
    ("http://[fd12:3::4]/v1", "fd00::/8"),
    ("http://[fd12:3::4]:81/v1", "[fd00::]/8"),
    ("http://[::ffff:10.1.1.1]/v1", "10.0.0.0/8"),
    ("http://10.1/v1", "10.0.0.0/8"),
    ("http://8.8.8.8/v1", "0.0.0.0/0"),
    # Addresses.
    ("http://[fd12:3::4]/v1", "fd12:3::4"),
    ("http://[fd12:3::4]:8080/v1", "fd12:3::4"),
    ("http://[FD12:3:0:0::4]:8080/v1", "fd12:3::4"),
    ("http://[fd12:3::4]/v1", "[fd12:3::4]"),
    ("http://[fd12:3::4]:8080/v1", "[fd12:3::4]:8080"),
    ("http://[fd12:3::4]/v1", "[fd12:3::4]:80"),
    ("https://10.0.0.5/v1", "10.0.0.5:443"),
    ("http://10.0.0.5:9/v1", "10.0.0.5"),
    ("http://192.168.1.20/v1", "192.168.*"),
    # Names.
    ("https://llm.corp.test/v1", "*.corp.test"),
    ("https://a.b.corp.test/v1", "*.corp.test"),
    ("https://corp.test/v1", "*.corp.test"),
    ("https://llm.corp.test/v1", ".corp.test"),
    ("https://llm.corp.test/v1", "corp.test"),
    ("https://LLM.Corp.Test/v1", "llm.CORP.test"),
    ("https://llm.corp.test./v1", "corp.test"),
    ("https://llm.corp.test/v1", "corp.test."),
    ("https://llm.corp.test/v1", "llm.corp.test:443"),
    ("http://llm.corp.test/v1", "llm.corp.test:80"),
    ("https://llm.corp.test:8443/v1", "corp.test:8443"),
    ("https://llm.corp.test/v1", "https://llm.corp.test"),
    ("https://llm.corp.test/v1", "https://llm.corp.test/"),
    ("https://llm-3.corp.test/v1", "llm-*.corp.test"),
    ("https://bücher.test/v1", "bücher.test"),
    ("https://x.bücher.test/v1", "xn--bcher-kva.test"),
    # Several, and in any form.
    ("https://llm.test/v1", "*"),
    ("https://llm.test/v1", "a.test, *"),
    ("https://llm.test/v1", "a.test,*,b.test"),
    ("https://llm.test/v1", "  a.test  ,llm.test ,"),
    ("https://llm.test/v1", "a.test llm.test"),
    ("https://llm.test/v1", ",,[::1,10.0.0.0/99,http://,llm.test"),
]


@pytest.mark.parametrize(("url", "exceptions"), DIRECT)
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_what_no_proxy_names_is_asked_directly(
    url: str, exceptions: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, exceptions)
    assert proxy_for(url) is None


PROXIED = [
    ("http://172.32.0.1/v1", "172.16.0.0/12"),
    ("http://10.1.2.3/v1", "fd00::/8"),
    ("http://[fe80::1]/v1", "fd00::/8"),
    ("http://llm.test/v1", "10.0.0.0/8"),
    ("http://[fd12:3::4]/v1", "fd12:3::5"),
    ("http://[fd12:3::4]:8080/v1", "[fd12:3::4]:80"),
    ("http://210.0.0.5/v1", "10.0.0.5"),
    ("http://1.10.0.0/v1", "10.0.0"),
    ("https://llm.corp.test/v1", "llm.corp.test:80"),
    ("http://llm.corp.test/v1", "llm.corp.test:443"),
    ("http://llm.corp.test/v1", "https://llm.corp.test"),
    ("https://evilcorp.test/v1", "corp.test"),
    ("https://evilcorp.test/v1", "*.corp.test"),
    ("https://corp.test.evil.test/v1", "corp.test"),
    ("https://llm.test/v1", ""),
    ("https://llm.test/v1", "."),
    ("https://llm.test/v1", "localhost,127.0.0.1,10.0.0.0/8"),
    ("https://1x7.test/v1", "1.7"),
]


@pytest.mark.parametrize(("url", "exceptions"), PROXIED)
def test_whatever_it_does_not_name_is_asked_through_the_proxy(
    url: str, exceptions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert proxy_for(url) == PROXY


HERE = [
    "127.0.0.1", "127.9.9.9", "127.1", "127.0.1", "0.0.0.0", "0", "0x7f.1", "0x7F000001", "2130706433", "0177.0.0.1",
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]", "localhost", "LOCALHOST",
    "localhost.", "gpu.localhost", "gpu.localhost.", "localhost.localdomain", "ip6-localhost", "box17.lab.example",
    "Box17.lab.example.", "box17", "BOX17", "box17.local",
]  # fmt: skip
ELSEWHERE = [
    "model.test", "128.0.0.1", "1.127.0.0.1.test", "localhost.test", "notlocalhost", "[fd00::1]", "[::ffff:10.0.0.1]",
    "lab.example", "box1", "box177", "example", "127.0.0.1.test", "0x7f.test", "local",
]  # fmt: skip


@pytest.mark.parametrize("host", HERE)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_this_machine_is_never_asked_through_a_proxy_in_whatever_spelling(host: str, scheme: str) -> None:
    assert is_this_machine(host.strip("[]"))
    assert proxy_for(f"{scheme}://{host}:8080/v1") is None
    assert proxy_for(f"{scheme}://{host}/v1") is None


@pytest.mark.parametrize("host", ELSEWHERE)
def test_a_host_that_only_looks_like_this_machine_is_another(host: str) -> None:
    assert not is_this_machine(host.strip("[]"))
    assert proxy_for(f"http://{host}/v1") == PROXY


def test_a_scheme_has_a_proxy_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "HTTPS://other.test:1")
    monkeypatch.setenv("http_proxy", "plain.test:2")
    assert proxy_for("https://model.test") == "https://other.test:1"
    assert proxy_for("http://model.test") == "http://plain.test:2"


NO_ADDRESS = [
    "http://model.test:0/v1", "https://127.0.0.1:00/v1", "http://[::1]evil:8080/v1", "http://[::1]:80:80/v1",
    "http://[::1/v1", "http://::1/v1", "http://[model.test]/v1", "http://[1.2.3.4]/v1", "http://model.test:80:80/v1",
    "http://model.test:65536/v1", "http://model.test:-1/v1", "http://model.test:８０/v1", "http://model.test:8a/v1",
    "http://mod\\el.test/v1", "http://mod%2fel.test/v1", "http://[::1%]/v1", "http://[v1.x]/v1", "http://]/v1",
]  # fmt: skip


@pytest.mark.parametrize("url", NO_ADDRESS)
def test_an_address_that_is_none_is_refused_wherever_it_is_given(url: str) -> None:
    """Neither half of it is taken for the whole, and no other port than the one named."""
    with pytest.raises(InvalidRequestError):
        address_of(url)
    with pytest.raises(ValidationError, match="an address is wanted"):
        OpenAIChatConfig.model_validate({"type": "http", "base_url": url})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://model.test:/v1", ("model.test", 80)),
        ("https://model.test:0443/v1", ("model.test", 443)),
        ("http://[fe80::1%eth0]:81/v1", ("fe80::1%eth0", 81)),
        ("http://under_score.test/v1", ("under_score.test", 80)),
        ("http://u:p@ss@proxy.test:3128", ("proxy.test", 3128)),
    ],
)
def test_an_address_is_read(url: str, expected: tuple[str, int]) -> None:
    address = address_of(url)
    assert (address.host, address.port) == expected


@pytest.mark.parametrize("transport", ["httpx", "httptools"])
@pytest.mark.parametrize("proxy", ["socks4://p.test", "gopher://u:word@p.test", "http://", "http://p.test:0"])
def test_a_proxy_of_an_unknown_kind_is_a_final_error(
    proxy: str, transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from helpers.transports import transport_to, under_test

    monkeypatch.setenv("ALL_PROXY", proxy)
    with under_test(transport), pytest.raises(ProviderError) as caught:
        transport_to("https://model.test/v1")
    assert caught.value.final and not caught.value.sent
    assert "word" not in str(caught.value)
