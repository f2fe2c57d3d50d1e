"""Budgets: spent exactly once, by threads and processes, over restarts and periods; and what follows when they are."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from helpers.support import FakeClock, config_for, provider_of, router_for
from lee_llm_router import (
    BudgetExceededError,
    ConfigError,
    FailureType,
    InvalidResponseError,
    LeeLLMRouter,
    LLMResponse,
    LLMUsage,
    UnavailableError,
    load_config,
)
from lee_llm_router.telemetry.pricing.ledger_file import FileLedger
from lee_llm_router.telemetry.pricing.periods import period_end, period_name
from lee_llm_router.telemetry.pricing.settings import BudgetPeriod
from lee_llm_router.telemetry.pricing.spending import Spending

DOLLAR = LLMResponse(text="yes", finish_reason="stop", cost_usd=1.0, usage=LLMUsage(prompt_tokens=1))
"""An answer that costs one US dollar, as its vendor says."""


class MemoryLedger:
    """A ledger that keeps what it is told, and may be told to fail."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.fails = False

    def add(self, amounts: Mapping[str, float]) -> Mapping[str, float]:
        if self.fails:
            raise OSError(28, "no space left on device")
        for name, usd in amounts.items():
            self.sums[name] = self.sums.get(name, 0.0) + usd
        return {name: self.sums[name] for name in amounts}


def limited(
    plays: Mapping[str, Any], *, top: Any = None, role: Any = None, providers: Any = None, pricing: Any = None
) -> Any:
    """A configuration with budgets: of all calls, of the role, of providers by name."""
    settings = {name: {"budget": budget} for name, budget in (providers or {}).items()}
    config = config_for(plays, {} if role is None else {"budget": role}, settings)
    return load_config({"llm": {
        "providers": dict(config.providers), "roles": {"r": config.roles["r"]}, "trace": {"enabled": False},
        **({} if top is None else {"budget": top}), **({} if pricing is None else {"pricing": pricing}),
    }})  # fmt: skip


def opened(config: Any, **options: Any) -> tuple[LeeLLMRouter, Any, FakeClock]:
    return router_for(config, **{"budget_ledger": MemoryLedger(), **options})


@pytest.mark.parametrize("where", ["top", "role", "providers"])
@pytest.mark.parametrize("what", ["next", "raise"])
def test_a_spent_budget_ends_the_call_before_any_attempt(where: str, what: str) -> None:
    """Nothing is sent; the error is typed, and says when the next period begins."""
    budget = {"usd": 2, "per": "day", "on_exceed": what}
    config = limited({"a": [DOLLAR]}, **{where: {"a": budget} if where == "providers" else budget})
    router, memory, clock = opened(config)
    for _ in range(2):
        router.complete("r", "x")
    with pytest.raises(BudgetExceededError, match="the budget of 2 US dollars a day") as spent:
        router.complete("r", "x")
    assert spent.value.failure_type is FailureType.QUOTA
    assert not spent.value.sent
    assert spent.value.retry_after == pytest.approx(period_end("day", clock.time()) - clock.time())
    assert len(provider_of(router, "a").calls) == 2
    assert [(r.outcome, r.failure_type) for r in memory.records[2:]] == [("skipped", "QUOTA"), ("error", "QUOTA")]


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"usd": 0.000001, "per": "hour"}, "the budget of 0.000001 US dollars an hour for all calls is spent"),
        ({"usd": 0.5, "per": "month"}, "the budget of 0.5 US dollars a month for"),
        ({"usd": 0.0000125}, "the budget of 0.0000125 US dollars for"),
    ],
)
def test_a_spent_budget_is_told_as_people_write_it(budget: dict[str, Any], told: str) -> None:
    """No powers of ten, and no "a hour"."""
    router, _, _ = opened(limited({"a": [DOLLAR]}, top=budget))
    router.complete("r", "x")
    with pytest.raises(BudgetExceededError) as spent:
        router.complete("r", "x")
    assert told in str(spent.value)


