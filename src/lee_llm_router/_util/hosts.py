"""Parses the host and port of a URL, strictly, and tells which hosts are this machine."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from lee_llm_router._util.late_pattern import late_pattern

_AUTHORITY = late_pattern(
    r"(?:(?P<user>.*)@)?"
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._~-]+)?)\]|(?P<name>[^\[\]:@/?#\\%<>^`{|}\"\s]+))"
    r"(?::(?P<port>[0-9]{0,5}))?"
)
"""RFC 3986, 3.2, as far as HTTP uses it. Nothing may come between a bracket and the port."""
_MAX_PORT = 65535
_NAMES = frozenset({"localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"})
"""Names of the loopback interface: reserved by RFC 6761, and in the usual /etc/hosts."""


class HostPort(NamedTuple):
    """The host and port of a URL."""

    host: str
    """In lower case, without brackets."""
    port: int | None
    """None if the URL has none."""


def host_port(authority: str) -> HostPort:
    """Return the host and port in the authority of a URL (`urlsplit(url).netloc`).

    Raises:
        ValueError: it is malformed, or such a port cannot be connected to.
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise ValueError("not a host, perhaps with a port")
    if match["ipv6"]:
        IPv6Address(match["ipv6"])
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port <= _MAX_PORT:
        raise ValueError("there is no such port")
    return HostPort((match["ipv6"] or match["name"]).lower(), port)


def host_of(url: str) -> str:
    """Return the host of `url`; empty if it has none."""
    try:
        return host_port(urlsplit(url).netloc).host
    except ValueError:
        return ""


def site_of(host: str) -> str:
    """Return what a host shares with others of the same owner: the last two labels of its name, or a whole address.

    Does not recognize public suffixes of two labels (``co.uk``), under which anybody may have a name.
    """
    host = host.rstrip(".")
    return host if address_in(host) is not None else ".".join(host.split(".")[-2:])


def address_in(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that `host` means, in any spelling the system accepts; None if it is a name.

    ``127.1``, ``0x7f000001`` and ``::ffff:127.0.0.1`` are all 127.0.0.1.
    """
    host = host.partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        if not host[:1].isdigit() or not host.isascii():
            return None
        try:
            return IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_this_machine(host: str) -> bool:
    """Whether `host` is this machine, in any spelling: a loopback address or name, or the machine's own name.

    Queries no name server.
    """
    host = host.lower().removesuffix(".")
    if host in _NAMES or host.endswith(".localhost"):
        return True
    address = address_in(host)
    if address is not None:
        return address.is_loopback or address.is_unspecified
    own = socket.gethostname().lower().removesuffix(".")
    short = own.partition(".")[0]
    return bool(short) and host in {own, short, f"{short}.local"}
