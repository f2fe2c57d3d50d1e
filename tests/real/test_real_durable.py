"""The engine `dbos` on a real Postgres: workers are killed, Postgres restarts, and each row is answered once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from helpers.durable_batch import (
    CountingServer,
    Postgres,
    Run,
    kill,
    postgres_programs,
    rows_of,
    wait_until,
    worker_process,
)
from lee_llm_router import LeeLLMRouter

pytestmark = pytest.mark.real
pytest.importorskip("dbos")

ROWS = 2_000
AT_ONCE = 16


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    if "LEE_REAL_POSTGRES" not in os.environ:
        pytest.skip("make test-real runs it")
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


def test_a_database_that_crashes_in_between_loses_no_row_and_has_none_asked_twice(
    postgres: Postgres, tmp_path: Path
) -> None:
    """What was answered meanwhile is stored when it is back."""
    db = postgres.address("restarted")
    rows = rows_of([f"say {number}" for number in range(300)])
    with CountingServer(delay=0.1) as server, LeeLLMRouter(server.config(), trace_store=False) as router:

        async def run() -> Run:
            batch = Run(router, rows, db, concurrency=AT_ONCE)
            running = asyncio.ensure_future(batch.run())
            await asyncio.to_thread(server.wait_for, 100)
            await asyncio.to_thread(postgres.stop)
            await asyncio.sleep(1)
            await asyncio.to_thread(postgres.start)
            await running
            return batch

        outcomes = asyncio.run(run()).outcomes
    assert len(outcomes) == 300
    assert server.asked == {f"say {number}": 1 for number in range(300)}


def test_rows_of_a_worker_that_hangs_go_to_others_and_what_it_says_later_is_not_taken(
    postgres: Postgres, tmp_path: Path
) -> None:
    """Its process is there, so that only its missing beats tell: as those of one on another machine would."""
    db = postgres.address("hanging")
    rows = rows_of([f"say {number}" for number in range(60)])
    with CountingServer(delay=0.3) as server:

        async def run() -> Run:
            with LeeLLMRouter(server.config(), trace_store=False) as router:
                batch = Run(router, rows, db, concurrency=4, worker=False)
                running = asyncio.ensure_future(batch.run())
                with worker_process(server.config(), db, tmp_path) as hanging:
                    await asyncio.to_thread(server.wait_for, 10)
                    hanging.send_signal(signal.SIGSTOP)
                    with worker_process(server.config(), db, tmp_path):
                        await asyncio.to_thread(wait_until, lambda: server.asked.total() >= len(rows) + 1)
                        hanging.send_signal(signal.SIGCONT)
                        await running
            return batch

        assert len(asyncio.run(run()).outcomes) == 60
        assert len(server.asked) == 60
        assert server.asked.total() - 60 <= 4


def test_workers_hold_the_limit_of_the_provider_together(postgres: Postgres, tmp_path: Path) -> None:
    """Each could ask 16 rows at once, and the provider takes 4: the queue counts over all of them."""
    db = postgres.address("limited")
    rows = rows_of([f"say {number}" for number in range(60)])
    with CountingServer(delay=0.1) as server:
        config = server.config(max_concurrency=4)

        async def run() -> Run:
            with LeeLLMRouter(config, trace_store=False) as router:
                batch = Run(router, rows, db, concurrency=AT_ONCE, worker=False)
                with worker_process(config, db, tmp_path), worker_process(config, db, tmp_path):
                    await batch.run()
            return batch

        assert len(asyncio.run(run()).outcomes) == 60
        assert server.asked == {f"say {number}": 1 for number in range(60)}
        assert server.most_under_way <= 4


KILLED = """
import json, sys
from lee_llm_router import LeeLLMRouter

config, db, rows, out = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
with LeeLLMRouter(config, trace_store=False) as router:
    router.batch(
        (f"say {number}" for number in range(rows)), out=out, role="r", concurrency=16, engine="dbos",
        engine_options={"db": db},
    )
"""


def test_a_batch_killed_five_times_writes_each_row_once(postgres: Postgres, tmp_path: Path) -> None:
    """Asked more than once are at most the rows that were under way at each kill."""
    random, out = Random(13), tmp_path / "out.jsonl"
    with CountingServer(delay=0.1) as server:
        config, db = json.dumps(server.config()), postgres.address("five")
        command = [sys.executable, "-c", KILLED, config, db, str(ROWS), str(out)]
        for _ in range(5):
            with subprocess.Popen(command) as process:
                server.wait_for(server.asked.total() + random.randrange(20, ROWS // 6))
                kill(process)
        subprocess.run(command, check=True)
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(answers) == len({answer["id"] for answer in answers}) == ROWS
    assert {answer["text"] for answer in answers} == {f"answer to say {number}" for number in range(ROWS)}
    assert len(server.asked) == ROWS
    assert server.asked.total() - ROWS <= 5 * AT_ONCE
