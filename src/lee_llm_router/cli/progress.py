"""A line on standard error that says what a command is doing while that takes long; erased at the end.

It is shown only if standard error is a terminal, and only after half a second, so that quick work shows nothing. A
thread draws it ten times a second. A message (`output.say`) replaces it, and it is drawn again below. Text written to
standard output while it is shown would appear in the middle of it: `hide` it first.

    with ProgressLine("reading traces", total=len(files)) as line:
        for file in files:
            read(file)
            line.advance()

Drawing only uses a carriage return and an erased line. So nothing remains if the process is killed or stopped, unlike
the hidden cursor of a library's display.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self, TypeAlias

from lee_llm_router.cli.output import ERASED_LINE, STDERR_LOCK, beside_status, escaped, write_status

ProgressText: TypeAlias = str | Callable[[], str]
"""The text to show. A function is called each time the line is drawn, and includes its own duration."""

_SHOWN_AFTER = 0.5
_FRAME_SECONDS = 0.1
_DOTS = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN = "-\\|/"
_SECONDS_FROM = 1.0
"""Seconds before the duration is shown."""


class ProgressLine:
    """The line, shown while the context is active. Any thread may update and advance it.

    Args:
        text: The current activity; nothing is shown while it is empty.
        total: The number of steps, if known; then the line counts them.
    """

    def __init__(self, text: ProgressText = "", *, total: int | None = None) -> None:
        self._text = text
        self._total = total
        self._done = 0
        self._told_at = self._due_at = 0.0
        self._hidden = False
        self._drawn = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._frames = ""

    def tell(self, text: ProgressText) -> None:
        """Show a new activity; its duration starts at zero."""
        self._text, self._told_at = text, monotonic()

    def advance(self, steps: int = 1) -> None:
        """Count `steps` as done."""
        self._done += steps

    def hide(self) -> None:
        """Erase it until the next `show`: something is about to be written to the terminal."""
        with STDERR_LOCK:
            self._hidden = True
            self._erase()

    def show(self) -> None:
        """Draw it again, if it is still needed in half a second."""
        self._told_at = monotonic()
        self._due_at = self._told_at + _SHOWN_AFTER
        self._hidden = False

    def __enter__(self) -> Self:
        self.show()
        if _is_wanted():
            self._frames = _DOTS if _takes(_DOTS) else _PLAIN
            beside_status(self._erase)
            self._thread = threading.Thread(target=self._draw_until_ended, name="progress-line", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._ended.set()
        self.hide()
        if self._thread is not None:
            beside_status(None)
            self._thread.join()

    def _draw_until_ended(self) -> None:
        frame = 0
        while not self._ended.wait(_FRAME_SECONDS):
            with STDERR_LOCK:
                if self._text and not (self._hidden or self._ended.is_set() or monotonic() < self._due_at):
                    self._drawn = True
                    write_status(_cut(f"{self._frames[frame % len(self._frames)]} {self._line()}"))
                    frame += 1

    def _line(self) -> str:
        if callable(self._text):
            return escaped(self._text()).replace("\n", " ")
        parts = [self._text]
        if self._total:
            parts.append(f"{min(self._done, self._total):,} of {self._total:,}")
        elif self._done:
            parts.append(f"{self._done:,}")
        seconds = monotonic() - self._told_at
        if seconds >= _SECONDS_FROM:
            parts.append(f"{seconds:.0f} s")
        return escaped(", ".join(parts)).replace("\n", " ")

    def _erase(self) -> None:
        if self._drawn:
            self._drawn = False
            write_status(ERASED_LINE)


def _is_wanted() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def _takes(text: str) -> bool:
    try:
        text.encode(sys.stderr.encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def _cut(text: str) -> str:
    """Return the line cut to the width of the terminal, since a wrapped line could not be erased."""
    from lee_llm_router.cli.trace.layout import fitted  # noqa: PLC0415 - quick work shows nothing

    line = fitted(text, max(1, _columns() - 1))
    return ERASED_LINE + (line if _takes("…") else line.replace("…", ""))


def _columns() -> int:
    """Return the columns of standard error's terminal; standard output may be another one, or none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
