"""The engine `vendor`: rows go to the vendor's batch API, each once, and what fails there is asked live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.batch_support import lines, texts
from helpers.support import FakeClock, Memory
from helpers.vendor_batches import KEY, VENDORS, Refused, VendorServer
from lee_llm_router import BudgetExceededError, ConfigError, LeeLLMRouter
from lee_llm_router.batch.engine import BatchStoppedError
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


MIXED = [
    {"id": name, "prompt": name}
    for name in ("good 1", "error 1", "expired 1", "missing 1", "twice 1", "good 2", "error 2", "expired 2")
]


@pytest.mark.parametrize("vendor", VENDORS)
def test_rows_that_fail_in_a_batch_are_asked_live(vendor: str, tmp_path: Path) -> None:
    """Refused, expired, or without a result; of two results of a row the first counts, and foreign ones are nobody's."""
    out = tmp_path / "out.jsonl"
    with VendorServer(vendor) as server:
        report = run(server, out, MIXED)
    failed = [row["id"] for row in MIXED if row["id"].split()[0] in ("error", "expired", "missing")]
    assert texts(out) == {row["id"]: f"LIVE {row['id']}" if row["id"] in failed else row["id"].upper() for row in MIXED}
    assert server.live == dict.fromkeys(failed, 1)
    assert report.answered == len(MIXED) and not report.failed


