"""The only file that starts a child process: a command, its input, a time limit, and nothing of it left afterwards.

One implementation serves both faces: the async one runs it in a thread and holds a `CancelSwitch` to end it early.
The child leads a session and a process group of its own. Whatever way a run ends (exit, timeout, flood, cancellation,
an interrupt from the keyboard), the whole group is killed and the leader is reaped before the run is over.

Its input is an unnamed file, not a pipe: nothing to feed while reading, no broken pipe, and a process that the host
forks meanwhile cannot hold the child's input open.
"""

from __future__ import annotations

import asyncio
import errno
import os
import selectors
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM
from time import monotonic
from typing import IO, Literal, TypeVar

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.threads import start_in_thread
from lee_llm_router.errors import InvalidRequestError, ProviderError
from lee_llm_router.providers.child_process.process_tree import descendants, signal_group, signal_tree

T = TypeVar("T")

CHUNK = 65_536
STDERR_TAIL = 16_384
"""Bytes of stderr kept: the last ones, where a dying program says why."""
POLL = 0.05
"""Seconds between looks at the child where the system cannot report its end (no pidfd)."""
REAP = 5.0
"""Seconds to wait for a killed child. One that cannot be killed (stuck in the kernel, other user) is left behind."""

# A start that failed for these reasons fails the same way the next time.
_LASTING = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.E2BIG, errno.ENOTDIR, errno.ELOOP}


class ChildCancelledError(Exception):
    """The run was ended by its `CancelSwitch`."""


