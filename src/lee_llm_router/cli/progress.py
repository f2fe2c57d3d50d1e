"""One line on standard error that says what a command is doing, while that takes long; gone when it is done.

It is shown only where standard error is a terminal, and only after half a second, so that quick work shows nothing. A
thread draws it, ten times a second. A message (`output.say`) takes its place, and it is drawn again below. What is
written to standard output while it is shown would stand in the middle of it: `hide` it before.

    with ProgressLine("reading traces", total=len(files)) as line:
        for file in files:
            read(file)
            line.advance()

It is drawn with a carriage return and an erased line alone: nothing of it is left if the process is killed or stopped,
as the hidden cursor of a library's display would be.
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
"""What is shown; a function is asked each time it is drawn, and says itself how long it has taken."""

_SHOWN_AFTER = 0.5
_FRAME_SECONDS = 0.1
_DOTS = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN = "-\\|/"
_SECONDS_FROM = 1.0
"""Seconds from which they are shown."""


class ProgressLine:
    """The line, while it is entered. It may be told and advanced from any thread.

    Args:
        text: What goes on; nothing is shown while it is empty.
        total: How many steps there are, where that is known; then the line counts them.
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
        """Say what goes on from now on; its seconds are counted anew."""
        self._text, self._told_at = text, monotonic()

    def advance(self, steps: int = 1) -> None:
        """Count `steps` that are done."""
        self._done += steps

    def hide(self) -> None:
        """Erase it, until it is shown again: something is about to be written at the terminal."""
        with STDERR_LOCK:
            self._hidden = True
            self._erase()

    def show(self) -> None:
        """Draw it again, if it is still wanted in half a second."""
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
    """Return the line as it is written: what does not fit is left out, since a wrapped line could not be erased."""
    from lee_llm_router.cli.trace.layout import fitted  # noqa: PLC0415 - quick work shows nothing

    line = fitted(text, max(1, _columns() - 1))
    return ERASED_LINE + (line if _takes("…") else line.replace("…", ""))


def _columns() -> int:
    """Return how many columns the terminal has that standard error is; standard output may be another, or none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