def test_rows_that_fail_live_too_go_to_the_errors_file(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with VendorServer("openai") as server:

        def refuse(event: str) -> None:
            if event == "live":
                raise Refused(400, "this row is refused")

        server.before = refuse
        report = run(server, out, MIXED)
        assert (report.answered, report.failures) == (3, {"INVALID_REQUEST": 5})
        server.before = lambda event: None
        again = run(server, out, MIXED, retry_errors=True)
    assert again.is_complete and again.answered == 5
    assert {line["id"] for line in lines(out)} == {row["id"] for row in MIXED}


@pytest.mark.parametrize("vendor", VENDORS)
def test_rows_are_split_by_the_limits_of_a_batch(vendor: str, tmp_path: Path) -> None:
    with VendorServer(vendor) as server:
        run(server, tmp_path / "out.jsonl", engine_options={"max_rows": 7})
        assert sorted(len(one["rows"]) for one in server.batches.values()) == [6, 7, 7]
        server.batches.clear()
        run(server, tmp_path / "small.jsonl", engine_options={"max_mb": 0.001})
        assert len(server.batches) >= 3
        server.batches.clear()
        few = run(server, tmp_path / "few.jsonl", engine_options={"ahead": 5})
        assert [len(one["rows"]) for one in server.batches.values()] == [5, 5, 5, 5]
    assert few.is_complete
    assert server.in_batches == {row["prompt"]: 3 for row in ROWS}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("event", ["upload", "create", "status", "results"])
def test_an_answer_that_never_comes_does_not_send_a_row_twice(vendor: str, event: str, tmp_path: Path) -> None:
    """The connection breaks after the vendor has done what was asked."""
    broken: list[str] = []

    def hang_up(now: str) -> None:
        if now == event and not broken:
            broken.append(now)
            raise OSError

    out = tmp_path / "out.jsonl"
    with VendorServer(vendor) as server:
        server.after = hang_up
        run(server, out)
    assert texts(out) == CAPITALS
    assert server.in_batches == {row["prompt"]: 1 for row in ROWS}
    assert server.times("upload") == (vendor == "openai") and server.times("create") == 1 and not server.live


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_that_is_away_is_waited_for(vendor: str, tmp_path: Path) -> None:
    left = dict.fromkeys(("upload", "create", "status", "results", "list"), 2)

    def refuse(event: str) -> None:
        if left.get(event):
            left[event] -= 1
            raise Refused(503 if left[event] else 429, "try again later")

    out, clock = tmp_path / "out.jsonl", FakeClock()
    with VendorServer(vendor) as server:
        server.before = refuse
        run(server, out, clock=clock)
    assert texts(out) == CAPITALS
    assert server.in_batches == {row["prompt"]: 1 for row in ROWS}
    assert clock.monotonic() > 1000 + 30


def test_looks_are_made_after_waits_that_grow(tmp_path: Path) -> None:
    clock = FakeClock()
    with VendorServer("openai") as server:
        server.looks = 20
        moments: list[float] = []
        server.before = lambda event: moments.append(clock.monotonic()) if event == "status" else None
        run(server, tmp_path / "out.jsonl", clock=clock)
    waits = [later - earlier for earlier, later in zip(moments, moments[1:], strict=False)]
    assert moments[0] - 1000 == pytest.approx(30)
    assert waits == sorted(waits) and waits[-1] == pytest.approx(600)
    assert waits[1] == pytest.approx(1.5 * waits[0])


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_results_that_break_off_are_fetched_again(vendor: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with VendorServer(vendor) as server:
        server.cut = 2
        run(server, out)
        assert texts(out) == CAPITALS and not server.live
        server.cut = 3
        report = run(server, tmp_path / "lost.jsonl")
    assert report.answered == 20
    assert 0 < server.live.total() < 20


@pytest.mark.parametrize("vendor", VENDORS)
def test_results_that_are_there_no_more_are_asked_live(vendor: str, tmp_path: Path) -> None:
    def refuse(event: str) -> None:
        if event == ("status" if vendor == "gemini" else "results"):
            raise Refused(404, "it has expired: not found")

    with VendorServer(vendor) as server:
        server.before = refuse
        report = run(server, tmp_path / "out.jsonl")
    assert report.answered == 20 and server.live.total() == 20


def test_answers_cost_half_and_are_traced_as_calls(tmp_path: Path) -> None:
    """Each with its usage, its tier and the names of the batch and the row."""
    memory = Memory()
    pricing = {"pricing": {"models": {"p/*": {"input": 2, "output": 10}}}}
    with VendorServer("openai") as server:
        report = run(server, tmp_path / "out.jsonl", ROWS[:1], llm=pricing, trace_store=memory)
    cost = (7 * 2 + 3 * 10) / 2 / 1_000_000
    assert report.cost_usd == pytest.approx(cost)
    (record,) = memory.records
    assert (record.outcome, record.provider, record.service_tier) == ("ok", "p", "batch")
    assert record.cost_usd == pytest.approx(cost)
    assert record.metadata["batch"] == report.batch_id and record.metadata["row"] == "r0"
    assert record.metadata["vendor_batch"] in server.batches
    assert lines(tmp_path / "out.jsonl")[0]["cost_usd"] == pytest.approx(cost)


def test_limits_and_shut_doors_hold_up_no_answer(tmp_path: Path) -> None:
    """Answers that have come are not sent again, so that no `rpm` counts them."""
    clock = FakeClock()
    with VendorServer("openai") as server:
        config = server.config()
        config["providers"]["p"]["rpm"] = 1
        run(server, tmp_path / "out.jsonl", llm=config, clock=clock)
    assert clock.monotonic() - 1000 < 200


def test_a_refused_key_stops_the_batch_and_the_same_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.jsonl"
    with VendorServer("openai") as server:
        monkeypatch.setenv("VENDOR_KEY", "wrong")
        with pytest.raises(BatchStoppedError, match="invalid key"):
            run(server, out)
        monkeypatch.setenv("VENDOR_KEY", KEY)
        run(server, out)
    assert texts(out) == CAPITALS and server.times("create") == 1


def test_a_spent_budget_sends_no_batch(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    llm = {
        "pricing": {"models": {"p/*": {"input": 2, "output": 10}}}, "budget": {"usd": 0.00001},
        "trace": {"dir": str(tmp_path / "traces")},
    }  # fmt: skip
    with VendorServer("openai") as server:
        with pytest.raises(BatchStoppedError) as caught:
            run(server, out, llm=llm, engine_options={"max_rows": 10, "ahead": 10})
    assert isinstance(caught.value.cause, BudgetExceededError)
    assert len(server.batches) == 1
    assert len(texts(out)) == 10, "what was sent is paid, and is kept"


def test_a_server_without_a_batch_api_is_named(tmp_path: Path) -> None:
    def refuse(event: str) -> None:
        raise Refused(404, "not found")

    with VendorServer("openai") as server:
        server.before = refuse
        with pytest.raises(BatchStoppedError, match="p has no batch API that can be used"):
            run(server, tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"provider": "nobody"}, "there is no provider 'nobody'"),
        ({"first_wait": 0}, "first_wait"),
        ({"max_rows": 1.5}, "max_rows"),
        ({"pol": 3}, "no option 'pol'"),
        ({"cancel": "yes"}, "cancel"),
        ({"provider": "offline"}, "has no batch API"),
    ],
)
def test_a_wrong_option_is_said_before_anything_is_sent(options: Any, words: str, tmp_path: Path) -> None:
    with VendorServer("openai") as server:
        config = server.config()
        config["providers"]["offline"] = {"type": "mock"}
        with pytest.raises(ConfigError, match=words):
            run(server, tmp_path / "out.jsonl", llm=config, engine_options=options)
    assert not server.seen
