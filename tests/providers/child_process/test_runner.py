"""Child processes: their output arrives whole, they end in time, and no process or descriptor is left."""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from helpers.child_support import FOREVER, GRANDCHILD, HANG, IGNORES_TERM, alive, linux, no_thread, run
from lee_llm_router import InvalidRequestError, ProviderError
from lee_llm_router.providers.child_process import runner
from lee_llm_router.providers.child_process.runner import STDERR_TAIL, run_child

pytestmark = pytest.mark.usefixtures("nothing_stays")


@pytest.fixture(params=["pidfd", "old kernel", "no pidfd"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways in which the end of a child is noticed."""
    if request.param == "old kernel":

        def refuse(pid: int) -> int:
            raise OSError(errno.ENOSYS, "not here")

        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    elif request.param == "no pidfd":
        monkeypatch.delattr(os, "pidfd_open", raising=False)


# Output and input


@pytest.mark.usefixtures("way")
def test_lines_arrive_whole_whatever_their_length_and_content() -> None:
    """Only a newline byte ends a line; the last line needs none."""
    long = "x" * 300_000
    code = "import sys; sys.stdout.buffer.write(('a\\u2028b\\n\\r\\n' + 'x' * 300_000 + '\\nend').encode())"
    finished, lines = run(code)
    assert (finished.returncode, finished.end) == (0, "exit")
    assert lines == ["a\u2028b".encode(), b"\r", long.encode(), b"end"]


def test_lines_arrive_while_the_child_still_runs() -> None:
    """The child continues only after its first line was read."""
    with tempfile.TemporaryDirectory() as folder:
        go = Path(folder) / "go"
        code = f"import os, time\nprint('first', flush=True)\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)"
        finished, _ = run(code, on_line=lambda _: go.touch())
    assert (finished.returncode, finished.end) == (0, "exit")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sys; data = sys.stdin.buffer.read(); print(len(data), data[-1:])", b"5000000 b'z'"),
        ("import sys\nn = 0\nwhile d := sys.stdin.buffer.raw.read(999): n += len(d)\nprint(n)", b"5000000"),
        ("print('not interested')", b"not interested"),
        ("import os; os.close(0); print('closed')", b"closed"),
    ],
)
def test_a_large_input_reaches_a_child_that_reads_it_and_hangs_no_child(code: str, expected: bytes) -> None:
    finished, lines = run(code, stdin=b"a" * 4_999_999 + b"z")
    assert (finished.returncode, lines) == (0, [expected])


def test_both_outputs_are_read_at_once() -> None:
    """The child writes far more than a pipe holds to both; the end of stderr is kept."""
    code = "import sys\nfor _ in range(40): sys.stderr.write('e' * 9999); print('o' * 9999)\nsys.stderr.write('why')"
    finished, lines = run(code)
    assert len(lines) == 40
    assert len(finished.stderr) == STDERR_TAIL
    assert finished.stderr.endswith(b"why")


def test_a_flood_is_stopped_and_not_kept() -> None:
    """Of an endless line not even the part within the limit is passed on."""
    code = "import os\nos.write(1, b'line\\n')\nwhile True: os.write(1, b'x' * 65536)"
    finished, lines = run(code, max_output=1_000_000)
    assert finished.end == "flood"
    assert lines == [b"line"]


def test_a_flood_written_just_before_the_end_is_one_too() -> None:
    finished, lines = run("print('x' * 5000)", max_output=1000)
    assert (finished.end, lines) == ("flood", [])


def test_an_output_of_exactly_the_limit_is_no_flood() -> None:
    finished, lines = run("print('x' * 999)", max_output=1000)
    assert (finished.end, lines) == ("exit", [b"x" * 999])


def test_the_environment_is_exactly_what_was_given(tmp_path: Path) -> None:
    code = "import os; print(sorted(k for k in os.environ if k != 'LC_CTYPE'), os.getcwd())"
    _, lines = run(code, env={"ONLY": "this"}, cwd=tmp_path)
    assert lines == [f"['ONLY'] {tmp_path.resolve()}".encode()]


# Ends


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("code", [3, 0, 255])
def test_the_exit_code_is_returned(code: int) -> None:
    finished, _ = run(f"raise SystemExit({code})")
    assert (finished.returncode, finished.end) == (code, "exit")


@pytest.mark.usefixtures("way")
def test_a_hanging_child_is_asked_to_end_before_the_timeout() -> None:
    finished, _ = run(FOREVER, timeout=0.4)
    assert (finished.returncode, finished.end) == (-signal.SIGTERM, "timeout")


@pytest.mark.usefixtures("way")
def test_a_child_that_ignores_sigterm_is_killed_at_the_timeout() -> None:
    began = monotonic()
    finished, lines = run(IGNORES_TERM, timeout=1.5, grace=0.3)
    assert (finished.returncode, finished.end, lines) == (-signal.SIGKILL, "timeout", [b"ready"])
    assert 1.5 <= monotonic() - began < HANG


def test_a_child_may_end_well_when_asked_to() -> None:
    code = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(0)))\n"
    finished, lines = run(code + "print('ready', flush=True)\n" + FOREVER, timeout=2, grace=1)
    assert (finished.returncode, finished.end, lines) == (0, "timeout", [b"ready", b"saved"])


def test_closed_outputs_are_not_an_end() -> None:
    """A child that has closed both outputs is still waited for."""
    finished, _ = run("import os, time; os.close(1); os.close(2); time.sleep(0.3); os._exit(7)")
    assert (finished.returncode, finished.end) == (7, "exit")


@linux
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("last", ["", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_grandchild_that_holds_the_pipes_is_neither_waited_for_nor_left(last: str) -> None:
    """Nor if the child was itself killed by a signal."""
    began = monotonic()
    _, lines = run(f"{GRANDCHILD}print(spawn(), flush=True)\n{last}")
    assert monotonic() - began < HANG
    assert not alive(int(lines[0]))


@linux
@pytest.mark.parametrize("code", [FOREVER, IGNORES_TERM])
def test_a_grandchild_in_a_session_of_its_own_is_not_left(code: str) -> None:
    _, lines = run(f"{GRANDCHILD}print(spawn(start_new_session=True), flush=True)\n{code}", timeout=1.5)
    assert not alive(int(lines[0]))


@linux
def test_a_process_that_reuses_a_number_is_not_signalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that started after the descendants were looked up is not one of them."""
    sent: list[int] = []
    monkeypatch.setattr(runner, "descendants", lambda pid: {os.getpid(): "some other start time", 2**22 + 1: "1"})
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append(pid))
    run(FOREVER, timeout=0.4)
    assert sent == []


def test_a_child_that_cannot_be_killed_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As with another user's process. The run still ends, and the child is reaped when it ends."""
    go = tmp_path / "go"
    monkeypatch.setattr(runner, "REAP_TIMEOUT", 0.05)
    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", _refuse)
        patched.setattr(os, "kill", _refuse)
        code = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)"
        finished, _ = run(code, timeout=0.2)
    assert (finished.returncode, finished.end) == (None, "timeout")
    go.touch()


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_child_that_cannot_be_killed_ends_the_run_even_without_a_thread_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The result is still returned."""
    monkeypatch.setattr(runner, "REAP_TIMEOUT", 0.0)
    child: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", _refuse)
        patched.setattr(os, "kill", _refuse)
        patched.setattr(threading.Thread, "start", no_thread)
        finished, _ = run("import os; print(os.getpid(), flush=True)\n" + FOREVER, timeout=1.0,
                          on_line=lambda line: child.append(int(line)))  # fmt: skip
    assert (finished.returncode, finished.end) == (None, "timeout")
    os.kill(child[0], signal.SIGKILL)
    os.waitpid(child[0], 0)


def _refuse(pid: int, number: int) -> None:
    raise PermissionError(errno.EPERM, "not yours")


def test_a_process_forked_meanwhile_does_not_hold_the_run() -> None:
    """It inherits every descriptor of this process, including the child's pipes."""
    forked: list[int] = []

    def fork(_: bytes) -> None:
        pid = os.fork()
        if pid == 0:
            os.execv(sys.executable, [sys.executable, "-IS", "-c", FOREVER])
        forked.append(pid)

    code = "import sys\nprint('one', flush=True)\nprint(len(sys.stdin.read()))\n"
    try:
        finished, _ = run(code, stdin=b"x" * 100, on_line=lambda line: fork(line) if line == b"one" else None)
        assert (finished.returncode, finished.end) == (0, "exit")
    finally:
        for pid in forked:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


