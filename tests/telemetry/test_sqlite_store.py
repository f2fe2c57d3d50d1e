"""The SQLite store: what was written is found again, whatever the file is or becomes, and nobody waits for long."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from helpers.support import EPOCH, FakeClock
from helpers.trace_set import WEEK_START, trace_set
from lee_llm_router import LeeLLMRouter, SqliteTraceStore, TraceStoreError
from lee_llm_router._util.ids import new_request_id
from lee_llm_router.telemetry.stores import sqlite, sqlite_file
from lee_llm_router.telemetry.stores.failures import StoreLockedError

DAY = 86_400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces" / "traces.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteTraceStore]:
    made = SqliteTraceStore(path)
    yield made
    made.close()


def names(store: SqliteTraceStore) -> list[str]:
    return [record["request_id"] for record in store.scan()]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on a file as another program would."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a lock."""
    for name in ("_PATIENCE", "_CLOSE_PATIENCE", "_LATE_PAUSE"):
        monkeypatch.setattr(sqlite, name, 0.0)


# --- the file ---


def test_nothing_touches_the_disk_before_the_first_write(tmp_path: Path, store: SqliteTraceStore) -> None:
    """Reading makes no file either."""
    found: list[Any] = [store.last(5), store.find("x"), list(store.scan()), list(store.calls()), store.ids("0")]
    assert found == [[]] * 5
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_may_read_what_is_made_and_git_ignores_it(path: Path, store: SqliteTraceStore) -> None:
    """However permissive the umask; a mode that lets others in is tightened."""
    old = os.umask(0)
    try:
        store.write(make())
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob("traces*")} == {0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(old)
    assert (path.parent / ".gitignore").read_text() == "*\n"
    store.close()
    path.chmod(0o644)
    store.write(make())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_closed_store_leaves_one_file_and_takes_late_records(path: Path, store: SqliteTraceStore) -> None:
    """The log is copied into the file; a call that still ran is written all the same."""
    store.write(make("a"))
    store.close()
    store.close()
    assert sorted(file.name for file in path.parent.iterdir()) == [".gitignore", "traces.sqlite"]
    store.write(make("b"))
    assert sorted(file.name for file in path.parent.iterdir()) == [".gitignore", "traces.sqlite"]
    assert names(store) == ["a", "b"]


def foreign(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (url)")
    other.close()


def newer(path: Path) -> None:
    SqliteTraceStore(path).write(make())
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.close()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (
            lambda path: path.write_bytes(b"not a database at all, but long enough to be looked at" * 100),
            "not a SQLite",
        ),
        (foreign, "another program"),
        (newer, "newer version"),
        (lambda path: path.mkdir(), "not a plain file"),
        (os.mkfifo, "not a plain file"),
        (lambda path: path.symlink_to("/dev/null"), "not a plain file"),
        (lambda path: (path.write_bytes(b""), path.with_name("second").hardlink_to(path)), "another name"),
    ],
)
def test_a_file_that_is_none_of_its_own_is_left_alone(
    path: Path, store: SqliteTraceStore, spoil: Callable[[Path], Any], reason: str
) -> None:
    """Writing and reading say what is wrong, each time; the file is as it was."""
    path.parent.mkdir()
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    for _ in range(2):
        with pytest.raises(TraceStoreError, match=reason):
            store.write(make())
    if reason != "another name":
        for read in (store.last, lambda: store.find("x"), lambda: list(store.scan()), store.poll):
            with pytest.raises(TraceStoreError, match=reason):
                read()
    assert before is None or path.read_bytes() == before
    assert store.late == 0


def test_a_damaged_file_says_so_and_breaks_no_call(path: Path) -> None:
    """The pages behind the first are overwritten."""
    store = SqliteTraceStore(path)
    for number in range(200):
        store.write(make(f"call-{number}"))
    store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 60_000)
    config = {"llm": {"providers": {"m": {"type": "mock"}}, "roles": {"r": {"provider": "m"}}}}
    with LeeLLMRouter(config, trace_store=store) as router:
        assert router.complete("r", "hi").text
        assert router.telemetry_errors == 1
    with pytest.raises(TraceStoreError, match="damaged"):
        list(store.scan())


