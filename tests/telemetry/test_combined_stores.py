"""Stores around others: one that writes to several, and one that writes later."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from helpers.trace_children import run_writer
from lee_llm_router import (
    BufferedStore,
    ConfigError,
    LeeLLMRouter,
    LocalFileTraceStore,
    MultiStore,
    SqliteTraceStore,
    TraceStoreError,
    load_config,
)
from lee_llm_router.telemetry import TraceRecord


class Memory:
    """Keeps records; `broken` says what it raises, and `gate` holds it up."""

    def __init__(self, broken: Exception | None = None) -> None:
        self.records: list[str] = []
        self.broken = broken
        self.gate: threading.Event | None = None
        self.entered = threading.Event()
        self.closed = 0

    def write(self, record: TraceRecord) -> None:
        self.entered.set()
        if self.gate is not None:
            self.gate.wait(60)
        if self.broken is not None:
            raise self.broken
        self.records.append(record.request_id)

    def close(self) -> None:
        self.closed += 1


class Unreadable(Memory):
    def last(self, n: int = 1) -> list[TraceRecord]:
        raise OSError("the disk is gone")

    def find(self, request_id: str) -> list[TraceRecord]:
        raise OSError("the disk is gone")


# --- several ---


def test_a_store_that_fails_keeps_no_other_from_writing() -> None:
    """Every failure is counted, and one error tells of all."""
    good, bad = Memory(), Memory(RuntimeError("no"))
    store = MultiStore([bad, good, bad])
    for number in range(3):
        with pytest.raises(TraceStoreError, match=r"2 of 3 stores: Memory: RuntimeError: no"):
            store.write(make(f"call-{number}"))
    assert good.records == ["call-0", "call-1", "call-2"]
    assert store.errors == 6


def test_a_call_goes_on_although_all_stores_fail(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted, and logged once."""
    config = {"llm": {"providers": {"m": {"type": "mock"}}, "roles": {"r": {"provider": "m"}}}}
    with LeeLLMRouter(config, trace_store=MultiStore([Memory(OSError("a")), Memory(OSError("b"))])) as router:
        assert router.complete("r", "hi").text
        assert router.complete("r", "hi").text
        assert router.telemetry_errors == 2
    assert len([one for one in caplog.records if "trace store" in one.message]) == 1


def test_the_first_store_that_can_be_read_is_read(tmp_path: Path) -> None:
    """One without `find` is passed over, and one that raises an OSError."""
    files = LocalFileTraceStore(tmp_path)
    store = MultiStore([Memory(), Unreadable(), files])
    store.write(make("call"))
    assert [record.request_id for record in store.last()] == ["call"]
    assert len(store.find("call")) == len(list(store.scan())) == len(list(store.calls())) == len(store.ids("ca")) == 1
    _, position = store.poll()
    store.write(make("more"))
    assert [record.request_id for record in store.poll(position)[0]] == ["more"]
    assert store.trace_dir == tmp_path
    store.close()


def test_without_one_that_can_be_read_it_says_so() -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        MultiStore([Unreadable()]).last()
    with pytest.raises(TraceStoreError, match="none of the stores can be read"):
        MultiStore([Memory()]).find("x")
    with pytest.raises(ValueError, match="at least one"):
        MultiStore([])


def test_all_are_closed_even_if_one_cannot_be() -> None:
    class Stuck(Memory):
        def close(self) -> None:
            raise OSError("stuck")

    memory = Memory()
    with pytest.raises(TraceStoreError, match="stuck"):
        MultiStore([Stuck(), memory]).close()
    assert memory.closed == 1


# --- later ---


def test_what_waits_is_written_when_there_is_enough_or_at_closing() -> None:
    """In order, each record once; a late one at once."""
    memory = Memory()
    store = BufferedStore(memory, flush_seconds=1000, flush_records=1000)
    for number in range(50):
        store.write(make(f"call-{number}"))
    assert store.waiting + len(memory.records) == 50
    store.close()
    assert memory.records == [f"call-{number}" for number in range(50)]
    assert memory.closed == 1
    store.write(make("late"))
    assert memory.records[-1] == "late"


@pytest.mark.parametrize("settings", [{"flush_records": 1, "flush_seconds": 1000}, {"flush_seconds": 0.001}])
def test_a_thread_writes_what_waits(settings: dict[str, Any]) -> None:
    """As soon as there are so many, or the time is over."""
    memory = Memory()
    store = BufferedStore(memory, **settings)
    for number in range(3):
        memory.entered.clear()
        store.write(make(f"call-{number}"))
        assert memory.entered.wait(60)
    store.close()
    assert memory.records == ["call-0", "call-1", "call-2"]


