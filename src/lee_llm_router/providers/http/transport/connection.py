"""One socket under one deadline: waiting, sending and receiving, for threads and for asyncio.

How this works:

A timeout for each read does not bound an attempt: a server that sends a byte now and then never exceeds it. Here each
step (lookup, connect, handshake, write, read) gets only the time left until its `Connection`'s deadline.

The logic is written once, as generators (`IOSteps`) that yield the system calls they want: bytes to send, a number of
bytes to receive, a host to resolve, sockets to wait for. `run` performs them with blocking calls,
`async_connection.run_async` on the running event loop. Both send results and throw errors into the generator.

There are two ways to enforce the deadline:

- In a thread, each system call gets the time left as its timeout, and `LLMTimeoutError` is raised when none is left. To
  abandon an attempt sooner, another thread calls `expire` (`_util/interruption.py`).
- Under asyncio (`async_connection`), the caller waits within `asyncio.timeout` (while connecting) or between
  `begin_waits` and `end_waits` (afterwards), when a timer calls `Connection.expire`. Reads yield to the event loop now
  and then, so that timers run even if a server sends without pause.

Even under asyncio the sockets are plain ones: the loop only reports that one is readable or writable. So any thread can
close a connection at any time, without its event loop.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Generator
from contextlib import suppress
from functools import partial
from math import ceil
from time import monotonic
from typing import Any, TypeAlias, TypeVar

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.interruption import InterruptibleWait, by_thread
from lee_llm_router._util.short_waits import LONGEST
from lee_llm_router._util.shortage import lacking
from lee_llm_router._util.threads import call_in_thread
from lee_llm_router._util.trampoline import run_steps
from lee_llm_router.errors import LLMRouterError, LLMTimeoutError, ProviderError
from lee_llm_router.providers.http.transport.trust import certificate_refused

T = TypeVar("T")

READ_SIZE = 65536
FLUSH_SIZE = 65536
WAITING = "waiting for the answer"
_CONTINUING = "waiting for more of the answer"


@dataclass(frozen=True, slots=True)
class ResolveHost:
    """Step: look up the addresses of a host, in the form of `socket.getaddrinfo`."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class WaitUntilWritable:
    """Step: wait until one of `sockets` is connected or has failed, at most `seconds`; None: no limit."""

    sockets: tuple[socket.socket, ...]
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Pause:
    """Step: let the event loop run other tasks, if there is one, and check the deadline. Used between pieces of long
    work."""


IOStep: TypeAlias = bytes | int | ResolveHost | WaitUntilWritable | Pause
"""Bytes to send, the maximum number of bytes to receive, or one of the steps above."""
IOSteps: TypeAlias = Generator[IOStep, Any, T]
"""Yields steps to perform; receives their results and errors."""


