"""Runs one command as a child process, within a time limit, and leaves no process or descriptor behind.

How this works
--------------

`run_child` starts the command and passes it to a `_ChildRun`, a context manager that owns everything the run holds.

1. **Start.** The child leads a new session and process group, so one signal reaches everything it starts. Its input is
   an unnamed file, not a pipe. So there is nothing to write while reading, a child that does not read breaks nothing,
   and a process that the host forks meanwhile cannot hold the child's input open.
2. **Watch.** One selector waits for stdout, stderr, the cancel switch and the child's pidfd. Lines of stdout go to
   `on_line` as they arrive; only the end of stderr is kept. Without a pidfd the run polls for the child's end. An
   `OwnerWatch` learns which child to end if this process dies. End of file on the pipes does not count as the end: a
   child may close them and continue, and a grandchild may hold them open after the child has exited.
3. **Stop.** `grace` seconds before the deadline the group gets SIGTERM, at the deadline SIGKILL. Too much output
   ("flood") or the cancel switch ends the run at once. In each case, a child that is doing something that must not be
   interrupted (`Companion.must_go_on`) first gets `HOLD_LIMIT` seconds to finish.
4. **Clean up.** Whatever happened (exit, timeout, flood, cancellation, Ctrl-C in a callback), the group is killed and
   the child is reaped before the run returns. Descendants that left the group are found in `/proc` and killed as well
   (`process_tree`). They are looked up while the child lives, since its orphans get another parent. Orphans are found
   by the folder in their environment, unless the child ended by itself and cannot have started any (`has_tools`).
5. **Drain.** What the child wrote before its end is still in the pipes and is read last. A process that still holds
   them open has left the group, and is searched for by that folder, too.

The same code serves sync and async callers: `cancellation.cancellable` runs it in a thread.
"""

from __future__ import annotations

import errno
import fcntl
import os
import selectors
import subprocess
import tempfile
import termios
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM
from time import monotonic, sleep
from typing import IO, Literal, Protocol

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.short_waits import LONGEST
from lee_llm_router._util.threads import start_in_thread
from lee_llm_router.errors import InvalidRequestError, ProviderError
from lee_llm_router.providers.child_process.cancellation import CancelSwitch, ChildCancelledError
from lee_llm_router.providers.child_process.owner_watch import OwnerWatch
from lee_llm_router.providers.child_process.process_tree import (
    HOLD_LIMIT,
    HOLD_PAUSE,
    descendants,
    has_ended,
    marked_processes,
    signal_group,
    signal_tree,
)

READ_SIZE = 65_536
"""Bytes read from a pipe at once."""
STDERR_TAIL = 16_384
"""Bytes kept of stderr: the last ones, since a failing program explains itself at the end."""
POLL_INTERVAL = 0.05
"""Seconds between checks whether the child has ended, if the system has no pidfd to report it."""
REAP_TIMEOUT = 5.0
"""Seconds to wait for a killed child. One that cannot be killed (another user's, stuck in the kernel) stays."""
ORPHAN_ROUNDS = 50
ORPHAN_PAUSE = 0.02
"""Rounds of looking for orphans that have not ended, or were started meanwhile, and the seconds between."""

# Start errors that would recur the next time.
_LASTING_ERRORS = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.E2BIG, errno.ENOTDIR, errno.ELOOP}