class CancelSwitch:
    """Ends a run from another thread. Holds two descriptors until closed."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._open = True
        # A forked child has the descriptors too: one set there would end the run of its parent.
        self._lock = ForkLock(in_child=self.close)

    def fileno(self) -> int:
        """A descriptor that becomes readable when the switch is set."""
        return self._read

    def set(self) -> None:
        """End the run. May be called at any time, also after it."""
        with self._lock:
            if self._open:
                os.write(self._write, b"x")

    def close(self) -> None:
        """Give the descriptors back."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self._read)
                os.close(self._write)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a child ended."""

    returncode: int | None
    """Exit code; negative: the signal that killed it; None: it could not be killed and was left behind."""
    end: Literal["exit", "timeout", "flood"]
    """`exit`: by itself. `timeout`: it was told to. `flood`: it wrote more than allowed to stdout."""
    stderr: bytes
    """The last `STDERR_TAIL` bytes."""


def run_child(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str],
    cwd: Path | str,
    timeout: float,
    grace: float = 2.0,
    max_output: int = 1 << 25,
    on_line: Callable[[bytes], None] | None = None,
    cancel: CancelSwitch | None = None,
) -> Finished:
    """Run a command to its end and leave nothing of it.

    Args:
        argv: The command; its first word is a path.
        stdin: What it can read.
        env: Its whole environment.
        cwd: Its working folder.
        timeout: Seconds after which it is killed.
        grace: Seconds before that at which its group is asked to end (SIGTERM); at most a quarter of `timeout`.
        max_output: Bytes it may write to stdout.
        on_line: Called with each line of stdout as it comes, split at ``\\n`` alone, without it.
        cancel: Ends the run at once when set.

    Raises:
        ProviderError: it could not be started (`sent` is False).
        InvalidRequestError: a word of the command cannot be passed to a process.
        ChildCancelledError: `cancel` was set.
    """
    deadline = monotonic() + timeout
    run = _Run(_start(argv, stdin, env, cwd), max_output, on_line)
    with run:
        return run.watch(deadline, min(grace, timeout / 4), cancel)


async def cancellable(function: Callable[[CancelSwitch], T]) -> T:
    """Await `function(switch)` in a thread. A cancellation sets the switch, waits for the end, and is re-raised.

    Raises:
        ProviderError: there is no thread or no descriptor left for it (`sent` is False).
        BaseException: what `function` raises.
    """
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    switch, future = _begin(function)

    def settle() -> None:
        if not ended.done():
            ended.set_result(None)

    def done(_: object) -> None:
        # RuntimeError: the loop was closed while the thread still ran.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle)

    future.add_done_callback(done)
    try:
        await asyncio.shield(ended)
    except asyncio.CancelledError:
        switch.set()
        while not ended.done():
            # Not to be hurried by a second cancellation: the end is near, and the files are still there.
            with suppress(asyncio.CancelledError):
                await asyncio.shield(ended)
        raise
    finally:
        switch.set()
    return future.result()


def _begin(function: Callable[[CancelSwitch], T]) -> tuple[CancelSwitch, Future[T]]:
    """Start `function(switch)` in a thread, with a switch that is closed at its end."""
    with ExitStack() as stack:
        try:
            switch = CancelSwitch()
            stack.callback(switch.close)

            def work() -> T:
                try:
                    return function(switch)
                finally:
                    switch.close()

            future = start_in_thread(work)
        except OSError as error:
            raise ProviderError(f"a child process cannot be looked after: {error}", sent=False) from error
        # The thread has begun: the switch is its own to close.
        stack.pop_all()
        return switch, future


def _start(argv: Sequence[str], stdin: bytes, env: Mapping[str, str], cwd: Path | str) -> subprocess.Popen[bytes]:
    try:
        with tempfile.TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            return subprocess.Popen(  # noqa: S603 - no shell; the command is the configuration's
                argv, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
                env=dict(env), cwd=cwd, start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        # The reason alone: the operating system's text would repeat paths of a folder that is gone by then.
        what = f"{argv[0]} cannot be started: {error.strerror or error}"
        if error.errno == errno.ENOENT and str(error.filename) == str(cwd):
            what = f"the working folder {cwd} does not exist"
        raise ProviderError(what, sent=False, final=error.errno in _LASTING) from error
    except ValueError:
        # A NUL or a lone surrogate in a word or in the environment. Not shown: the error would quote the word.
        raise InvalidRequestError(
            f"{argv[0]} cannot be started: a setting holds characters no command line can carry", sent=False
        ) from None


class _Run:
    """One child from start to burial; a context manager whose exit leaves no process and no descriptor."""

    def __init__(
        self, child: subprocess.Popen[bytes], max_output: int, on_line: Callable[[bytes], None] | None
    ) -> None:
        self.child = child
        self._on_line = on_line
        self._left = max_output
        self._stderr = bytearray()
        self._partial: list[bytes] = []
        self._flooded = False
        self._gone = False
        self._buried = False
        self._watched = False
        self._tree: dict[int, str] = {}
        self._stack = ExitStack()

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            try:
                self._kill()
            finally:
                for pipe in (self.child.stdout, self.child.stderr):
                    if pipe is not None:
                        pipe.close()

    def watch(self, deadline: float, grace: float, cancel: CancelSwitch | None) -> Finished:
        """Read what comes until the child is gone, has flooded, or is out of time; then bury it."""
        selector = self._register(cancel)
        end: Literal["exit", "timeout", "flood"] = "exit"
        if not self._wait(selector, deadline - grace):
            end = "timeout"
            self._signal(SIGTERM)
            self._wait(selector, deadline)
        self._kill()
        for pipe, take in self._pipes():
            # All that the leader wrote is in the pipes by now; whoever else holds them open is not waited for.
            while not self._flooded and take(pipe):
                pass
        if any(self._partial):
            self._emit(b"".join(self._partial))
        if self._flooded:
            end = "flood"
        return Finished(returncode=self.child.returncode, end=end, stderr=bytes(self._stderr))

    def _pipes(self) -> Iterator[tuple[IO[bytes], Callable[[IO[bytes]], bytes | None]]]:
        if self.child.stdout is not None and self.child.stderr is not None:
            yield self.child.stdout, self._take_stdout
            yield self.child.stderr, self._take_stderr

    def _register(self, cancel: CancelSwitch | None) -> selectors.BaseSelector:
        selector = self._stack.enter_context(selectors.DefaultSelector())
        for pipe, take in self._pipes():
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, take)
        if cancel is not None:
            selector.register(cancel, selectors.EVENT_READ, _raise_cancelled)
        descriptor = _open_pidfd(self.child.pid)
        if descriptor is not None:
            self._watched = True
            self._stack.callback(os.close, descriptor)
            selector.register(descriptor, selectors.EVENT_READ, self._note_end)
        return selector

    def _wait(self, selector: selectors.BaseSelector, until: float) -> bool:
        """Handle what comes. True: the leader has ended or flooded; False: it is `until` o'clock."""
        while (left := until - monotonic()) > 0:
            for key, _ in selector.select(left if self._watched else min(left, POLL)):
                if key.data(key.fileobj) == b"":
                    selector.unregister(key.fileobj)
            if not self._watched and self.child.poll() is not None:
                self._gone = True
            if self._gone or self._flooded:
                return True
        return False

    def _note_end(self, _: object) -> None:
        self._gone = True

    def _take_stdout(self, pipe: IO[bytes]) -> bytes | None:
        data = _read(pipe)
        self._left -= len(data or b"")
        if self._left < 0:
            self._flooded = True
            self._partial.clear()
        elif data:
            # Only \n ends a line: JSON may hold U+2028 and friends as they are.
            first, *more = data.split(b"\n")
            self._partial.append(first)
            for piece in more:
                self._emit(b"".join(self._partial))
                self._partial = [piece]
        return data

    def _take_stderr(self, pipe: IO[bytes]) -> bytes | None:
        data = _read(pipe)
        self._stderr += data or b""
        del self._stderr[:-STDERR_TAIL]
        return data

    def _emit(self, line: bytes) -> None:
        if self._on_line is not None:
            self._on_line(line)

    def _signal(self, number: int) -> None:
        if not self._gone:
            # Before the leader dies: afterwards its children belong to nobody it can be asked of.
            self._tree.update(descendants(self.child.pid))
        signal_group(self.child.pid, number)
        signal_tree(self._tree, number)

    def _kill(self) -> None:
        """Kill the whole group and reap the leader. Doing it again does nothing."""
        if self._buried:
            return
        # With a pidfd the leader is not reaped yet, so its number, which is the group's, cannot be anyone else's.
        self._signal(SIGKILL)
        self._gone = True
        try:
            self.child.wait(REAP)
        except subprocess.TimeoutExpired:
            # There may be no threads left. Whoever starts the next process reaps this one.
            with suppress(BlockingIOError):
                start_in_thread(self.child.wait)
        self._buried = True


def _open_pidfd(pid: int) -> int | None:
    """A descriptor that tells of the end of `pid`; None where the system has none to give (not Linux, old kernel)."""
    opener = getattr(os, "pidfd_open", None)
    try:
        return None if opener is None else opener(pid)
    except OSError:
        return None


def _raise_cancelled(_: object) -> None:
    raise ChildCancelledError


def _read(pipe: IO[bytes]) -> bytes | None:
    """Up to a chunk; empty at the end of the stream, None where there is nothing yet."""
    try:
        return os.read(pipe.fileno(), CHUNK)
    except BlockingIOError:
        return None
