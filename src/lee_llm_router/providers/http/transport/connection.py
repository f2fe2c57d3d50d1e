"""Sockets and TLS under one deadline.

A timeout per read does not bound an attempt: a server that sends a byte now and then is never late. Here every step
(look-up, connect, handshake, each write, each read) gets what is left of one `Line`'s time. In sync code each system
call is clamped to it. Under asyncio whoever waits cancels; here it is only seen to that the event loop gets its turn,
and that one of several addresses does not use up all the time.

What happens is written once, as generators that name each system call they want (`Steps`); two short drivers, `run` and
`run_async`, make the calls. Sockets are plain ones, also under asyncio (`loop.sock_recv` and its siblings), so that a
connection can be closed from anywhere, at any time, without its event loop. TLS runs over memory buffers, so that TLS
inside TLS works too.
"""

from __future__ import annotations

import asyncio
import encodings.idna  # noqa: F401 - else the first look-up loads it, on the event loop
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeAlias, TypeVar

from lee_llm_router._util.threads import call_in_thread, call_in_thread_async
from lee_llm_router.errors import LLMRouterError, LLMTimeoutError, ProviderError

T = TypeVar("T")

READ_SIZE = 65536
FLUSH_SIZE = 65536
_READS_A_TURN = 8
_MAX_WAIT = 1e6
"""Seconds one system call may wait; `socket.settimeout` refuses more than 2**31 milliseconds."""
WAITING = "waiting for the answer"
_CONTINUING = "waiting for more of the answer"
_ADDRESS_WAIT = 10.0
"""Seconds for one address while others are left: a dead IPv6 route must not eat the whole attempt."""


@dataclass(frozen=True, slots=True)
class _LookUp:
    """Wanted: the addresses of a host, as `socket.getaddrinfo` gives them."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class _Dial:
    """Wanted: `sock` connected to `address` within `wait` seconds."""

    sock: socket.socket
    address: Any
    wait: float


Steps: TypeAlias = Generator[bytes | int | _LookUp | _Dial, Any, T]
"""System calls wanted: bytes to send, or how many to receive at most. Results are sent in, errors thrown in."""


class Line:
    """One connection, the attempt that uses it now, and that attempt's deadline."""

    __slots__ = ("asked", "doing", "expired", "reads", "sent", "sock", "timeout", "until")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.expired = False
        self.until = 0.0
        self.timeout = 0.0
        self.sent = False
        self.reads = 0
        self.asked = False
        """Whether nothing was received since something was last sent."""
        self.doing = ""

    def start(self, timeout: float) -> None:
        """A new attempt begins, with `timeout` seconds."""
        self.until = monotonic() + timeout
        self.timeout = timeout
        self.sent = False
        self.doing = WAITING

    def go_on(self, timeout: float) -> None:
        """The attempt's answer has begun; its next piece may take `timeout` seconds."""
        self.until = monotonic() + timeout
        self.timeout = timeout
        self.doing = _CONTINUING

    def expire(self) -> None:
        """Time is up: whoever waits for bytes under asyncio wakes, finds the end of them, and looks at `expired`."""
        self.expired = True
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def left(self) -> float:
        """Seconds left; never less than nothing.

        Raises:
            LLMTimeoutError: none are.
        """
        left = self.until - monotonic()
        if left <= 0:
            raise self.timed_out()
        return min(left, _MAX_WAIT)

    def share(self, addresses: int) -> float:
        """Seconds one address may take while `addresses` are left to try, it included."""
        left = self.left()
        return left if addresses == 1 else min(left / addresses, _ADDRESS_WAIT)

    def timed_out(self) -> LLMTimeoutError:
        """The error for an attempt whose time is up."""
        if self.doing is _CONTINUING:
            return LLMTimeoutError(f"the answer did not go on within {self.timeout:.4g} s", sent=self.sent)
        return LLMTimeoutError(f"no answer within {self.timeout:g} s ({self.doing})", sent=self.sent)

    def failed(self, what: str, error: BaseException | None) -> ProviderError:
        """The error for a broken connection: `what`, and the system's own words where they add something."""
        reason = "" if isinstance(error, ConnectionRefusedError) else _reason(error)
        return ProviderError(f"{what}: {reason}" if reason else what, sent=self.sent)

    def no_route(self, host: str, port: int, error: OSError | None) -> LLMRouterError:
        """The error for a connection that did not come about."""
        if isinstance(error, TimeoutError):
            return LLMTimeoutError(f"no connection to {host}:{port}: timed out", sent=False)
        if isinstance(error, ConnectionRefusedError):
            return self.failed(f"connection refused by {host}:{port}", error)
        return self.failed(f"no connection to {host}:{port}", error)

    @property
    def open(self) -> bool:
        """Whether there is a connection."""
        return self.sock is not None and self.sock.fileno() >= 0

    def close(self) -> None:
        """Give the connection back to the system. Works from any thread, and after the event loop is gone."""
        sock, self.sock = self.sock, None
        if sock is not None:
            sock.close()

    def __del__(self) -> None:
        # A provider that was dropped and not closed, or a dead event loop, must not leave sockets to warn of. Where
        # the garbage collector finds both, the older one is asked first: a line is older than its socket.
        self.close()


def _reason(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "").replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return "" if error is None else str(error)


