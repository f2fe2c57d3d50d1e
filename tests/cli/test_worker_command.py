"""The command `worker`: what it says, and how it ends. What it does is in `tests/batch/test_durable.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.command_line import Run

pytest.importorskip("dbos")

from helpers.durable_batch import rows_of
from lee_llm_router.batch.durable.database import SQLITE_SERVES, BatchDatabase
from lee_llm_router.batch.durable.limits import QueueLimits
from lee_llm_router.batch.durable.row_queue import RowQueue

pytestmark = pytest.mark.skipif(not SQLITE_SERVES, reason="DBOS cannot use the SQLite of this Python")


def test_it_ends_when_it_is_idle(run: Run) -> None:
    code, out, err = run("worker", "--db", "sqlite:///rows.db", "--exit-when-idle", "1", "--patience", "0")
    assert (code, out) == (0, "")
    assert "answering rows from sqlite:///" in err
    assert "0 rows taken" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "needs a database"),
        (["--db", "nothing"], "not the address"),
        (["--db", "sqlite:///x.db", "--role", "ech"], "did you mean 'echo'"),
    ],
)
def test_wrong_arguments_are_an_error_that_says_so(
    run: Run, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LEE_LLM_ROUTER_DB", raising=False)
    code, _, err = run("worker", *arguments)
    assert code == 2
    assert said in err


def test_a_database_that_cannot_be_reached_is_an_error_without_its_password(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEE_LLM_ROUTER_DB", "postgresql://u:secretpw@127.0.0.1:1/rows")
    code, _, err = run("worker")
    assert code == 1
    assert "127.0.0.1" in err
    assert "secretpw" not in err


def test_it_ends_with_the_error_where_no_row_can_be_answered_and_leaves_its_rows(run: Run, tmp_path: Path) -> None:
    [row] = rows_of(["say it"])
    database = BatchDatabase(f"sqlite:///{tmp_path / 'rows.db'}")
    queue = RowQueue(database, "b1", "dead", QueueLimits(each_worker=4))
    stored = {"role": "dead", "batch": "b1", "row": row.as_fields(), "options": {}, "give_up_after": 0}
    queue.put([("one", stored)])
    code, _, err = run("worker", "--db", "sqlite:///rows.db", "--role", "dead")
    assert code == 1
    assert "no key" in err
    assert queue.answered({"one"}) == [], "another worker may have a key"
    queue.close()
    database.close()
