"""Watches this process on behalf of its child, and cleans up if the process dies.

A child leads its own session, so nothing ends it if this process is killed, or if a signal ends this process before any
`finally` has run. So a shell waits next to it, with a pipe from this process as its input. The end of the pipe means
that this process is gone, however it died, and the shell then starts Python to clean up (`orphans`). A shell does the
waiting because it starts in a millisecond and takes almost no memory.

The shell is our own direct child, in its own session: a signal to our group or from our terminal does not reach it.
This process reaps it, so that it never stays as a zombie if this process is the first one of a container.

(The kernel can also signal a child when its parent dies. But that signal comes when the *thread* that started the child
ends, and code between fork and exec has to request it, which is unsafe in a program with threads. macOS has none.)
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.log import logger
from lee_llm_router.providers.child_process.process_tree import start_time

_SHELL = "/bin/sh"
_PACKAGE_HOME = Path(__file__).parents[3]
# Signals to all processes of a service or a container come before the owner's end, so the shell ignores them. Without
# Python, or if Python fails, the shell does what it can.
_SCRIPT = """\
trap '' HUP INT QUIT TERM
leader=
while read -r line; do leader=$line; done
folder=$1
shift
[ $# -gt 0 ] && "$@" "$folder" "$leader" && exit
[ -n "$leader" ] && kill -s KILL -- "-${leader%% *}"
rm -rf -- "$folder"
"""
_CLEAN_UP = (
    "import sys; sys.path.append(sys.argv[1]); from lee_llm_router.providers.child_process.orphans import main; main()"
)


class OwnerWatch:
    """The watch over one folder and the child that works in it. Close it after removing the folder.

    If it cannot start (no shell, no process left), the folder waits until the next program sweeps it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shell: subprocess.Popen[bytes] | None = None
        self._pipe: int | None = None
        # While a forked child held the pipe open, the shell would think that this process is alive.
        self._lock = ForkLock(in_child=self._forget)
        read, self._pipe = os.pipe()
        try:
            self._shell = subprocess.Popen(  # noqa: S603 - a fixed program
                [_SHELL, "-c", _SCRIPT, "lee-llm-router-watch", str(folder), *_cleaner()],
                stdin=read, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin"},
                cwd="/", start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._drop_pipe()
            logger.warning("a child process runs unwatched: %s cannot be started: %s", _SHELL, error.strerror)
        except BaseException:
            self._drop_pipe()
            raise
        finally:
            os.close(read)

    def tell(self, leader: int | None) -> None:
        """Tell which child to end if this process dies; None: no child any more."""
        line = "" if leader is None else f"{leader} {start_time(leader)}"
        with self._lock, suppress(OSError):
            if self._pipe is not None:
                os.write(self._pipe, f"{line}\n".encode())

    def close(self) -> None:
        """End the watch. A second call does nothing."""
        with self._lock:
            shell, self._shell = self._shell, None
            if shell is not None:
                # Before the pipe is closed, which the shell would take for our death.
                shell.send_signal(SIGKILL)
                shell.wait()
            self._drop_pipe()

    def _forget(self) -> None:
        """In a forked child, leave the watch to the parent."""
        if self._shell is not None:
            # It is not our child, so there is nothing to wait for.
            self._shell.returncode = 0
            self._shell = None
        self._drop_pipe()

    def _drop_pipe(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            os.close(pipe)


def _cleaner() -> list[str]:
    """Return the cleanup command; empty if this program does not run in a Python that could run it."""
    python = sys.executable or ""
    if getattr(sys, "frozen", False) or not Path(python).name.startswith(("python", "pypy")):
        return []
    return [python, "-I", "-S", "-c", _CLEAN_UP, str(_PACKAGE_HOME)]
