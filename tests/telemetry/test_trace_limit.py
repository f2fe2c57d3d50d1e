"""`max_mb`: what all traces may have together, whoever writes them, and at no price for a single record."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from helpers.support import EPOCH, FakeClock
from helpers.trace_children import four_at_once
from helpers.trace_files import DAY, day_files
from lee_llm_router import LeeLLMRouter, load_config
from lee_llm_router._util.ids import new_request_id
from lee_llm_router.errors import ConfigError
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore


def store_in(folder: Path, **settings: Any) -> tuple[LocalFileTraceStore, FakeClock]:
    clock = FakeClock()
    clock.now = 0
    return LocalFileTraceStore(folder, clock=clock, **settings), clock


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.jsonl"))


def record(number: int, filler: int = 500) -> Any:
    return make(new_request_id(EPOCH + number), at=EPOCH + number, metadata={"n": number, "filler": "x" * filler})


@pytest.mark.parametrize("filler", [0, 500, 3000])
@pytest.mark.parametrize("max_mb", [0.05, 0.1, 0.5])
def test_the_folder_keeps_its_limit_and_the_newest_records(tmp_path: Path, max_mb: float, filler: int) -> None:
    """After every record: never above the limit; once it is reached, at least three quarters of it are in use."""
    store, clock = store_in(tmp_path, max_mb=max_mb)
    total = 0
    for number in range(int(max_mb * 3_000_000 / (600 + filler))):
        store.write(record(number, filler))
        total += 600 + filler
        clock.advance(0.001)
        assert size_of(tmp_path) <= max_mb * 1_000_000
    assert size_of(tmp_path) >= max_mb * 1_000_000 * 3 / 4
    kept = [r.metadata["n"] for r in store.last(99_999)]
    assert kept == list(range(number + 1))[-len(kept) :]
    assert store.skipped == 0
    store.close()


def test_the_oldest_whole_days_go_first(tmp_path: Path) -> None:
    """Days of equal size: as many of the newest as fit stay as they are."""
    for day in range(1, 11):
        (tmp_path / f"202701{day:02}.jsonl").write_bytes(b"x" * 9_999 + b"\n")
    store, _ = store_in(tmp_path, max_mb=0.08)
    store.write(make("now"))
    store.close()
    assert day_files(tmp_path) == [*(f"202701{day:02}.jsonl" for day in range(4, 11)), "20270115.jsonl"]


def test_a_day_goes_on_in_numbered_files_that_sort_by_age(tmp_path: Path) -> None:
    """`YYYYMMDD.jsonl`, `YYYYMMDD_0001.jsonl` and so on; the next day begins without a number."""
    store, clock = store_in(tmp_path, max_mb=0.04)
    for number in range(24):
        store.write(record(number))
    assert day_files(tmp_path)[-1].startswith("20270115_000")
    clock.advance(DAY)
    store.write(record(99))
    store.close()
    assert day_files(tmp_path)[-1] == "20270116.jsonl"
    assert [r.metadata["n"] for r in store.last(3)] == [22, 23, 99]


def test_a_record_above_the_limit_is_kept_until_the_next(tmp_path: Path) -> None:
    """The record that is written last is always there."""
    store, _ = store_in(tmp_path, max_mb=0.01)
    for number, filler in enumerate([100, 200_000, 100, 300_000, 50_000]):
        store.write(record(number, filler))
        assert store.last()[0].metadata["n"] == number
    assert len(day_files(tmp_path)) == 1
    store.close()


def test_a_call_is_found_in_all_files_that_have_a_part_of_it(tmp_path: Path) -> None:
    """Attempts far apart, with whole files of other calls between them."""
    store, _ = store_in(tmp_path, max_mb=2)
    call = new_request_id(EPOCH)
    for attempt in range(3):
        store.write(make(call, attempt, at=EPOCH + attempt))
        for number in range(400):
            store.write(record(number, 300))
    assert len(day_files(tmp_path)) > 3
    assert [r.attempt for r in store.find(call)] == [0, 1, 2]
    store.close()


def test_the_day_goes_on_where_another_process_or_an_earlier_run_left_it(tmp_path: Path) -> None:
    """With and without a limit: records go to the file with the highest number."""
    (tmp_path / "20270115.jsonl").write_bytes(record(0).to_json() + b"\n")
    (tmp_path / "20270115_0003.jsonl").write_bytes(record(1).to_json() + b"\n")
    for number, settings in ((2, {}), (3, {"max_mb": 1})):
        store, _ = store_in(tmp_path, **settings)
        store.write(record(number))
        store.close()
    assert day_files(tmp_path) == ["20270115.jsonl", "20270115_0003.jsonl"]
    assert [r.metadata["n"] for r in store.last(9)] == [0, 1, 2, 3]


def test_a_record_looks_at_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is listed when a file is opened, and not for a record: 2,000 records, a dozen listings."""
    for day in range(1, 29):
        (tmp_path / f"202612{day:02}.jsonl").write_bytes(b"x" * 1000 + b"\n")
    store, _ = store_in(tmp_path, max_mb=8)
    listings = []
    real = os.scandir

    def counted(path: Any) -> Any:
        listings.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", counted)
    for number in range(2000):
        store.write(record(number, 500))
    assert 0 < len(listings) <= 8
    store.close()


def test_processes_share_one_limit(tmp_path: Path) -> None:
    """Four write 300 records each at once: no line is broken, and the limit is passed by next to nothing."""
    script = """
import sys
from helpers.records import make
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore
store = LocalFileTraceStore(sys.argv[1], max_mb=0.2)
for n in range(300):
    store.write(make(f"{sys.argv[2]}-{n}", metadata={"filler": "x" * 500}))
"""
    four_at_once(script, str(tmp_path))
    store = LocalFileTraceStore(tmp_path, max_mb=0.2)
    store.write(make("end"))
    store.close()
    assert size_of(tmp_path) <= 200_000
    records = store.last(9999)
    assert store.skipped == 0 and records[-1].request_id == "end"
    assert size_of(tmp_path) >= 100_000


def test_the_file_names_the_limit(tmp_path: Path) -> None:
    """`trace: {max_mb: ...}` reaches the store; 0 means none; less than that is a mistake."""
    text = f"""
llm:
  providers: {{m: {{type: mock, response_text: "{"word " * 20}"}}}}
  roles: {{r: {{provider: m}}}}
  trace: {{dir: "{tmp_path}", max_mb: 0.02, capture: full}}
"""
    with LeeLLMRouter(load_config(text)) as router:
        for _ in range(60):
            router.complete("r", "x")
    assert 10_000 <= size_of(tmp_path) <= 20_000
    assert load_config(text.replace("0.02", "0")).trace.max_mb == 0
    for wrong in ("-1", ".inf", "true", "many"):
        with pytest.raises(ConfigError, match="max_mb"):
            load_config(text.replace("0.02", wrong))
