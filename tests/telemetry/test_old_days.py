"""Old days are deleted, whatever the clock says and whoever else deletes; nothing else is."""

from __future__ import annotations

import errno
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from helpers.support import EPOCH
from helpers.trace_children import four_at_once
from helpers.trace_files import DAY, clock_at, day_files, request_ids
from lee_llm_router.telemetry import TraceRecord
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

TODAY = "20270115.jsonl"


def test_a_folder_with_the_name_of_a_day_stops_no_pruning(tmp_path: Path) -> None:
    for place in ("20200101.jsonl", "20210101.jsonl", "20220101.jsonl"):
        (tmp_path / place).mkdir()
    for file in ("20200102.jsonl", "20210102.jsonl", "20220102.jsonl", "20270114.jsonl"):
        (tmp_path / file).touch()
    store = LocalFileTraceStore(tmp_path, clock=clock_at(0))
    store.write(make())
    store.close()
    assert day_files(tmp_path) == ["20200101.jsonl", "20210101.jsonl", "20220101.jsonl", "20270114.jsonl", TODAY]


def test_a_file_that_cannot_be_deleted_stops_no_pruning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first and the third of five; and one that another process deletes first."""
    for day in range(1, 6):
        (tmp_path / f"2026010{day}.jsonl").touch()
    (tmp_path / "20270114.jsonl").touch()
    real = os.unlink

    def unlink(path: Any) -> None:
        if "20260101" in str(path) or "20260103" in str(path):
            raise PermissionError(errno.EACCES, "no", str(path))
        real(path)
        if "20260104" in str(path):
            real(path)

    monkeypatch.setattr(os, "unlink", unlink)
    store = LocalFileTraceStore(tmp_path, clock=clock_at(0))
    store.write(make())
    monkeypatch.undo()
    store.close()
    assert day_files(tmp_path) == ["20260101.jsonl", "20260103.jsonl", "20270114.jsonl", TODAY]


@pytest.mark.parametrize("ahead", [31, 61, 400, 3650, 100_000, 2_000_000])
def test_a_record_of_a_wrong_clock_deletes_nothing(tmp_path: Path, ahead: int) -> None:
    """A clock that is weeks or centuries ahead for some records, then right again: the last days are still there."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path, keep_days=30, clock=clock)
    for _ in range(30):
        store.write(make(f"at-{clock.time():.0f}"))
        clock.advance(DAY)
    real = day_files(tmp_path)
    assert len(real) == 30
    clock.advance(ahead * DAY)
    store.write(make("wrong"))
    store.write(make("wrong again"))
    store.close()
    assert set(real) <= set(day_files(tmp_path))
    clock.now -= ahead * DAY
    store.write(make("right"))
    store.close()
    assert set(real) <= set(day_files(tmp_path))


def test_after_a_long_pause_the_old_days_go_with_the_second_day(tmp_path: Path) -> None:
    """What is too old by a clock that is right is deleted, a day later."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path, keep_days=30, clock=clock)
    store.write(make("old"))
    clock.advance(90 * DAY)
    store.write(make("new"))
    assert len(day_files(tmp_path)) == 2
    clock.advance(DAY)
    store.write(make("newer"))
    store.close()
    assert request_ids(store.last(9)) == ["new", "newer"]


def test_a_clock_that_jumps_over_midnight_and_back_loses_nothing(tmp_path: Path) -> None:
    """200 jumps, also to the edge of the day: each record is in the file of the day the clock showed."""
    clock, chance = clock_at(0), random.Random(3)
    store = LocalFileTraceStore(tmp_path, clock=clock)
    midnight = DAY - EPOCH % DAY
    written: dict[str, set[str]] = {}
    for number in range(200):
        clock.now = midnight + chance.choice([-1, -0.001, -1e-5, 0, 1e-5, 0.5, DAY, -DAY])
        store.write(make(f"n{number}"))
        day = "20270115" if midnight - DAY <= clock.now < midnight else "20270116"
        day = "20270117" if clock.now >= midnight + DAY else day
        written.setdefault(f"{day}.jsonl", set()).add(f"n{number}")
    store.close()
    assert len(store.last(999)) == 200
    kept = {path.name: {TraceRecord.from_json(line).request_id for line in path.read_bytes().splitlines()}
            for path in tmp_path.glob("*.jsonl")}  # fmt: skip
    assert kept == written


def test_processes_that_delete_at_once_disturb_no_one(tmp_path: Path) -> None:
    """Four start together in a folder of 400 old days: all records are kept, the old days are gone."""
    for day in range(400):
        (tmp_path / f"20{day // 28 % 20:02}{day % 12 + 1:02}{day % 28 + 1:02}.jsonl").write_text("old\n")
    script = """
import sys
from helpers.records import make
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore
for n in range(20):
    store = LocalFileTraceStore(sys.argv[1], keep_days=1)
    store.write(make(f"{sys.argv[2]}-{n}"))
    store.close()
"""
    yesterday = time.strftime("%Y%m%d", time.gmtime(time.time() - DAY))
    (tmp_path / f"{yesterday}.jsonl").touch()
    four_at_once(script, str(tmp_path))
    assert len(day_files(tmp_path)) <= 3
    assert len(LocalFileTraceStore(tmp_path).last(999)) == 80
