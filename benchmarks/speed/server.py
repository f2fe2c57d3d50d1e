"""A loopback server that gives every request the same answer, as quickly as asyncio can.

``python -m speed.server PIECES`` prints its port and serves until standard input ends.
"""

from __future__ import annotations

import asyncio
import sys

from speed.limits import allow_many_files
from speed.wire import answer, streamed_answer

ANSWER = answer()
BACKLOG = 4096


class Connection(asyncio.Protocol):
    """One client: keeps what has come until a request is whole, then answers it."""

    def __init__(self, streamed: bytes) -> None:
        self._streamed = streamed
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
            whole = end + 4 + int(length.split(b"\r\n", 1)[0] or 0)
            if len(pending) < whole:
                break
            body, pending = pending[end + 4 : whole], pending[whole:]
            is_stream = b'"stream":true' in body or b'"stream": true' in body
            self._transport.write(self._streamed if is_stream else ANSWER)
        self._pending = pending


async def serve(pieces: int) -> None:
    """Serve on a free port, which is printed, until standard input ends."""
    loop = asyncio.get_running_loop()
    streamed = streamed_answer(pieces)
    server = await loop.create_server(lambda: Connection(streamed), "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    allow_many_files()
    asyncio.run(serve(int(sys.argv[1])))
