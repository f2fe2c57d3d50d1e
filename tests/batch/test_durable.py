"""The engine `dbos` on SQLite: each row is answered once, whoever dies. Postgres is in `tests/real`."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from helpers.durable_batch import CountingServer, Run, kill, rows_of, wait_until, worker_process
from lee_llm_router import ConfigError, FailureType, LeeLLMRouter, LLMRouterError, UnavailableError
from lee_llm_router.batch.answers import RowOutcome

pytest.importorskip("dbos")

from dbos import error as dbos_error
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from lee_llm_router.batch.durable import database
from lee_llm_router.batch.durable.database import NEEDS_EXTRA, BatchDatabase
from lee_llm_router.batch.durable.engine import row_key
from lee_llm_router.batch.durable.limits import QueueLimits, limits_of
from lee_llm_router.batch.durable.quiet import quiet_logs
from lee_llm_router.batch.durable.roll_call import LOOKS, RollCall, new_worker_id
from lee_llm_router.batch.durable.row_queue import RowQueue
from lee_llm_router.batch.durable.stored_rows import JsonSerializer

pytestmark = pytest.mark.skipif(not database.SQLITE_SERVES, reason="DBOS cannot use the SQLite of this Python")


@pytest.fixture
def db(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'rows.db'}"


def mock_router(**mock: Any) -> LeeLLMRouter:
    providers = {"m": {"type": "mock", **mock}}
    roles = {"r": {"provider": "m", "model": "x", "retry": {"attempts": 1}}}
    return LeeLLMRouter({"llm": {"providers": providers, "roles": roles}}, trace_store=False)


def test_each_row_has_one_outcome_and_nothing_is_left_in_the_database(db: str, tmp_path: Path) -> None:
    """A row that fails does so alone, also one that cannot be stored."""
    rows = rows_of([
        *({"id": f"row {number}", "prompt": f"say {number}"} for number in range(30)),
        {"id": "odd\0\ud800"[:4], "prompt": "say \0 and half \ud83d"},
        {"id": "code", "prompt": "x", "options": {"metadata": {"not": object()}}},
    ])  # fmt: skip
    schema = {"type": "object", "properties": {"said": {"type": "integer"}}, "required": ["said"]}
    answers = [{"text": "{}"}, {"text": "{}"}, {"text": '{"said": 7}'}]
    with mock_router(script=answers) as router:
        run = Run(router, rows, db, concurrency=1, options={"schema": schema, "max_tokens": 9})
        outcomes = asyncio.run(run.run())
    assert [row.id for row in rows if row.id not in outcomes] == []
    failed = {name: outcome.fields["error"] for name, outcome in outcomes.items() if not outcome.is_answer}
    assert failed.pop("code") == "INVALID_REQUEST"
    assert failed.pop("odd\0") == "INVALID_REQUEST"
    assert list(failed.values()) == ["CONTRACT_VIOLATION"]
    assert all(outcome.fields["parsed"] == {"said": 7} for outcome in outcomes.values() if outcome.is_answer)
    with create_engine(db).connect() as connection:
        counted = connection.exec_driver_sql("select count(*) from workflow_status").scalar()
        workers = connection.exec_driver_sql("select count(*) from batch_workers").scalar()
    assert (counted, workers) == (0, 0)
    assert (tmp_path / "rows.db").stat().st_mode & 0o077 == 0, "others may not read prompts"


def test_a_batch_that_no_key_serves_stops_and_the_next_run_answers_its_rows(db: str) -> None:
    rows = rows_of([f"say {number}" for number in range(10)])
    with mock_router(script=[{"error": "AUTH"}]) as router:
        first = Run(router, rows, db, concurrency=4)
        assert asyncio.run(first.run()) == {}
    assert [error.failure_type for error in first.errors if error is not None] == [FailureType.AUTH]
    with mock_router() as router:
        outcomes = asyncio.run(Run(router, rows, db, concurrency=4).run())
    assert len(outcomes) == 10
    assert all(outcome.is_answer for outcome in outcomes.values())


def test_rows_of_a_killed_worker_are_answered_by_another(db: str, tmp_path: Path) -> None:
    """Asked twice are at most those that were under way at the kill. Here the other is the process of the batch."""
    rows = rows_of([f"say {number}" for number in range(100)])
    with CountingServer(delay=0.3) as server, LeeLLMRouter(server.config(), trace_store=False) as router:

        async def run() -> dict[str, RowOutcome]:
            with worker_process(server.config(), db, tmp_path) as worker:
                assert worker.stderr is not None
                assert "answering rows" in await asyncio.to_thread(worker.stderr.readline)
                running = asyncio.ensure_future(Run(router, rows, db, concurrency=8).run())
                await asyncio.to_thread(wait_until, lambda: server.under_way > 8)
                kill(worker)
                assert "say" not in worker.stderr.read(), "no prompt is logged"
            return await running

        outcomes = asyncio.run(run())
    assert len(outcomes) == 100
    assert all(outcome.is_answer for outcome in outcomes.values())
    assert len(server.asked) == 100
    assert server.asked.total() - 100 <= 8


def test_a_cancelled_batch_gives_up_what_is_under_way_and_ends(db: str) -> None:
    async def run() -> Run:
        with mock_router(script=[{"delay": 60}]) as router:
            batch = Run(router, rows_of(["say 1", "say 2"]), db)
            running = asyncio.ensure_future(batch.run())
            await asyncio.to_thread(wait_until, lambda: batch.job.figures.in_flight == 2)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        return batch

    assert asyncio.run(run()).outcomes == {}


def test_a_batch_that_is_stopped_withdraws_the_rows_that_nobody_has_begun(db: str) -> None:
    """Workers would go on to ask them, for an output that nobody waits for."""

    async def run() -> None:
        with mock_router() as router:
            batch = Run(router, rows_of([f"say {number}" for number in range(700)]), db, worker=False)
            running = asyncio.ensure_future(batch.run())
            while batch.job.figures.waiting_for is None:
                await asyncio.sleep(0.01)
            batch.job.stop(None)
            await running

    asyncio.run(run())
    with create_engine(db).connect() as connection:
        assert connection.exec_driver_sql("select count(*) from workflow_status").scalar() == 0


def test_rows_that_no_worker_could_answer_fail_and_a_database_that_is_away_is_waited_for(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has cancelled one in the database; each worker that asked another has died; a third is not readable."""
    rows = rows_of([{"id": name, "prompt": "say"} for name in ("CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "ERROR")])
    waited_for: set[str | None] = set()
    engine = create_engine(db)

    def end_rows() -> None:
        with engine.begin() as connection:
            for row in rows:
                status = f"update workflow_status set status='{row.id}' where workflow_uuid like '%{row_key(row)}'"
                connection.exec_driver_sql(status)

    async def run() -> Run:
        with mock_router() as router:
            batch = Run(router, rows, db, worker=False)
            usual, tries = RowQueue.answered, iter([True, False])

            def away(queue: RowQueue, waiting: Any) -> Any:
                if next(tries, False):
                    raise UnavailableError("the database is away", sent=False)
                waited_for.add(batch.job.figures.waiting_for)
                return usual(queue, waiting)

            monkeypatch.setattr(RowQueue, "answered", away)
            running = asyncio.ensure_future(batch.run())
            while "a worker" not in str(batch.job.figures.waiting_for):
                await asyncio.sleep(0.01)
            end_rows()
            await running
        return batch

    outcomes = asyncio.run(run()).outcomes
    assert "the database is away" in waited_for
    said = {name: outcome.fields["message"] for name, outcome in outcomes.items()}
    assert said == {
        "CANCELLED": "it was cancelled in the database",
        "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "each worker that asked it has died",
        "ERROR": "the worker could not answer it",
    }


@pytest.mark.parametrize("name", ["_dbos_global_instance", "_dbos_global_registry"])
def test_a_program_that_uses_dbos_itself_runs_no_worker(db: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"dbos._dbos.{name}", object())
    with mock_router() as router, pytest.raises(ConfigError, match="already uses DBOS"):
        asyncio.run(Run(router, [], db).run())


def test_a_worker_is_dead_when_its_beats_have_not_moved_for_some_looks(db: str) -> None:
    roll = RollCall(create_engine(db), None)
    roll.prepare()
    for name in ("here-1-a", "gone-1-b"):
        roll.beat(name)
    for _ in range(LOOKS):
        roll.beat("here-1-a")
        assert roll.look() == []
    assert roll.look() == ["gone-1-b"]
    assert roll.alive == 1
    roll.leave("gone-1-b")
    roll.beat("here-1-a")
    assert roll.look() == []
    roll.resign("here-1-a")
    assert roll.look() == ["here-1-a"], "one that says so is dead at once"


def test_a_worker_on_this_machine_is_dead_when_its_process_is_gone(db: str) -> None:
    roll = RollCall(create_engine(db), None)
    roll.prepare()
    roll.beat(new_worker_id())
    code = "from lee_llm_router.batch.durable.roll_call import new_worker_id; print(new_worker_id())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    roll.beat(ended)
    assert roll.look() == [ended]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "needs a database"),
        ({"db": " "}, "needs a database"),
        ({"db": "sqlite:///x.db", "ahead": 0}, "at least 1"),
        ({"db": "sqlite:///x.db", "workers": True}, "did you mean 'worker'"),
        ({"db": "sqlite:///x.db", "worker": "no"}, "true or false"),
        ({"db": "mysql://h/rows"}, "mysql is not a supported kind"),
        ({"db": "postgresql://h"}, "names no database"),
        ({"db": "sqlite://"}, "workers share a file"),
        ({"db": "rows.db"}, "not the address of a database"),
        ({"db": "postgresql://u:p@ss@h/rows@x"}, "written as %40"),
    ],
)
def test_wrong_options_of_the_engine_are_an_error_that_says_so(settings: dict[str, Any], said: str) -> None:
    with mock_router() as router:
        run = Run(router, [], settings.pop("db", ""), **settings)
        with pytest.raises(ConfigError, match=said):
            asyncio.run(run.run())


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("postgresql://u:secretpw@127.0.0.1:1/rows", UnavailableError),
        ("sqlite:////no/such/folder/rows.db", ConfigError),
        ("sqlite:///{folder}/text.db", ConfigError),
    ],
)
def test_a_database_that_cannot_be_reached_is_an_error_without_its_password(
    address: str, kind: type[LLMRouterError], tmp_path: Path
) -> None:
    (tmp_path / "text.db").write_text("no database\n" * 1000)
    with pytest.raises(kind, match="the database") as raised:
        BatchDatabase(address.format(folder=tmp_path)).prepare()
    assert "secretpw" not in str(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        dbos_error.DBOSException("gone"),
        sqlite3.OperationalError("gone"),
        OSError("gone"),
        OperationalError("insert", "a prompt", ValueError("gone")),
    ],
)
def test_no_foreign_error_leaves_and_none_shows_a_row(db: str, error: Exception) -> None:
    with pytest.raises(UnavailableError, match="gone") as raised, BatchDatabase(db).failures_named():
        raise error
    assert "prompt" not in str(raised.value)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lee_llm_router.batch.durable.database.find_spec", lambda _: None)
    with pytest.raises(ConfigError) as raised:
        BatchDatabase("sqlite:///x.db")
    assert raised.value.message == NEEDS_EXTRA


