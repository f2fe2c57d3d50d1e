"""Batches at a vendor are taken up again, whatever has ended the run that sent them, and none is sent twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import sleep

import pytest

from helpers.batch_support import lines, texts
from helpers.support import FakeClock
from helpers.vendor_batches import KEY, VENDORS, Refused, VendorServer
from helpers.vendor_runs import CAPITALS, MIXED, ROWS, run, slowly, stop_at
from lee_llm_router import ConfigError, LeeLLMRouter
from lee_llm_router.batch.engine import BatchStoppedError
from lee_llm_router.batch.running import BatchRun
from lee_llm_router.batch.settings import BatchSettings


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", KEY)


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


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_stopped_batch_leaves_its_rows_at_the_vendor_and_fetches_them_later(vendor: str, tmp_path: Path) -> None:
    """Also where rows are read again only after their results have come, in another order."""
    out = tmp_path / "out.jsonl"
    with VendorServer(vendor) as server:
        server.looks = 1_000_000
        stop_at(server, "status", 3, out)
        assert not texts(out) and len(server.batches) == 1
        server.looks = 0
        slow = slowly([*reversed(ROWS), {"id": "new", "prompt": "row new"}], server)
        report = run(server, out, slow, append=True)
    assert texts(out) == {**CAPITALS, "new": "ROW NEW"} and report.is_complete
    assert set(server.in_batches.values()) == {1} and len(server.batches) == 2
    assert not out.with_name("out.jsonl.vendor").exists()


@pytest.mark.parametrize("vendor", VENDORS)
def test_cancelled_batches_are_fetched_and_their_other_rows_are_sent_anew(vendor: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with VendorServer(vendor) as server:
        server.looks = 1_000_000
        stop_at(server, "status", 2, out)
        with pytest.raises(BatchStoppedError, match="20 rows at the vendor were cancelled"):
            run(server, out, engine_options={"cancel": True})
        assert server.times("cancel") == 1 and not texts(out) and not server.live
        server.looks = 1
        run(server, out)
    assert texts(out) == CAPITALS and not server.live and len(server.batches) == 2


def test_rows_that_are_asked_live_are_not_sent_again_after_a_stop(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with VendorServer("openai") as server:
        stop_at(server, "live", 1, out, MIXED)
        report = run(server, out, MIXED)
    assert report.is_complete and len(server.batches) == 1
    assert {line["id"] for line in lines(out)} == {row["id"] for row in MIXED}


@pytest.mark.parametrize("looks", [9, -5])
def test_a_batch_that_is_no_ours_is_told_apart_by_its_results(looks: int, tmp_path: Path) -> None:
    """Anthropic's batches bear no names: one of the same size, made since then, may be somebody else's.

    One that has ended shows that at once, and one that is under way when it has ended.
    """
    out = tmp_path / "out.jsonl"
    with VendorServer("anthropic") as server:
        run(server, tmp_path / "other.jsonl", [{"prompt": f"other {number}"} for number in range(20)])
        run(server, tmp_path / "small.jsonl", [{"prompt": "one"}])
        for other in server.batches.values():
            other["looks"] = looks
        failures = ["create"]

        def hang_up(event: str) -> None:
            if event in failures:
                failures.remove(event)
                raise OSError

        server.before = hang_up
        run(server, out)
    assert texts(out) == CAPITALS and set(server.in_batches.values()) == {1} and not server.live


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("event", ["upload", "create"])
@pytest.mark.parametrize("is_done", [True, False])
def test_a_batch_that_was_on_its_way_at_the_end_is_taken_up(
    vendor: str, event: str, is_done: bool, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    if event == "upload" and vendor != "openai":
        return
    with VendorServer(vendor) as server:
        stop_at(server, event, 1, out, is_done=is_done)
        assert len(server.batches) == (is_done and event == "create")
        run(server, out)
    assert texts(out) == CAPITALS and set(server.in_batches.values()) == {1} and not server.live
    assert len(server.files) == (vendor == "openai")


def test_a_vendor_that_stays_away_stops_the_batch_and_the_same_call_goes_on(tmp_path: Path) -> None:
    def refuse(event: str) -> None:
        raise Refused(503, "try again later")

    out = tmp_path / "out.jsonl"
    with VendorServer("gemini") as server:
        server.before = refuse
        with pytest.raises(BatchStoppedError, match="waits for an outage to end for 3600 s"):
            run(server, out, give_up_after=3600.0)
        server.before = lambda event: None
        run(server, out)
    assert texts(out) == CAPITALS and set(server.in_batches.values()) == {1}


def test_a_batch_without_room_is_sent_again_later_from_the_same_file(tmp_path: Path) -> None:
    out, clock = tmp_path / "out.jsonl", FakeClock()
    with VendorServer("openai") as server:
        server.no_room = 2
        run(server, out, clock=clock)
    assert texts(out) == CAPITALS and not server.live
    assert server.times("upload") == 1 and server.times("create") == 3
    assert clock.monotonic() - 1000 > 1200


def test_a_broken_ledger_is_not_made_anew(tmp_path: Path) -> None:
    """It says what was sent already, and what was sent is to be paid."""
    out = tmp_path / "out.jsonl"
    out.with_name("out.jsonl.vendor").write_bytes(b"no database" * 200)
    with VendorServer("openai") as server, pytest.raises(ConfigError, match="what is at the vendor cannot be read"):
        run(server, out)
    assert not server.seen


def test_a_batch_at_a_provider_that_is_gone_from_the_configuration_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with VendorServer("openai") as server:
        server.looks = 1_000_000
        stop_at(server, "status", 1, out)
        config = server.config()
        config["providers"]["q"] = config["providers"].pop("p")
        config["roles"]["r"]["provider"] = "q"
        with pytest.raises(ConfigError, match="an earlier run has a batch at the provider 'p'"):
            run(server, out, llm=config)
        server.looks = 0
        run(server, out)
    assert texts(out) == CAPITALS


def test_a_vendor_that_fails_while_its_batches_are_told_apart_gets_no_row_twice(tmp_path: Path) -> None:
    """Whether a batch that has ended is ours is seen in its results; those may be away just then."""
    out, broken = tmp_path / "out.jsonl", ["create", "results", "results"]

    def fail(now: str) -> None:
        if broken and now == broken[0]:
            broken.pop(0)
            if now == "create":
                raise OSError
            raise Refused(500, "away")

    with VendorServer("anthropic") as server:
        server.looks = -1  # it has ended at once
        server.after = fail
        run(server, out)
    assert texts(out) == CAPITALS and not broken
    assert server.times("create") == 1 and not server.live


def test_a_batch_whose_results_are_gone_is_nobodys_and_its_rows_are_sent_anew(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    failures = ["create"]

    def fail(now: str) -> None:
        if now == "create" and failures:
            failures.pop()
            raise OSError
        if now == "results" and server.times("create") == 1:
            raise Refused(404, "the results have expired")

    with VendorServer("anthropic") as server:
        server.after = fail
        run(server, out)
    assert texts(out) == CAPITALS and server.times("create") == 2


def test_a_row_that_was_changed_meanwhile_gets_no_answer_to_what_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    rows = [{"id": f"r{number}", "prompt": f"row {number}"} for number in range(3)]
    with VendorServer("openai") as server:
        server.looks = 1_000_000
        stop_at(server, "status", 1, out, rows)
        server.looks = 0
        rows[1]["prompt"] = "changed"
        run(server, out, rows)
    assert texts(out) == {"r0": "ROW 0", "r1": "CHANGED", "r2": "ROW 2"}
    assert set(server.in_batches.values()) == {1} and not server.live


def test_a_batch_on_its_way_still_gets_there_when_the_rows_are_stopped(tmp_path: Path) -> None:
    """So that the next run need not look for it."""
    out = tmp_path / "out.jsonl"
    settings = BatchSettings(role=None, out=out, engine="vendor", engine_options={"max_rows": 5})

    async def main() -> None:
        async with LeeLLMRouter({"llm": server.config()}, trace_store=False, clock=FakeClock()) as router:
            stopped, loop = BatchRun(router, ROWS, settings, FakeClock()), asyncio.get_running_loop()
            server.before = lambda event: loop.call_soon_threadsafe(stopped.stop) if event == "create" else None
            server.after = lambda event: sleep(0.02)
            assert not (await stopped.run()).is_complete

    with VendorServer("openai") as server:
        server.looks = 1_000_000
        asyncio.run(main())
        server.looks, server.before, server.after = 0, lambda event: None, lambda event: None
        run(server, out)
    assert texts(out) == CAPITALS and len(server.batches) >= 2 and not server.times("list")
    assert set(server.in_batches.values()) == {1}
