"""A loopback chat server in a process of its own, which may enforce a limit as vendors do. Counts what it gets.

``python server.py PER_MINUTE`` prints its port, serves until standard input ends, then prints its counts as JSON. The
beginning of the path says how it answers: ``/free`` at once, ``/strict`` at most PER_MINUTE in any 60 seconds,
``/slow/SECONDS`` after about so long, ``/broken`` never well.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import uniform
from time import time

sys.path.insert(0, str(Path(__file__).parents[1]))

from _server import WHOLE, Running, http

MINUTE = 60.0


class Server:
    """Answers by path."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self.moments: list[float] = []
        """When requests to ``/free`` and ``/strict`` came, in seconds since 1970."""
        self.counts: Counter[str] = Counter()
        self._recent: deque[float] = deque()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(await self._answer(head.split(b" ", 2)[1].decode().split("/")))
                await writer.drain()
        writer.close()

    async def _answer(self, path: list[str]) -> bytes:
        way = path[1]
        self.counts[way] += 1
        if way == "slow":
            await asyncio.sleep(float(path[2]) * uniform(0.5, 1.5))  # so that calls do not come in waves
        if way == "broken":
            return http(500, b"{}")
        if way in ("free", "strict"):
            self.moments.append(time())
        return self._limited() if way == "strict" else WHOLE

    def _limited(self) -> bytes:
        now = asyncio.get_running_loop().time()
        while self._recent and self._recent[0] <= now - MINUTE:
            self._recent.popleft()
        if len(self._recent) >= self.per_minute:
            self.counts["refused"] += 1
            return http(429, b"{}", f"Retry-After: {self._recent[0] + MINUTE - now:.3f}")
        self._recent.append(now)
        return WHOLE


async def _main(per_minute: int) -> None:
    server = Server(per_minute)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=1024)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps({**server.counts, "moments": server.moments}), flush=True)


@contextmanager
def serving(per_minute: int = 60) -> Iterator[Running]:
    """A server in a process of its own."""
    command = [sys.executable, __file__, str(per_minute)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        server = Running(child)
        try:
            yield server
        finally:
            server.counts()
            child.kill()


def most_in_a_minute(moments: list[float]) -> int:
    """The most requests that came in any 60 seconds."""
    ordered, first, most = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while ordered[first] <= moment - MINUTE:
            first += 1
        most = max(most, last - first + 1)
    return most


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
