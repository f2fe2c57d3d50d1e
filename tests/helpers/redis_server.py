"""A real redis-server (Debian's) on loopback that can be killed, stopped and begun again, and a slow way to it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any

START_SECONDS = 20.0
"""The longest that a server may take to begin, on a busy machine."""


def redis_program() -> str | None:
    """The server's binary; None where neither Redis nor Valkey is installed."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


class RedisServer:
    """One server, which keeps nothing on disk: a new start is an empty one.

    Args:
        folder: Where it runs and writes its log.
        options: More words of its command line: ``("--requirepass", "secret")``.
        unix_socket: Whether it also listens at `socket_path`.
    """

    def __init__(self, folder: Path, *options: str, unix_socket: bool = False) -> None:
        self.folder = folder
        self.port = free_port()
        self.socket_path = folder / "redis.sock"
        self._options = (*options, *(("--unixsocket", str(self.socket_path)) if unix_socket else ()))
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> Any:
        import redis

        return redis.Redis(host="127.0.0.1", port=self.port, decode_responses=True, **options)

    def start(self) -> None:
        """Begin, on the same port each time, and return once it answers."""
        program = redis_program()
        assert program is not None, "install redis-server"
        self._process = subprocess.Popen(
            [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             "--dir", str(self.folder), "--logfile", "redis.log", *self._options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        until = monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "redis.log").read_text()[-2000:]
            assert monotonic() < until, "redis-server did not begin"
            sleep(0.01)

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill it and begin it anew, with nothing in it."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Stop it in its tracks: connections stay open, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `stop`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                sock.sendall(b"PING\r\n")
                return sock.recv(64) != b""
        except OSError:
            return False


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class SlowWay:
    """Hands bytes on between clients and a port of this machine, each answer after `delay` seconds.

    Args:
        port: Where the server is.
    """

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        """Seconds that an answer takes longer; may be changed at any time."""
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> SlowWay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                client.close()
                continue
            self._open += [client, server]
            threading.Thread(target=self._carry, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._carry, args=(server, client, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_answer and self.delay:
                    sleep(self.delay)
                target.sendall(data)
        for sock in (source, target):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
