"""Places where faults happen: what the rows of `test_faults.py` are made of, and a clock that does not wait."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from helpers.fake_codex import FakeCodex
from helpers.servers import Conversation, Received, Script, Server, completion, http, make_certificate
from helpers.stream_servers import EVENTS
from lee_llm_router._util.clock import SystemClock

LIMIT = 10_000
"""Bytes that are taken where the answer is too long."""
BODY = json.dumps(completion()).encode()


class SkippingClock(SystemClock):
    """The machine's clock, but for waits: they are noted and skipped."""

    __slots__ = ("ahead", "waits")

    def __init__(self) -> None:
        self.ahead = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.ahead += seconds

    async def sleep_async(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.sleep(seconds)

    def wait(self, woken: Future[None], seconds: float) -> None:
        if not woken.done():
            self.sleep(seconds)

    async def wait_async(self, woken: Future[None], seconds: float) -> None:
        await asyncio.sleep(0)
        self.wait(woken, seconds)


# The places where faults happen


@dataclass
class Place:
    """A target that is ready to fail."""

    settings: Mapping[str, Any]
    seen: Callable[[], int] = lambda: 0
    """Requests that have reached it."""


@dataclass
class Machine:
    """What a place may use, for the time of one test."""

    folder: Path
    stack: ExitStack
    patch: pytest.MonkeyPatch


Fault = Callable[[Machine], Place]


def _http_target(server: Server, url: str | None = None) -> Place:
    return Place({"type": "http", "base_url": url or server.url}, lambda: len(server.requests))


def serving(script: Script) -> Fault:
    return lambda machine: _http_target(machine.stack.enter_context(Server(script)))


def refused(machine: Machine) -> Place:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return Place({"type": "http", "base_url": f"http://127.0.0.1:{port}"})


def unknown_host(machine: Machine) -> Place:
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "nowhere.test":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *args, **kwargs)

    machine.patch.setattr(socket, "getaddrinfo", look_up)
    return Place({"type": "http", "base_url": "http://nowhere.test/v1"})


def plain_behind_https(machine: Machine) -> Place:
    server = machine.stack.enter_context(Server(lambda c: c.send(http(400, b"this is plain HTTP"))))
    return _http_target(server, f"https://{server.address}/v1")


def untrusted_certificate(machine: Machine) -> Place:
    _, context = make_certificate(machine.folder)
    return _http_target(machine.stack.enter_context(Server(lambda c: c.send(whole(c)), tls=context)))


def codex(lines: Sequence[Any] = (), **how: Any) -> Fault:
    def place(machine: Machine) -> Place:
        folder = machine.folder / "codex"
        folder.mkdir()
        fake = FakeCodex(folder)
        fake.script(list(lines), **how)
        settings = {"type": "codex_cli", "command": str(fake.path), "base_url": "http://127.0.0.1:1/v1"}
        return Place(settings, lambda: len(fake.runs))

    return place


def full_disk(machine: Machine) -> Place:
    """Writes to sockets and pipes go on, those to files do not."""
    real = os.write

    def write(fd: int, data: bytes) -> int:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data)

    machine.patch.setattr(os, "write", write)
    return serving(each(whole))(machine)


def read_only(machine: Machine) -> Place:
    real = os.open

    def open_(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_CREAT and str(path).startswith(str(machine.folder)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return real(path, flags, *args, **kwargs)

    machine.patch.setattr(os, "open", open_)
    return serving(each(whole))(machine)


# What servers do


def _body(request: Received) -> tuple[bytes, str]:
    """A whole answer in the way it was asked for."""
    if request.json.get("stream"):
        return b"".join(EVENTS), "text/event-stream"
    return BODY, "application/json"


def _answer(request: Received, encode: Callable[[bytes], bytes], headers: Mapping[str, str]) -> bytes:
    body, kind = _body(request)
    return http(200, encode(body), {"Content-Type": kind, **headers})


def each(make: Callable[[Received], bytes]) -> Script:
    """Answers each request with what `make` makes of it."""

    def script(conversation: Conversation) -> None:
        while (request := conversation.receive()) is not None:
            conversation.send(make(request))

    return script


def whole(request: Any, **headers: str) -> bytes:
    return _answer(request, bytes, headers)


def encoded(coding: str, encode: Callable[[bytes], bytes]) -> Fault:
    return serving(each(lambda request: _answer(request, encode, {"Content-Encoding": coding})))


def breaking(make: Callable[[Received], bytes], then: Callable[[Conversation], None] = lambda _: None) -> Fault:
    """Takes one request, sends what `make` makes of it, does `then`, and hangs up."""

    def script(conversation: Conversation) -> None:
        request = conversation.receive()
        if request is not None:
            conversation.send(make(request))
            then(conversation)

    return serving(script)


def trickled(pause: float) -> Fault:
    def script(conversation: Conversation) -> None:
        while (request := conversation.receive()) is not None:
            conversation.trickle(whole(request), pause)

    return serving(script)


def begun(request: Received) -> bytes:
    """The headers, and of the body so little that no output is in it."""
    answer = whole(request)
    return answer[: answer.index(b"\r\n\r\n") + 40]


def headers_only(request: Received) -> bytes:
    answer = whole(request)
    return answer[: answer.index(b"\r\n\r\n") + 4]


def claiming(length: int) -> Callable[[Received], bytes]:
    return lambda request: whole(request, **{"Content-Length": str(length)})


def status(code: int, body: bytes = b'{"error": {"message": "no"}}', **headers: str) -> Fault:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return serving(each(lambda _: http(code, body, headers)))


def html(_: Received) -> bytes:
    return http(200, b"<html>Please log in</html>", {"Content-Type": "text/html"})


def endless(request: Received) -> bytes:
    """More than is taken, without a length."""
    _, kind = _body(request)
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode() + b":" + b" " * 3 * LIMIT