class Tls:
    """TLS without a socket: each method's steps want what the wire must do for it."""

    __slots__ = ("_incoming", "_outgoing", "object")

    def __init__(self, context: ssl.SSLContext, hostname: str | None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)

    @property
    def pending(self) -> bool:
        """Whether something was received that nobody has read."""
        return bool(self._incoming.pending or self.object.pending())

    def handshake(self) -> Steps[None]:
        """Agree on keys and check the other side's certificate."""
        return self._run(self.object.do_handshake)

    def read(self, size: int) -> Steps[bytes]:
        """Up to `size` decrypted bytes; empty at the end."""
        try:
            return (yield from self._run(self.object.read, size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # Whether the answer is whole is decided by its length and its JSON, as without TLS.
            return b""

    def write(self, data: bytes) -> Steps[None]:
        """Encrypt and send `data`."""
        view = memoryview(data)
        while view:
            view = view[(yield from self._run(self.object.write, view[:FLUSH_SIZE])) :]

    def _run(self, function: Callable[..., T], *args: Any) -> Steps[T]:
        while True:
            try:
                result = function(*args)
            except ssl.SSLWantReadError:
                yield from self._send()
                received = yield READ_SIZE
                if received:
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()
            else:
                yield from self._send()
                return result

    def _send(self) -> Steps[None]:
        outgoing = self._outgoing.read()
        if outgoing:
            yield outgoing


def connecting(line: Line, host: str, port: int) -> Steps[socket.socket]:
    """Look `host` up and connect to the first of its addresses that answers."""
    line.doing = f"looking up {host}"
    try:
        addresses = _numeric(host, port) or (yield _LookUp(host, port))
    except (OSError, UnicodeError) as error:
        raise line.failed(f"cannot look up {host}", error) from error
    line.doing = f"connecting to {host}:{port}"
    failure: OSError | None = None
    for done, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            yield _Dial(sock, address, line.share(len(addresses) - done))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):
                raise
            failure = error
        else:
            line.sock = sock
            line.doing = WAITING
            return sock
    raise line.no_route(host, port, failure) from failure


def _numeric(host: str, port: int) -> list[Any]:
    """The address, if `host` is one already: no name server is asked, so no thread is needed."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return []


def run(line: Line, sock: socket.socket | None, steps: Steps[T]) -> T:
    """Make the system calls that `steps` want on `sock`, each clamped to the line's deadline."""
    try:
        wanted = next(steps)
        while True:
            try:
                result = _call(line, sock, wanted)
            except BaseException as error:  # noqa: BLE001 - the steps decide, and raise what is not theirs
                wanted = steps.throw(error)
            else:
                wanted = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _call(line: Line, sock: Any, wanted: bytes | int | _LookUp | _Dial) -> Any:
    try:
        if isinstance(wanted, int):
            sock.settimeout(line.left())
            return sock.recv(wanted)
        if isinstance(wanted, bytes):
            return _send(line, sock, wanted)
        if isinstance(wanted, _Dial):
            wanted.sock.settimeout(wanted.wait)
            return wanted.sock.connect(wanted.address)
        return call_in_thread(_look_up, wanted, timeout=line.left())
    except TimeoutError:
        line.left()  # raises where it is our own deadline that has passed
        raise


def _send(line: Line, sock: socket.socket, data: bytes) -> None:
    view = memoryview(data)
    while view:
        sock.settimeout(line.left())
        view = view[sock.send(view) :]


async def run_async(line: Line, sock: socket.socket | None, steps: Steps[T]) -> T:
    """Make the system calls that `steps` want on `sock`, on the running event loop."""
    try:
        wanted = next(steps)
        while True:
            try:
                result = await _call_async(line, sock, wanted)
            except BaseException as error:  # noqa: BLE001 - the steps decide, and raise what is not theirs
                wanted = steps.throw(error)
            else:
                wanted = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def _call_async(line: Line, sock: Any, wanted: bytes | int | _LookUp | _Dial) -> Any:
    if isinstance(wanted, int):
        return await _receive(line, sock, wanted)
    loop = asyncio.get_running_loop()
    if isinstance(wanted, bytes):
        line.asked = True
        return await loop.sock_sendall(sock, wanted)
    if isinstance(wanted, _Dial):
        wanted.sock.setblocking(False)
        async with asyncio.timeout(wanted.wait):
            return await loop.sock_connect(wanted.sock, wanted.address)
    # Not `loop.getaddrinfo`: its thread belongs to the loop's executor, which `asyncio.run` waits for at the end.
    return await call_in_thread_async(_look_up, wanted)


async def _receive(line: Line, sock: socket.socket, size: int) -> bytes:
    """What `loop.sock_recv` does, at half its price."""
    line.left()
    if line.asked:
        line.asked = False  # the answer cannot be here yet
    else:
        # While there is something to read this does not suspend: a flood would starve every timer.
        line.reads += 1
        if line.reads % _READS_A_TURN == 0:
            await asyncio.sleep(0)
        with suppress(BlockingIOError, InterruptedError):
            return sock.recv(size)
    loop = asyncio.get_running_loop()
    descriptor = sock.fileno()
    while True:
        readable = loop.create_future()
        loop.add_reader(descriptor, _settle, readable)
        try:
            await readable
        finally:
            loop.remove_reader(descriptor)
        with suppress(BlockingIOError, InterruptedError):
            return sock.recv(size)


def _settle(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)


def _look_up(wanted: _LookUp) -> list[Any]:
    return socket.getaddrinfo(wanted.host, wanted.port, type=socket.SOCK_STREAM)
