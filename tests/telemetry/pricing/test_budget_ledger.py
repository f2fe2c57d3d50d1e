"""What was spent is kept: over restarts, by processes that share a file, and when that file breaks."""

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
from pathlib import Path

import pytest

from helpers.spent_budgets import DOLLAR, MemoryLedger, limited
from helpers.support import config_for, router_for
from lee_llm_router import (
    BudgetExceededError,
    LeeLLMRouter,
)
from lee_llm_router.telemetry.pricing.ledger_file import FileLedger
from lee_llm_router.telemetry.pricing.spending import Spending


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
    assert sum("moved aside" in line for line in caplog.messages) == 1


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
