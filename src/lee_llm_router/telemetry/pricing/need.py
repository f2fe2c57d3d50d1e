"""Whether a router needs prices at all. Most do not, and then load nothing else from this folder."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from urllib.parse import urlsplit

from lee_llm_router._util.hosts import host_port
from lee_llm_router.telemetry.pricing.settings import PricingConfig


@cache
def is_installed() -> bool:
    """Return whether genai-prices can be imported. Checked only once."""
    try:
        return find_spec("genai_prices") is not None
    except (ImportError, ValueError):
        return False


def has_prices(address: str) -> bool:
    """Return whether the table may have prices for the server at `address`: it has none for private names."""
    try:
        host = host_port(urlsplit(address).netloc).host
    except ValueError:
        return False
    return "." in host and not host.replace(".", "").isdigit() and not host.endswith((".local", ".internal", ".lan"))


def needs_prices(config: PricingConfig, base_urls: Iterable[object]) -> bool:
    """Return whether the file or the table may tell the cost of attempts at providers with these addresses."""
    if config.models:
        return True
    has_vendors = bool(config.vendors) or any(isinstance(url, str) and has_prices(url) for url in base_urls)
    return config.table and has_vendors and is_installed()
