"""Resolves a host, and connects to the first of its addresses that answers.

An address may swallow everything sent to it; usually it is a dead IPv6 route in front of a live IPv4 one. So the next
address is tried after a quarter of a second, or as soon as the previous one has failed, and the first connection wins
(RFC 8305, "Happy Eyeballs"). All attempts share one deadline.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - else the first look-up loads it, on the event loop
import errno
import os
import select
import socket
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, TypeAlias

from lee_llm_router._util.shortage import lacking
from lee_llm_router.providers.http.transport.connection import (
    WAITING,
    Connection,
    IOSteps,
    ResolveHost,
    WaitUntilWritable,
)

AddressInfo: TypeAlias = tuple[int, int, int, str, Any]
"""As `socket.getaddrinfo` returns it."""

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried in parallel (RFC 8305, 5)."""


def connect(connection: Connection, host: str, port: int) -> IOSteps[socket.socket]:
    """Resolve `host` and connect to the first of its addresses that answers.

    Raises:
        LLMTimeoutError: the time is up.
        ProviderError: the name cannot be resolved, or no address answers.
    """
    connection.phase = f"looking up {host}"
    try:
        addresses = _numeric_addresses(host, port) or (yield ResolveHost(host, port))
    except (OSError, UnicodeError) as error:
        raise connection.broken_error(f"cannot look up {host}", error) from error
    connection.phase = f"connecting to {host}:{port}"
    race = _Race(addresses)
    sock = yield from race.run()
    if sock is None:
        raise connection.connect_error(host, port, race.failure, race.lacking) from race.failure
    connection.sock = sock
    connection.phase = WAITING
    return sock


def _numeric_addresses(host: str, port: int) -> list[AddressInfo]:
    """Return the address if `host` is numeric, else nothing. Queries no name server, so it needs no thread."""
    try:
        return [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)]
    except socket.gaierror:
        return []


def _interleaved(addresses: Sequence[AddressInfo]) -> list[AddressInfo]:
    """Return `addresses` with alternating families, starting with the first one's (RFC 8305, 4)."""
    families: dict[int, deque[AddressInfo]] = {}
    for address in addresses:
        families.setdefault(address[0], deque()).append(address)
    ordered = []
    while families:
        for family in [*families]:
            ordered.append(families[family].popleft())
            if not families[family]:
                del families[family]
    return ordered


class _Race:
    """Connections to several addresses, started one after the other. The first to succeed wins; the others are closed.

    Args:
        addresses: Where to connect; tried with alternating families.
    """

    def __init__(self, addresses: Sequence[AddressInfo]) -> None:
        self._left = deque(_interleaved(addresses))
        self._pending: list[socket.socket] = []
        self.failure: OSError | None = None
        """The latest failure."""
        self.lacking: str | None = None
        """The resource that this machine has run out of, if that is why an address could not be tried."""

    def run(self) -> IOSteps[socket.socket | None]:
        """Return the connected, non-blocking socket; None if every address has failed."""
        next_at = 0.0
        try:
            while self._left or self._pending:
                now = monotonic()
                if self._left and (not self._pending or now >= next_at):
                    self._begin(self._left.popleft())
                    next_at = now + ATTEMPT_DELAY
                    continue
                yield WaitUntilWritable(tuple(self._pending), next_at - now if self._left else None)
                failures = len(self._pending)
                for sock in _writable(self._pending):
                    self._pending.remove(sock)
                    if self._is_connected(sock):
                        return sock
                if len(self._pending) < failures:
                    next_at = 0.0  # try the next address at once after a failure
            return None
        finally:
            for sock in self._pending:
                sock.close()

    def _begin(self, info: AddressInfo) -> None:
        family, kind, protocol, _, address = info
        sock: socket.socket | None = None
        try:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            with suppress(BlockingIOError, InterruptedError):
                sock.connect(address)
        except OSError as error:
            if sock is not None:
                sock.close()
            self._note(error, family)
        else:
            self._pending.append(sock)

    def _is_connected(self, sock: socket.socket) -> bool:
        """Whether `sock`, now writable, is connected. If not, close it and note why."""
        try:
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            self._note(error, sock.family)
            sock.close()
            return False
        return True

    def _note(self, error: OSError, family: int) -> None:
        self.failure = error
        self.lacking = lacking(error)
        if error.errno == errno.EADDRNOTAVAIL and family == socket.AF_INET:
            self.lacking = "local ports"  # with IPv6 it means that this machine has no IPv6 network


def _writable(sockets: Iterable[socket.socket]) -> list[socket.socket]:
    """Return the `sockets` that are connected or have failed."""
    poll = select.poll()
    by_number = {sock.fileno(): sock for sock in sockets}
    for number in by_number:
        poll.register(number, select.POLLOUT)
    return [by_number[number] for number, _ in poll.poll(0)]