# Starts that fail


def executable(path: Path, content: bytes, mode: int = 0o755) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: [str(folder / "missing")], "No such file"),
        (lambda folder: [executable(folder / "program", b"#!/bin/sh\n", 0o644)], "Permission denied"),
        (lambda folder: [executable(folder / "program", b"\x00\x01garbage")], "Exec format error"),
        (lambda folder: [sys.executable, "x" * 4_000_000], "Argument list too long"),
    ],
)
def test_a_start_that_fails_says_why_and_is_final(make: Callable[[Path], list[str]], said: str, tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match=said) as caught:
        run_child(make(tmp_path), env={}, cwd="/", timeout=HANG)
    assert not caught.value.sent
    assert caught.value.final


def test_a_missing_working_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match=r"working folder .* does not exist"):
        run("pass", cwd=tmp_path / "missing")


@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
def test_words_no_command_line_can_carry_are_refused_unquoted(word: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        run_child([sys.executable, f"secret{word}"], env={}, cwd="/", timeout=HANG)
    assert not caught.value.sent
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
def test_a_full_disk_is_a_provider_error_that_may_pass(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(ProviderError, match=os.strerror(number)) as caught:
        run("pass")
    assert not caught.value.final
    assert not caught.value.sent


# Interrupts


def test_an_interrupt_from_the_keyboard_kills_the_child_and_is_re_raised() -> None:
    pids: list[int] = []

    def interrupt(line: bytes) -> None:
        pids.append(int(line))
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run("import os; print(os.getpid(), flush=True)\n" + FOREVER, on_line=interrupt)
    assert not alive(pids[0])
