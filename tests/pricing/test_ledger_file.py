"""The file of what was spent: every dollar that any process has written to it counts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lee_llm_router.pricing.ledger_file import FileLedger


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
