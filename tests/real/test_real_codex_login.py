"""The real codex with a login that has run out, and in a process that dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep

import pytest

from helpers.logins import LoginServer, login, refresh_token
from lee_llm_router import LeeLLMRouter
from real import responses_server as rs

pytestmark = pytest.mark.real

HANG = 120.0
TOKEN_ADDRESS = "CODEX_REFRESH_TOKEN_URL_OVERRIDE"
CALLER = """
import sys
from lee_llm_router import LeeLLMRouter
with LeeLLMRouter.from_file(sys.argv[1]) as router:
    print(router.complete("r", "hello").text)
"""


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, also of the processes started; the login is next to it."""
    folder = tmp_path / "temp"
    folder.mkdir()
    (tmp_path / "codex-home").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex-home"))
    return folder


def config_for(codex: str, address: str, temp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a configuration for a codex that asks a loopback server, for answers and for tokens."""
    monkeypatch.setenv(TOKEN_ADDRESS, f"{address}/oauth/token")
    provider = {
        "type": "codex_cli", "command": codex, "env": [TOKEN_ADDRESS],
        "extra_config": {"model_providers.lee_llm_router.base_url": address},
    }  # fmt: skip
    roles = {"r": {"provider": "codex", "model": "m"}}
    path = temp.parent / "llm.json"
    path.write_text(
        json.dumps({"llm": {"providers": {"codex": provider}, "roles": roles, "trace": {"enabled": False}}})
    )
    return path


def of_threads(config: Path, number: int) -> list[str]:
    with LeeLLMRouter.from_file(config) as router, ThreadPoolExecutor(number) as pool:
        return list(pool.map(lambda _: router.complete("r", "hello").text, range(number)))


def of_processes(config: Path, number: int) -> list[str]:
    command = [sys.executable, "-c", CALLER, str(config)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(number)]
    return [child.communicate(timeout=HANG)[0].strip() for child in children]


@pytest.mark.parametrize("answers_of", [of_threads, of_processes])
@pytest.mark.parametrize("refused", [False, True])
def test_of_four_attempts_with_a_login_that_has_run_out_four_answer(
    codex_path: str, temp: Path, monkeypatch: pytest.MonkeyPatch, answers_of: Callable[[Path, int], list[str]],
    refused: bool,
) -> None:  # fmt: skip
    """Threads of one router or processes with one home; whether codex or only the service finds the login expired."""
    auth = temp.parent / "codex-home/auth.json"
    auth.write_text(json.dumps(login(1, 3600 if refused else -60)))
    server = LoginServer(refuses_first=refused, delay=0.3)
    with rs.serve(server) as running:
        config = config_for(codex_path, running.base_url, temp, monkeypatch)
        assert answers_of(config, 4) == ["hello"] * 4
    assert server.renewals.count(True) == 1
    assert refused or server.renewals == [True]
    assert json.loads(auth.read_text())["tokens"]["refresh_token"] == refresh_token(2)
    assert [path.name for path in auth.parent.iterdir()] == ["auth.json"]
    assert list(temp.iterdir()) == []


@pytest.mark.parametrize(("ends_in", "renewed"), [(-1, True), (240, True), (400, False), (3600, False)])
def test_codex_renews_a_login_in_its_last_five_minutes(
    codex_path: str, temp: Path, monkeypatch: pytest.MonkeyPatch, ends_in: float, renewed: bool
) -> None:
    """The claim to a renewal depends on that."""
    auth = temp.parent / "codex-home/auth.json"
    auth.write_text(json.dumps(login(1, ends_in)))
    server = LoginServer()
    with rs.serve(server) as running:
        config = config_for(codex_path, running.base_url, temp, monkeypatch)
        assert of_threads(config, 1) == ["hello"]
    assert server.renewals == [True] * renewed


@pytest.mark.parametrize("end", ["cancelled", "killed", "terminated"])
def test_a_renewal_under_way_survives_the_end_of_its_attempt(
    codex_path: str, temp: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Codex gets the time to write down what the service has renewed already."""
    auth = temp.parent / "codex-home/auth.json"
    auth.write_text(json.dumps(login(1, -60)))
    server = LoginServer(delay=1.0)
    with rs.serve(server) as running:
        config = config_for(codex_path, running.base_url, temp, monkeypatch)
        if end == "cancelled":
            asyncio.run(cancelled_call(config, server))
        else:
            with subprocess.Popen([sys.executable, "-c", CALLER, str(config)]) as caller:
                assert server.asked.wait(HANG)
                caller.kill() if end == "killed" else caller.terminate()
        assert of_threads(config, 1) == ["hello"]
        until = monotonic() + HANG
        while list(temp.iterdir()) and monotonic() < until:
            sleep(0.02)
    assert server.renewals == [True]
    assert json.loads(auth.read_text())["tokens"]["refresh_token"] == refresh_token(2)
    assert list(temp.iterdir()) == []


async def cancelled_call(config: Path, server: LoginServer) -> None:
    async with LeeLLMRouter.from_file(config) as router:
        call = asyncio.create_task(router.complete_async("r", "hello"))
        await asyncio.to_thread(server.asked.wait, HANG)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


def tagged(temp: Path) -> list[str]:
    """The processes that have the folder in their environment or command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                held = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(temp) in held:
                found.append(entry.name)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("as_command", [False, True])
def test_a_process_that_dies_leaves_no_codex_and_no_login(
    codex_path: str, temp: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, as_command: bool
) -> None:
    (temp.parent / "codex-home/auth.json").write_text(json.dumps(login(1, 3600)))
    with rs.serve(rs.silent) as running:
        config = config_for(codex_path, running.base_url, temp, monkeypatch)
        command = [sys.executable, "-c", CALLER, str(config)]
        if as_command:
            command = [sys.executable, "-m", "lee_llm_router", "complete", "--config", str(config), "hello"]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as caller:
            while not running.posts:
                sleep(0.02)
            assert list(temp.rglob("auth.json"))
            caller.send_signal(number)
            caller.communicate(timeout=HANG)
        until = monotonic() + HANG
        while (list(temp.iterdir()) or tagged(temp)) and monotonic() < until:
            sleep(0.02)
        assert list(temp.iterdir()) == []
        assert tagged(temp) == []
