"""What every store that can be read promises. A new store gets its line in `STORES`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from helpers.records import make
from helpers.support import EPOCH, FakeClock
from helpers.trace_files import ids
from helpers.trace_set import trace_set
from lee_llm_router import LocalFileTraceStore, TraceReader, TraceRecord, TraceStore
from lee_llm_router._util.ids import new_request_id
from lee_llm_router.response import LLMUsage, ToolCall
from lee_llm_router.telemetry.calls import calls_from
from lee_llm_router.telemetry.query import CallFilter
from lee_llm_router.telemetry.scanning import scanner_of
from lee_llm_router.telemetry.settings import TraceConfig
from lee_llm_router.telemetry.statistics import trace_statistics
from lee_llm_router.telemetry.stores.buffered import BufferedStore
from lee_llm_router.telemetry.stores.multi import MultiStore
from lee_llm_router.telemetry.stores.open import open_store, store_in
from lee_llm_router.telemetry.stores.record_times import started_at
from lee_llm_router.telemetry.stores.sqlite import SqliteTraceStore
from lee_llm_router.testing import Recorder


class Store(TraceStore, TraceReader, Protocol):
    """What the tests need: both protocols."""


class ToyStore:
    """The smallest store that keeps the promises, written as a user would write it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: list[tuple[str, bytes]] = []

    def write(self, record: TraceRecord) -> None:
        with self._lock:
            self._lines.append((record.request_id, record.to_json()))

    def last(self, n: int = 1) -> list[TraceRecord]:
        newest_first = list(dict.fromkeys(call for call, _ in reversed(self._lines)))
        return [record for call in reversed(newest_first[:n]) for record in self.find(call)]

    def find(self, request_id: str) -> list[TraceRecord]:
        return [TraceRecord.from_json(line) for call, line in self._lines if call == request_id]


