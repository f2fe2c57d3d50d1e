"""What a person types: messages of one or several lines, with a shell's editing and history.

A message continues on the next line if a line ends with a backslash, or between lines of three double quotes. A paste
of several lines is one message. Terminals mark a paste if GNU readline asks for that; otherwise (libedit, no readline)
lines that are already available after a read belong to the message.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from lee_llm_router._util.small_files import read_small_file
from lee_llm_router.cli.chat.private_files import append_line, make_private_folder
from lee_llm_router.cli.output import escaped, write_status

_QUOTES = '"""'
_MORE = "... "
_PASTE_SECONDS = 0.02
_REMEMBERED = 500
_TAIL_BYTES = 256_000
_MOST_BYTES = 4_000_000
_LARGEST = 64_000_000
"""Size in bytes of the largest file to read: it is shortened beyond `_MOST_BYTES`, but a message may be long."""

Completer = Callable[[str], Sequence[str]]
"""Returns possible completions for the beginning of a line."""


class TypedLines:
    """The messages typed earlier, in a file of JSON lines that chats share.

    Args:
        path: The file; None: keep them only while the program runs.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self) -> list[str]:
        """Return the latest, oldest first, without damaged ones."""
        if self._path is None:
            return []
        try:
            data, _ = read_small_file(self._path, _LARGEST)
        except OSError:
            return []
        found: list[str] = []
        for line in data[-_TAIL_BYTES:].splitlines():
            with suppress(ValueError, RecursionError):
                text = json.loads(line)
                if isinstance(text, str) and text.strip():
                    found.append(text)
        return found[-_REMEMBERED:]

    def add(self, text: str) -> None:
        """Remember `text`; only while the program runs, if it cannot be written."""
        if self._path is None:
            return
        with suppress(OSError):
            make_private_folder(self._path.parent)
            if self._path.exists() and self._path.stat().st_size > _MOST_BYTES:
                self._shorten(self._path)
            append_line(self._path, json.dumps(text).encode() + b"\n")

    def _shorten(self, path: Path) -> None:
        """Keep only the latest. This can lose at most what another chat adds at the same moment."""
        shorter = path.with_suffix(f".{os.getpid()}.tmp")
        append_line(shorter, b"".join(json.dumps(text).encode() + b"\n" for text in self.read()), create=True)
        shorter.replace(path)


class InputLines:
    """Reads messages from standard input.

    Args:
        typed: The messages typed earlier.
    """

    def __init__(self, typed: TypedLines) -> None:
        self.is_interactive = sys.stdin is not None and sys.stdin.isatty()
        """Whether a person types."""
        self._typed = typed
        self._edits = self.is_interactive and sys.stdout.isatty()
        self.completer: Completer = lambda _: ()
        """Completes the current line."""
        self._readline = _readline(self._completed) if self._edits else None
        self._marks_pastes = self._readline is not None and not _is_libedit(self._readline)
        if self._readline is not None:
            for text in typed.read():
                self._readline.add_history(text)

    def read(self, prompt: str) -> str:
        """Return the next message.

        Raises:
            EOFError: there is none.
            KeyboardInterrupt: Ctrl-C was pressed; the text typed so far is dropped.
        """
        text = self._message(prompt)
        if self.is_interactive and text.strip():
            self._typed.add(text)
            if self._readline is not None:
                self._readline.add_history(text)
        return text

    def _completed(self, line: str) -> Sequence[str]:
        return self.completer(line)

    def _message(self, prompt: str) -> str:
        line = self._line(prompt)
        if line.lstrip().startswith(_QUOTES):
            return self._quoted(line.lstrip().removeprefix(_QUOTES))
        lines = [line]
        while True:
            if _ends_open(lines[-1]):
                lines[-1] = lines[-1][:-1]
            elif not self._more_is_there():
                return "\n".join(lines)
            try:
                lines.append(self._line(_MORE))
            except EOFError:
                return "\n".join(lines)

    def _quoted(self, first: str) -> str:
        """Return the text up to the closing quotes."""
        lines, line = [], first
        while not line.rstrip().endswith(_QUOTES):
            lines.append(line)
            try:
                line = self._line(_MORE)
            except EOFError:
                break
        else:
            lines.append(line.rstrip().removesuffix(_QUOTES))
        return "\n".join(lines).strip("\n")

    def _line(self, prompt: str) -> str:
        if self._edits:
            # Not with `input`'s own fallback: it would write the prompt to standard output, where answers go.
            return _repaired(input(escaped(prompt)))
        if self.is_interactive:
            write_status(escaped(prompt))
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return _repaired(line.removesuffix("\n").removesuffix("\r"))

    def _more_is_there(self) -> bool:
        """Whether another line came with the last one, in an unmarked paste."""
        if not self.is_interactive or self._marks_pastes:
            return False
        try:
            return bool(select.select([sys.stdin], [], [], _PASTE_SECONDS)[0])
        except (OSError, ValueError):
            return False


def _ends_open(line: str) -> bool:
    """Whether `line` ends with a backslash that is not itself escaped."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _repaired(text: str) -> str:
    """Return `text` as UTF-8 text, even if the system's locale is too narrow for it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text).decode(errors="replace")
    return text


def _readline(complete: Completer) -> ModuleType | None:
    """Return the module for line editing, set up; None if Python has none."""
    try:
        import readline  # noqa: PLC0415 - importing it changes how `input` reads
    except ImportError:
        return None
    matches: list[str] = []

    def completed(_: str, state: int) -> str | None:
        if state == 0:
            matches[:] = complete(readline.get_line_buffer())
        return matches[state] if state < len(matches) else None

    readline.set_completer(completed)
    readline.set_completer_delims("")
    readline.set_auto_history(False)
    if _is_libedit(readline):
        readline.parse_and_bind("bind ^I rl_complete")
    else:
        readline.parse_and_bind("tab: complete")
        readline.parse_and_bind("set enable-bracketed-paste on")
    return readline


def _is_libedit(readline: ModuleType) -> bool:
    return "libedit" in (readline.__doc__ or "") or getattr(readline, "backend", "") == "editline"
