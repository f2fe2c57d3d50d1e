"""A SQLite store that somebody has tampered with: it is read as far as it goes, and fails with errors of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from lee_llm_router import SqliteTraceStore

TAMPERED = {
    "no name": "DELETE FROM store",
    "a name in bytes": "UPDATE store SET id = x'ff00ff'",
    "records that are numbers": "UPDATE records SET record = 5, captured = 7",
    "records that are bytes": "UPDATE records SET record = x'ff00', captured = x'ff'",
    "records that are no objects": "UPDATE records SET record = '[1]'",
    "ids that are bytes": "UPDATE records SET request_id = x'ff61'",
    "ids that are no UTF-8": "UPDATE records SET request_id = CAST(x'72ff' AS TEXT)",
    "times that are texts": "UPDATE records SET started_at = 'zzz'",
    "times without end": "UPDATE records SET started_at = 9e999",
    "times without a beginning": "UPDATE records SET started_at = -9e999",
    "the last number there is": "UPDATE records SET seq = 9223372036854775807 WHERE seq = 3",
    "no tables": "DROP TABLE records; DROP TABLE store",
    "other columns": "ALTER TABLE records DROP COLUMN captured",
    "no sequence": "DELETE FROM sqlite_sequence",
    "a trigger": "CREATE TRIGGER no BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'no'); END",
    "a view": "ALTER TABLE records RENAME TO others; CREATE VIEW records AS SELECT * FROM others",
}
USES: dict[str, Callable[[SqliteTraceStore], Any]] = {
    "last": lambda store: store.last(5),
    "find": lambda store: store.find("call-1"),
    "scan": lambda store: list(store.scan()),
    "calls": lambda store: list(store.calls(0, 2e9)),
    "ids": lambda store: store.ids(""),
    "poll": lambda store: store.poll(("another", 0)),
    "write": lambda store: store.write(make("call-9")),
}


def tampered(path: Path, statements: str) -> SqliteTraceStore:
    store = SqliteTraceStore(path, max_mb=1)
    for number in range(3):
        store.write(make(f"call-{number}"))
    store.close()
    with closing(sqlite3.connect(path)) as other:
        other.executescript(statements)
    return SqliteTraceStore(path, max_mb=1)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("statements", TAMPERED.values(), ids=TAMPERED)
def test_nothing_but_an_os_error_leaves_a_tampered_file(
    tmp_path: Path, statements: str, use: Callable[[SqliteTraceStore], Any]
) -> None:
    store = tampered(tmp_path / "traces.sqlite", statements)
    with suppress(OSError):
        use(store)
    with suppress(OSError):
        store.close()


@pytest.mark.parametrize("what", ["no name", "a name in bytes"])
def test_what_is_still_whole_is_read_and_written(tmp_path: Path, what: str) -> None:
    store = tampered(tmp_path / "traces.sqlite", TAMPERED[what])
    store.write(make("call-9"))
    assert [record.request_id for record in store.last(9)] == ["call-0", "call-1", "call-2", "call-9"]
    assert [record.request_id for record in store.poll(("another", 0))[0]] == [f"call-{n}" for n in (0, 1, 2, 9)]
    store.close()


def test_calls_whose_ids_cannot_be_read_are_passed_over_and_counted(tmp_path: Path) -> None:
    store = tampered(tmp_path / "traces.sqlite", f"{TAMPERED['ids that are no UTF-8']} WHERE seq = 2")
    assert [record.request_id for record in store.last(9)] == ["call-0", "call-2"]
    assert store.skipped == 1
    assert store.ids("") == ["call-0", "call-2"]
    store.close()


def test_a_path_that_can_be_none_is_an_os_error(tmp_path: Path) -> None:
    store = SqliteTraceStore(f"{tmp_path}/a\0b")
    with pytest.raises(OSError, match="cannot be a path"):
        store.write(make("call-1"))
    with pytest.raises(OSError, match="cannot be a path"):
        store.last()
    store.close()


def test_a_time_without_a_beginning_keeps_no_record_from_being_written(tmp_path: Path) -> None:
    store = tampered(tmp_path / "traces.sqlite", TAMPERED["times without a beginning"])
    store.write(make("call-9"))
    assert "call-9" in [record.request_id for record in store.last(9)]
    store.close()
