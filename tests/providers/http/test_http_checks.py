"""What the doctor is told of the way to a server and of whom it trusts, and what a call says where that is wrong."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import certifi
import httpx
import pytest

from helpers.servers import Server, answering, completion, json_answer, make_certificate
from helpers.transports import TRANSPORTS
from lee_llm_router.doctor import diagnose
from lee_llm_router.errors import LLMRouterError, ProviderError
from lee_llm_router.providers.http import OpenAIChatConfig, OpenAIChatProvider
from lee_llm_router.providers.http.transport import trust
from lee_llm_router.providers.http.transport.api import WireRequest
from lee_llm_router.providers.http.transport.choice import LazyTransport

OK = json_answer(completion())
URL = "https://model.test/v1"
VARIABLES = {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "LEE_LLM_ROUTER_TRANSPORT"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [*os.environ]:
        if name in VARIABLES or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    trust._context.cache_clear()
    yield
    trust._context.cache_clear()


def _checked(url: str = URL, **settings: Any) -> list[tuple[str, str]]:
    config = OpenAIChatConfig(**{"type": "http", "base_url": url, **settings})
    with closing(OpenAIChatProvider("p", config)) as provider:
        return list(provider.check())


@pytest.mark.parametrize("url", ["https://model.test", "http://127.0.0.1:11434/"])
def test_an_address_without_a_path_is_a_warning(url: str) -> None:
    """Other clients add the version by themselves, so people leave it out."""
    (found,) = [text for level, text in _checked(url) if level == "warning"]
    assert found.startswith("base_url ends with the host") and f"{url.rstrip('/')}/v1" in found
    assert not _bad(_checked(f"{url.rstrip('/')}/v1"))
    assert not _bad(_checked("https://api.perplexity.ai")), "the vendor's own address is right as it is"


def _bad(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(level, text) for level, text in found if level != "ok"]


def _error(url: str = URL, *, transport: Any = "httpx", **settings: Any) -> LLMRouterError:
    """What the first call says."""
    lazy = LazyTransport(transport, url, **{"ca_file": None, "max_response_bytes": 10_000, **settings})
    with pytest.raises(LLMRouterError) as sync:
        lazy.get().send(WireRequest(url, (), b"{}"), 5)
    with pytest.raises(LLMRouterError) as caught:
        asyncio.run(_send_async(lazy, url))
    assert caught.value.message == sync.value.message
    lazy.close()
    return caught.value


async def _send_async(lazy: LazyTransport, url: str) -> None:
    await (await lazy.get_async()).send_async(WireRequest(url, (), b"{}"), 5)


# Authorities


def _missing(folder: Path) -> Path:
    return folder / "gone.pem"


def _without_certificate(folder: Path) -> Path:
    path = folder / "words.pem"
    path.write_text("not a certificate\n")
    return path


def _fifo(folder: Path) -> Path:
    """What OpenSSL would wait for, until another program writes into it."""
    path = folder / "fifo.pem"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("make", [_missing, _without_certificate, _fifo, lambda folder: folder])
def test_a_bad_ssl_cert_file_is_named_by_calls_and_by_the_doctor(
    make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting `ca_file` is not blamed for it."""
    path = make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    (finding,) = _bad(_checked())
    error = _error()
    assert finding == ("error", error.message)
    assert error.message.startswith(f"SSL_CERT_FILE ({path}) cannot be used: ")
    assert error.final and not error.sent and "ca_file" not in error.message


def test_it_is_no_error_where_no_certificate_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/at-all.pem")
    assert [level for level, _ in _bad(_checked("http://127.0.0.1:8080/v1"))] == ["warning"]


def test_a_bad_ca_file_is_named_as_such_beside_a_good_ssl_cert_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    path = _without_certificate(tmp_path)
    assert _error(ca_file=str(path)).message == "ca_file cannot be used: it holds no certificate that can be read"
    assert _error(ca_file=str(_fifo(tmp_path))).message == "ca_file cannot be used: it is no regular file"


def test_a_folder_of_authorities_that_is_none_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    ((level, text),) = _bad(_checked())
    assert level == "error" and "no certificate under its hash" in text
    (tmp_path / "0a1b2c3d.0").touch()
    assert _bad(_checked()) == []
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "gone"))
    ((level, text),) = _bad(_checked())
    assert level == "error" and "SSL_CERT_DIR" in text


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_variable_of_other_programs_is_told_of_unless_ours_is_set(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, certifi.where())
    ((level, text),) = _bad(_checked())
    assert level == "warning" and variable in text and "SSL_CERT_FILE" in text
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    assert _bad(_checked()) == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_certificate_of_an_unknown_authority_is_refused_with_a_hint(
    transport: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the hint is true."""
    ca_file, tls = make_certificate(tmp_path)
    with Server(answering(OK), tls=tls) as server:
        error = _error(server.url, transport=transport)
        assert "certificate refused" in error.message
        assert all(word in error.message for word in ("ca_file", "SSL_CERT_FILE", "trust: system"))
        monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
        trusting = LazyTransport(transport, server.url, ca_file=None, max_response_bytes=10_000)
        assert trusting.get().send(WireRequest(server.url, (), b"{}"), 5).status == 200
        trusting.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_certificate_for_another_host_is_refused_without_one(transport: Any, tmp_path: Path) -> None:
    ca_file, tls = make_certificate(tmp_path)
    with Server(answering(OK), tls=tls) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        error = _error(url, transport=transport, ca_file=str(ca_file))
    assert "certificate refused" in error.message and "to trust" not in error.message


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("by", ["ca_file", "the system"])
def test_the_system_may_be_trusted(transport: Any, by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its list, and `ca_file` in addition."""
    ca_file, tls = make_certificate(tmp_path)
    if by == "the system":
        # OpenSSL reads it when the system's list is asked for; it stands for that list here.
        monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    with Server(answering(OK), tls=tls) as server:
        lazy = LazyTransport(
            transport,
            server.url,
            ca_file=str(ca_file) if by == "ca_file" else None,
            trust="system",
            max_response_bytes=10_000,
        )
        assert lazy.get().send(WireRequest(server.url, (), b"{}"), 5).status == 200
        asyncio.run(_send_async(lazy, server.url))
        lazy.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_system_does_not_trust_everybody(transport: Any, tmp_path: Path) -> None:
    with Server(answering(OK), tls=make_certificate(tmp_path)[1]) as server:
        assert "certificate refused" in _error(server.url, transport=transport, trust="system").message
        assert server.requests == []


def test_trusting_the_system_without_its_package_is_a_final_error_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "truststore", None)
    error = _error(trust="system")
    assert isinstance(error, ProviderError) and error.final and not error.sent
    assert 'pip install "lee-llm-router[trust]"' in error.message
    assert ("error", error.message) in _checked(trust="system")
    assert _bad(_checked()) == []