def test_next_goes_to_a_target_outside_of_the_budget() -> None:
    router, memory, _ = opened(limited({"a": [DOLLAR], "b": ["free"]}, providers={"a": {"usd": 1}}))
    assert [router.complete("r", "x").provider for _ in range(3)] == ["a", "b", "b"]
    skipped = memory.records[1]
    assert (skipped.provider, skipped.outcome, skipped.failure_type) == ("a", "skipped", "QUOTA")
    assert "budget" in skipped.error


def test_raise_ends_the_call_although_there_is_another_target() -> None:
    budget = {"usd": 1, "on_exceed": "raise"}
    router, _, _ = opened(limited({"a": [DOLLAR], "b": ["free"]}, providers={"a": budget}))
    router.complete("r", "x")
    with pytest.raises(BudgetExceededError):
        router.complete("r", "x")


def test_a_role_goes_on_with_what_costs_nothing() -> None:
    """Only a price of 0 says so: a target whose price is not known may cost anything."""
    free = {"models": {"b": {"input": 0, "output": 0}}}
    plays = {"a": [DOLLAR], "b": ["local"]}
    router, _, _ = opened(limited(plays, role={"usd": 1}, pricing=free))
    assert [router.complete("r", "x").provider for _ in range(3)] == ["a", "b", "b"]
    router, _, _ = opened(limited(plays, role={"usd": 1}))
    router.complete("r", "x")
    with pytest.raises(BudgetExceededError):
        router.complete("r", "x")


def test_a_budget_that_is_spent_by_the_first_attempt_stops_the_retry() -> None:
    refused = LLMResponse(text="no", finish_reason="stop", cost_usd=1.0, usage=LLMUsage(prompt_tokens=1))
    config = config_for({"a": [refused]}, {"budget": {"usd": 1}, "accept": {"must_match": "yes"}})
    router, memory, _ = opened(config)
    with pytest.raises(BudgetExceededError) as failed:
        router.complete("r", "x")
    assert isinstance(failed.value.cause, InvalidResponseError)
    assert [(r.outcome, r.cost_usd) for r in memory.records[:2]] == [("error", 1.0), ("skipped", None)]
    assert len(provider_of(router, "a").calls) == 1


def test_targets_shut_for_other_reasons_keep_their_error() -> None:
    plays = {"a": [DOLLAR], "b": ["x"]}
    config = limited(plays, providers={"a": {"usd": 1}})
    router, _, _ = opened(config, wrap_provider=lambda p: _broken(p) if p.name == "b" else p)
    router.complete("r", "x")
    with pytest.raises(UnavailableError):
        router.complete("r", "x")


def _broken(provider: Any) -> Any:
    raise ValueError(provider.name)


def test_a_new_period_begins_by_the_calendar() -> None:
    router, _, clock = opened(limited({"a": [DOLLAR]}, top={"usd": 1, "per": "hour"}))
    router.complete("r", "x")
    with pytest.raises(BudgetExceededError) as spent:
        router.complete("r", "x")
    assert spent.value.retry_after is not None
    clock.advance(spent.value.retry_after + 1)
    assert router.complete("r", "x").text == "yes"
    assert router.budgets()[0].spent_usd == 1


@pytest.mark.parametrize(
    ("per", "at", "name", "end"),
    [
        ("hour", "2026-11-26T13:59:59", "2026-11-26T13", "2026-11-26T14:00:00"),
        ("day", "2026-11-26T23:59:59", "2026-11-26", "2026-11-27T00:00:00"),
        ("week", "2026-11-29T23:59:59", "2026-W48", "2026-11-30T00:00:00"),  # a Sunday
        ("week", "2027-01-01T00:00:00", "2026-W53", "2027-01-04T00:00:00"),
        ("month", "2026-12-31T23:59:59", "2026-12", "2027-01-01T00:00:00"),
        ("month", "2028-02-29T12:00:00", "2028-02", "2028-03-01T00:00:00"),
    ],
)
def test_periods_are_those_of_the_calendar_in_utc(per: BudgetPeriod, at: str, name: str, end: str) -> None:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
    assert period_name(per, moment) == name
    assert datetime.fromtimestamp(period_end(per, moment), UTC).isoformat()[:19] == end
    assert period_name(per, period_end(per, moment)) != name


