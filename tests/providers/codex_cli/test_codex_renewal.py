"""A login that has run out is renewed once, however many attempts need it, and is never lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, time

import pytest

from helpers.agent_calls import FOREVER, HANG, ask, complete, failure
from helpers.codex_support import service
from helpers.fake_codex import FakeCodex
from helpers.logins import ASKS_WITH_LOGIN, LoginServer, login, refresh_token, web_token
from helpers.servers import eventually
from lee_llm_router.errors import FailureType as F
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.child_process import lent_file
from lee_llm_router.providers.codex_cli import CodexCLIProvider
from lee_llm_router.providers.codex_cli.login import renewal_due
from real import responses_server as rs

CALLER = """
import sys
from lee_llm_router import LLMRequest
from lee_llm_router.providers.codex_cli import CodexCLIConfig, CodexCLIProvider
subject = CodexCLIProvider("codex", CodexCLIConfig(command=sys.argv[1]))
print(subject.complete(LLMRequest(messages=({"role": "user", "content": "hi"},), model="m"), 60).text)
"""


@contextmanager
def asking(codex: FakeCodex, server: LoginServer) -> Iterator[None]:
    with rs.serve(server) as running:
        codex.script(before=f"URL = {running.base_url!r}\n{ASKS_WITH_LOGIN}")
        yield


def answers_of_threads(codex: FakeCodex, number: int) -> list[str]:
    subject = service(codex)
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(lambda _: complete(subject).text, range(number)))


def answers_of_processes(codex: FakeCodex, number: int) -> list[str]:
    command = [sys.executable, "-c", CALLER, str(codex.path)]
    temp = {"TMPDIR": str(codex_temp())}
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **temp}) for _ in range(number)
    ]
    return [child.communicate(timeout=HANG)[0].strip() for child in children]


def codex_temp() -> Path:
    return Path(os.environ["HOME"]).parent / "temp"


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize(
    ("answers_of", "number"), [(answers_of_threads, 4), (answers_of_threads, 9), (answers_of_processes, 4)]
)
def test_of_several_attempts_at_once_all_answer(
    codex: FakeCodex, machine: Path, answers_of: Callable[[FakeCodex, int], list[str]], refused: bool, number: int
) -> None:
    """Be they threads of one router or processes with one home, and whether codex or the service finds it expired."""
    auth = machine / ".codex/auth.json"
    auth.write_text(json.dumps(login(1, 3600 if refused else -60)))
    server = LoginServer(refuses_first=refused, delay=0.1)
    with asking(codex, server):
        assert answers_of(codex, number) == ["hello"] * number
    assert server.renewals.count(True) == 1
    if not refused:
        assert server.renewals == [True], "a renewal that is foreseen is asked for once"
    assert json.loads(auth.read_text())["tokens"]["refresh_token"] == refresh_token(2)


def test_a_renewed_login_is_in_place_while_codex_still_runs(codex: FakeCodex, machine: Path) -> None:
    """Others who wait for it do not wait for the answer, and it is not lost with this process."""
    auth = machine / ".codex/auth.json"
    auth.write_text(json.dumps(login(1, -60)))
    server = LoginServer()
    with rs.serve(server) as running:
        # Ends only when the original has been renewed.
        waits = f"while {refresh_token(2)!r} not in Path({str(auth)!r}).read_text(): time.sleep(0.01)"
        codex.script(before=f"URL = {running.base_url!r}\n{ASKS_WITH_LOGIN}\n{waits}")
        assert complete(service(codex)).text == "hello"


def test_a_login_renewed_by_others_reaches_a_codex_that_runs(codex: FakeCodex, machine: Path) -> None:
    """Codex reads its login again before it renews it, so a long run can go on."""
    auth = machine / ".codex/auth.json"
    auth.write_text(json.dumps(login(1, 3600)))
    replaced = json.dumps(login(2, 3600))
    codex.script(
        before=f"original = Path({str(auth)!r}); original.write_text({replaced!r})\n"
        "copy = Path(os.environ['CODEX_HOME'], 'auth.json')\n"
        "while copy.read_text() != original.read_text(): time.sleep(0.01)"
    )
    assert complete(service(codex)).text == "hello"
    assert auth.read_text() == replaced


def test_a_refusal_that_nobody_else_explains_is_a_refusal(codex: FakeCodex, machine: Path) -> None:
    """It is made once: the login is what it was."""
    auth = machine / ".codex/auth.json"
    auth.write_text(json.dumps(login(5, 3600)))
    with asking(codex, LoginServer()):
        assert failure(service(codex)).failure_type is F.AUTH
    assert len(codex.runs) == 1


def test_an_agent_that_has_begun_its_work_is_not_started_again(codex: FakeCodex, machine: Path) -> None:
    """Though its login was refused and is outdated: it may have changed something."""
    auth = machine / ".codex/auth.json"
    auth.write_text(json.dumps(login(1, 3600)))
    event = {"type": "item.started", "item": {"type": "command_execution", "command": "rm x"}}
    refusal = {"type": "turn.failed", "error": {"message": "your refresh token was already used"}}
    codex.script(
        [{"type": "turn.started"}, event, refusal], exit=1,
        before=f"Path({str(auth)!r}).write_text({json.dumps(login(2, 3600))!r})",
    )  # fmt: skip
    assert failure(service(codex, agent=True)).failure_type is F.AUTH
    assert len(codex.runs) == 1


def test_an_attempt_does_not_wait_past_its_timeout_for_another_to_renew(codex: FakeCodex, machine: Path) -> None:
    auth = machine / ".codex/auth.json"
    auth.write_text(json.dumps(login(1, -60)))
    codex.script([], before=f"time.sleep(1)\n{FOREVER}")
    began = monotonic()
    with ThreadPoolExecutor(3) as pool:
        failures = list(pool.map(lambda _: failure(service(codex), timeout=2), range(3)))
    assert {one.failure_type for one in failures} == {F.TIMEOUT}
    assert monotonic() - began < HANG


def test_an_answer_lets_others_go_before_it_ends(codex: FakeCodex, machine: Path) -> None:
    """An attempt whose login was not renewed after all does not hold back the others until its end."""
    auth = machine / ".codex/auth.json"
    auth.write_text(json.dumps(login(1, 200)))
    first = codex.folder / "first-answered"
    thought = json.dumps({"type": "item.completed", "item": {"type": "reasoning", "text": "hm"}})
    codex.script(
        before=f"first = Path({str(first)!r})\n"
        "try: first.touch(exist_ok=False)\n"
        f"except OSError: Path({str(codex.folder / 'second-came')!r}).touch()\n"
        "else:\n"
        f"    print({thought!r}, flush=True)\n"
        f"    while not os.path.exists({str(codex.folder / 'second-came')!r}): time.sleep(0.01)\n"
    )
    assert answers_of_threads(codex, 2) == ["hello", "hello"]


# An attempt that is ended in the middle of a renewal


async def cancelled(subject: CodexCLIProvider, renewing: threading.Event) -> None:
    task = asyncio.create_task(subject.complete_async(ask(), HANG))
    await asyncio.to_thread(renewing.wait, HANG)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def stream_cancelled(subject: CodexCLIProvider, renewing: threading.Event) -> None:
    task = asyncio.create_task(subject.stream_async(ask(), HANG))
    await asyncio.to_thread(renewing.wait, HANG)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def interrupted(subject: CodexCLIProvider, renewing: threading.Event, times: int = 1) -> None:
    """By Ctrl-C."""

    def press() -> None:
        renewing.wait(HANG)
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        complete(subject)
    presser.join()


def timed_out(subject: CodexCLIProvider, _: threading.Event) -> None:
    """Or answered: the child may be quicker with that than we are to see its new login."""
    with suppress(LLMRouterError):
        subject.complete(ask(), 2)


ENDS: dict[str, Callable[[CodexCLIProvider, threading.Event], object]] = {
    "cancelled": lambda subject, renewing: asyncio.run(cancelled(subject, renewing)),
    "cancelled as a stream": lambda subject, renewing: asyncio.run(stream_cancelled(subject, renewing)),
    "interrupted": interrupted,
    "timed out": timed_out,
}


@pytest.mark.parametrize("end", ENDS)
def test_a_renewal_under_way_is_waited_for_when_its_attempt_is_ended(codex: FakeCodex, machine: Path, end: str) -> None:
    """The service has renewed the login already, and takes the old one no more."""
    auth = machine / ".codex/auth.json"
    auth.write_text(json.dumps(login(1, -60)))
    server = LoginServer(delay=2.2 if end == "timed out" else 0.5)
    with asking(codex, server):
        ENDS[end](service(codex), server.asked)
        assert json.loads(auth.read_text())["tokens"]["refresh_token"] == refresh_token(2)
        assert complete(service(codex)).text == "hello"
    assert server.renewals == [True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_renewal_under_way_is_waited_for_when_the_process_dies(
    codex: FakeCodex, machine: Path, number: signal.Signals
) -> None:
    """Meanwhile nobody else renews the login; an attempt elsewhere waits for it."""
    auth = machine / ".codex/auth.json"
    auth.write_text(json.dumps(login(1, -60)))
    server = LoginServer(delay=0.5)
    with asking(codex, server):
        command = [sys.executable, "-c", CALLER, str(codex.path)]
        environment = {**os.environ, "TMPDIR": str(codex_temp())}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as caller:
            assert server.asked.wait(HANG)
            caller.send_signal(number)
        assert complete(service(codex)).text == "hello"
        assert eventually(lambda: not list(codex_temp().iterdir()), HANG)
    assert server.renewals == [True]
    assert json.loads(auth.read_text())["tokens"]["refresh_token"] == refresh_token(2)


def test_a_renewal_that_does_not_come_holds_up_an_end_for_a_moment_only(codex: FakeCodex, machine: Path) -> None:
    """And a second Ctrl-C not even that."""
    (machine / ".codex/auth.json").write_text(json.dumps(login(1, -60)))
    server = LoginServer(delay=HANG)
    with asking(codex, server):
        ENDS["cancelled"](service(codex), server.asked)
        server.asked.clear()
        interrupted(service(codex), server.asked, times=2)
    assert server.renewals == []


NOW = 1_800_000_000.0


def _with_token(**claims: object) -> dict[str, object]:
    return {"tokens": {"access_token": web_token(**claims), "refresh_token": "r"}}


@pytest.mark.parametrize(
    ("content", "due"),
    [
        (_with_token(exp=NOW - 1), True),
        (_with_token(exp=NOW + 299), True),
        (_with_token(exp=NOW + 1000), False),
        (_with_token(exp=int(NOW)), True),
        ({"tokens": {"access_token": web_token(exp=NOW - 1)}}, False),
        ({**_with_token(), "last_refresh": "2026-12-01T00:00:00Z"}, True),
        ({**_with_token(), "last_refresh": "2027-01-14T00:00:00.123456789Z"}, False),
        ({**_with_token(exp="soon"), "last_refresh": 5}, False),
        ({"OPENAI_API_KEY": "sk-1"}, False),
        ({"tokens": {"access_token": "a.b.c", "refresh_token": "r"}, "last_refresh": "2026-12-01T00:00:00Z"}, True),
        ({"tokens": {"access_token": ["x"], "refresh_token": 7}}, False),
        ({"tokens": []}, False),
        ([], False),
    ],
)
def test_a_renewal_is_foreseen(content: object, due: bool) -> None:
    """From the end of the access token, else from the age of the login; only for what can be renewed."""
    assert renewal_due(json.dumps(content).encode(), NOW) is due


@pytest.mark.parametrize("content", [b"", b"\xff", b"{", b"[" * 100_000, b'{"tokens": {"access_token": "' + b"." * 9])
def test_a_broken_login_is_not_due(content: bytes) -> None:
    assert renewal_due(content, NOW) is False


# Where the renewed login goes


def refuse(self: Path, target: object) -> None:
    raise OSError(16, "Device or resource busy")


def test_a_login_that_cannot_be_replaced_is_written_in_place(
    codex: FakeCodex, machine: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is mounted by itself can be written, but nothing can be renamed over it."""
    auth = machine / ".codex/auth.json"
    auth.write_text(json.dumps({**login(1, -60), "padding": "x" * 5000}))
    number = auth.stat().st_ino
    monkeypatch.setattr(Path, "replace", refuse)
    renewed = json.dumps(login(2, 3600))
    codex.script(before=f"Path(os.environ['CODEX_HOME'], 'auth.json').write_text({renewed!r})")
    for _ in range(2):
        assert complete(service(codex)).text == "hello"
    assert (auth.read_text(), auth.stat().st_ino) == (renewed, number)
    assert len(list(auth.parent.iterdir())) == 2
    assert caplog.text == ""


