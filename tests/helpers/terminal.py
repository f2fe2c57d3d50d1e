"""A terminal in which a command runs: what a person types there, and what they see."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pyte

from helpers.servers import eventually

PATIENCE = 60.0
"""Seconds to wait for what must come; a busy machine takes long to start a program."""


class Terminal:
    """Runs `command` at a terminal of its own.

    Args:
        command: The program and its arguments.
        folder: Where it runs.
        columns: Width of the screen.
        lines: Height of the screen.
        environment: Variables besides those of this process.
        stdout: Where its standard output goes; the terminal if None.
        echo: Whether the terminal shows what is typed by itself.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        columns: int = 80,
        lines: int = 40,
        environment: Mapping[str, str] | None = None,
        stdout: Any = None,
        echo: bool = True,
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._seen: str | None = ""
        """What stands on the screen; None where more has come since that was worked out, which takes milliseconds."""
        self._lock = threading.Lock()
        self.received = b""
        """All that the program has written to the terminal."""
        self._own, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        if not echo:
            settings = termios.tcgetattr(there)
            settings[3] &= ~termios.ECHO
            termios.tcsetattr(there, termios.TCSANOW, settings)
        variables = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(environment or {})}
        self.child = subprocess.Popen(
            command, cwd=folder, stdin=there, stdout=there if stdout is None else stdout, stderr=there, env=variables,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one system call
        )  # fmt: skip
        os.close(there)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def press(self, text: str) -> None:
        """Press the keys of `text`; a newline is Enter."""
        os.write(self._own, text.replace("\n", "\r").encode())

    def paste(self, text: str) -> None:
        """Paste `text`, as a terminal does that tells the program so if that wants to know."""
        keys = text.replace("\n", "\r")
        told = b"\x1b[?2004h" in self.received and self.received.rfind(b"\x1b[?2004h") > self.received.rfind(b"[?2004l")
        os.write(self._own, (f"\x1b[200~{keys}\x1b[201~" if told else keys).encode())

    @property
    def seen(self) -> str:
        """What stands on the screen: its lines, without white space at their ends and without empty lines below."""
        with self._lock:
            if self._seen is None:
                self._seen = "\n".join(line.rstrip() for line in self._screen.display).rstrip()
            return self._seen

    def wait_for(self, text: str) -> str:
        """Wait until `text` stands on the screen, and return the whole screen."""
        assert eventually(lambda: text in self.seen, PATIENCE), f"{text!r} is not on the screen:\n{self.seen}"
        return self.seen

    def ends(self) -> int:
        """Wait until the program has ended, and return its exit code."""
        code = self.child.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.write(self._own, b"\x03")

    def _read(self) -> None:
        # On Linux, a terminal whose last program has gone gives an error instead of an end.
        with suppress(OSError):
            while data := os.read(self._own, 65536):
                with self._lock:
                    self.received += data
                    self._stream.feed(data)
                    self._seen = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
            self.child.wait()
        self._reader.join(PATIENCE)
        os.close(self._own)
