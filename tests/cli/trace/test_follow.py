"""`trace follow`: a row for each call as it ends, whichever process made it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.command_line import Run, command
from helpers.drawn_examples import examples
from helpers.records import make
from helpers.servers import eventually
from helpers.support import FakeClock
from helpers.trace_set import trace_set
from lee_llm_router import LocalFileTraceStore
from lee_llm_router.cli.trace import follow_rows
from lee_llm_router.cli.trace.follow import follow_calls
from lee_llm_router.cli.trace.follow_rows import JsonRows, TableRows
from lee_llm_router.cli.trace.layout import columns
from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.telemetry.query import CallFilter
from lee_llm_router.telemetry.records import TraceRecord
from lee_llm_router.telemetry.scanning import scanner_of
from lee_llm_router.telemetry.tailing import TailRead

FAILS: dict[str, Any] = {"outcome": "error", "verdict": "next", "failure_type": "TIMEOUT", "error": "no answer"}


class _Hours(FakeClock):
    """A clock whose waits write the next batch of records, and which ends the command when there is none."""

    def __init__(self, store: LocalFileTraceStore, batches: Iterable[list[TraceRecord]]) -> None:
        super().__init__()
        self._store, self._batches = store, iter(batches)

    def sleep(self, seconds: float) -> None:
        batch = next(self._batches, None)
        if batch is None:
            raise KeyboardInterrupt
        for record in batch:
            self._store.write(record)


def followed(folder: Path, batches: list[list[TraceRecord]], show: Callable[[TailRead], None]) -> None:
    """Follow a store while `batches` are written, one before each look."""
    store = LocalFileTraceStore(folder)
    with pytest.raises(KeyboardInterrupt):
        follow_calls(LocalFileTraceStore(folder), show, _Hours(store, [*batches, [], []]))


def test_each_call_is_a_row_when_it_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe with the whole time and id, aligned; the heading comes at once."""
    batches = [[make("call-a", 0, **FAILS), make("call-b", 0, provider="p", model="m")], [make("call-a", 1)]]
    followed(tmp_path, batches, TableRows(CallFilter(), None, attempts=False).show)
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head[:4] == ["time", "role", "outcome", "target"]
    assert [line[:3] for line in rows] == [["2027-01-15T08:00:00Z", "planner", "ok"]] * 2
    assert ["call-b" in rows[0], "call-a" in rows[1]] == [True, True]


def test_attempts_are_rows_too_where_they_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As soon as each has ended, with what failed and what comes next."""
    batches = [[make("call-a", 0, provider="p", **FAILS)], [make("call-a", 1)]]
    followed(tmp_path, batches, TableRows(CallFilter(status="ok"), None, attempts=True).show)
    _, first, second, call = capsys.readouterr().out.splitlines()
    assert first.split()[1:] == ["attempt", "1", "call-a", "p", "TIMEOUT", "0", "ms", "next", "no", "answer"]
    assert second.split()[1:4] == ["attempt", "2", "call-a"]
    assert call.split()[1:3] == ["planner", "ok"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (CallFilter(), ["a", "b"]),
        (CallFilter(role="writer"), ["b"]),
        (CallFilter(failure="timeout"), ["a"]),
        (CallFilter(status="error"), []),
        (CallFilter(slower_than=1.0), ["b"]),
    ],
)
def test_the_calls_that_pass_are_shown(
    tmp_path: Path, wanted: CallFilter, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    batches = [[make("a", 0, **FAILS)], [make("a", 1), make("b", role="writer", elapsed_ms=2000.0)]]
    followed(tmp_path, batches, JsonRows(wanted, ["request_id"], attempts=False).show)
    found = [json.loads(line)["request_id"] for line in capsys.readouterr().out.splitlines()]
    assert list(dict.fromkeys(found)) == expected


def test_as_json_each_record_is_a_line_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its call, or with --attempts as it comes."""
    batches = [[make("a", 0, **FAILS), make("b")], [make("a", 1)]]
    for attempts, expected in ((False, ["b", "a", "a"]), (True, ["a", "b", "a"])):
        followed(tmp_path / str(attempts), batches, JsonRows(CallFilter(), None, attempts=attempts).show)
        lines = capsys.readouterr().out.splitlines()
        assert [TraceRecord.from_json(line).request_id for line in lines] == expected


