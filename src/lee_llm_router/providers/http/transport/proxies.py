"""Finds the proxy that the environment names for a URL, and the exceptions (`NO_PROXY`)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, ip_network

from lee_llm_router._util.hosts import address_in, host_port, is_this_machine
from lee_llm_router.errors import InvalidRequestError, LLMRouterError, ProviderError
from lee_llm_router.providers.http.transport.address import Address, address_of

SOCKS_SCHEMES = ("socks5", "socks5h")
"""Kinds of SOCKS that httpx supports."""


def proxy_for(url: str) -> str | None:
    """Return the URL of the proxy that the environment names for `url`; None for this machine.

    Raises:
        InvalidRequestError: HTTP cannot reach `url`.
    """
    address = address_of(url)
    if is_this_machine(address.host):
        return None
    from urllib.request import getproxies, getproxies_environment, proxy_bypass  # noqa: PLC0415 - 40 ms to load

    proxies = getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if not proxy or is_exempt(address, proxies.get("no", "")):
        return None
    # If no variable is set, macOS has exceptions in its settings.
    if sys.platform == "darwin" and not getproxies_environment() and proxy_bypass(address.host):
        return None
    scheme, separator, rest = proxy.partition("://")
    return f"{scheme.lower()}://{rest}" if separator else f"http://{proxy}"


def is_exempt(address: Address, exceptions: str) -> bool:
    """Whether to reach `address` without a proxy, according to the value of `NO_PROXY`.

    Commas or spaces separate the entries. Each is ``*``, a range (``10.0.0.0/8``), an address, or a name. A name also
    covers all names that end with it; it may begin with a dot or ``*.``. A port may follow an address or a name, and an
    IPv6 address may have brackets.
    """
    return any(_matches(entry, address) for entry in exceptions.replace(",", " ").split())


def _matches(entry: str, address: Address) -> bool:
    if entry == "*":
        return True
    ip = address_in(address.host)
    if "/" in entry and "://" not in entry:
        return ip is not None and _is_in_range(ip, entry)
    scheme, _, rest = entry.rpartition("://")
    port = None
    if address_in(rest) is None:  # an IPv6 address without brackets has colons but no port
        try:
            rest, port = host_port(rest.rstrip("/"))
        except ValueError:
            return False
    if scheme.lower() not in ("", address.scheme) or port not in (None, address.port):
        return False
    if ip is None:
        return _is_below(address.host.removesuffix("."), rest.removesuffix("."))
    return address_in(rest) == ip or ("*" in rest and fnmatchcase(str(ip), rest))


def _is_in_range(ip: IPv4Address | IPv6Address, entry: str) -> bool:
    try:
        return ip in ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return False


def _is_below(host: str, domain: str) -> bool:
    """Whether `host` is `domain`, or ends with it."""
    domain = domain.removeprefix("*").removeprefix(".").lower()
    if not domain.isascii():
        domain = _ascii_name(domain)
    if "*" in domain:
        return fnmatchcase(host, domain)
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _ascii_name(name: str) -> str:
    try:
        return address_of(f"http://{name}").host
    except InvalidRequestError:
        return name


def proxy_address(url: str) -> Address:
    """Return the address of the proxy at `url`.

    Raises:
        LLMRouterError: it does not speak HTTP.
    """
    try:
        return address_of(url)
    except InvalidRequestError as error:
        raise bad_proxy(error) from error


def check_proxy(url: str, schemes: Iterable[str]) -> None:
    """Check that the proxy at `url` can be used.

    Args:
        url: From `proxy_for`.
        schemes: The proxy protocols that the transport supports, besides http and https.

    Raises:
        LLMRouterError: it cannot be used.
    """
    scheme = url.partition("://")[0].lower()
    if not scheme.startswith("socks"):
        proxy_address(url)
        return
    if scheme not in schemes:
        remedy = "set transport: httpx, and install httpx[socks]"
    elif find_spec("socksio") is None:
        remedy = "install httpx[socks]"
    else:
        return
    raise ProviderError(f"the environment names a SOCKS proxy: {remedy}", final=True, sent=False)


def bad_proxy(error: Exception | None = None) -> LLMRouterError:
    """Return the error for an unusable proxy. It omits the address, which may hold a password."""
    failure = ProviderError("the proxy in the environment is not a URL of a known kind", final=True, sent=False)
    failure.__cause__ = error
    return failure


def shown_proxy(url: str) -> str:
    """Return the scheme, host and port of a proxy's `url`, without a password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].split('/')[0]}"
