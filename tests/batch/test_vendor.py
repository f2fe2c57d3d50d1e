"""The engine `vendor`: rows go to the vendor's batch API, each once, and what fails there is asked live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.batch_support import texts
from helpers.support import FakeClock
from helpers.vendor_batches import KEY, VENDORS, VendorServer
from lee_llm_router import LeeLLMRouter
from lee_llm_router.batch.figures import BatchReport

ROWS = [{"id": f"r{number}", "prompt": f"row {number}"} for number in range(20)]
CAPITALS = {f"r{number}": f"ROW {number}" for number in range(20)}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", KEY)


def run(server: VendorServer, out: Path, rows: Any = ROWS, llm: Any = None, **options: Any) -> BatchReport:
    clock = options.pop("clock", None) or FakeClock()
    store = options.pop("trace_store", False)
    config = {"llm": {**server.config(), **(llm or {})}}
    with LeeLLMRouter(config, trace_store=store, clock=clock) as router:
        return router.batch(rows, out=out, engine="vendor", **options)


@pytest.mark.parametrize("vendor", VENDORS)
def test_rows_are_answered_by_one_batch_and_nothing_is_left_of_it(vendor: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with VendorServer(vendor) as server:
        report = run(server, out)
    assert texts(out) == CAPITALS
    assert report.is_complete and report.answered == 20
    assert len(server.batches) == 1 and not server.live
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.ledger"]
