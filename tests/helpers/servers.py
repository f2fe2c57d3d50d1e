"""Servers on loopback that do what they are told, byte for byte, and break on purpose.

A `Server` runs a script, a function of one `Conversation`, for every connection, each in its own thread::

    with Server(answering(json_answer({"ok": True}))) as server:
        httpx.post(server.url)
    assert server.connections == 1

Scripts that hang use `Conversation.stall`, which ends when the client hangs up or the server is closed.
"""

from __future__ import annotations

import gzip
import json
import os
import select
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Conversation:
    """The server's end of one connection."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self._buffer = b""

    def receive(self) -> Received | None:
        """The next request, or None when the client has hung up."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        self._buffer = rest
        length = int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            if not self._more():
                return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        received = Received(line, headers, body)
        self.server.requests.append(received)
        return received

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self._buffer += data
        return bool(data)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def trickle(self, data: bytes, pause: float) -> None:
        """Send one byte at a time, `pause` seconds apart, for as long as anyone listens."""
        for byte in data:
            self.send(bytes([byte]))
            if self.server.closing.wait(pause):
                return

    def stall(self) -> None:
        """Do nothing until the client hangs up or the server is closed."""
        poll = select.poll()
        poll.register(self.sock, getattr(select, "POLLRDHUP", select.POLLHUP))
        poll.register(self.server.end, select.POLLIN)
        poll.poll()

    def reset(self) -> None:
        """Hang up without a goodbye: the client sees a connection reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def tunnel(self, port: int) -> None:
        """Carry bytes to and from `port` on this machine, as a proxy does after CONNECT."""
        with socket.create_connection(("127.0.0.1", port)) as other:
            ends = {self.sock: other, other: self.sock}
            while not self.server.closing.is_set():
                # What TLS has decrypted already, no select tells of.
                waiting = [sock for sock in ends if isinstance(sock, ssl.SSLSocket) and sock.pending()]
                for sock in waiting or select.select([*ends, self.server.end], [], [])[0]:
                    data = b"" if sock is self.server.end else sock.recv(65536)
                    if not data:
                        return
                    ends[sock].sendall(data)


Script = Callable[[Conversation], None]


class Server:
    """Listens on a free port of 127.0.0.1 and plays `script` to every connection.

    `connections` counts those accepted, `open` those not yet ended, and `requests` holds what was asked.
    """

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._threads: list[threading.Thread] = []
        self._live: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.requests: list[Received] = []
        self.connections = 0
        self.open = 0
        self.closing = threading.Event()
        self.end, self._ender = socket.socketpair()
        """`end` becomes readable when the server is closed: for those who wait in a select."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port: int = self._listener.getsockname()[1]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.address}/v1"

    def __enter__(self) -> Server:
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.closing.set()
        self._ender.close()
        self._acceptor.join()
        self._listener.close()
        for sock in list(self._live):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # a conversation that waits for the next request ends
        for thread in self._threads:
            thread.join()
        self.end.close()

    def _accept(self) -> None:
        while self.end not in select.select([self._listener, self.end], [], [])[0]:
            sock, _ = self._listener.accept()
            with self._lock:
                self.connections += 1
                self.open += 1
                self._live.add(sock)
            thread = threading.Thread(target=self._converse, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _converse(self, sock: socket.socket) -> None:
        sock.settimeout(10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._tls is not None:
                plain, sock = sock, self._tls.wrap_socket(sock, server_side=True)
                self._live.remove(plain)
                self._live.add(sock)
            self._script(Conversation(self, sock))
        except OSError:
            pass  # the client has had enough, or the server is closed
        finally:
            self._live.discard(sock)
            sock.close()
            with self._lock:
                self.open -= 1


def answering(*answers: bytes) -> Script:
    """Answers each request with the next of `answers`; the last one for ever. The connection stays open."""

    def script(conversation: Conversation) -> None:
        queue = chain(answers, repeat(answers[-1]))
        while conversation.receive() is not None:
            conversation.send(next(queue))

    return script


def answering_by(answer: Callable[[Received], bytes]) -> Script:
    """Answers each request with what `answer` makes of it. The connection stays open."""

    def script(conversation: Conversation) -> None:
        while (received := conversation.receive()) is not None:
            conversation.send(answer(received))

    return script


def once(*steps: bytes | Callable[[Conversation], None]) -> Script:
    """Takes one request, then does `steps`: bytes are sent, functions called; then hangs up."""

    def script(conversation: Conversation) -> None:
        if conversation.receive() is not None:
            _play(conversation, steps)

    return script


def _play(conversation: Conversation, steps: Iterable[bytes | Callable[[Conversation], None]]) -> None:
    for step in steps:
        if isinstance(step, bytes):
            conversation.send(step)
        else:
            step(conversation)


def http(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole answer with a true Content-Length, unless `headers` names another."""
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    return http(status, json.dumps(value).encode(), headers)


def completion(text: str | None = "hello", **message: Any) -> dict[str, Any]:
    """A chat completion as OpenAI sends it."""
    return {
        "id": "c1",
        "object": "chat.completion",
        "model": "served-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def gzipped(body: bytes) -> bytes:
    return http(200, gzip.compress(body), {"Content-Encoding": "gzip"})


def make_certificate(folder: Path, names: str = "IP:127.0.0.1,DNS:model.test") -> tuple[Path, ssl.SSLContext]:
    """A new authority's certificate that is also the one of `names`, and a server's context that uses it."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command: list[str | Path] = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=test", "-addext", f"subjectAltName={names}", "-keyout", key, "-out", certificate,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return certificate, _server_context(certificate, key)


def make_old_certificate(folder: Path, begin: str, end: str) -> tuple[Path, ssl.SSLContext]:
    """As `make_certificate`, valid between two times written as ``YYYYMMDDHHMMSSZ``."""
    request, key, certificate = folder / "request.pem", folder / "key.pem", folder / "cert.pem"
    settings = folder / "ca.cnf"
    settings.write_text(
        "[ca]\ndefault_ca=own\n[own]\n"
        f"database={folder}/index\nnew_certs_dir={folder}\nserial={folder}/serial\ndefault_md=sha256\npolicy=any\n"
        "x509_extensions=names\n[any]\ncommonName=supplied\n"
        "[names]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=CA:true\n[req]\ndistinguished_name=any\n"
    )
    (folder / "index").touch()
    (folder / "serial").write_text("01\n")
    make: list[str | Path] = [
        "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
        "/CN=test", "-config", settings, "-keyout", key, "-out", request,
    ]  # fmt: skip
    sign: list[str | Path] = [
        "openssl", "ca", "-batch", "-notext", "-selfsign", "-config", settings, "-keyfile", key, "-in", request, "-out",
        certificate, "-startdate", begin, "-enddate", end,
    ]  # fmt: skip
    for command in (make, sign):
        subprocess.run(command, check=True, capture_output=True)
    return certificate, _server_context(certificate, key)


def _server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether `condition` comes true within `seconds`: for what the other side of a socket notices a little later."""
    end = monotonic() + seconds
    while not condition():
        if monotonic() > end:
            return False
        sleep(0.005)
    return True


def open_descriptors() -> set[str]:
    """The descriptors of this process; two of them compared show a leak."""
    return set(os.listdir("/dev/fd"))
