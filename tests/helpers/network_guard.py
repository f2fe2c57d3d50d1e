"""Turns away every connection that would leave this machine, and says so."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any


def is_local(host: object) -> bool:
    """Whether `host` is this machine: a loopback address, its name, or the wildcard of a listener."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(name)).is_loopback
    except ValueError:
        return False


def guarded(real: Callable[..., Any], host_of: Callable[..., object], report: Callable[[str], None]) -> Any:
    """`real`, refusing hosts that are not local; `report` is told of each."""

    def call(*args: Any, **kwargs: Any) -> Any:
        host = host_of(*args)
        if not is_local(host):
            report(f"{real.__name__} {host!r}")
            raise ConnectionRefusedError(f"no network in this test: {host!r}")
        return real(*args, **kwargs)

    return call


def _peer(_socket: socket.socket, address: Any, *_: Any) -> object:
    return address[0] if isinstance(address, tuple) else None  # a Unix socket has a path


def guards(report: Callable[[str], None]) -> list[tuple[Any, str, Any]]:
    """What to put in place of what: (owner, name, guarded function)."""
    return [
        (socket.socket, "connect", guarded(socket.socket.connect, _peer, report)),
        (socket.socket, "connect_ex", guarded(socket.socket.connect_ex, _peer, report)),
        (socket, "getaddrinfo", guarded(socket.getaddrinfo, lambda host, *_: host, report)),
    ]