def test_rows_are_stored_as_json_that_any_database_takes_and_errors_without_their_text() -> None:
    stored = JsonSerializer().serialize({"prompt": "\0 \ud83d é"})
    assert stored.isascii()
    assert JsonSerializer().deserialize(stored) == {"prompt": "\0 \ud83d é"}
    assert "secret" not in JsonSerializer().serialize(ValueError("a secret prompt"))


def test_what_dbos_logs_has_no_statement_in_it(caplog: pytest.LogCaptureFixture) -> None:
    quiet_logs()
    logger = logging.getLogger("dbos")
    logger.warning("it failed: %s", "(Error) gone\n[SQL: INSERT]\n[parameters: a prompt]")
    logger.warning("Workflow b:1 outcome was not recorded: the workflow is no longer owned by this execution.")
    assert [record.getMessage() for record in caplog.records] == ["it failed: (Error) gone"]


@pytest.mark.parametrize(
    ("provider", "limits"),
    [
        ({}, QueueLimits(each_worker=16)),
        ({"max_concurrency": 6}, QueueLimits(each_worker=6, all_workers=6)),
        ({"rpm": 600}, QueueLimits(each_worker=16, starts=60, period=6.0)),
        ({"rpm": 4}, QueueLimits(each_worker=16, starts=1, period=15.0)),
        (
            {"rpm": 600, "model_limits": {"x": {"rpm": 4}, "y": {"rpm": 1}}},
            QueueLimits(each_worker=16, starts=1, period=15.0),
        ),
        ({"model_limits": {"x": {"max_concurrency": 3}}}, QueueLimits(each_worker=3, all_workers=3)),
    ],
)
def test_the_queue_has_the_limits_of_the_target_that_is_asked_first(
    provider: dict[str, Any], limits: QueueLimits
) -> None:
    with mock_router(**provider) as router:
        assert limits_of(router, "r", 16) == limits


