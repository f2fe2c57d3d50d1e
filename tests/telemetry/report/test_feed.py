"""What a live page is told: every call once it has come, the same as it would be when loaded anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from helpers.support import EPOCH
from lee_llm_router import LocalFileTraceStore
from lee_llm_router.telemetry import TraceRecord
from lee_llm_router.telemetry.query import CallFilter
from lee_llm_router.telemetry.report.feed import CallFeed
from lee_llm_router.telemetry.scanning import scanner_of
from lee_llm_router.telemetry.stores.sqlite import SqliteTraceStore

Store = Callable[[], Any]


class Memory:
    """A store of the user's: it can be read by `last` and `find` alone."""

    def __init__(self) -> None:
        self.records: list[TraceRecord] = []

    def write(self, record: TraceRecord) -> None:
        self.records.append(record)

    def last(self, n: int = 1) -> list[TraceRecord]:
        ids = list(dict.fromkeys(record.request_id for record in reversed(self.records)))[:n]
        return [record for found in reversed(ids) for record in self.find(found)]

    def find(self, request_id: str) -> list[TraceRecord]:
        return [record for record in self.records if record.request_id == request_id]


@pytest.fixture(params=["files", "sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield Memory()
    else:
        in_files = request.param == "files"
        kept = LocalFileTraceStore(tmp_path) if in_files else SqliteTraceStore(tmp_path / "traces.sqlite")
        yield kept
        kept.close()


def _feed(store: Any, wanted: CallFilter | None = None, most: int = 100) -> CallFeed:
    return CallFeed(scanner_of(store), wanted or CallFilter(), most, {})


def _changed(feed: CallFeed, since: int) -> tuple[int, list[tuple[str, int]]]:
    """The number of the last change, and the calls that have changed with the number of their records."""
    feed.refresh()
    told = json.loads(feed.changes(since))
    rows = [row for part in told["parts"] for row in part["calls"]]
    return told["position"], [(row[0], len(row[21])) for row in rows]


def test_new_calls_come_once_in_order(store: Any) -> None:
    """What was there before is on the page, and no change."""
    store.write(make("before"))
    feed = _feed(store)
    assert b"before" in feed.page()
    assert _changed(feed, 0) == (0, [])
    store.write(make("one"))
    store.write(make("two"))
    assert _changed(feed, 0) == (2, [("one", 1), ("two", 1)])
    assert _changed(feed, 2) == (2, [])
    assert _changed(feed, 1) == (2, [("two", 1)])


def test_a_call_that_goes_on_comes_again_whole(store: Any) -> None:
    """With all of its records: also those written before anybody looked, and among other calls."""
    store.write(make("under way", outcome="error", verdict="retry"))
    feed = _feed(store)
    store.write(make("under way", 1, outcome="error", verdict="next"))
    store.write(make("other"))
    position, calls = _changed(feed, 0)
    assert calls == [("under way", 2), ("other", 1)]
    store.write(make("under way", 2))
    assert _changed(feed, position) == (3, [("under way", 3)])
    assert _changed(feed, 0)[1] == [("other", 1), ("under way", 3)]


def test_only_calls_that_pass_the_filter_are_told(store: Any) -> None:
    feed = _feed(store, CallFilter(role="writer"))
    store.write(make("a"))
    store.write(make("b", role="writer"))
    assert _changed(feed, 0)[1] == [("b", 1)]
    assert b'"a"' not in feed.page()


def test_a_page_that_has_missed_too_much_begins_anew(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The changes that are kept are bounded, by number and size; and a number of another server is none of ours."""
    monkeypatch.setattr("lee_llm_router.telemetry.report.feed._MOST_CHANGES", 3)
    feed = _feed(store)
    for number in range(5):
        store.write(make(str(number)))
    feed.refresh()
    assert json.loads(feed.changes(0)) == json.loads(feed.changes(1)) == {"restart": True}
    assert json.loads(feed.changes(10**9)) == {"restart": True}
    assert _changed(feed, 2)[1] == [("2", 1), ("3", 1), ("4", 1)]


def test_changes_of_great_size_are_forgotten_sooner(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lee_llm_router.telemetry.report.feed._MOST_CHARACTERS", 100_000)
    feed = _feed(store)
    for number in range(5):
        store.write(make(str(number), text="x" * 50_000))
    feed.refresh()
    assert json.loads(feed.changes(0)) == {"restart": True}
    assert _changed(feed, 4)[1] == [("4", 1)]


def test_a_page_holds_the_newest_calls_and_says_if_there_are_older_ones(store: Any) -> None:
    for number in range(5):
        store.write(make(f"call {number}", at=EPOCH + number))
    page = _feed(store, most=3).page()
    assert [f"call {number}".encode() in page for number in range(5)] == [False, False, True, True, True]
    assert b'"is_cut": true' in page
    assert b'"is_cut": false' in _feed(store, most=5).page()