def test_a_full_disk_is_an_error_and_harms_nothing(store: SqliteTraceStore) -> None:
    """With space again, records are kept."""
    store.write(make("before"))
    with store._database.connection() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    with pytest.raises(TraceStoreError, match="no space left") as caught:
        store.write(make("lost", metadata={"filler": "x" * 100_000}))
    assert caught.value.errno == errno.ENOSPC
    with store._database.connection() as connection:
        connection.execute("PRAGMA max_page_count = 1000000").fetchone()
    store.write(make("after"))
    assert names(store) == ["before", "after"]


def remove(path: Path) -> None:
    for file in path.parent.glob("traces*"):
        file.unlink()


def remove_folder(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()


def move(path: Path) -> None:
    path.rename(path.with_name("moved"))


@pytest.mark.parametrize("disturb", [remove, remove_folder, move])
def test_a_file_taken_away_is_made_anew(path: Path, disturb: Callable[[Path], None]) -> None:
    """The next record is in a file at the usual path; a reader sees the new one, and a poll all of it."""
    clock = FakeClock()
    store = SqliteTraceStore(path, clock=clock)
    store.write(make("before"))
    assert names(store) == ["before"]
    _, position = store.poll()
    disturb(path)
    clock.advance(1)
    store.write(make("after"))
    store.write(make("more"))
    assert names(store) == ["after", "more"]
    assert [record.request_id for record in store.poll(position)[0]] == ["after", "more"]
    store.close()


def test_tables_of_an_older_version_are_brought_up_to_date(
    path: Path, store: SqliteTraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the file is written or read first; once, and with all its records."""
    store.write(make("old"))
    store.close()
    steps = (*sqlite_file.MIGRATIONS, "ALTER TABLE records ADD COLUMN mood TEXT; UPDATE records SET mood = 'calm'")
    monkeypatch.setattr(sqlite_file, "MIGRATIONS", steps)
    assert names(SqliteTraceStore(path)) == ["old"]
    store.write(make("new"))
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT request_id, mood FROM records").fetchall() == [("old", "calm"), ("new", None)]
        assert other.execute("PRAGMA user_version").fetchone() == (2,)
    other.close()


def test_a_step_that_fails_leaves_the_old_tables(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it stays, and the version is as it was."""
    store = SqliteTraceStore(path)
    store.write(make("old"))
    store.close()
    good = sqlite_file.MIGRATIONS
    monkeypatch.setattr(sqlite_file, "MIGRATIONS", (*good, "ALTER TABLE records ADD COLUMN mood; DROP TABLE nowhere"))
    with pytest.raises(TraceStoreError, match="nowhere"):
        store.write(make("new"))
    monkeypatch.setattr(sqlite_file, "MIGRATIONS", good)
    store.write(make("new"))
    assert names(store) == ["old", "new"]
    store.close()


def test_columns_say_what_a_record_says(path: Path, store: SqliteTraceStore) -> None:
    """For those who ask in SQL; the record's JSON stands beside them."""
    (record, *_) = (one for one in trace_set(50, full=True) if one.usage is not None)
    store.write(record)
    other = sqlite3.connect(path)
    row = other.execute(
        "SELECT role, provider, model, outcome, elapsed_ms, input_tokens, output_tokens, cost_usd,"
        " json_extract(record, '$.verdict'), json_extract(captured, '$.text') FROM records"
    ).fetchone()
    other.close()
    assert record.usage is not None
    assert row == (
        record.role, record.provider, record.model, record.outcome, record.elapsed_ms, record.usage.prompt_tokens,
        record.usage.completion_tokens, record.cost_usd, record.verdict, record.text,
    )  # fmt: skip


@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "é😀", "'; DROP TABLE records; --", ""])
def test_any_text_is_kept(store: SqliteTraceStore, text: str) -> None:
    """Also where a column would hold it."""
    store.write(make("call", role=text, provider=text, model=text, elapsed_ms=float("nan"), cost_usd=10**400))
    assert len(store.last()) == 1
    assert store.find(text) == []


# --- others who hold the file ---


@pytest.mark.usefixtures("impatient")
def test_a_locked_file_keeps_no_call_waiting_and_loses_no_record(path: Path) -> None:
    """Records wait in memory, in order, and go into the file once it is free."""
    store = SqliteTraceStore(path)
    store.write(make("before"))
    with locked(path):
        for number in range(5):
            store.write(make(f"late-{number}"))
        assert store.late == 5
        assert names(store) == ["before"]
    store.flush()
    store.write(make("after"))
    assert names(store) == ["before", *(f"late-{number}" for number in range(5)), "after"]
    assert store.late == 0
    store.close()