class _Failing:
    """A store that cannot be read for a while."""

    def __init__(self) -> None:
        self.polls = 0

    def poll(self, position: Any = None) -> tuple[list[TraceRecord], Any]:
        self.polls += 1
        if self.polls in (2, 3):
            raise PermissionError(13, "Permission denied", "traces")
        return ([make("a")] if self.polls == 4 else []), self.polls


def test_a_store_that_cannot_be_read_for_a_while_is_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    """It is said once, and nothing is lost."""
    store: Any = _Failing()
    shown: list[TracedCall] = []
    clock = FakeClock()
    clock.sleep = lambda seconds: None if store.polls < 4 else exec("raise KeyboardInterrupt")  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        follow_calls(store, lambda found: shown.extend(found.calls), clock)
    assert [call.request_id for call in shown] == ["a"]
    assert capsys.readouterr().err == "the traces cannot be read now: Permission denied\n"


def test_a_store_of_ones_own_with_last_and_find_can_be_followed() -> None:
    class Memory:
        def __init__(self) -> None:
            self.records: list[TraceRecord] = []

        def last(self, n: int = 1) -> list[TraceRecord]:
            return self.records

        def find(self, request_id: str) -> list[TraceRecord]:
            return [record for record in self.records if record.request_id == request_id]

    memory, shown = Memory(), []
    clock = FakeClock()

    def sleep(seconds: float) -> None:
        if memory.records:
            raise KeyboardInterrupt
        memory.records.append(make("a"))

    clock.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        follow_calls(scanner_of(memory), lambda found: shown.extend(found.calls), clock)
    assert [call.request_id for call in shown] == ["a"]


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(24, 200), st.integers(0, 50), st.booleans(), st.text(max_size=200))
def test_no_row_is_wider_than_the_terminal_or_obeyed_by_it(width: int, seed: int, attempts: bool, text: str) -> None:
    """Whatever the calls are named."""
    written: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow_rows, "is_piped", lambda: False)
        patch.setattr(follow_rows, "terminal_width", lambda: width)
        patch.setattr("lee_llm_router.cli.trace.screen.is_piped", lambda: False)
        patch.setattr("lee_llm_router.cli.trace.screen.terminal_width", lambda: width)
        patch.setattr("lee_llm_router.cli.trace.screen.write_text", written.append)
        rows = TableRows(CallFilter(), None, attempts=attempts)
        odd = make(text or "x", 0, role=text, provider=text, model=text, outcome="error", failure_type=text, error=text,
                   verdict="raise", metadata={text: text})  # fmt: skip
        for record in [*trace_set(8, seed), odd]:
            rows.show(TailRead([record], [TracedCall((record,))]))
    lines = "".join(written).split("\n")
    assert max(map(columns, lines)) <= width
    assert all(line.isprintable() for line in lines)


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command("trace", "follow", "--dir", str(folder), *words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def _written_until_shown(child: subprocess.Popen[bytes], store: LocalFileTraceStore) -> None:
    """Write calls until the first is shown: the command looks at what is written from its start on."""
    assert child.stdout is not None
    os.set_blocking(child.stdout.fileno(), False)
    number = 0

    def is_shown() -> bool:
        nonlocal number
        store.write(make(f"call-{number}"))
        number += 1
        return b"call-" in (child.stdout.read() or b"")  # type: ignore[union-attr]

    assert eventually(is_shown, 60)


def test_another_processs_calls_are_shown_until_ctrl_c(tmp_path: Path) -> None:
    """The folder is not there at first. The exit code is that of an interruption."""
    with start(tmp_path / "traces") as child:
        _written_until_shown(child, LocalFileTraceStore(tmp_path / "traces"))
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (130, b"")


def test_it_ends_when_nobody_reads_any_more_though_no_call_ends(tmp_path: Path) -> None:
    """As under `head`: quietly."""
    with start(tmp_path / "traces", "--json") as child:
        _written_until_shown(child, LocalFileTraceStore(tmp_path / "traces"))
        assert child.stdout is not None
        child.stdout.close()
        assert child.wait(timeout=30) in (0, 1)
        assert child.stderr is not None
        assert child.stderr.read() == b""


@pytest.mark.parametrize("words", [["--fields", "rol"], ["--json", "--fields", "cost"], ["--since", "never"]])
def test_wrong_words_are_refused(run: Run, words: list[str]) -> None:
    code, out, err = run("trace", "follow", *words)
    assert (code, out) == (2, "")
    assert "Invalid value" in err