class Connection:
    """One connection, and the deadline of the attempt that currently uses it."""

    __slots__ = ("cause", "deadline", "expired", "phase", "sent", "sock", "timeout")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.expired = False
        """Whether `expire` was called."""
        self.deadline = 0.0
        self.timeout = 0.0
        self.sent = False
        """Whether the request may have reached the server."""
        self.phase = ""
        """What is in progress, for the message of a timeout."""
        self.cause: BaseException | None = None
        """What broke it last; httpcore strips this from the error that it raises."""

    def start(self, timeout: float) -> None:
        """Begin a new attempt, which may take `timeout` seconds."""
        self.deadline = monotonic() + timeout
        self.timeout = timeout
        self.sent = False
        self.phase = WAITING

    def extend(self, timeout: float) -> None:
        """Give the next part of a response in progress `timeout` seconds from now."""
        self.deadline = monotonic() + timeout
        self.timeout = timeout
        self.phase = _CONTINUING

    def expire(self) -> None:
        """Called when the deadline passes. Shuts the socket down, which wakes the waiting task; that checks `expired`.

        Works from any thread.
        """
        self.expired = True
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def time_left(self) -> float:
        """Seconds until the deadline.

        Raises:
            LLMTimeoutError: it has passed.
        """
        left = self.deadline - monotonic()
        if left <= 0:
            raise self.timeout_error()
        return left

    def timeout_error(self) -> LLMTimeoutError:
        """Return the error for an attempt that has run out of time."""
        if self.phase is _CONTINUING:
            return LLMTimeoutError(f"the answer did not continue within {self.timeout:.4g} s", sent=self.sent)
        return LLMTimeoutError(f"no answer within {self.timeout:g} s ({self.phase})", sent=self.sent)

    def broken_error(self, what: str, error: BaseException | None, short_of: str | None = None) -> ProviderError:
        """Return the error for a broken connection: `what`, and the system's reason if it adds something.

        Args:
            what: What is broken.
            error: The system's reason.
            short_of: The resource that this machine has run out of, if `error` does not name it.
        """
        self.cause = error
        short_of = short_of or lacking(error)
        if short_of is not None:
            message = f"{what}: this machine has run out of {short_of}"
            return ProviderError(message, sent=self.sent, local_shortage=True)
        reason = "" if isinstance(error, ConnectionRefusedError) else _reason(error)
        return ProviderError(f"{what}: {reason}" if reason else what, sent=self.sent)

    def connect_error(self, host: str, port: int, error: OSError | None, short_of: str | None) -> LLMRouterError:
        """Return the error for a failed connection. `short_of` is as for `broken_error`."""
        if isinstance(error, TimeoutError):
            return LLMTimeoutError(f"no connection to {host}:{port}: timed out", sent=False)
        if isinstance(error, ConnectionRefusedError):
            return self.broken_error(f"connection refused by {host}:{port}", error)
        return self.broken_error(f"no connection to {host}:{port}", error, short_of)

    @property
    def is_open(self) -> bool:
        """Whether the socket is open."""
        return self.sock is not None and self.sock.fileno() >= 0

    def close(self) -> None:
        """Close the socket. Works from any thread, and after the event loop has been closed."""
        sock, self.sock = self.sock, None
        if sock is not None:
            sock.close()

    def __del__(self) -> None:
        # A provider dropped without `close`, or a dead event loop, must not cause a warning about an unclosed socket.
        # The garbage collector finalizes older objects first, and a connection is older than its socket.
        self.close()


def _reason(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return certificate_refused(error)
    if isinstance(error, ssl.SSLError):
        return (error.reason or "").replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return "" if error is None else str(error)


# Blocking calls


def run(connection: Connection, sock: socket.socket | None, steps: IOSteps[T]) -> T:
    """Perform `steps` on `sock` in this thread, each within the time left; return the result."""
    if by_thread:  # some thread's work may be interrupted: perhaps this one's
        with InterruptibleWait(connection.expire):
            return run_steps(steps, partial(_perform, connection, sock))
    return run_steps(steps, partial(_perform, connection, sock))


def _perform(connection: Connection, sock: Any, step: IOStep) -> Any:
    while True:  # until the wait ends: each single wait lasts a second at most (see `short_waits`)
        try:
            if isinstance(step, int):
                sock.settimeout(min(connection.time_left(), LONGEST))
                return sock.recv(step)
            if isinstance(step, bytes):
                return _send(connection, sock, step)
            if isinstance(step, Pause):
                return connection.time_left()
            if isinstance(step, WaitUntilWritable):
                return _wait_until_writable(step, connection.time_left())
            return call_in_thread(resolve, step, timeout=connection.time_left())
        except TimeoutError as error:
            connection.time_left()  # raises if our own deadline has passed
            if error.errno is not None:  # the network has given up
                raise


def _send(connection: Connection, sock: socket.socket, data: bytes) -> None:
    view = memoryview(data)
    while view:
        sock.settimeout(min(connection.time_left(), LONGEST))
        try:
            view = view[sock.send(view) :]
        except TimeoutError as error:
            if error.errno is not None:
                raise


def _wait_until_writable(step: WaitUntilWritable, time_left: float) -> None:
    poll = select.poll()
    for sock in step.sockets:
        poll.register(sock, select.POLLOUT)
    seconds = time_left if step.seconds is None else min(step.seconds, time_left)
    poll.poll(ceil(min(max(0.0, seconds), LONGEST) * 1000))


def resolve(step: ResolveHost) -> list[Any]:
    """Resolve a host; this may block for a long time."""
    try:
        return socket.getaddrinfo(step.host, step.port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        # If no file or socket can be opened, the system claims that the name does not exist.
        socket.socket().close()
        raise
