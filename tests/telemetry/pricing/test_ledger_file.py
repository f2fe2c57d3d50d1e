"""The file of what was spent: every dollar that any process has written to it counts."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from helpers.servers import eventually
from lee_llm_router.telemetry.pricing.ledger_file import FileLedger
from lee_llm_router.telemetry.pricing.spending import Spending


def test_a_file_that_only_its_content_tells_from_the_one_before_is_read(tmp_path: Path) -> None:
    """Systems reuse the number of a file that is gone, and many tell the time in steps of some milliseconds."""
    ledger = FileLedger(tmp_path)
    ledger.add({"all calls|total|total": 1.25})
    before = ledger.path.stat()
    with ledger.path.open("r+") as file:
        file.write(ledger.path.read_text().replace("1.25", "9.25"))
    os.utime(ledger.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = ledger.path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, before.st_size)
    assert ledger.add({"all calls|total|total": 1.0}) == {"all calls|total|total": 10.25}


@pytest.mark.parametrize("content", [b"{", b'{"schema": 1, "spent_usd": {"a": -1}}', b" " * 1_000_001])
def test_who_only_asks_puts_no_broken_file_aside(tmp_path: Path, content: bytes) -> None:
    """It holds no lock: another process may have written a good file in its place since it was read."""
    ledger = FileLedger(tmp_path)
    ledger.path.write_bytes(content)
    assert ledger.add({"a|total|total": 0.0}) == {"a|total|total": 0.0}
    assert ledger.path.read_bytes() == content
    assert ledger.add({"a|total|total": 2.0}) == {"a|total|total": 2.0}
    assert json.loads(ledger.path.read_bytes())["spent_usd"] == {"a|total|total": 2.0}
    assert ledger.path.with_name("budgets.json.broken").read_bytes() == content


def test_what_is_left_at_the_end_is_offered_more_than_once() -> None:
    """Of many processes that end at once, some find the lock held by others for longer than they wait for it."""

    class BusyLedger:
        refusals, sums = 3, dict[str, float]()

        def add(self, amounts: Mapping[str, float]) -> Mapping[str, float]:
            if self.refusals:
                self.refusals -= 1
                raise TimeoutError("another process has held the lock")
            self.sums = dict(amounts)
            return self.sums

    ledger = BusyLedger()
    spending = Spending(ledger)
    spending.add(["a"], 2.0)
    spending.close()
    assert (ledger.sums, spending.has_more) == ({"a": 2.0}, False)


def test_after_the_end_a_ledger_that_fails_is_not_asked_for_ever() -> None:
    """A call that still ran when the router was closed costs something; its thread must end, and not spin."""

    class DeadLedger:
        asked = 0

        def add(self, amounts: Mapping[str, float]) -> Mapping[str, float]:
            self.asked += 1
            raise OSError(28, "no space left on device")

    ledger = DeadLedger()
    spending = Spending(ledger)
    spending.close()
    before = set(threading.enumerate())
    spending.add(["a"], 2.0)
    assert eventually(lambda: set(threading.enumerate()) <= before and ledger.asked > 0)
    assert ledger.asked < 20