def test_the_budget_of_a_key_counts_all_its_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARED_KEY", "sk-shared")
    config = load_config({"llm": {
        "default_role": "x",
        "providers": {
            "one": {"type": "http", "base_url": "http://127.0.0.1:9/v1", "api_key_env": "SHARED_KEY",
                    "budget": {"usd": 1, "of": "key"}},
            "two": {"type": "http", "base_url": "http://127.0.0.1:9/v1", "api_key_env": "SHARED_KEY"},
            "other": {"type": "mock"},
        },
        "roles": {"x": {"provider": "one", "model": "m"}, "y": {"provider": "two", "model": "m"},
                  "z": {"provider": "other"}},
        "trace": {"enabled": False},
    }})  # fmt: skip
    ledger = MemoryLedger()
    ledger.sums["key SHARED_KEY|total|total"] = 1.0
    router, _, _ = router_for(config, budget_ledger=ledger)
    for role in ("x", "y"):
        with pytest.raises(BudgetExceededError, match="SHARED_KEY"):
            router.complete(role, "x")
    assert router.complete("z", "x").text
    assert [budget.scope for budget in router.budgets()] == ["key SHARED_KEY"]


def test_an_unknown_cost_is_not_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    router, _, _ = opened(limited({"a": ["unknown"]}, top={"usd": 1}))
    with caplog.at_level(logging.WARNING, "lee_llm_router"):
        for _ in range(3):
            router.complete("r", "x")
    assert router.budgets()[0].spent_usd == 0
    assert [line for line in caplog.messages if "a/m" in line and "all calls" in line] == [
        "what a/m costs is not known, so the budget for all calls does not count it: say it under pricing, or install"
        " the extra [cost]"
    ]


def test_budgets_and_health_show_what_is_spent() -> None:
    budget = {"usd": 1.5, "per": "day"}
    router, _, _ = opened(limited({"a": [DOLLAR], "b": ["x"]}, role={"usd": 9}, providers={"a": budget}))
    router.complete("r", "x")
    role, provider = router.budgets()
    assert (role.scope, role.spent_usd, role.left_usd, role.resets_in) == ("role r", 1, 8, None)
    assert (provider.scope, provider.is_spent, provider.per) == ("provider a", False, "day")
    assert router.health()[("a", "m")].available
    router.complete("r", "x")
    assert router.budgets()[1].is_spent
    shown = router.health()[("a", "m")]
    assert not shown.available
    assert shown.reason is not None
    assert "budget" in shown.reason
    assert shown.retry_after > 0


def test_over_64_threads_it_is_exceeded_by_no_more_than_the_calls_under_way() -> None:
    """And not one dollar is lost or counted twice."""
    config = limited({"a": [DOLLAR]}, top={"usd": 100})
    ledger = MemoryLedger()
    router = LeeLLMRouter(config, trace_store=False, budget_ledger=ledger)

    def spend(_: int) -> int:
        answers = 0
        while True:
            try:
                router.complete("r", "x")
            except BudgetExceededError:
                return answers
            answers += 1

    with ThreadPoolExecutor(64) as pool:
        answers = sum(pool.map(spend, range(64)))
    assert 100 <= answers < 100 + 64
    assert router.budgets()[0].spent_usd == pytest.approx(answers)
    router.close()
    assert ledger.sums == {"all calls|total|total": pytest.approx(answers)}


def test_what_was_spent_survives_a_restart(tmp_path: Path) -> None:
    config = limited({"a": [DOLLAR]}, top={"usd": 2})
    for spent in (1.0, 2.0):
        router, _, _ = router_for(config, trace_dir=tmp_path / "traces")
        router.complete("r", "x")
        assert router.budgets()[0].spent_usd == spent
        router.close()
    router, _, _ = router_for(config, trace_dir=tmp_path / "traces")
    with pytest.raises(BudgetExceededError):
        router.complete("r", "x")
    router.close()
    file = tmp_path / "traces" / "budgets.json"
    assert json.loads(file.read_text())["spent_usd"] == {"all calls|total|total": 2.0}
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "traces" / ".gitignore").read_text() == "*\n"


