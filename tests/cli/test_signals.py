"""The command line ends by SIGTERM and SIGHUP as by Ctrl-C: what runs is cancelled, cleaned up and traced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.servers import Conversation, Server, eventually
from helpers.stream_servers import HEL, ROLE, streaming
from lee_llm_router.cli.signals import EndedBySignalError, signals_as_errors
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

CONFIG = {
    "llm": {
        "providers": {"served": {"type": "http", "base_url": ""}},
        "roles": {"r": {"provider": "served", "model": "m"}},
        "trace": {"dir": "traces"},
    }
}
COMMAND = [sys.executable, "-W", "error", "-m", "lee_llm_router", "complete", "--config", "c.json", "hi"]


@pytest.fixture(autouse=True)
def default_actions() -> Iterator[None]:
    """What a tool that measures the tests has set is put back afterwards."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def start(folder: Path, server: Server, *words: str) -> subprocess.Popen[bytes]:
    CONFIG["llm"]["providers"]["served"]["base_url"] = server.url  # type: ignore[index]
    (folder / "c.json").write_text(json.dumps(CONFIG))
    return subprocess.Popen(
        [*words, *COMMAND], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_an_answer_cancels_it(tmp_path: Path, number: signal.Signals) -> None:
    """The connection is closed, the attempt is traced, and whoever sent the signal sees that it was obeyed."""
    with Server(streaming(ROLE, HEL, then=Conversation.stall)) as server, start(tmp_path, server) as child:
        assert child.stdout is not None
        assert child.stdout.read(3) == b"hel"
        child.send_signal(number)
        out, err = child.communicate(timeout=30)
        assert eventually(lambda: server.open == 0)
    assert (child.returncode, out, err) == (-number, b"\n", b"")
    (record,) = LocalFileTraceStore(trace_dir=tmp_path / "traces").last()
    assert record.outcome == "cancelled"


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """So it is for a program that nohup has started."""
    with Server(streaming(ROLE, HEL, then=Conversation.stall)) as server:
        shell = ["/bin/sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]
        with start(tmp_path, server, *shell) as child:
            assert child.stdout is not None
            assert child.stdout.read(3) == b"hel"
            child.send_signal(signal.SIGHUP)
            child.send_signal(signal.SIGTERM)
            child.communicate(timeout=30)
    assert child.returncode == -signal.SIGTERM


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_does_not_break_the_clean_up(first: signal.Signals) -> None:
    cleaned = False
    with pytest.raises(EndedBySignalError) as caught, signals_as_errors():
        try:
            os.kill(os.getpid(), first)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGHUP)
            cleaned = True
    assert (cleaned, caught.value.number) == (True, first)


def test_handlers_of_others_are_left_alone() -> None:
    """And ours are gone afterwards."""
    came: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: came.append(number))
    with signals_as_errors():
        os.kill(os.getpid(), signal.SIGHUP)
    assert came == [signal.SIGHUP]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    passed = []

    def work() -> None:
        with signals_as_errors():
            passed.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert passed == [signal.SIG_DFL]
