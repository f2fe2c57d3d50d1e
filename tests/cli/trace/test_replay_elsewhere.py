"""`trace replay` where things are otherwise than at the call: no configuration, no such role, streams, a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from helpers.command_line import Run
from helpers.records import make
from lee_llm_router import LeeLLMRouter, LocalFileTraceStore, TraceRecord

CONFIG = """
llm:
  default_role: first
  providers: {one: {type: mock, echo: true}}
  roles: {first: {provider: one, model: m}}
  trace: {dir: t, capture: full}
"""
QUESTION = [{"role": "user", "content": "Capital of France?"}]


@pytest.fixture(autouse=True)
def asked(here: Path) -> None:
    (here / "lee-llm-router.yaml").write_text(CONFIG)
    with LeeLLMRouter.from_file(here / "lee-llm-router.yaml") as router, router.stream("first", QUESTION) as stream:
        for _ in stream:
            pass


def last() -> TraceRecord:
    return LocalFileTraceStore("t").last(1)[-1]


def test_what_was_streamed_is_streamed_again(run: Run) -> None:
    """Some models answer in no other way, and others take longer for it."""
    assert last().stream
    code, out, _ = run("trace", "replay", "@1")
    assert code == 0 and out.splitlines()[-1] == "Both answers are the same, word for word."
    assert last().stream and "replay_of" in last().metadata


def test_a_named_target_needs_no_configuration(run: Run, here: Path) -> None:
    """The traces lie where --dir says. A configuration that was named and is not there is another matter."""
    (here / "lee-llm-router.yaml").unlink()
    code, out, err = run("trace", "replay", "@1", "--dir", "t", "--target", "mock/m")
    assert (code, err) == (0, "") and "mock/m" in out
    assert run("trace", "replay", "@1", "--dir", "t")[0] == 2
    assert run("trace", "replay", "@1", "--dir", "t", "--target", "mock/m", "--config", "no.yaml")[0] == 2


def test_a_role_that_is_gone_has_to_be_named(run: Run, here: Path) -> None:
    (here / "lee-llm-router.yaml").write_text(CONFIG.replace("first", "other"))
    code, out, err = run("trace", "replay", "@1")
    assert (code, out) == (2, "") and "has no role 'first' any more; name one" in " ".join(
        err.replace("│", " ").split()
    )
    assert run("trace", "replay", "@1", "--role", "other")[0] == 0


def test_what_is_not_asked_again_is_said_before(run: Run) -> None:
    store = LocalFileTraceStore("t")
    settings = {"headers": {"X-Key": "***"}}
    store.write(make("masked", role="first", provider="one", messages=tuple(QUESTION), settings=settings, text="Paris"))
    store.close()
    code, _, err = run("trace", "replay", "masked")
    assert code == 0 and err == "lee-llm-router: not sent again: headers, because a key in them was masked\n"


def test_at_a_terminal_it_says_whom_it_asks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert "asking first ...\n" in run("trace", "replay", "@1")[2]
    assert "asking one/n ...\n" in run("trace", "replay", "@1", "--target", "one/n")[2]
