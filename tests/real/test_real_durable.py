"""The engine `dbos` on a real Postgres: workers are killed, Postgres restarts, and each row is answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.durable_batch import CountingServer, Postgres, Run, kill, postgres_programs, rows_of, worker_process
from lee_llm_router import LeeLLMRouter

pytestmark = pytest.mark.real
pytest.importorskip("dbos")

ROWS = 2_000
AT_ONCE = 16


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    if postgres_programs() is None:
        pytest.skip("Postgres is not installed")
    with Postgres() as server:
        yield server


def test_two_thousand_rows_are_answered_once_each_though_two_of_three_workers_are_killed(
    postgres: Postgres, tmp_path: Path
) -> None:
    """Asked more than once are at most the rows that were under way at each kill."""
    db = postgres.address("killed")
    rows = rows_of([f"say {number}" for number in range(ROWS)])
    with CountingServer(delay=0.1) as server, LeeLLMRouter(server.config(), trace_store=False) as router:

        async def run() -> Run:
            batch = Run(router, rows, db, concurrency=AT_ONCE, worker=False)
            running = asyncio.ensure_future(batch.run())
            with (
                worker_process(server.config(), db, tmp_path) as first,
                worker_process(server.config(), db, tmp_path) as second,
                worker_process(server.config(), db, tmp_path),
            ):
                for victim, moment in ((first, ROWS // 4), (second, ROWS // 2)):
                    await asyncio.to_thread(server.wait_for, moment)
                    kill(victim)
                await running
            return batch

        outcomes = asyncio.run(run()).outcomes
    assert len(outcomes) == ROWS
    assert all(outcome.is_answer for outcome in outcomes.values())
    assert len(server.asked) == ROWS
    assert server.asked.total() - ROWS <= 2 * AT_ONCE