STORES: dict[str, Callable[[Path], Any]] = {
    "sqlite": lambda folder: SqliteTraceStore(folder / "traces" / "traces.sqlite"),
    "files": lambda folder: LocalFileTraceStore(folder / "traces"),
    "as configured": lambda folder: open_store(TraceConfig(dir="traces", keep_days=7), workspace=folder),
    "multi": lambda folder: MultiStore([LocalFileTraceStore(folder / "a"), SqliteTraceStore(folder / "b.sqlite")]),
    "buffered": lambda folder: BufferedStore(LocalFileTraceStore(folder / "traces"), size=100_000),
    "sqlite as configured": lambda folder: open_store(
        TraceConfig.model_validate({"dir": "traces", "store": "sqlite"}), workspace=folder
    ),
    "both as configured": lambda folder: open_store(
        TraceConfig.model_validate(
            {"store": {"type": "multi", "stores": ["jsonl", {"type": "buffered", "store": "sqlite"}]}}
        ),
        workspace=folder,
    ),
    "recorder": lambda folder: Recorder(),
    "toy": lambda folder: ToyStore(),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = STORES[request.param](tmp_path)
    yield made
    close = getattr(made, "close", None)
    if close is not None:
        close()


def test_it_has_both_protocols(store: Store) -> None:
    """It can be written and read."""
    assert isinstance(store, TraceStore)
    assert isinstance(store, TraceReader)


def test_an_empty_store_finds_nothing(store: Store) -> None:
    """Reading before the first write is no error."""
    assert store.last() == [] == store.last(5)
    assert store.find("call") == []


def test_a_record_is_read_back_as_it_was_written(store: Store) -> None:
    """With every field, by `last` and by `find`."""
    usage = LLMUsage(prompt_tokens=3, completion_tokens=2, total_tokens=5)
    record = make("call", metadata={"ticket": 42, "tags": ["a", "é"]}, usage=usage, error="no", cost_usd=0.5,
                  messages=({"role": "user", "content": "hi"},), text="two\nlines")  # fmt: skip
    store.write(record)
    assert store.last() == [record] == store.find("call")


def test_find_returns_the_records_of_one_call_in_the_order_of_writing(store: Store) -> None:
    """Whatever was written in between, and also what belongs to no attempt."""
    call, other = new_request_id(EPOCH), new_request_id(EPOCH)
    for name, attempt in ((call, 0), (other, 0), (call, None), (other, 1), (call, 1)):
        store.write(make(name, attempt))
    assert ids(store.find(call)) == [(call, 0), (call, None), (call, 1)]
    assert ids(store.find(other)) == [(other, 0), (other, 1)]


def test_an_unknown_id_finds_nothing(store: Store) -> None:
    """Neither a well-formed id, nor a part of a known one, nor any other text."""
    call = new_request_id(EPOCH)
    store.write(make(call, metadata={"parent": "mentioned"}))
    for unknown in (new_request_id(EPOCH), call[:-1], call.upper(), "mentioned", "", "ü", "\ud800", "a\nb"):
        assert store.find(unknown) == [], unknown


def test_last_returns_whole_calls_oldest_first(store: Store) -> None:
    """The calls written to last, their records together and in order; never more calls than there are."""
    calls = [new_request_id(EPOCH + second) for second in range(4)]
    for at, (place, attempt) in enumerate([(0, 0), (1, 0), (2, 0), (1, 1), (3, 0), (2, 1)]):
        store.write(make(calls[place], attempt, at=EPOCH + at))
    third, fourth = [(calls[2], 0), (calls[2], 1)], [(calls[3], 0)]
    assert ids(store.last()) == third
    assert ids(store.last(2)) == fourth + third
    assert ids(store.last(3)) == [(calls[1], 0), (calls[1], 1), *fourth, *third]
    assert len(store.last(99)) == 6
    assert store.last(0) == []


def test_what_is_read_belongs_to_the_reader(store: Store) -> None:
    """Changing the list that was returned changes nothing in the store."""
    store.write(make("call"))
    store.find("call").clear()
    store.last().clear()
    assert len(store.last()) == 1


def test_many_threads_write_and_read_at_once(store: Store) -> None:
    """Every record is kept once, the records of each thread in their order."""
    calls = [new_request_id(EPOCH) for _ in range(8)]

    def work(call: str) -> None:
        for attempt in range(50):
            store.write(make(call, attempt))
            if attempt % 25 == 0:
                assert store.find(call)[0].attempt == 0

    failed: list[BaseException] = []

    def guarded(call: str) -> None:
        try:
            work(call)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(store.last(99)) == 8 * 50
    for call in calls:
        assert ids(store.find(call)) == [(call, attempt) for attempt in range(50)]


# --- reading many: a store's own methods, or those that `scanner_of` adds ---


def written(store: Store, calls: int = 30) -> list[TraceRecord]:
    """Write a set of calls, an hour of them, and return its records."""
    records = list(trace_set(calls, seed=3, full=True, days=1 / 24))
    for record in records:
        store.write(record)
    return records


def test_scan_yields_every_record_in_the_order_of_writing(store: Store) -> None:
    """As mappings that `TraceRecord.from_json` takes; captured texts may be left out."""
    records = written(store)
    scanned = list(scanner_of(store).scan())
    assert [(one["request_id"], one["attempt"]) for one in scanned] == ids(records)
    assert [one["cost_usd"] for one in scanned] == [record.cost_usd for record in records]
    assert [one["usage"] and one["usage"]["total_tokens"] for one in scanned] == [
        record.usage and record.usage.total_tokens for record in records
    ]


@pytest.mark.parametrize("said", ["rain in march", "FOG", "sleet", "look_up"])
def test_statistics_count_calls_by_the_texts_that_were_kept(store: Store, said: str) -> None:
    """Of questions, answers, reasoning and calls of tools alike, wherever a store keeps them."""
    texts: dict[str, Any] = {
        "messages": ({"role": "user", "content": "Rain in March?"},),
        "text": "Fog.",
        "reasoning": "Hm, sleet.",
    }
    store.write(make("dry", text="Sun."))
    store.write(make("wet", tool_calls=(ToolCall(id="1", name="look_up", arguments="{}"),), **texts))
    store.write(make("cut", 0, outcome="error", failure_type="TIMEOUT", verdict="next", **texts))
    store.write(make("cut", 1, text="Sun."))
    total = trace_statistics(scanner_of(store), calls=CallFilter(grep=said)).total
    assert (total.calls, total.attempts) == ((1, 1) if said == "look_up" else (2, 3))


def test_calls_come_whole_and_the_newest_first(store: Store) -> None:
    """The same calls as `last` gives, with all they hold."""
    records = written(store)
    calls = list(scanner_of(store).calls())
    expected = calls_from(records)
    assert sorted(call.request_id for call in calls) == sorted(call.request_id for call in expected)
    assert [record for call in reversed(calls) for record in call.records] == store.last(99)
    assert {call.request_id: call.records for call in calls} == {one.request_id: one.records for one in expected}


def test_times_choose_records_by_their_start_and_calls_by_their_begin(store: Store) -> None:
    """From `since` on, and before `until`, to the microsecond; either may be missing."""
    records = written(store)
    scanner, starts = scanner_of(store), [started_at(record) for record in records]
    for since, until in [(starts[9], starts[20]), (starts[9], None), (None, starts[20]), (starts[9], starts[9]),
                         (starts[9], starts[9] + 0.000001), (4e9, None), (None, 0.0), (-1.0, 1e12)]:  # fmt: skip
        low, high = since if since is not None else -1, until if until is not None else 1e13
        wanted = [record for record, start in zip(records, starts, strict=True) if low <= start < high]
        assert [(one["request_id"], one["attempt"]) for one in scanner.scan(since, until)] == ids(wanted)
        begun = {call.request_id for call in calls_from(records) if low <= started_at(call.records[0]) < high}
        calls = list(scanner.calls(since, until))
        assert {call.request_id for call in calls} == begun
        assert all(list(call.records) == store.find(call.request_id) for call in calls)


def test_ids_are_found_by_any_beginning(store: Store) -> None:
    """At most `limit`, in their order; a part from within an id is no beginning."""
    names = list(dict.fromkeys(record.request_id for record in written(store)))
    scanner = scanner_of(store)
    for length in (36, 30, 13, 9, 3, 1):
        for name in names[::7]:
            wanted = sorted(one for one in names if one.startswith(name[:length]))
            assert scanner.ids(name[:length], 100) == wanted
    found = scanner.ids(names[0][:2], 4)
    assert len(found) == 4
    assert set(found) <= set(names)
    for unknown in (names[0][1:], names[0].upper(), "x", "%", "\ud800", '"', names[0] + "0"):
        assert scanner.ids(unknown) == [], unknown


def test_poll_tells_each_new_record_once(store: Store) -> None:
    """Nothing at first but the position of the end; then what was written since."""
    scanner = scanner_of(store)
    nothing, position = scanner.poll()
    assert nothing == []
    seen: list[TraceRecord] = []
    records = list(trace_set(20, seed=4, full=True))
    for start in range(0, len(records), 3):
        for record in records[start : start + 3]:
            store.write(record)
        new, position = scanner.poll(position)
        seen += new
        assert scanner.poll(position) == ([], position)
    assert sorted(ids(seen)) == sorted(ids(records))
    if "ReaderScanner" not in type(scanner).__name__:
        assert seen == records


# --- the store a configuration asks for ---


def _place(store: Any) -> Path:
    place: Path = store.trace_dir
    return place


def test_the_configured_store_follows_the_section_and_what_replaces_parts_of_it(tmp_path: Path) -> None:
    """Folder, workspace, days and clock; arguments take the place of settings."""
    trace = TraceConfig(dir="traces", workspace=str(tmp_path / "w"), keep_days=7)
    store: Any = open_store(trace)
    assert (store.trace_dir, store.keep_days) == (tmp_path / "w" / "traces", 7)
    assert _place(open_store(trace, workspace=tmp_path)) == tmp_path / "traces"
    assert _place(open_store(trace, trace_dir="other")) == tmp_path / "w" / "other"
    assert _place(open_store(workspace=tmp_path)) == tmp_path / ".lee-llm-router" / "traces"
    by_default: Any = open_store(trace_dir=tmp_path)
    assert by_default.keep_days == TraceConfig().keep_days
    assert list(tmp_path.iterdir()) == [], "nothing is made before the first write"


def test_the_configured_store_takes_its_day_from_the_clock(tmp_path: Path) -> None:
    clock = FakeClock()
    clock.now = 0
    store: Any = open_store(TraceConfig(dir=str(tmp_path)), clock=clock)
    store.write(make())
    store.close()
    assert (tmp_path / "20270115.jsonl").exists()


def test_a_folder_is_read_by_what_lies_in_it(tmp_path: Path) -> None:
    """Daily files, unless there is a SQLite file alone; an empty folder has daily files to come."""
    assert isinstance(store_in(tmp_path), LocalFileTraceStore)
    SqliteTraceStore(tmp_path / "traces.sqlite").write(make("in sqlite"))
    assert [record.request_id for record in store_in(tmp_path).last()] == ["in sqlite"]
    LocalFileTraceStore(tmp_path).write(make("in files"))
    assert [record.request_id for record in store_in(tmp_path).last()] == ["in files"]
