"""Stores, pages and tables in odd states: damaged texts, empty files, no threads left, names without end."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.records import make
from helpers.support import EPOCH, FakeClock
from lee_llm_router import LocalFileTraceStore
from lee_llm_router.config.load import load_config
from lee_llm_router.settings.redis_connection import RedisProblem
from lee_llm_router.telemetry.kept_records import TextRedaction
from lee_llm_router.telemetry.pricing import ledger_redis, pricer
from lee_llm_router.telemetry.pricing.ledger_redis import RedisLedger
from lee_llm_router.telemetry.pricing.pricer import Pricer
from lee_llm_router.telemetry.query import CallFilter
from lee_llm_router.telemetry.raw_calls import passing
from lee_llm_router.telemetry.record_json import json_object
from lee_llm_router.telemetry.report import feed
from lee_llm_router.telemetry.report.feed import CallFeed
from lee_llm_router.telemetry.report.server import ReportServer
from lee_llm_router.telemetry.statistics import grouping_of, trace_statistics
from lee_llm_router.telemetry.stores import sqlite_prune
from lee_llm_router.telemetry.stores.open import open_store
from lee_llm_router.telemetry.stores.pruning import pruners_of
from lee_llm_router.telemetry.stores.sqlite import SqliteTraceStore


def test_a_text_is_looked_for_in_records_with_half_characters_too() -> None:
    """A program of somebody else's may have written them."""
    record = {**json_object(make("a", error="needle").to_json()), "text": "half \ud800"}
    assert (passes := passing(CallFilter(grep="needle"))) is not None
    assert passes([record])
    assert not passes([{**record, "error": "hay"}])


def test_calls_of_tools_with_broken_arguments_are_masked_as_text() -> None:
    """Letters in good ones stand as they are first, so that a pattern finds them."""
    calls = ({"name": "f", "arguments": '{"a": "\\u00e9"}'}, {"name": "g", "arguments": '{"a": "\\u00e9'}, "odd")
    (masked,) = [TextRedaction(["é"], None).applied(make(tool_calls=calls)).tool_calls]
    assert [call["arguments"] if isinstance(call, dict) else call for call in masked or ()] == [
        '{"a":"***"}', '{"a": "\\u00e9', "odd",
    ]  # fmt: skip


def test_a_metadata_that_raises_is_kept_as_far_as_it_can_be(tmp_path: Path) -> None:
    class Odd(dict[str, Any]):
        def values(self) -> Any:
            raise ZeroDivisionError

    store = LocalFileTraceStore(tmp_path)
    store.write(make("a", metadata={"n": Odd(a=1), "digits": 10**5000}))
    assert store.last(1)[0].request_id == "a"


def test_records_that_lack_facts_are_counted_by_those_they_have() -> None:
    """As far as they are records at all."""
    good = json_object(make("a", elapsed_ms=5.0).to_json())
    less = {name: value for name, value in good.items() if name not in ("usage", "cost_usd")} | {"request_id": "b"}
    found = trace_statistics(SimpleNamespace(scan=lambda *_: iter([good, less])), grouping_of("role"))
    assert found.total.calls == 2


# --- pruning ---


def test_a_database_with_odd_times_and_many_records_is_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In steps; what is in no calendar is told as that."""
    monkeypatch.setattr(sqlite_prune, "_MOST_AT_ONCE", 2)
    store = SqliteTraceStore(tmp_path / "t.sqlite")
    store.write_all([make(f"{number}", at=EPOCH + number) for number in range(5)])
    with sqlite3.connect(tmp_path / "t.sqlite") as db:
        db.execute("UPDATE records SET started_at = 1e300 WHERE request_id = '4'")
    db.close()
    (pruner,) = pruners_of(store)
    plan: Any = pruner.plan(before=float("inf"))
    assert (plan.gone, plan.last) == (5, "?") and pruner.carry_out(plan) == 5
    empty: Any = pruner.plan(before=EPOCH)
    assert (empty.gone, empty.first) == (0, None)
    store.close()


def test_a_store_of_somebody_else_s_says_itself_how_it_is_pruned(tmp_path: Path) -> None:
    pruner = object()
    assert pruners_of(SimpleNamespace(pruners=lambda: [pruner])) == [pruner]
    assert pruners_of(object()) == []


def test_a_file_of_a_day_that_never_was_is_never_too_old(tmp_path: Path) -> None:
    """It goes if everything goes."""
    (tmp_path / "20269999.jsonl").write_bytes(make("a").to_json() + b"\n")
    (pruner,) = pruners_of(LocalFileTraceStore(tmp_path))
    assert [pruner.plan(before=before).gone for before in (EPOCH * 10, float("inf"))] == [0, 1]


def test_a_folder_named_in_code_is_opened_where_there_is_no_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store says so when it is used."""
    config = load_config({"llm": {"providers": {"p": {"type": "mock"}}, "roles": {"r": {"provider": "p"}}}})

    def gone() -> str:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    assert open_store(trace=config.trace, trace_dir="t") is not None


