"""What the doctor is told of an HTTP provider: its key, its way to the server, whom it trusts. Uses no network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from lee_llm_router._util.hosts import is_this_machine
from lee_llm_router._util.scrubbing import is_sensitive_header
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http.settings import HTTPConfig
from lee_llm_router.providers.http.transport.choice import choose_transport
from lee_llm_router.providers.http.transport.proxies import SOCKS_SCHEMES, check_proxy, proxy_for, shown_proxy
from lee_llm_router.providers.http.transport.trust import context_for
from lee_llm_router.providers.http.transport.watchers import blind_watchers
from lee_llm_router.providers.keys import KeySource
from lee_llm_router.providers.vendors import vendors

Finding: TypeAlias = tuple[Literal["ok", "warning", "error"], str]


def check_http(config: HTTPConfig, keys: KeySource) -> Iterator[Finding]:
    """Check all that a request needs before it is sent.

    Args:
        config: The provider's settings.
        keys: Where its key comes from.
    """
    yield from _check_address(config)
    yield from _check_key(config, keys)
    yield from _check_authorities(config)
    yield from _check_way(config)


def _check_address(config: HTTPConfig) -> Iterator[Finding]:
    parts = urlsplit(config.base_url)
    known = any(vendor.base_url == config.base_url for vendor in vendors().values())
    if not parts.path.strip("/") and not known:
        yield (
            "warning",
            f"base_url ends with the host: most servers have their API below a version ({config.base_url}/v1)",
        )


def _check_key(config: HTTPConfig, keys: KeySource) -> Iterator[Finding]:
    parts = urlsplit(config.base_url)
    if not keys.is_named:
        yield "ok", f"{parts.netloc} is asked without a key"
    yield from keys.check()
    has_key = keys.is_named or any(map(is_sensitive_header, config.headers))
    if has_key and parts.scheme == "http" and not is_this_machine(parts.hostname or ""):
        yield "warning", f"the key goes to {parts.netloc} unencrypted: use https"


def _check_authorities(config: HTTPConfig) -> Iterator[Finding]:
    if config.ca_path is not None and not Path(config.ca_path).is_file():
        yield "error", f"ca_file {config.ca_file} does not exist"
        return
    try:
        context_for("https:", config.ca_path, config.trust)
    except LLMRouterError as error:
        # Without TLS no authority is asked, so that nothing is broken yet.
        yield ("error" if config.base_url.startswith("https:") else "warning"), error.message
        return
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if folder and not file and config.trust == "certifi" and not Path(folder).is_dir():
        yield "error", f"SSL_CERT_DIR ({folder}) is no folder, so that no authority is trusted"
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if os.environ.get(variable) and not (file or folder or config.ca_file or config.trust == "system"):
            yield "warning", f"{variable} is not read: set SSL_CERT_FILE, or ca_file, to trust its authorities"


def _check_way(config: HTTPConfig) -> Iterator[Finding]:
    try:
        transport = choose_transport(config.transport, config.base_url)
    except LLMRouterError as error:
        yield "error", error.message
        return
    yield "ok", f"requests are carried by {transport}"
    host = urlsplit(config.base_url).netloc
    try:
        proxy = proxy_for(config.base_url)
        if proxy is not None:
            check_proxy(proxy, SOCKS_SCHEMES if transport == "httpx" else ())
    except LLMRouterError as error:
        yield "error", error.message
    else:
        way = "directly" if proxy is None else f"through the proxy {shown_proxy(proxy)}"
        yield "ok", f"requests go to {host} {way}"
    if transport == "httptools":
        yield from blind_watchers()
