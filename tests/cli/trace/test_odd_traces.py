"""Commands on traces in odd cases: stores of somebody else's, no browser, readers that are gone, calls with little."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.command_line import Run
from helpers.records import make
from helpers.support import EPOCH
from lee_llm_router import LocalFileTraceStore, TraceRecord, register_store
from lee_llm_router.cli.trace import follow as following
from lee_llm_router.cli.trace import otlp_sending
from lee_llm_router.cli.trace.follow import follow_calls
from lee_llm_router.cli.trace.replay_request import CannotReplayError, replay_request
from lee_llm_router.errors import UnavailableError
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.telemetry.report.server import ReportServer
from lee_llm_router.testing import FakeClock

CONFIG = "llm:\n  providers: {p: {type: mock}}\n  roles: {r: {provider: p}}\n  trace: {store: of_tests_bare}\n"


class Bare:
    """A store of somebody else's: it has `last` and `find` alone."""

    def write(self, record: TraceRecord) -> None:
        pass

    def last(self, n: int = 1) -> list[TraceRecord]:
        return []

    def find(self, request_id: str) -> list[TraceRecord]:
        return []


register_store("of_tests_bare", Bare, replace=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("path",), "names no file or folder"),
        (("prune", "--all", "--yes"), "cannot be deleted here: it has no `pruners`"),
    ],
)
def test_what_a_store_of_somebody_else_s_cannot_do_is_told(
    words: tuple[str, ...], told: str, run: Run, here: Path
) -> None:
    (here / "lee-llm-router.yaml").write_text(CONFIG)
    code, out, err = run("trace", *words)
    assert code != 0 and out == "" and told in " ".join(err.split())


def test_a_page_for_which_no_browser_starts_is_served_all_the_same(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)  # and returns nothing, as where there is none
    monkeypatch.setattr(ReportServer, "serve_forever", lambda self, poll_interval: None)
    (here / "t").mkdir()
    code, out, err = run("trace", "serve", "--dir", "t", "--open")
    assert code == 0 and out.startswith("http://127.0.0.1:") and len(opened) == 1
    assert "no browser could be started: open the address above yourself" in err
    assert opened != [out.strip()], "the browser's address works once, and stands in no history"


def test_whoever_follows_names_a_folder_that_need_not_be_there(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[Any] = []
    monkeypatch.setattr(following, "follow_calls", lambda store, show: followed.append((store, show)))
    assert run("trace", "follow", "--dir", "later")[0] == 0
    assert run("trace", "follow", "--dir", "later", "--json", "--attempts")[0] == 0
    kinds = [type(show.__self__).__name__ for _, show in followed]
    assert kinds == ["TableRows", "JsonRows"] and not (here / "later").exists()


def test_where_nobody_reads_any_more_nothing_is_followed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while no call ends: nothing is written then that would fail."""
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(fileno=lambda: write))
    clock, shown = FakeClock(), list[Any]()
    follow_calls(LocalFileTraceStore(here / "t"), shown.append, clock)
    os.close(write)
    assert shown == [] and clock.now == FakeClock().now


class Away:
    """A receiver that is not there."""

    def get(self) -> Away:
        return self

    def send(self, *_: object) -> None:
        raise UnavailableError("connection refused")

    def close(self) -> None:
        pass


def test_what_was_not_sent_is_not_said_to_be(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a call without a time, which no span can have."""
    store = LocalFileTraceStore(here / "t")
    store.write(make("a"))
    monkeypatch.setattr(otlp_sending, "LazyTransport", lambda *_, **__: Away())
    code, _, err = run("trace", "export", "--dir", "t", "--otlp", "http://host:4318")
    assert code == 1 and "connection refused" in err and "sent" not in err
    store.write(make("b", started_at="no moment"))
    (here / "t2").mkdir()
    other = LocalFileTraceStore(here / "t2")
    other.write(make("b", started_at="no moment"))
    other.close()
    err = run("trace", "export", "--dir", "t2", "--otlp", "http://host:4318")[2]
    assert "sent 0 calls" in err and "left out, without a time or too large for the receiver: 1 call" in err


def test_calls_of_which_little_is_known_are_shown(run: Run, here: Path) -> None:
    """A total of tokens alone, and an end that no attempt has brought."""
    store = LocalFileTraceStore(here / "t")
    store.write(make("total", usage=LLMUsage(total_tokens=12)))
    store.write(make("ended", outcome="error", verdict="next", elapsed_ms=5.0))
    store.write(make("ended", attempt=None, outcome="error", verdict="raise", at=EPOCH, elapsed_ms=90.0))
    assert "12 in all" in run("trace", "show", "total", "--dir", "t")[1]
    assert "ended here" in run("trace", "show", "ended", "--dir", "t")[1]


def test_a_call_that_asked_nobody_has_no_question_to_ask_again() -> None:
    call = TracedCall((make("a", attempt=None, outcome="error", verdict="raise"),))
    with pytest.raises(CannotReplayError, match="no target was asked"):
        replay_request(call, None)
