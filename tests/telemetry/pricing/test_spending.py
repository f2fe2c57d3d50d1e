"""What was spent, on its way to the ledger: forks, the end of the interpreter, and threads that cannot be started."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.servers import eventually
from lee_llm_router._util.file_lock import FileLock
from lee_llm_router.telemetry.pricing import ledger_file, need, spending, table
from lee_llm_router.telemetry.pricing.ledger_file import FileLedger
from lee_llm_router.telemetry.pricing.spending import Spending
from lee_llm_router.telemetry.pricing.table import PriceTable


class Ledger:
    """Keeps sums in memory; `on_add` is called before each addition."""

    def __init__(self, on_add: Callable[[], object] = lambda: None) -> None:
        self.sums: dict[str, float] = {}
        self.on_add = on_add

    def add(self, amounts: Mapping[str, float]) -> Mapping[str, float]:
        self.on_add()
        for name, usd in amounts.items():
            self.sums[name] = self.sums.get(name, 0.0) + usd
        return {name: self.sums[name] for name in amounts}

    def close(self) -> None:
        pass


def refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


@pytest.fixture
def unthreaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_what_is_added_while_the_ledger_answers_is_handed_over_next(unthreaded: None) -> None:
    """It is neither lost nor counted twice."""
    ledger = Ledger()
    spent = Spending(ledger)
    spent.add(["a"], 1.0)
    adds = iter([0.5])

    def more() -> None:
        for usd in adds:
            spent.add(["a"], usd)

    ledger.on_add = more
    assert spent.flush() and ledger.sums == {"a": 1.0}
    assert spent.has_more and spent.spent("a") == 1.5
    spent.close()
    assert ledger.sums == {"a": 1.5} and not spent.has_more


def test_without_threads_it_is_handed_over_at_the_end(unthreaded: None) -> None:
    ledger = Ledger()
    spent = Spending(ledger)
    spent.add(["a"], 1.0)
    assert ledger.sums == {} and spent.spent("a") == 1.0
    spent.close()
    assert ledger.sums == {"a": 1.0}


def test_what_comes_while_the_thread_ends_has_a_thread_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending, "_IDLE_ROUNDS", 1)
    monkeypatch.setattr(spending, "FLUSH_SECONDS", 0.001)
    ledger = Ledger()
    spent = Spending(ledger)
    flush, adds = spent.flush, iter([True])

    def flushed() -> bool:
        found = flush()
        if not found and next(adds, False):
            spent.add(["late"], 2.0)
        return found

    monkeypatch.setattr(spent, "flush", flushed)
    spent.add(["a"], 1.0)
    assert eventually(lambda: ledger.sums == {"a": 1.0, "late": 2.0}, 20)
    spent.close()


def test_a_forked_child_leaves_its_parents_spending_to_the_parent(unthreaded: None) -> None:
    ledger = Ledger()
    spent = Spending(ledger)
    spent.add(["a"], 1.0)
    spent._lock.renew()  # what the child does after a fork
    spent.add(["b"], 2.0)
    spent.close()
    assert ledger.sums == {"b": 2.0}


def test_the_end_of_the_interpreter_hands_over_what_nobody_has_closed(
    unthreaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle, busy = Ledger(), Ledger()
    all_of_them = [Spending(idle), Spending(busy)]
    monkeypatch.setattr(spending, "_open", weakref.WeakSet(all_of_them))
    all_of_them[1].add(["a"], 1.0)
    spending._hand_over_all()
    assert busy.sums == {"a": 1.0} and idle.sums == {}


def test_a_lock_that_another_process_keeps_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder may have been stopped. What is added then stays here, and is tried again."""
    monkeypatch.setattr(ledger_file, "_LOCK_WAIT", 0.0)
    ledger = FileLedger(tmp_path)
    ledger.add({"a": 1.0})
    with FileLock(tmp_path / ledger_file._LOCK_NAME), pytest.raises(TimeoutError, match="for too long"):
        ledger.add({"a": 1.0})
    assert ledger.add({"a": 1.0}) == {"a": 2.0}


# --- the table of prices ---


def test_without_threads_the_cost_is_unknown_this_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found = PriceTable()
    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", refuse)
        assert found.look_up("https://api.openai.com", ("gpt-4o",), 0.0) is None
    started = found.look_up("https://api.openai.com", ("gpt-4o",), 0.0)
    assert started is not None
    started.result(60)
    assert found.known("https://api.openai.com", "gpt-4o", 0.0) is not None
    assert found.look_up("https://api.openai.com", ("gpt-4o",), 0.0) is None


def test_names_of_models_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers says what the model is called, and may say another name each time."""
    monkeypatch.setattr(table, "_MOST_MODELS", 3)
    found = PriceTable()
    for number in range(10):
        found.find("https://api.openai.com", f"model {number}", 0.0)
    assert sum(found.known("https://api.openai.com", f"model {number}", 0.0) is not None for number in range(10)) <= 3
    model = found.find("https://api.openai.com", "gpt-4o", 0.0)
    assert model is not None and (model.id, model.is_deprecated) == ("gpt-4o", False)


@pytest.mark.parametrize("is_loading", [True, False])
def test_a_forked_child_does_not_wait_for_a_table_that_its_parent_was_loading(is_loading: bool) -> None:
    """The lock of that import is held for ever there: costs are unknown in the child."""
    found = PriceTable()
    begun: Any = object()
    if is_loading:
        found._under_way[("v", "m")] = begun
    found._lock.renew()  # what the child does after a fork
    assert found.known("v", "m", 0.0) == ((None,) if is_loading else None)


def test_a_price_that_can_be_none_is_no_price() -> None:
    price = SimpleNamespace(**dict.fromkeys(table._RATES.values()) | {"input_mtok": -1.0})
    with pytest.raises(ValueError, match="not a price"):
        table._card(price, 0.0)


@pytest.mark.parametrize(
    ("address", "has_some"),
    [
        ("https://api.openai.com/v1", True),
        ("http://[::1", False),
        ("http://box.local/v1", False),
        ("http://10.0.0.7", False),
    ],
)
def test_only_servers_with_public_names_are_looked_up(address: str, has_some: bool) -> None:
    assert need.has_prices(address) is has_some


@pytest.mark.parametrize("error", [ImportError, ValueError])
def test_a_package_that_cannot_be_looked_for_is_not_installed(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a module of that name stands in `sys.modules` without a spec."""

    def find_spec(_: str) -> None:
        raise error

    monkeypatch.setattr(need, "find_spec", find_spec)
    assert need.is_installed.__wrapped__() is False
