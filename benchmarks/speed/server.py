"""A loopback server that gives every request the same answer, as quickly as asyncio can.

``python -m speed.server PIECES`` prints its port and serves until standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from speed.dialects import FORMATS
from speed.limits import allow_many_files
from speed.wire import answer, streamed_answer

ANSWER = answer()
BACKLOG = 4096


class Connection(asyncio.Protocol):
    """One client: keeps what has come until a request is whole, then answers it."""

    def __init__(self, streamed: bytes, others: Sequence[tuple[bytes, bytes, bytes]]) -> None:
        self._streamed = streamed
        self._others = others
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        pending = self._pending + data
        while True:
            end = pending.find(b"\r\n\r\n")
            if end < 0:
                break
            head = pending[:end].lower()
            _, _, length = head.partition(b"content-length:")
            size = end + 4 + int(length.split(b"\r\n", 1)[0] or 0)
            if len(pending) < size:
                break
            body, pending = pending[end + 4 : size], pending[size:]
            is_stream = b'"stream":true' in body or b'"stream": true' in body or b":stream" in head
            whole, streamed = ANSWER, self._streamed
            path = head.partition(b"\r\n")[0]
            for sign, *answers in self._others:
                if sign in path:
                    whole, streamed = answers
            self._transport.write(streamed if is_stream else whole)
        self._pending = pending


async def serve(pieces: int) -> None:
    """Serve on a free port, which is printed, until standard input ends."""
    loop = asyncio.get_running_loop()
    streamed = streamed_answer(pieces)
    others = [(form.sign.lower(), form.answer(), form.streamed(pieces)) for form in FORMATS.values()]
    server = await loop.create_server(lambda: Connection(streamed, others), "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    allow_many_files()
    asyncio.run(serve(int(sys.argv[1])))