def test_a_slow_store_delays_no_call_and_what_has_no_room_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The router counts each as an error, and logs the first."""
    memory = Memory()
    memory.gate = threading.Event()
    store = BufferedStore(memory, size=5, flush_records=1)
    config = {"llm": {"providers": {"m": {"type": "mock"}}, "roles": {"r": {"provider": "m"}}}}
    router = LeeLLMRouter(config, trace_store=store)
    router.complete("r", "hi")
    assert memory.entered.wait(60), "the thread is held up with the first record"
    for _ in range(9):
        router.complete("r", "hi")
    assert store.waiting == 5
    assert store.dropped == router.telemetry_errors == 4
    assert len([one for one in caplog.records if "dropped" in one.message]) == 1
    memory.gate.set()
    router.close()
    assert len(memory.records) == 6


def test_a_store_that_fails_later_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory(RuntimeError("no"))
    store = BufferedStore(memory)
    with caplog.at_level(logging.ERROR):
        for number in range(3):
            store.write(make(f"call-{number}"))
        store.flush()
    assert store.errors == 3
    assert len([one for one in caplog.records if "only counted" in one.message]) == 1
    store.close()


def test_without_a_thread_records_wait_for_the_next_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """None can be started: nothing is lost, and closing writes all."""

    def refuse(*_: Any) -> None:
        raise BlockingIOError

    monkeypatch.setattr("lee_llm_router.telemetry.stores.buffered.start_in_thread", refuse)
    memory = Memory()
    store = BufferedStore(memory, flush_records=1)
    store.write(make("a"))
    monkeypatch.undo()
    store.write(make("b"))
    assert memory.entered.wait(60)
    store.close()
    assert memory.records == ["a", "b"]


def test_one_that_cannot_be_read_says_so() -> None:
    with pytest.raises(TraceStoreError, match="cannot be read: Memory"):
        BufferedStore(Memory()).last()


def test_what_waits_at_the_end_of_the_program_is_written(tmp_path: Path) -> None:
    """Although nobody closes the router, or holds it any more."""
    script = """
import sys
from helpers.trace_children import run_writer
from helpers.records import make
from lee_llm_router import BufferedStore, SqliteTraceStore
BufferedStore(SqliteTraceStore(sys.argv[1] + "/a.sqlite"), flush_seconds=1000).write(make("dropped"))
kept = BufferedStore(SqliteTraceStore(sys.argv[1] + "/a.sqlite"), flush_seconds=1000)
kept.write(make("kept"))
"""
    run_writer(script, str(tmp_path))
    store = SqliteTraceStore(tmp_path / "a.sqlite")
    assert {record["request_id"] for record in store.scan()} == {"dropped", "kept"}
    store.close()


# --- in the file ---


def test_the_file_combines_stores(tmp_path: Path) -> None:
    """By name, or with settings, one within another; the section holds for all of them."""
    text = f"""
llm:
  providers: {{m: {{type: mock}}}}
  roles: {{r: {{provider: m}}}}
  trace:
    dir: "{tmp_path}"
    keep_days: 3
    store:
      type: multi
      stores:
        - jsonl
        - type: buffered
          size: 7
          store: {{type: sqlite, path: calls.db}}
"""
    with LeeLLMRouter(load_config(text)) as router:
        router.complete("r", "hi")
        store: Any = router.trace_store
        assert [one.keep_days for one in (store.stores[0], store.stores[1].store)] == [3, 3]
        assert len(store.last(9)) == len(store.stores[1].last(9)) == 1
    assert sorted(file.suffix for file in tmp_path.glob("[c2]*")) == [".db", ".jsonl"]


@pytest.mark.parametrize(
    ("store", "finding"),
    [
        ("{type: multi}", "trace.store.stores"),
        ("{type: multi, stores: []}", "trace.store.stores"),
        ("{type: multi, stores: [sqlte]}", "did you mean 'sqlite'"),
        ("{type: buffered, store: {type: sqlite, pth: x}}", "trace.store.store.pth"),
        ("{type: buffered, store: jsonl, size: 0}", "trace.store.size"),
        ("{type: sqlite, path: 3}", "trace.store.path"),
    ],
)
def test_a_mistake_within_is_found_at_its_place(store: str, finding: str) -> None:
    text = f"llm:\n  providers: {{m: {{type: mock}}}}\n  roles: {{r: {{provider: m}}}}\n  trace:\n    store: {store}\n"
    with pytest.raises(ConfigError) as caught:
        load_config(text)
    assert any(finding in one for one in caught.value.findings), caught.value.findings
