"""When the process of the router dies, however it dies, its codex ends and its private folders are removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from helpers.agent_calls import FOREVER
from helpers.child_support import HANG, alive, linux
from helpers.fake_codex import FakeCodex
from helpers.logins import login
from helpers.servers import eventually
from lee_llm_router.providers.agents.attempt_dirs import PREFIX, attempt_dirs
from lee_llm_router.providers.child_process import owned_folder, owner_watch, process_tree
from lee_llm_router.providers.child_process.orphans import clean_up_after
from lee_llm_router.providers.child_process.owned_folder import sweep

CALLER = """
import sys
from lee_llm_router import LLMRequest
from lee_llm_router.providers.codex_cli import CodexCLIConfig, CodexCLIProvider
subject = CodexCLIProvider("codex", CodexCLIConfig(command=sys.argv[1]))
subject.complete(LLMRequest(messages=({"role": "user", "content": "hi"},), model="m"), 600)
"""
CONFIG = "llm: {{providers: {{c: {{type: codex_cli, command: {}}}}}, roles: {{r: {{provider: c, model: m}}}}}}\n"
IN_A_SESSION_OF_ITS_OWN = (
    "import subprocess\n"
    "other = subprocess.Popen([sys.executable, '-IS', '-c', 'import time; time.sleep(999)'],"
    " start_new_session=True, stdout=-3, stderr=-3)\n"
    "Path(sys.argv[0]).with_name('other-pid').write_text(str(other.pid))\n"
)


@contextmanager
def a_call(codex: FakeCodex, temp: Path, *, as_command: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the middle of a call."""
    command = [sys.executable, "-c", CALLER, str(codex.path)]
    if as_command:
        config = temp.parent / "c.yaml"
        config.write_text(CONFIG.format(codex.path))
        command = [sys.executable, "-m", "lee_llm_router", "complete", "--config", str(config), "hi"]
    environment = {**os.environ, "TMPDIR": str(temp)}
    with subprocess.Popen(command, env=environment, cwd=temp.parent, stderr=subprocess.PIPE) as caller:
        try:
            assert eventually(lambda: len(codex.runs) == 1, HANG)
            yield caller
        finally:
            caller.kill()


@pytest.fixture
def temp(machine: Path) -> Path:
    return machine.parent / "temp"


def everything_gone(codex: FakeCodex, temp: Path) -> bool:
    """Whether no folder is left, and no child."""
    return eventually(lambda: not list(temp.iterdir()), HANG) and not alive(codex.run["pid"])


@pytest.mark.parametrize("as_command", [False, True], ids=["library", "command line"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGABRT, signal.SIGQUIT])
def test_a_signal_leaves_no_child_and_no_login(
    codex: FakeCodex, temp: Path, number: signal.Signals, as_command: bool
) -> None:
    """Whether Python handles it or not."""
    codex.script(before=FOREVER)
    with a_call(codex, temp, as_command=as_command) as caller:
        assert list(temp.rglob("auth.json"))
        caller.send_signal(number)
        assert caller.wait(HANG) == -number
        assert everything_gone(codex, temp)


@linux
def test_a_process_that_has_left_the_group_ends_too(codex: FakeCodex, temp: Path) -> None:
    codex.script(before=f"{IN_A_SESSION_OF_ITS_OWN}{FOREVER}")
    with a_call(codex, temp) as caller:
        assert eventually((codex.folder / "other-pid").exists, HANG)
        caller.kill()
        assert everything_gone(codex, temp)
        assert not alive(int((codex.folder / "other-pid").read_text()))


@linux
def test_a_daemon_of_a_codex_that_is_gone_ends_too(codex: FakeCodex, temp: Path) -> None:
    """Its ancestors are all dead when this process dies."""
    stopped = "os.kill(os.getppid(), signal.SIGSTOP)"
    codex.script(before=f"{IN_A_SESSION_OF_ITS_OWN}{stopped}", exit=3)
    with a_call(codex, temp) as caller:
        assert eventually((codex.folder / "other-pid").exists, HANG)
        sleep(0.1)
        caller.kill()
        assert everything_gone(codex, temp)
        assert not alive(int((codex.folder / "other-pid").read_text()))