def test_a_login_that_cannot_be_kept_is_told_with_path_and_reason(
    codex: FakeCodex, machine: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    auth = machine / ".codex/auth.json"
    auth.write_text(json.dumps(login(1, -60)))

    def full(path: Path, content: bytes) -> None:
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(lent_file, "replace_content", full)
    renewed = json.dumps(login(2, 3600))
    codex.script(before=f"Path(os.environ['CODEX_HOME'], 'auth.json').write_text({renewed!r}); time.sleep(0.3)")
    assert complete(service(codex)).text == "hello"
    [warning] = caplog.messages
    assert str(auth) in warning
    assert "Disk quota exceeded" in warning


def test_a_login_of_the_time_before_is_not_waited_for(machine: Path, codex: FakeCodex) -> None:
    """A login that is good for long is taken by all at once: nobody holds a claim to it."""
    auth = machine / ".codex/auth.json"
    auth.write_text(json.dumps(login(1, 3600)))
    began = time()
    all_there = codex.folder / "here-"
    codex.script(
        before=f"Path({str(all_there)!r} + str(os.getpid())).touch()\n"
        f"while len(list(Path({str(codex.folder)!r}).glob('here-*'))) < 3: time.sleep(0.01)"
    )
    assert answers_of_threads(codex, 3) == ["hello"] * 3
    assert time() - began < HANG