@pytest.mark.usefixtures("impatient")
def test_late_records_are_written_without_a_further_call(path: Path) -> None:
    """By a thread of their own."""
    store = SqliteTraceStore(path)
    store.write(make("before"))
    with locked(path):
        store.write(make("late"))
        (thread,) = [one for one in threading.enumerate() if "write_late" in one.name]
    thread.join(60)
    assert names(store) == ["before", "late"]
    store.close()


@pytest.mark.usefixtures("impatient")
def test_only_so_many_records_wait(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Further ones raise; at closing it is said how many are lost."""
    monkeypatch.setattr(sqlite, "MOST_LATE", 3)
    store = SqliteTraceStore(path)
    store.write(make("before"))
    with locked(path):
        for number in range(3):
            store.write(make(f"late-{number}"))
        with pytest.raises(StoreLockedError, match="already waiting"):
            store.write(make("lost"))
        with pytest.raises(TraceStoreError, match="lost at closing: 3"):
            store.close()
    assert names(store) == ["before"]
    store.write(make("after"))
    store.close()  # on a slow machine a write may be late
    assert names(store) == ["before", "after"]


def test_a_reader_holds_up_no_writer(store: SqliteTraceStore) -> None:
    """Half-read histories end where they began; what is written meanwhile is not lost."""
    for number in range(30):
        store.write(make(f"call-{number}"))
    calls, records = store.calls(), store.scan()
    next(calls), next(records)
    for number in range(30, 60):
        store.write(make(f"call-{number}"))
    assert len(list(calls)) == 29
    assert len(list(records)) == 29
    assert len(store.last(99)) == 60


# --- what is deleted ---


def test_old_records_go_a_few_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each write, until all that are older than `keep_days` are gone."""
    monkeypatch.setattr("lee_llm_router.telemetry.stores.sqlite_tidy._MOST_AT_ONCE", 10)
    clock = FakeClock()
    clock.now = 0
    store = SqliteTraceStore(path, keep_days=3, clock=clock)
    for day in (1, 2, 3):
        for number in range(25):
            store.write(make(f"day-{day}-{number}", at=EPOCH + day * DAY))
    clock.now = 5 * DAY
    for number in range(4):
        store.write(make(f"new-{number}", at=EPOCH + 5 * DAY))
    left = names(store)
    assert not any(name.startswith("day-1") for name in left)
    assert sum(name.startswith(("day-2", "day-3")) for name in left) == 50
    store.close()


def test_one_record_of_a_wrong_clock_deletes_nothing(path: Path) -> None:
    """A second day shows that the clock is to be believed."""
    clock = FakeClock()
    clock.now = 0
    store = SqliteTraceStore(path, keep_days=3, clock=clock)
    store.write(make("good"))
    clock.now = 400 * DAY
    store.write(make("wrong", at=EPOCH + 400 * DAY))
    assert names(store) == ["good", "wrong"]
    clock.now = 401 * DAY
    store.write(make("believed", at=EPOCH + 401 * DAY))
    assert names(store) == ["wrong", "believed"]
    store.close()


@pytest.mark.parametrize("filler", [100, 3000])
def test_the_file_keeps_its_limit_and_the_newest_records(path: Path, filler: int) -> None:
    """Never above it; once it is reached, most of it is in use."""
    store = SqliteTraceStore(path, max_mb=1, keep_days=0)
    count = 4_000_000 // (filler + 1000)
    for number in range(0, count, 20):
        store.write_all(
            make(new_request_id(EPOCH + one), metadata={"n": one, "filler": "x" * filler})
            for one in range(number, number + 20)
        )
        with store._database.connection() as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
        assert pages * 4096 <= 1_000_000
    kept = [record["metadata"]["n"] for record in store.scan()]
    assert kept == list(range(number + 20))[-len(kept) :]
    # Not the size of the file: its log may be copied into it later.
    assert pages * 4096 >= 600_000
    store.close()


def test_records_of_the_future_and_the_past_are_found_by_their_time(path: Path) -> None:
    """Whenever they are written: an imported history, say."""
    store = SqliteTraceStore(path, keep_days=0)
    records = list(trace_set(20, days=2))
    store.write_all(records)
    first_day = [one["request_id"] for one in store.scan(WEEK_START, WEEK_START + DAY)]
    assert first_day == [record.request_id for record in records if record.started_at.startswith("2027-01-15")]
    assert len(list(store.calls(None, WEEK_START))) == 0
    store.close()