def test_authorities_that_cannot_be_opened_for_want_of_descriptors_are_no_fault_of_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(ssl, "create_default_context", refuse)
    error = _error()
    assert error.local_shortage and not error.final and not error.sent


# The way


@pytest.mark.parametrize("url", [URL, "http://10.0.0.9:8080/v1"])
def test_the_doctor_tells_which_way_requests_go(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = url.split("/")[2]
    assert ("ok", f"requests go to {host} directly") in _checked(url)
    monkeypatch.setenv("ALL_PROXY", "http://user:pass-word@proxy.test:3128/path")
    assert ("ok", f"requests go to {host} through the proxy http://proxy.test:3128") in _checked(url)
    assert ("ok", "requests go to 127.0.0.1:81 directly") in _checked("http://127.0.0.1:81/v1")
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8,model.test")
    assert ("ok", f"requests go to {host} directly") in _checked(url)


@pytest.mark.parametrize(
    ("proxy", "settings", "words"),
    [
        ("ftp://user:pass-word@proxy.test", {}, "not a URL of a known kind"),
        ("http://proxy.test:99999", {}, "not a URL"),
        ("socks5://proxy.test:1080", {}, "install httpx[socks]"),
        ("socks5h://proxy.test:1080", {"transport": "httpx"}, "install httpx[socks]"),
        ("socks5://proxy.test:1080", {"transport": "httptools"}, "set transport: httpx"),
        ("socks4://proxy.test:1080", {"transport": "httpx"}, "SOCKS"),
    ],
)
def test_the_doctor_finds_a_proxy_that_cannot_be_used(
    proxy: str, settings: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without asking it: what the first call would say."""
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    ((level, text),) = _bad(_checked(**settings))
    assert level == "error" and words in text and "pass-word" not in text
    assert _error(transport=settings.get("transport", "auto")).message == text
    assert _bad(_checked("https://127.0.0.1/v1", **settings)) == []


# What instruments httpx


def _is_told(found: list[tuple[str, str]], word: str) -> list[str]:
    return [level for level, text in found if word in text and "transport: httpx" in text]


def test_an_instrumentation_of_httpx_that_sees_nothing_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where httptools carries the requests."""
    installed = {"opentelemetry-instrumentation-httpx", "vcrpy"}

    def version(package: str) -> str:
        if package in installed:
            return "1.0"
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = _checked(transport="httptools")
    assert (_is_told(found, "OpenTelemetry"), _is_told(found, "VCR"), _is_told(found, "respx")) == (
        ["warning"], ["ok"], [],
    )  # fmt: skip
    assert not any("sees nothing" in text for _, text in _checked(transport="httpx"))
    installed.clear()
    assert not any("sees nothing" in text for _, text in _checked(transport="httptools"))


def _wrapped(self: Any, request: Any) -> Any:
    raise NotImplementedError


@pytest.mark.parametrize("method", ["HTTPTransport.handle_request", "AsyncHTTPTransport.handle_async_request"])
def test_a_class_that_is_patched_already_is_told_of_whoever_did_it(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = method.split(".")
    assert not any("instrumented" in text for _, text in _checked(transport="httptools"))
    monkeypatch.setattr(getattr(httpx, owner), name, _wrapped)
    assert _is_told(_checked(transport="httptools"), _wrapped.__module__) == ["warning"]


def test_httpx_is_not_loaded_to_look_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "httpx")
    _checked(transport="httptools")
    assert "httpx" not in sys.modules


def test_a_stranger_in_the_place_of_httpx_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", SimpleNamespace())
    assert not any("instrumented" in text for _, text in _checked(transport="httptools"))


def test_a_relative_file_of_authorities_starts_at_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the current folder is, as for all other paths of a provider."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ca.pem").write_text(Path(certifi.where()).read_text())
    file = tmp_path / "etc/llm.yaml"
    provider = "{type: http, base_url: 'https://example.com/v1', ca_file: ca.pem}"
    file.write_text(f"llm:\n  providers: {{p: {provider}}}\n  roles: {{r: {{provider: p, model: m}}}}\n")
    monkeypatch.chdir(tmp_path)
    assert not [result.message for result in diagnose(file) if result.level == "error"]
    (tmp_path / "etc/ca.pem").unlink()
    assert any("ca.pem does not exist" in result.message for result in diagnose(file))
