"""A loopback chat server in a process of its own that has outages, and remembers when each request arrived.

``python -m outages.server BEHAVIOUR`` (JSON) prints its port, serves until standard input ends, then prints its log as
one line of JSON. In an outage it either answers with an error status, or it is gone: its listener is closed, and every
open connection is reset. Its port stays bound meanwhile, so that nothing else can take it and connections are refused.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from _server import WHOLE, http

LATENCY = 0.05
"""Seconds that the server works on each request."""


@dataclass(frozen=True)
class Behaviour:
    """What a server does. Times count from its first request."""

    status: int = 200
    """The status of its answers when it is up."""
    share_of_503: float = 0.0
    """The share of its answers that are 503s, drawn with a fixed seed."""
    up_for: float | None = None
    """Seconds until the outage; None if there is none, 0 if the first request finds it down already."""
    down_for: float = 0.0
    repeated: bool = False
    """Whether it goes on being up and down by turns."""
    status_down: int | None = None
    """The status of its answers in an outage; None if it is gone."""


@dataclass
class Log:
    """What a server has seen. Times are those of the monotonic clock, which all processes of a machine share."""

    requests: int = 0
    arrived_down: list[float] = field(default_factory=list)
    """When each request arrived that came in an outage."""
    outages: list[tuple[float, float | None]] = field(default_factory=list)
    """Beginning and end of each; no end if it was down when it was stopped."""


class Server:
    """Serves on a free port of the loopback interface."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.log = Log()
        self._behaviour = behaviour
        self._random = random.Random(1)
        self._down = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._first_request = asyncio.Event()
        self._socket = _bound(0)
        self.port: int = self._socket.getsockname()[1]
        self._listener: asyncio.Server | None = None

    async def start(self) -> None:
        """Accept connections."""
        self._listener = await asyncio.start_server(self._serve, sock=self._socket, backlog=1024)

    async def have_outages(self) -> None:
        """Go down and come back as the behaviour says."""
        behaviour = self._behaviour
        if behaviour.up_for is None:
            return
        if behaviour.up_for == 0:
            self._go_down()
        await self._first_request.wait()
        while True:
            if not self._down:
                await asyncio.sleep(behaviour.up_for)
                self._go_down()
            await asyncio.sleep(behaviour.down_for)
            await self._come_back()
            if not behaviour.repeated:
                return

    def _go_down(self) -> None:
        self._down = True
        self.log.outages.append((time.monotonic(), None))
        if self._behaviour.status_down is not None:
            return
        assert self._listener is not None
        self._socket = _bound(self.port)
        self._listener.close()
        for writer in list(self._writers):
            # A socket that must not linger says goodbye with a reset.
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async def _come_back(self) -> None:
        if self._behaviour.status_down is None:
            await self.start()
        self._down = False
        self.log.outages[-1] = (self.log.outages[-1][0], time.monotonic())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                answer = self._answer()
                await asyncio.sleep(LATENCY)
                writer.write(answer)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()

    def _answer(self) -> bytes:
        """Note a request, and return the answer to it."""
        behaviour = self._behaviour
        self._first_request.set()
        self.log.requests += 1
        status = behaviour.status
        if self._down:
            self.log.arrived_down.append(time.monotonic())
            status = behaviour.status_down or 503
        elif self._random.random() < behaviour.share_of_503:
            status = 503
        return WHOLE if status == 200 else http(status, b"{}")


def _bound(port: int) -> socket.socket:
    """Return a socket that holds the port; another one may hold it too."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    bound.setblocking(False)
    return bound


async def _main(behaviour: Behaviour) -> None:
    server = Server(behaviour)
    await server.start()
    outages = asyncio.create_task(server.have_outages())
    print(server.port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    outages.cancel()
    print(json.dumps(asdict(server.log)), flush=True)


class Running:
    """A server process: its address, and its log once it has been stopped."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        self._child = child
        self.url = f"http://127.0.0.1:{int(child.stdout.readline())}"
        self._log: Log | None = None

    def log(self) -> Log:
        """Stop the server, and return its log."""
        if self._log is None:
            assert self._child.stdin is not None and self._child.stdout is not None
            self._child.stdin.close()
            told = json.loads(self._child.stdout.readline())
            outages = [(begin, end) for begin, end in told["outages"]]
            self._log = Log(told["requests"], told["arrived_down"], outages)
        return self._log


@contextmanager
def running(behaviour: Behaviour) -> Iterator[Running]:
    """Run a server in a process of its own."""
    command = [sys.executable, "-m", "outages.server", json.dumps(asdict(behaviour))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent
    ) as child:
        try:
            server = Running(child)
            yield server
            server.log()
        finally:
            child.kill()


if __name__ == "__main__":
    asyncio.run(_main(Behaviour(**json.loads(sys.argv[1]))))
