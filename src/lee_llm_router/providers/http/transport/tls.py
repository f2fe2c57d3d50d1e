"""TLS over memory buffers: it needs no socket, so it also runs inside another TLS connection."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from lee_llm_router.providers.http.transport.connection import FLUSH_SIZE, READ_SIZE, IOSteps

T = TypeVar("T")


class TLSLayer:
    """One TLS connection. The steps of its methods send and receive encrypted bytes.

    Args:
        context: Determines which authorities are trusted.
        hostname: The name that the certificate must have.
    """

    __slots__ = ("_incoming", "_outgoing", "object")

    def __init__(self, context: ssl.SSLContext, hostname: str | None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)

    @property
    def has_unread_data(self) -> bool:
        """Whether received data has not been read yet."""
        return bool(self._incoming.pending or self.object.pending())

    def handshake(self) -> IOSteps[None]:
        """Agree on keys and verify the peer's certificate."""
        return self._run(self.object.do_handshake)

    def read(self, size: int) -> IOSteps[bytes]:
        """Return up to `size` decrypted bytes; empty at the end."""
        try:
            return (yield from self._run(self.object.read, size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # As without TLS, its length and its JSON decide whether the response is complete.
            return b""

    def write(self, data: bytes) -> IOSteps[None]:
        """Encrypt and send `data`."""
        view = memoryview(data)
        while view:
            view = view[(yield from self._run(self.object.write, view[:FLUSH_SIZE])) :]

    def _run(self, function: Callable[..., T], *args: Any) -> IOSteps[T]:
        """Call `function` until it has received enough, and send what it has put into the buffer."""
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

    def _send(self) -> IOSteps[None]:
        outgoing = self._outgoing.read()
        if outgoing:
            yield outgoing
