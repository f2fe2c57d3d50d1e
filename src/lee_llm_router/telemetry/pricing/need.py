"""Whether a router needs prices at all. Most need none, and load nothing else of this folder for that."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from urllib.parse import urlsplit

from lee_llm_router._util.hosts import host_port
from lee_llm_router.telemetry.pricing.settings import PricingConfig


@cache
def is_installed() -> bool:
    """Return whether genai-prices can be imported. It is looked for once."""
    try:
        return find_spec("genai_prices") is not None
    except (ImportError, ValueError):
        return False


def has_prices(address: str) -> bool:
    """Return whether the table may have prices for the server at `address`: not for one that has no public name."""
    try:
        host = host_port(urlsplit(address).netloc).host
    except ValueError:
        return False
    return "." in host and not host.replace(".", "").isdigit() and not host.endswith((".local", ".internal", ".lan"))


def needs_prices(config: PricingConfig, base_urls: Iterable[object]) -> bool:
    """Return whether the file or the table may say what attempts at providers with these addresses cost."""
    if config.models:
        return True
    has_vendors = bool(config.vendors) or any(isinstance(url, str) and has_prices(url) for url in base_urls)
    return config.table and has_vendors and is_installed()
