"""What each kind of input is tried on."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import socket
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fuzzing.harness import Subject, Try
from fuzzing.inputs import (
    ANSWER,
    KEY,
    KEY_NAME,
    Call,
    Reply,
    WireForm,
    calls,
    configurations,
    dumps,
    trace_files,
)
from fuzzing.wire_forms import WIRE_FORMS
from lee_llm_router import LeeLLMRouter, LLMRouterError, LocalFileTraceStore, load_config
from lee_llm_router.cli.trace.screen import drawn
from lee_llm_router.cli.trace.table import render_calls
from lee_llm_router.doctor import diagnose
from lee_llm_router.telemetry.calls import calls_from

TIMEOUT = 1.0
"""Seconds one attempt at the server may take; no input should need them."""


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    os.environ[KEY_NAME] = KEY
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        yield Path(name)
        os.chdir("/")


@contextlib.contextmanager
def _loading() -> Iterator[Try]:
    """Load a configuration, show it, check it, and build a router of it."""
    with _folder() as folder:
        path = folder / "lee-llm-router.yaml"

        def load(item: bytes | dict[str, Any]) -> Iterable[str]:
            source: Path | dict[str, Any] = path
            if isinstance(item, bytes):
                path.write_bytes(item)
            else:
                source = item
            config = load_config(source)
            yield repr(config)
            yield config.model_dump_json()
            with LeeLLMRouter(config, trace_store=False) as router:
                yield repr(router)
                for role in config.roles:
                    yield repr(router.resolve(role))
            for result in diagnose(config):
                yield f"{result.id} {result.subject} {result.message}"

        yield load


class _Server:
    """Sends one reply to each connection, and hangs up."""

    def __init__(self) -> None:
        self.pieces: tuple[bytes, ...] = ()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    _receive(connection)
                    for piece in self.pieces:
                        connection.sendall(piece)
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(0.2)
                    while connection.recv(65536):
                        pass


def _receive(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
    left = length - len(rest)
    while left > 0:
        left -= len(connection.recv(65536))


def _http_config(url: str, folder: Path, dialect: str = "http") -> dict[str, Any]:
    shared = {"type": dialect, "base_url": url, "api_key_env": KEY_NAME, "max_response_bytes": 4_000_000}
    role = {"model": "m", "timeout": TIMEOUT, "retry": {"attempts": 1, "patience": 0}}
    return {
        "llm": {
            "default_role": "httpx",
            "providers": {name: {**shared, "transport": name} for name in ("httpx", "httptools")},
            "roles": {name: {**role, "provider": name} for name in ("httpx", "httptools")},
            "trace": {"dir": str(folder / "traces")},
        }
    }


class _Traces:
    """Reads what was written since the last look."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "traces"
        self._read: dict[Path, int] = {}

    def new(self) -> Iterator[str]:
        for path in self._folder.glob("*.jsonl"):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                yield file.read().decode("utf-8", "replace")
                self._read[path] = file.tell()


def _asking(dialect: str, *, stream: bool) -> contextlib.AbstractContextManager[Try]:
    """Ask a server that sends odd replies; outputs are the traces, and on a failure all that the error says."""

    @contextlib.contextmanager
    def opened() -> Iterator[Try]:
        with _folder() as folder:
            server = _Server()
            with LeeLLMRouter(_http_config(server.url, folder, dialect)) as router:
                traces = _Traces(folder)

                def ask(item: Reply) -> Iterable[str]:
                    server.pieces = item.pieces
                    router.reset_health()
                    try:
                        if item.is_async:
                            asyncio.run(_ask_async(router, item.transport, stream))
                        elif stream:
                            with router.stream(item.transport, "hi") as chunks:
                                for _ in chunks:
                                    pass
                        else:
                            router.complete(item.transport, "hi")
                    except LLMRouterError:
                        yield from traces.new()
                        raise
                    yield from traces.new()

                yield ask
            server.listener.close()

    return opened()


async def _ask_async(router: LeeLLMRouter, role: str, stream: bool) -> None:
    if not stream:
        await router.complete_async(role, "hi")
        return
    async with router.stream_async(role, "hi") as chunks:
        async for _ in chunks:
            pass


@contextlib.contextmanager
def _calling() -> Iterator[Try]:
    """Call with odd arguments, over a server that answers everything and over the mock."""
    with _folder() as folder:
        server = _Server()
        body = dumps(ANSWER).encode()
        lines = [
            "HTTP/1.1 200 OK",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        server.pieces = ("\r\n".join([*lines, "", ""]).encode() + body,)
        config = _http_config(server.url, folder)
        config["llm"]["providers"]["off"] = {"type": "mock", "echo": True}
        config["llm"]["roles"]["r"] = {"provider": "off", "retry": {"attempts": 1, "patience": 0}}
        config["llm"]["roles"]["web"] = config["llm"]["roles"]["httpx"]
        with LeeLLMRouter(config) as router:
            traces = _Traces(folder)

            def call(item: Call) -> Iterable[str]:
                router.reset_health()
                try:
                    router.complete(item.role, item.messages, **item.options)
                except TypeError as error:
                    if "keyword" not in str(error):  # Python's own words for a name that is no text
                        raise
                except LLMRouterError:
                    yield from traces.new()
                    raise
                yield from traces.new()

            yield call
        server.listener.close()


@contextlib.contextmanager
def _reading() -> Iterator[Try]:
    """Read a trace file as `trace` does."""
    with _folder() as folder:
        path = folder / "20261126.jsonl"

        def read(item: bytes) -> Iterable[str]:
            path.write_bytes(item)
            store = LocalFileTraceStore(trace_dir=str(folder))
            records = store.last(20)
            found = calls_from(records)
            drawn(lambda console: render_calls(found, console, plain=False, attempts=True), 80)
            for record in records:
                record.to_json()
            with contextlib.redirect_stdout(io.StringIO()):
                store.close()
            return ()

        yield read


def _of_dialect(dialect: str, form: WireForm) -> dict[str, Subject]:
    name = "" if dialect == "http" else f"{dialect} "
    return {
        f"{name}bodies": Subject(form.bodies(), lambda: _asking(dialect, stream=False)),
        f"{name}streams": Subject(form.streams(), lambda: _asking(dialect, stream=True)),
    }


SUBJECTS: Mapping[str, Subject] = {
    "configurations": Subject(configurations(), _loading),
    **{name: subject for dialect in WIRE_FORMS.items() for name, subject in _of_dialect(*dialect).items()},
    "arguments": Subject(calls(), _calling),
    "trace files": Subject(trace_files(), _reading),
}