def test_a_login_renewed_just_before_is_kept(codex: FakeCodex, machine: Path, temp: Path) -> None:
    """The process is stopped before codex renews, so it cannot have seen that."""
    auth = machine / ".codex/auth.json"
    auth.write_text(json.dumps(login(1, 3600)))
    renewed = json.dumps(login(2, 3600))
    codex.script(
        before="os.kill(os.getppid(), signal.SIGSTOP)\n"
        f"Path(os.environ['CODEX_HOME'], 'auth.json').write_text({renewed!r})\n"
        f"Path(sys.argv[0]).with_name('done-1').touch()\n{FOREVER}"
    )
    with a_call(codex, temp) as caller:
        assert eventually((codex.folder / "done-1").exists, HANG)
        caller.kill()
        assert everything_gone(codex, temp)
    assert auth.read_text() == renewed


def test_signals_to_the_whole_group_do_not_keep_the_watch_from_its_work(codex: FakeCodex, temp: Path) -> None:
    """A service manager sends SIGTERM to every process of a service."""
    codex.script(before=f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{FOREVER}")
    with a_call(codex, temp) as caller:
        for pid in process_tree.descendants(caller.pid):
            os.kill(pid, signal.SIGTERM)
        caller.terminate()
        assert everything_gone(codex, temp)


@contextmanager
def an_owner(temp: Path, code: str, before: str = "") -> Iterator[int]:
    """A process that has private folders and waits; the number that its code prints."""
    lines = [
        "import os, subprocess, sys, time",
        before,
        "from lee_llm_router.providers.agents.attempt_dirs import attempt_dirs",
        "sleeper = subprocess.Popen(['/bin/sleep', '999'], start_new_session=True)",
        "with attempt_dirs() as dirs:",
        *(f"    {line}" for line in code.splitlines()),
        "    time.sleep(999)",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    environment = {**os.environ, "TMPDIR": str(temp)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        number = int(owner.stdout.readline())
        try:
            owner.kill()
            assert owner.wait() == -signal.SIGKILL
            yield number
        finally:
            os.kill(number, signal.SIGKILL) if alive(number) else None


@pytest.mark.parametrize("python", ["sys.frozen = True", "sys.executable = None", "sys.executable = {!r}"])
def test_without_a_python_the_shell_cleans_up(temp: Path, python: str, tmp_path: Path) -> None:
    """In a program that is frozen or embeds Python, or whose Python has gone away meanwhile."""
    (tmp_path / "python").symlink_to("/bin/false")
    python = python.format(str(tmp_path / "python"))
    code = "dirs.watch.tell(sleeper.pid)\nprint(sleeper.pid, flush=True)"
    with an_owner(temp, code, before=python) as pid:
        assert eventually(lambda: not list(temp.iterdir()), HANG)
        assert not alive(pid)


def test_a_child_that_is_reaped_is_not_ended_again(temp: Path) -> None:
    """Its number may be another's."""
    code = "dirs.watch.tell(sleeper.pid)\ndirs.watch.tell(None)\nprint(sleeper.pid, flush=True)"
    with an_owner(temp, code) as pid:
        assert eventually(lambda: not list(temp.iterdir()), HANG)
        assert alive(pid)


def test_a_forked_child_does_not_keep_its_parent_alive(temp: Path) -> None:
    """A worker forked in the middle of an attempt lives on when its parent dies; it holds no end of the pipe."""
    code = "sleeper.kill()\nforked = os.fork()\nif not forked: time.sleep(999)\nprint(forked, flush=True)"
    with an_owner(temp, code) as pid:
        assert eventually(lambda: not list(temp.iterdir()), HANG)
        assert alive(pid)


def test_a_forked_child_does_not_take_the_folder_of_its_parent(temp: Path) -> None:
    """It leaves the block as well."""
    code = (
        "from lee_llm_router.providers.agents.attempt_dirs import attempt_dirs\n"
        "import os\n"
        "with attempt_dirs() as dirs:\n"
        "    forked = os.fork()\n"
        "    if forked: os.waitpid(forked, 0)\n"
        "    if forked: assert dirs.work.is_dir()\n"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(temp)}, check=True)


@linux
def test_a_number_that_is_used_again_is_left_alone(temp: Path) -> None:
    other = subprocess.Popen(["/bin/sleep", "999"], start_new_session=True)
    folder = temp / "folder"
    folder.mkdir()
    clean_up_after(folder, (other.pid, "1"))
    assert (other.poll(), folder.exists()) == (None, False)
    other.kill()
    other.wait()


def test_a_system_without_a_shell_runs_codex_unwatched(
    codex: FakeCodex, temp: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And says so."""
    monkeypatch.setattr(owner_watch, "_SHELL", "/no/such/shell")
    before = len(os.listdir("/dev/fd"))
    with attempt_dirs() as dirs:
        dirs.watch.tell(1)
    assert "unwatched" in caplog.text
    assert len(os.listdir("/dev/fd")) == before


# What a dead owner has left, for the next program


def leave(temp: Path, name: str = "left") -> Path:
    """A folder as an owner leaves it that was killed together with its watch."""
    folder = temp / f"{PREFIX}{name}"
    (folder / "agent").mkdir(parents=True)
    (folder / "agent/auth.json").write_text("{}")
    return folder


def test_leftovers_are_swept_when_the_next_program_starts(
    codex: FakeCodex, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once in a process."""
    monkeypatch.setattr(owned_folder, "_swept", set())
    leave(temp)
    with attempt_dirs() as dirs:
        assert eventually(lambda: list(temp.iterdir()) == [dirs.root], HANG)
        again = leave(temp)
        with attempt_dirs():
            pass
        assert again.exists()
    sweep(PREFIX)


def test_a_folder_in_use_is_not_swept(temp: Path) -> None:
    """Neither another's nor one of this process."""
    with attempt_dirs() as one, attempt_dirs() as two:
        subprocess.run(
            [sys.executable, "-c", f"from {sweep.__module__} import sweep; sweep({PREFIX!r})"],
            env={**os.environ, "TMPDIR": str(temp)}, check=True,
        )  # fmt: skip
        sweep(PREFIX)
        assert one.work.is_dir()
        assert two.work.is_dir()


@pytest.mark.parametrize("kind", ["file", "link", "another prefix"])
def test_what_is_no_leftover_is_not_swept(temp: Path, tmp_path: Path, kind: str) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    thing = temp / (f"{PREFIX}x" if kind != "another prefix" else "lee-llm-router-other")
    if kind == "file":
        thing.touch()
    elif kind == "link":
        thing.symlink_to(kept)
    else:
        thing.mkdir()
    sweep(PREFIX)
    assert os.path.lexists(thing)
    assert kept.exists()
    thing.rmdir() if kind == "another prefix" else thing.unlink()


@linux
def test_a_codex_that_outlived_owner_and_watch_is_ended_by_the_sweep(codex: FakeCodex, temp: Path) -> None:
    """As after an out-of-memory kill of the whole service; and a login it renewed is kept."""
    auth = Path(os.environ["HOME"], ".codex/auth.json")
    renewed = json.dumps(login(2, 3600))
    codex.script(before=f"Path(sys.argv[0]).with_name('go-1').touch()\n{FOREVER}")
    with a_call(codex, temp) as caller:
        assert eventually((codex.folder / "go-1").exists, HANG)
        family = process_tree.descendants(caller.pid)
        child = codex.run["pid"]
        os.kill(caller.pid, signal.SIGSTOP)
        for pid in family.keys() - {child}:
            os.kill(pid, signal.SIGKILL)
        caller.kill()
        caller.wait()
    Path(codex.run["env"]["CODEX_HOME"], "auth.json").write_text(renewed)
    assert alive(child)
    sweep(PREFIX)
    assert list(temp.iterdir()) == []
    assert auth.read_text() == renewed
    until = monotonic() + HANG
    while alive(child) and monotonic() < until:
        sleep(0.01)
    assert not alive(child)
