"""Whatever happens to a run of `command`, or to the process it is run by, no child, folder or descriptor is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from helpers.child_support import HANG, alive, linux
from helpers.servers import eventually
from lee_llm_router import LLMRequest, LLMResponse
from lee_llm_router.errors import ProviderError
from lee_llm_router.providers.command import CommandConfig, CommandProvider

REQUEST = LLMRequest(messages=({"role": "user", "content": "hello"},), model="m")
# Notes its number, starts a child in a session of its own, and then answers, or waits for ever.
PROGRAM = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-IS", "-c", "import time; time.sleep(999)"], start_new_session=True)
notes = pathlib.Path(sys.argv[1])
(notes / f"{os.getpid()}.part").write_text(f"{os.getpid()} {child.pid}")
(notes / f"{os.getpid()}.part").rename(notes / f"{os.getpid()}.pids")
while not (notes / "go").exists():
    time.sleep(0.01)
print("done")
"""
OWN: dict[str, Any] = {"env": ("HOME",), "set_env": {"TMPDIR": "/tmp"}}
"""Settings by which a run has nothing private in its usual variables."""
CALLER = """
import sys
from lee_llm_router import LLMRequest
from lee_llm_router.providers.command import CommandConfig, CommandProvider
subject = CommandProvider("c", CommandConfig(argv=[sys.executable, *sys.argv[1:]]))
subject.complete(LLMRequest(messages=({"role": "user", "content": "hi"},), model="m"), 600)
"""


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temp"
    folder.mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def noted(temp: Path) -> list[list[int]]:
    """Return the numbers of each program that has begun, and of its child."""
    return [[int(pid) for pid in note.read_text().split()] for note in (temp.parent / "notes").glob("*.pids")]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@linux
def test_of_32_at_once_a_third_killed_and_a_third_cancelled_nothing_is_left(temp: Path) -> None:
    words = ("-IS", str(temp.parent / "program.py"), str(temp.parent / "notes"))
    subject = CommandProvider("c", CommandConfig(argv=(sys.executable, *words), effects="none"))
    before = descriptors()

    async def all_of_them() -> list[LLMResponse | BaseException]:
        runs = [asyncio.ensure_future(subject.complete_async(REQUEST, 600)) for _ in range(32)]
        while len(noted(temp)) < 32:
            await asyncio.sleep(0.01)
        for pid, _ in noted(temp)[:11]:
            os.kill(pid, signal.SIGKILL)
        for run in runs[:11]:
            run.cancel()
        # The killed ones are known by then to have failed, or to have been cancelled as well.
        (temp.parent / "notes/go").touch()
        return await asyncio.gather(*runs, return_exceptions=True)

    ends = asyncio.run(all_of_them())
    answers = [one for one in ends if isinstance(one, LLMResponse)]
    assert all(isinstance(one, (LLMResponse, ProviderError, asyncio.CancelledError)) for one in ends)
    assert 10 <= len(answers) <= 21
    assert {one.text for one in answers} == {"done"}
    assert eventually(lambda: not any(alive(pid) for pids in noted(temp) for pid in pids), HANG)
    assert list(temp.iterdir()) == []
    assert descriptors() == before


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_ends_with_the_process_that_runs_it(temp: Path, number: signal.Signals) -> None:
    words = ["-IS", str(temp.parent / "program.py"), str(temp.parent / "notes")]
    environment = {**os.environ, "TMPDIR": str(temp)}
    with subprocess.Popen([sys.executable, "-c", CALLER, *words], env=environment) as caller:
        assert eventually(lambda: len(noted(temp)) == 1, HANG)
        caller.send_signal(number)
    assert eventually(lambda: not any(alive(pid) for pids in noted(temp) for pid in pids), HANG)
    assert eventually(lambda: list(temp.iterdir()) == [], HANG)


@linux
@pytest.mark.parametrize("end", ["well", "killed", "cancelled after it was killed", "timeout"])
def test_a_daemon_of_a_run_is_ended_with_it(temp: Path, end: str) -> None:
    """It has a session of its own, holds no pipe, and its parent is gone."""
    code = temp.parent / "program.py"
    null = "start_new_session=True, stdin=-3, stdout=-3, stderr=-3"
    code.write_text(PROGRAM.replace("start_new_session=True", null))
    words = ("-IS", str(code), str(temp.parent / "notes"))
    subject = CommandProvider("c", CommandConfig(argv=(sys.executable, *words), term_grace=0, effects="none", **OWN))

    async def one() -> None:
        run = asyncio.ensure_future(subject.complete_async(REQUEST, 2 if end == "timeout" else 600))
        while not noted(temp):
            await asyncio.sleep(0.01)
        if end == "well":
            (temp.parent / "notes/go").touch()
        elif end != "timeout":
            os.kill(noted(temp)[0][0], signal.SIGKILL)
        if end == "cancelled after it was killed":
            run.cancel()
        await asyncio.wait([run])
        assert run.cancelled() or (run.exception() is None) is (end == "well")

    asyncio.run(one())
    assert eventually(lambda: not any(alive(pid) for pids in noted(temp) for pid in pids), HANG)