# --- pages ---


def test_calls_that_never_end_do_not_fill_the_memory_of_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_MOST_UNFINISHED", 3)
    store = LocalFileTraceStore(tmp_path)
    page = CallFeed(store, CallFilter(), 100, {})
    for number in range(9):
        store.write(make(f"{number}", verdict="retry", outcome="error"))
    page.refresh()
    assert len(page._unfinished) == 3
    assert b'"8"' in page.changes(0)


def test_a_page_without_threads_is_taken_up_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    page = CallFeed(LocalFileTraceStore(tmp_path), CallFilter(), 100, {})
    refreshed = threading.Event()
    monkeypatch.setattr(page, "refresh", refreshed.set)
    server = ReportServer(page, 0, clock=clock)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", refuse)
        clock.advance(1000)
        server.service_actions()
    assert not refreshed.is_set()
    clock.advance(1000)
    server.service_actions()
    assert refreshed.wait(20)
    server.server_close()


# --- prices and budgets ---


def test_names_of_models_do_not_fill_the_memory_with_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricer, "_MOST_CARDS", 3)
    config = load_config(
        {
            "llm": {
                "providers": {"p": {"type": "mock"}},
                "roles": {"r": {"provider": "p"}},
                "pricing": {"models": {"p": {"input": 1, "output": 1}}},
            }
        }
    )
    prices = Pricer(config.pricing, None, lambda *_: None)
    provider = prices.provider("p", None)
    for number in range(20):
        assert prices.card(provider, asked=f"m{number}", at=0.0) is not None
    assert len(prices._cards) <= 3


class Connection:
    """A Redis that has sums, and can be away."""

    def __init__(self, *_: object, **__: object) -> None:
        self.sums: list[Any] = []
        self.is_away = False

    def run(self, calls: Any) -> list[Any]:
        if self.is_away:
            raise RedisProblem("no answer in time")
        accounts = [key.rpartition(":")[2] for key in calls[0].keys[1:]]
        return [["inf" if name == "odd" else "1.5" for name in accounts]]

    def close(self) -> None:
        pass


def test_a_ledger_in_redis_offers_again_what_may_not_have_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that adds nothing is not asked again; a forked child leaves its parent's offers to it."""
    monkeypatch.setattr(ledger_redis, "RedisConnection", Connection)
    monkeypatch.setattr(ledger_redis, "_MOST_KNOWN", 2)
    ledger = RedisLedger("redis://127.0.0.1:1/0", "n", timeout=1)
    connection: Any = ledger._connection
    assert ledger.add({"a": 1.5, "odd": 0.0}) == {"a": 1.5, "odd": float("inf")}
    assert ledger._known == {"a": 1.5}, "a sum that can be none is not kept"
    connection.is_away = True
    for usd, unsure in ((0.0, False), (2.0, True)):
        with pytest.raises(RedisProblem):
            ledger.add({"a": usd})
        assert (ledger._unsure is not None) is unsure
    ledger._fork_lock.renew()  # what the child does after a fork
    assert ledger._unsure is None
    connection.is_away = False
    ledger.add({"b": 0.0, "c": 0.0, "d": 0.0})
    assert len(ledger._known) == 2
