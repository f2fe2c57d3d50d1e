"""Standard output and standard error: escapes what a terminal might obey, and reports failed writes once.

A pipe gets the answer exactly as the model wrote it. A terminal gets it with every character escaped that could move
the cursor, set a colour or a title, or change the direction of the text. Messages on standard error are always escaped.
JSON keeps its value, and contains none of these characters either.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

# Controls (except tab and newline), separators of lines and paragraphs, marks of text direction, and lone surrogates.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]")


PROGRAM = "lee-llm-router"
"""The name of the command, as messages have it."""
_MOST_COLUMNS = 1000
"""Columns of the widest lines."""


class OutputError(Exception):
    """Standard output cannot be written: the disk is full, or it is closed."""


def escaped(text: str) -> str:
    r"""Return `text` with everything that a terminal might obey written as ``\x1b`` or ``\u202e``; tabs and newlines
    stay."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class AnswerWriter:
    """Writes the text of an answer to standard output, piece by piece."""

    def __init__(self) -> None:
        self._at_terminal = sys.stdout.isatty()
        self._held = ""

    def write(self, text: str) -> None:
        """Write a piece at once. At a terminal, hold back a carriage return: it may be half a newline."""
        if self._at_terminal:
            text = (self._held + text).replace("\r\n", "\n")
            self._held = "\r" if text.endswith("\r") else ""
            text = escaped(text.removesuffix("\r"))
        write_text(text)
        if self._at_terminal and text:
            _leave_line_open(not text.endswith("\n"))

    def end_line(self) -> None:
        """End the line, and the answer or its partial text."""
        held, self._held = escaped(self._held), ""
        if _was_line_ended and not held:
            _leave_line_open(False)
            return
        write_text(held + "\n")
        _leave_line_open(False)


def write_text(text: str) -> None:
    """Write `text` to standard output at once.

    Raises:
        BrokenPipeError: nobody reads it.
        OutputError: it cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(error) from error


def write_line(text: str) -> None:
    """As `write_text`, with a newline."""
    write_text(text + "\n")


def write_json(value: Any, indent: int | None = None) -> None:
    """Write `value` as JSON and a newline. Raises as `write_text`."""
    from lee_llm_router.telemetry.record_json import json_text  # noqa: PLC0415

    write_json_text(json_text(value, indent))


def write_json_text(text: bytes) -> None:
    """Write JSON and a newline in UTF-8, whatever the terminal's encoding. Raises as `write_text`."""
    # Only strings contain such characters; pydantic's JSON itself escapes those below U+0020.
    safe = _OBEYED.sub(_json_escape, text.decode("utf-8", "surrogatepass")).encode()
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(safe + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(error) from error


def say(text: str) -> None:
    """Write a message to standard error, with its lines escaped. If that fails, there is nobody to tell."""
    with STDERR_LOCK, suppress(OSError):
        if _erase_status is not None:
            _erase_status()
        _end_open_line()
        print(escaped(text), file=sys.stderr, flush=True)


STDERR_LOCK = threading.RLock()
"""Held by any thread that writes to standard error."""
ERASED_LINE = "\r\x1b[K"
_erase_status: Callable[[], None] | None = None
_is_line_open = False
"""Whether the terminal's last line belongs to an answer that may continue."""
_was_line_ended = False
"""Whether a message has ended that line, so that nobody else needs to."""


def _leave_line_open(is_open: bool) -> None:
    global _is_line_open, _was_line_ended
    _is_line_open, _was_line_ended = is_open, False


def _end_open_line() -> None:
    """End an answer's line if a message would continue on it: the same terminal shows both."""
    global _is_line_open, _was_line_ended
    if _is_line_open and sys.stderr.isatty():
        _is_line_open, _was_line_ended = False, True
        sys.stdout.write("\n")
        sys.stdout.flush()


def beside_status(erase: Callable[[], None] | None) -> None:
    """Make messages call `erase` first, since a progress line is in their place. None: there is no such line now."""
    global _erase_status  # noqa: PLW0603 - a process has one standard error
    _erase_status = erase


def write_status(text: str) -> None:
    """Write `text`, which may move the cursor, to standard error, which is a terminal."""
    with suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def terminal_columns() -> int:
    """Return how many columns a line of the terminal has; 80 where there is none.

    COLUMNS may say anything; a screen is drawn column by column, so that a billion of them would take for ever.
    """
    return min(shutil.get_terminal_size((80, 24)).columns, _MOST_COLUMNS)


def wants_color() -> bool:
    """Whether standard output is a terminal with colours, and the user has not refused them."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def prepare_streams() -> bool:
    """Make all three standard streams usable, and escape what their encoding cannot express.

    Returns:
        Whether standard output is open.
    """
    # A file opened later would get the number of a closed one, and printed text would end up in it.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - until the process ends
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    return sys.stdout is not None


def let_go() -> None:
    """Discard buffered output that cannot be written; otherwise the interpreter would fail at its end."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not _flushed(stream):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def flush_output() -> None:
    """Write the buffer of standard output. Raises as `write_text`."""
    write_text("")


def _flushed(stream: IO[str]) -> bool:
    try:
        stream.flush()
    except (OSError, ValueError):
        return False
    return True


def _unwritable(error: OSError) -> OutputError:
    return OutputError(f"standard output cannot be written: {error.strerror or type(error).__name__}")


def _json_escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
