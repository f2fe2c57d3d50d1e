"""The engine `dbos` on SQLite: each row is answered once, whoever dies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from helpers.durable_batch import CountingServer, Run, kill, rows_of, worker_process
from lee_llm_router import LeeLLMRouter
from lee_llm_router.batch.answers import RowOutcome

pytest.importorskip("dbos")


@pytest.fixture
def db(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'rows.db'}"


def test_each_row_is_answered_once_and_nothing_is_left_in_the_database(db: str) -> None:
    rows = rows_of([{"id": f"row {number}", "prompt": f"say {number}"} for number in range(60)])
    with CountingServer() as server, LeeLLMRouter(server.config(), trace_store=False) as router:
        outcomes = asyncio.run(Run(router, rows, db).run())
        assert server.asked == {f"say {number}": 1 for number in range(60)}
    assert [outcomes[row.id].fields["text"] for row in rows] == [f"answer to say {number}" for number in range(60)]


def test_rows_of_a_killed_worker_are_answered_by_another(db: str, tmp_path: Path) -> None:
    """Asked twice are at most those that were under way at the kill."""
    rows = rows_of([f"say {number}" for number in range(60)])
    with CountingServer(delay=0.2) as server, LeeLLMRouter(server.config(), trace_store=False) as router:

        async def run() -> dict[str, RowOutcome]:
            running = asyncio.ensure_future(Run(router, rows, db, concurrency=8, worker=False).run())
            with worker_process(server.config(), db, tmp_path) as first:
                await asyncio.to_thread(server.wait_for, 20)
                kill(first)
            with worker_process(server.config(), db, tmp_path) as _:
                return await running

        outcomes = asyncio.run(run())
    assert len(outcomes) == 60
    assert all(outcome.is_answer for outcome in outcomes.values())
    assert len(server.asked) == 60
    assert server.asked.total() - 60 <= 8