class Companion(Protocol):
    """Accompanies a child while it runs."""

    @property
    def inherited(self) -> Sequence[int]:
        """Descriptors that the child inherits."""
        ...

    @property
    def must_go_on(self) -> bool:
        """Whether the child is doing something that must not be interrupted."""
        ...

    def look(self) -> object:
        """Check what the child has done. Called about every `POLL_INTERVAL`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildResult:
    """How a child ended."""

    returncode: int | None
    """Exit code. A negative one names the signal that killed the child; None: it could not be killed."""
    end: Literal["exit", "timeout", "flood"]
    """`exit`: it ended by itself. `timeout`: it was told to end. `flood`: it wrote more to stdout than allowed."""
    stderr: bytes
    """The last `STDERR_TAIL` bytes of stderr."""


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
    watch: OwnerWatch | None = None,
    is_whole: Callable[[], bool] | None = None,
    companion: Companion | None = None,
    has_tools: bool = False,
) -> ChildResult:
    """Run a command to its end and clean up after it.

    Args:
        argv: The command; its first word is a path.
        stdin: The content of its standard input.
        env: Its whole environment.
        cwd: Its working folder.
        timeout: Seconds after which it is killed.
        grace: How many seconds before that its group gets SIGTERM; at most a quarter of `timeout`.
        max_output: Bytes it may write to stdout.
        on_line: Called with each line of stdout as it arrives. Only ``\\n`` ends a line; it is not passed on.
        cancel: Ends the run at once when set.
        watch: Ends the child if this process dies.
        is_whole: Whether all relevant stdout has been read. Output beyond `max_output` is then dropped and is no flood:
            it may come from other processes that hold the pipe.
        companion: Accompanies the child.
        has_tools: Whether it may start other programs. Those that have left its group and lost their parent are
            searched for even if it ends by itself.

    Raises:
        ProviderError: the command could not be started (`sent` is False).
        InvalidRequestError: an argument or a variable holds characters that cannot be passed to a process.
        ChildCancelledError: `cancel` was set.
    """
    deadline = monotonic() + timeout
    child = _start(argv, stdin, env, cwd, () if companion is None else companion.inherited)
    with _ChildRun(
        child, max_output=max_output, on_line=on_line, is_whole=is_whole, companion=companion, owner_watch=watch,
        has_tools=has_tools,
    ) as run:  # fmt: skip
        return run.watch(deadline, min(grace, timeout / 4), cancel)


def _start(
    argv: Sequence[str], stdin: bytes, env: Mapping[str, str], cwd: Path | str, inherited: Sequence[int]
) -> subprocess.Popen[bytes]:
    try:
        with tempfile.TemporaryFile() as input_file:
            input_file.write(stdin)
            input_file.seek(0)
            return subprocess.Popen(  # noqa: S603 - no shell; the command comes from the configuration
                argv, stdin=input_file, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
                env=dict(env), cwd=cwd, start_new_session=True, pass_fds=inherited,
            )  # fmt: skip
    except OSError as error:
        # Only the reason: the system's full message would name a temporary folder that no longer exists.
        what = f"{argv[0]} cannot be started: {error.strerror or error}"
        if error.errno == errno.ENOENT and str(error.filename) == str(cwd):
            what = f"the working folder {cwd} does not exist"
        raise ProviderError(what, sent=False, final=error.errno in _LASTING_ERRORS) from error
    except ValueError:
        # A NUL or a lone surrogate in an argument or a variable. Not chained: the original error would quote it.
        raise InvalidRequestError(
            f"{argv[0]} cannot be started: a setting holds characters that no command line may contain", sent=False
        ) from None


class _ChildRun:
    """A child's lifetime; a context manager that leaves no process and no descriptor behind."""

    def __init__(
        self, child: subprocess.Popen[bytes], *, max_output: int, on_line: Callable[[bytes], None] | None,
        is_whole: Callable[[], bool] | None, companion: Companion | None, owner_watch: OwnerWatch | None,
        has_tools: bool,
    ) -> None:  # fmt: skip
        self.child = child
        self._on_line = on_line
        self._is_whole = is_whole
        self._companion = companion
        self._next_look = 0.0
        self._was_held = False
        self._owner_watch = owner_watch
        self._has_tools = has_tools
        self._output_left = max_output
        self._stderr = bytearray()
        self._partial_line: list[bytes] = []
        self._flooded = False
        self._ended = False
        self._reaped = False
        self._has_pidfd = False
        self._descendants: dict[int, str] = {}
        self._stack = ExitStack()

    def __enter__(self) -> _ChildRun:
        self._tell_watch(self.child.pid)
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            try:
                self._kill()
                self._tell_watch(None)
            finally:
                for pipe in (self.child.stdout, self.child.stderr):
                    if pipe is not None:
                        pipe.close()

    def watch(self, deadline: float, grace: float, cancel: CancelSwitch | None) -> ChildResult:
        """Read the output until the child has ended, written too much or run out of time; then kill and reap it."""
        selector = self._register(cancel)
        end: Literal["exit", "timeout", "flood"] = "exit"
        if not self._wait(selector, deadline - grace):
            end = "timeout"
            self._let_finish()
            self._signal(SIGTERM)
            self._wait(selector, deadline)
        self._kill()
        # Everything the child wrote is in the pipes by now. Output of others, who hold them open, is not awaited.
        drained = [self._drain(pipe, take) for pipe, take in self._pipes()]
        if not all(drained):
            self._kill_orphans()
        if any(self._partial_line):
            self._emit(b"".join(self._partial_line))
        if self._flooded:
            end = "flood"
        return ChildResult(returncode=self.child.returncode, end=end, stderr=bytes(self._stderr))

    def _drain(self, pipe: IO[bytes], take: Callable[[IO[bytes]], bytes | None]) -> bool:
        """Read what is in a pipe now, and return whether that was its end, so that nobody holds it open."""
        left = _waiting_bytes(pipe)
        while not self._flooded and left > 0:
            left -= len(take(pipe) or b"") or left
        return _read(pipe) == b""

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
            self._has_pidfd = True
            self._stack.callback(os.close, descriptor)
            selector.register(descriptor, selectors.EVENT_READ, self._mark_ended)
        return selector

    def _wait(self, selector: selectors.BaseSelector, until: float) -> bool:
        """Handle output and signals. True: the child has ended or written too much; False: `until` was reached."""
        while (time_left := until - monotonic()) > 0:
            for key, _ in selector.select(min(time_left, POLL_INTERVAL if self._polls else LONGEST)):
                if key.data(key.fileobj) == b"":
                    selector.unregister(key.fileobj)
            if self._companion is not None and monotonic() >= self._next_look:
                self._companion.look()
                self._next_look = monotonic() + POLL_INTERVAL
            if not self._has_pidfd and self.child.poll() is not None:
                self._ended = True
            if self._ended or self._flooded:
                return True
        return False

    @property
    def _polls(self) -> bool:
        return not self._has_pidfd or self._companion is not None

    def _tell_watch(self, pid: int | None) -> None:
        if self._owner_watch is not None:
            self._owner_watch.tell(pid)

    def _mark_ended(self, _: object) -> None:
        self._ended = True

    def _take_stdout(self, pipe: IO[bytes]) -> bytes | None:
        data = _read(pipe)
        self._output_left -= len(data or b"")
        if self._output_left < 0:
            self._flooded = self._is_whole is None or not self._is_whole()
            self._partial_line.clear()
        elif data:
            # Only \n ends a line: JSON may contain other line separators, such as U+2028.
            first, *more = data.split(b"\n")
            self._partial_line.append(first)
            for piece in more:
                self._emit(b"".join(self._partial_line))
                self._partial_line = [piece]
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
        if not self._ended:
            # While the child lives: after its death its children get another parent and cannot be found.
            self._descendants.update(descendants(self.child.pid))
        signal_group(self.child.pid, number)
        signal_tree(self._descendants, number)

    def _let_finish(self) -> None:
        """Wait a limited time, and only once, until the child may be interrupted."""
        was_held, self._was_held = self._was_held, True
        if self._companion is None or was_held or self._ended:
            return
        until = monotonic() + HOLD_LIMIT
        while self._companion.must_go_on and monotonic() < until and not has_ended(self.child.pid):
            sleep(HOLD_PAUSE)
            self._companion.look()

    def _kill(self) -> None:
        """Kill the whole group and reap the child. A second call does nothing."""
        if self._reaped:
            return
        try:
            self._let_finish()
        finally:  # a second Ctrl-C ends that, too
            self._kill_now()

    def _kill_now(self) -> None:
        ended_by_itself = self._ended
        # With a pidfd the child is not reaped yet, so its number, and the group's, cannot have been reused.
        self._signal(SIGKILL)
        self._ended = True
        try:
            self.child.wait(REAP_TIMEOUT)
        except subprocess.TimeoutExpired:
            # If no thread can be started, `subprocess` reaps the child when it next starts a process.
            with suppress(BlockingIOError):
                start_in_thread(self.child.wait)
        self._reaped = True
        if self._has_tools or not ended_by_itself:
            self._kill_orphans()

    def _kill_orphans(self) -> None:
        """Kill the processes that have the run's folder in their environment, and those they start meanwhile."""
        if self._owner_watch is None:
            return
        for _ in range(ORPHAN_ROUNDS):
            found = marked_processes(self._owner_watch.folder)
            if not found:
                return
            signal_tree(found, SIGKILL)
            sleep(ORPHAN_PAUSE)


def _open_pidfd(pid: int) -> int | None:
    """Return a descriptor that becomes readable when `pid` ends; None if there is none (not Linux, old kernel)."""
    opener = getattr(os, "pidfd_open", None)
    try:
        return None if opener is None else opener(pid)
    except OSError:
        return None


def _waiting_bytes(pipe: IO[bytes]) -> int:
    """Return how many bytes can be read from a pipe right now."""
    count = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def _raise_cancelled(_: object) -> None:
    raise ChildCancelledError


def _read(pipe: IO[bytes]) -> bytes | None:
    """Return at most `READ_SIZE` bytes: empty at the end of the stream, None if nothing has arrived yet."""
    try:
        return os.read(pipe.fileno(), READ_SIZE)
    except BlockingIOError:
        return None