def test_each_of_several_keys_adds_its_limits_to_those_of_the_queue() -> None:
    provider = {"type": "openai", "api_key_env": ["A", "B"], "rpm": 300, "max_concurrency": 5}
    config = {"llm": {"providers": {"p": provider}, "roles": {"r": {"provider": "p", "model": "m"}}}}
    with LeeLLMRouter(config, trace_store=False) as router:
        assert limits_of(router, "r", 16) == QueueLimits(each_worker=10, all_workers=10, starts=60, period=6.0)


def test_where_routers_share_their_state_it_holds_the_limits_and_the_queue_adds_none() -> None:
    config = {
        "llm": {
            "providers": {"m": {"type": "mock", "rpm": 5, "max_concurrency": 2}},
            "roles": {"r": {"provider": "m", "model": "x"}},
            "state": "memory",
        }
    }
    with LeeLLMRouter(config, trace_store=False) as router:
        assert limits_of(router, "r", 16) == QueueLimits(each_worker=16)


def test_a_sqlite_that_dbos_cannot_use_is_said_before_a_file_is_made(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Python 3.12 and newer with a SQLite before 3.42."""
    monkeypatch.setattr(database, "SQLITE_SERVES", False)
    with pytest.raises(ConfigError, match=r"DBOS needs SQLite 3\.42 .* use postgresql://"):
        BatchDatabase(db)
    assert BatchDatabase("postgresql://u@127.0.0.1/rows").shown == "postgresql://u@127.0.0.1/rows"


def test_a_database_of_another_program_is_left_as_it_is(db: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="another program"):
        BatchDatabase(db).prepare()
    assert path.read_bytes() == before


def test_a_database_that_was_prepared_may_be_prepared_again(db: str) -> None:
    for _ in range(2):
        database_again = BatchDatabase(db)
        database_again.prepare()
        database_again.close()