def test_a_router_without_budgets_makes_no_file(tmp_path: Path) -> None:
    router, _, _ = router_for(config_for({"a": [DOLLAR]}), trace_dir=tmp_path / "traces")
    router.complete("r", "x")
    router.close()
    assert not list(tmp_path.iterdir())


def test_a_reloaded_file_goes_on_from_what_was_spent(tmp_path: Path) -> None:
    file = tmp_path / "llm.yaml"

    def write(usd: int) -> None:
        file.write_text(
            f"llm: {{providers: {{m: {{type: mock}}}}, roles: {{r: {{provider: m}}}}, budget: {{usd: {usd}}},"
            " pricing: {models: {m: {per_request: 1}}}, trace: {enabled: false}}"
        )

    write(1)
    with LeeLLMRouter(file) as router:
        router.complete("r", "x")
        with pytest.raises(BudgetExceededError):
            router.complete("r", "x")
        write(2)
        router.reload()
        assert router.budgets()[0].spent_usd == 1
        router.complete("r", "x")
        with pytest.raises(BudgetExceededError):
            router.complete("r", "x")


PROCESS = """
import sys
from lee_llm_router.telemetry.pricing.ledger_file import FileLedger
from lee_llm_router.telemetry.pricing.spending import Spending
from pathlib import Path
spending = Spending(FileLedger(Path(sys.argv[1])))
for _ in range(200):
    spending.add(["all"], 0.25)
    spending.flush()
print("done", flush=True)
if sys.argv[2] == "hang":
    sys.stdin.read()
"""


