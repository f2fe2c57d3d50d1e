"""A loopback chat server in a process of its own, which answers, breaks on purpose, or limits. Counts requests.

``python _server.py healthy|flaky|limited`` prints its port, serves until standard input ends, then prints its counts
as one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

ANSWER = json.dumps(
    {
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()
SHARE_OF_FAILURES = 0.3
PER_MINUTE = 60


def http(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """One HTTP/1.1 answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


WHOLE = http(200, ANSWER)
RESET = b"reset"
"""Stands for a connection that is reset instead of answered."""
FAILURES: tuple[bytes | None, ...] = (
    http(500, b"{}"),
    http(502, b"<html>bad gateway</html>"),
    http(503, b"{}"),
    http(529, b"{}"),
    http(408, b"{}"),
    http(200, b"not json"),
    http(200, b"<html>hello</html>"),
    RESET,
    http(200, ANSWER[:50], length=len(ANSWER)),  # cut in the middle, then closed
    None,  # closed without a word
)


class Server:
    """Counts and answers in one of the three ways."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.requests = 0
        self.refused = 0
        self.too_early = 0
        self._random = random.Random(1)
        self._window_ends = 0.0
        self._in_window = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                self.requests += 1
                answer = self._answer()
                if answer is RESET:
                    # Closed with nothing lingering, a socket says goodbye with a reset.
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if answer is None or answer is RESET:
                    break
                writer.write(answer)
                await writer.drain()
                if answer is FAILURES[-2]:
                    break
        writer.close()

    def _answer(self) -> bytes | None:
        if self.mode == "limited":
            return self._limited()
        if self.mode == "flaky" and self._random.random() < SHARE_OF_FAILURES:
            return self._random.choice(FAILURES)
        return WHOLE

    def _limited(self) -> bytes:
        now = asyncio.get_running_loop().time()
        if now >= self._window_ends:
            self._window_ends, self._in_window = now + 60, 0
        self._in_window += 1
        if self._in_window <= PER_MINUTE:
            return WHOLE
        self.refused += 1
        return http(429, b"{}", f"Retry-After: {self._window_ends - now:.3f}")


async def _main(mode: str) -> None:
    server = Server(mode)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=1024)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps({"requests": server.requests, "refused": server.refused}), flush=True)


class Running:
    """A server process: its address, and its counts once it has been stopped."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        self._child = child
        self.url = f"http://127.0.0.1:{int(child.stdout.readline())}"
        self._counts: dict[str, Any] | None = None

    def counts(self) -> dict[str, Any]:
        """Stop the server; what it has counted."""
        if self._counts is None:
            assert self._child.stdin is not None and self._child.stdout is not None
            self._child.stdin.close()
            self._counts = json.loads(self._child.stdout.readline())
        return self._counts


@contextmanager
def running(mode: str) -> Iterator[Running]:
    """A server in a process of its own."""
    command = [sys.executable, __file__, mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        server = Running(child)
        try:
            yield server
        finally:
            server.counts()
            child.kill()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
