"""The doctor's checks of an HTTP provider: its key, its proxy, the authorities that it trusts. Uses no network."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from lee_llm_router._util.check_note import CheckNote
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

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""Names of certificates in a folder of OpenSSL."""


def check_http(config: HTTPConfig, keys: KeySource) -> Iterator[Finding]:
    """Check everything that a request needs before it is sent.

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
        text = f"base_url ends with the host: most servers have their API below a version ({config.base_url}/v1)"
        yield CheckNote("warning", text, "LLR409")


def _check_key(config: HTTPConfig, keys: KeySource) -> Iterator[Finding]:
    parts = urlsplit(config.base_url)
    if not keys.is_named:
        yield CheckNote("ok", f"{parts.netloc} is asked without a key", "LLR300")
    yield from keys.check_each()
    has_key = keys.is_named or any(map(is_sensitive_header, config.headers))
    if has_key and parts.scheme == "http" and not is_this_machine(parts.hostname or ""):
        yield CheckNote("warning", f"the key goes to {parts.netloc} unencrypted: use https", "LLR308")


def _check_authorities(config: HTTPConfig) -> Iterator[Finding]:
    if config.ca_path is not None and not Path(config.ca_path).is_file():
        yield CheckNote("error", f"ca_file {config.ca_file} does not exist", "LLR403")
        return
    try:
        context_for("https:", config.ca_path, config.trust)
    except LLMRouterError as error:
        # Without TLS no authority is consulted, so nothing is broken yet.
        check = _id_of_authorities(config, error.message)
        yield CheckNote("error" if config.base_url.startswith("https:") else "warning", error.message, check)
        return
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if folder and not file and config.trust == "certifi" and not Path(folder).is_dir():
        text = f"SSL_CERT_DIR ({folder}) is not a folder, so no authority is trusted"
        yield CheckNote("error", text, "LLR402")
    elif folder and not file and config.trust == "certifi" and not _holds_authorities(Path(folder)):
        text = f"SSL_CERT_DIR ({folder}) holds no certificate under its hash, so no authority is trusted"
        yield CheckNote("error", text, "LLR402")
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if os.environ.get(variable) and not (file or folder or config.ca_file or config.trust == "system"):
            text = f"{variable} is not read: set SSL_CERT_FILE, or ca_file, to trust its authorities"
            yield CheckNote("warning", text, "LLR404")


def _id_of_authorities(config: HTTPConfig, message: str) -> str:
    if message.startswith("ca_file"):
        return "LLR403"
    return "LLR411" if config.trust == "system" else "LLR401"


def _holds_authorities(folder: Path) -> bool:
    """Whether OpenSSL would find a certificate in `folder`: it looks for files named by a hash."""
    try:
        with os.scandir(folder) as entries:
            return any(_HASHED.fullmatch(entry.name) for entry in entries)
    except OSError:
        return False


def _check_way(config: HTTPConfig) -> Iterator[Finding]:
    try:
        transport = choose_transport(config.transport, config.base_url)
    except LLMRouterError as error:
        check = "LLR406" if "proxy" in error.message else "LLR408"
        yield CheckNote("error", error.message, check)
        return
    yield CheckNote("ok", f"requests are sent with {transport}", "LLR400")
    host = urlsplit(config.base_url).netloc
    try:
        proxy = proxy_for(config.base_url)
        if proxy is not None:
            check_proxy(proxy, SOCKS_SCHEMES if transport == "httpx" else ())
    except LLMRouterError as error:
        yield CheckNote("error", error.message, "LLR406")
    else:
        way = "directly" if proxy is None else f"through the proxy {shown_proxy(proxy)}"
        yield CheckNote("ok", f"requests go to {host} {way}", "LLR400")
    if transport == "httptools":
        yield from blind_watchers()