def _start(folder: Path, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(folder), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_processes_share_one_sum_and_a_killed_one_loses_nothing_that_it_handed_over(tmp_path: Path) -> None:
    children = [_start(tmp_path, "hang") for _ in range(4)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    spending = Spending(FileLedger(tmp_path))
    spending.load(["all"])
    assert spending.spent("all") == 4 * 200 * 0.25


def test_a_program_that_ends_without_a_word_has_handed_all_over(tmp_path: Path) -> None:
    code = (
        "import sys; from lee_llm_router import LeeLLMRouter\n"
        "router = LeeLLMRouter({'llm': {'providers': {'m': {'type': 'mock'}}, 'roles': {'r': {'provider': 'm'}},\n"
        "    'budget': {'usd': 5}, 'pricing': {'models': {'m': {'per_request': 1}}}}}, trace_dir=sys.argv[1])\n"
        "router.complete('r', 'x'); router.complete('r', 'x')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    assert json.loads((tmp_path / "budgets.json").read_text())["spent_usd"] == {"all calls|total|total": 2}


def test_an_async_router_hands_over_when_it_is_closed(tmp_path: Path) -> None:
    async def spend() -> None:
        router, _, _ = router_for(limited({"a": [DOLLAR]}, top={"usd": 5}), trace_dir=tmp_path)
        async with router:
            await router.complete_async("r", "x")

    asyncio.run(spend())
    assert json.loads((tmp_path / "budgets.json").read_text())["spent_usd"] == {"all calls|total|total": 1}


def test_another_processs_spending_is_seen(tmp_path: Path) -> None:
    one, other = Spending(FileLedger(tmp_path)), Spending(FileLedger(tmp_path))
    one.add(["all"], 2)
    one.flush()
    other.load(["all"])
    other.add(["all"], 3)
    other.flush()
    one.load(["all"])
    assert one.spent("all") == other.spent("all") == 5


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"schema": 2, "spent_usd": {}}', b'{"schema": 1, "spent_usd": {"x": -1}}',
                b'{"schema": 1, "spent_usd": {"x": NaN}}', b"\xff\xfe", b"[" * 100_000, b"x" * 2_000_000],
)  # fmt: skip
def test_a_broken_file_is_put_aside_and_what_is_known_stays(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    spending = Spending(FileLedger(tmp_path))
    spending.add(["all"], 2)
    spending.flush()
    (tmp_path / "budgets.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        spending.add(["all"], 1)
        spending.flush()
    assert spending.spent("all") == 3
    assert (tmp_path / "budgets.json.broken").read_bytes() == content
    assert json.loads((tmp_path / "budgets.json").read_text())["spent_usd"] == {"all": 3}
    assert sum("put aside" in line for line in caplog.messages) == 1


def test_a_deleted_file_forgets_what_was_spent(tmp_path: Path) -> None:
    spending = Spending(FileLedger(tmp_path))
    spending.add(["all"], 2)
    spending.flush()
    (tmp_path / "budgets.json").unlink()
    spending.load(["all"])
    assert spending.spent("all") == 0


def test_periods_long_past_leave_the_file(tmp_path: Path) -> None:
    spending = Spending(FileLedger(tmp_path))
    for day in range(10, 30):
        spending.add([f"all calls|day|2026-11-{day}", "role r|total|total"], 1)
        spending.flush()
    kept = json.loads((tmp_path / "budgets.json").read_text())["spent_usd"]
    assert kept == {"all calls|day|2026-11-28": 1, "all calls|day|2026-11-29": 1, "role r|total|total": 20}


def _unwritable(folder: Path) -> None:
    folder.write_text("a file, where a folder should be")


def _foreign(folder: Path) -> None:
    (folder / "budgets.json").mkdir(parents=True)
    (folder / "budgets.json.broken").mkdir()
    (folder / "budgets.json.broken" / "x").write_text("x")


@pytest.mark.parametrize("breaks", [_unwritable, _foreign])
def test_a_file_that_cannot_be_kept_breaks_no_call(
    tmp_path: Path, breaks: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The budget holds for the process, and a warning says so once."""
    breaks(tmp_path / "traces")
    with caplog.at_level(logging.WARNING, "lee_llm_router"):
        router, _, _ = router_for(limited({"a": [DOLLAR]}, top={"usd": 2}), trace_dir=tmp_path / "traces")
        for _ in range(2):
            router.complete("r", "x")
        with pytest.raises(BudgetExceededError):
            router.complete("r", "x")
        router.close()
    assert sum("cannot be kept" in line for line in caplog.messages) == 1


def test_what_a_failing_ledger_missed_is_handed_over_later() -> None:
    ledger = MemoryLedger()
    spending = Spending(ledger)
    ledger.fails = True
    spending.add(["all"], 2)
    spending.flush()
    ledger.fails = False
    spending.add(["all"], 1)
    spending.flush()
    assert ledger.sums["all"] == spending.spent("all") == 3
    spending.close()


def test_the_thread_hands_over_by_itself() -> None:
    told, ledger = threading.Event(), MemoryLedger()

    class Telling(MemoryLedger):
        def add(self, amounts: Mapping[str, float]) -> Mapping[str, float]:
            found = ledger.add(amounts)
            told.set()
            return found

    spending = Spending(Telling())
    spending.add(["all"], 2)
    assert told.wait(30)
    assert ledger.sums["all"] == 2
    spending.close()


def test_a_forked_child_does_not_hand_over_what_its_parent_spent(tmp_path: Path) -> None:
    code = (
        "import os, sys, warnings; warnings.simplefilter('ignore'); from pathlib import Path\n"
        "from lee_llm_router.telemetry.pricing.ledger_file import FileLedger\n"
        "from lee_llm_router.telemetry.pricing.spending import Spending\n"
        "s = Spending(FileLedger(Path(sys.argv[1])))\n"
        "s._start = lambda: None\n"
        "s.add(['all'], 1)\n"
        "pid = os.fork()\n"
        "s.add(['all'], 10 if pid else 100)\n"
        "s.close()\n"
        "os.waitpid(pid, 0) if pid else os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    assert json.loads((tmp_path / "budgets.json").read_text())["spent_usd"] == {"all": 111}


@pytest.mark.parametrize(
    ("budget", "finding"),
    [
        ({}, "missing"), ({"usd": 0}, "greater than 0"), ({"usd": "much"}, "a number is wanted"),
        ({"usd": 1, "per": "year"}, "is wanted"), ({"usd": 1, "on_exceed": "stop"}, "is wanted"),
        ({"usd": 1, "of": "key"}, "unknown key"), (5, "a mapping is wanted"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_budget_is_a_finding(budget: Any, finding: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        limited({"a": ["x"]}, top=budget)
    assert finding in wrong.value.findings[0]
    assert "llm.budget" in wrong.value.findings[0]
