"""`trace prune` says what goes and asks; `trace path` prints where the traces are."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from time import time
from typing import Any

import pytest

from helpers.command_line import CONFIG, Run
from helpers.records import make
from helpers.support import FakeClock
from lee_llm_router import LocalFileTraceStore, SqliteTraceStore
from lee_llm_router.telemetry.stores.pruning import FolderPruner, pruners_of
from lee_llm_router.telemetry.stores.sqlite_prune import SqlitePruner


def day(ago: int) -> str:
    return f"{datetime.now(UTC) - timedelta(days=ago):%Y%m%d}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Traces of today, and of 10, 40 and 50 days ago: a megabyte each. And what is none."""
    made = tmp_path / "traces"
    made.mkdir()
    for ago in (0, 10, 40, 50):
        (made / f"{day(ago)}.jsonl").write_bytes(b"x" * 1_000_000)
    (made / "20200101.jsonl.bak").write_text("a stranger's")
    (made / "20200101").write_text("a stranger's")
    (made / "notes.txt").write_text("a stranger's")
    (tmp_path / "elsewhere").write_text("linked to")
    (made / "20200102.jsonl").symlink_to(tmp_path / "elsewhere")
    (made / "20200103.jsonl").mkdir()
    return made


def left(folder: Path) -> set[str]:
    return {name for name in os.listdir(folder) if (folder / name).stat().st_size == 1_000_000}


STRANGERS = {"20200101.jsonl.bak", "20200101", "notes.txt", "20200102.jsonl", "20200103.jsonl"}


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["--older-than", "30d"], (0, 10)),
        (["--older-than", "45d"], (0, 10, 40)),
        (["--older-than", "0s"], (0,)),
        (["--keep-mb", "2.5"], (0, 10)),
        (["--keep-mb", "0"], (0,)),
        (["--keep-mb", "100"], (0, 10, 40, 50)),
        (["--older-than", "45d", "--keep-mb", "2"], (0, 10)),
        (["--all"], ()),
    ],
)
def test_what_is_named_goes_and_nothing_else(folder: Path, run: Run, words: list[str], kept: tuple[int, ...]) -> None:
    """Whole files of days; of a size all but the newest may go; never what is no day file."""
    before = left(folder)
    code, out, err = run("trace", "prune", "--dir", str(folder), *words, "--dry-run")
    assert (code, err, left(folder)) == (0, "", before)
    assert out.count("\n") == 1
    code, out, err = run("trace", "prune", "--dir", str(folder), *words, "--yes")
    assert (code, err) == (0, "")
    assert left(folder) == {f"{day(ago)}.jsonl" for ago in kept}
    assert set(os.listdir(folder)) >= STRANGERS
    assert (folder.parent / "elsewhere").read_text() == "linked to"


def test_it_says_what_goes_and_what_remains(folder: Path, run: Run) -> None:
    code, out, _ = run("trace", "prune", "--dir", str(folder), "--older-than", "30d", "--yes")
    assert code == 0
    span = f"{day(50)}.jsonl to {day(40)}.jsonl"
    assert out == f"to delete: 2 files (2.0 MB), {span}; kept: 2 files (2.0 MB) in {folder}\ndeleted: 2 files\n"
    assert run("trace", "prune", "--dir", str(folder), "--older-than", "30d", "--yes")[1] == (
        f"nothing to delete; kept: 2 files (2.0 MB) in {folder}\n"
    )


def test_as_json(folder: Path, run: Run) -> None:
    code, out, _ = run("trace", "prune", "--dir", str(folder), "--keep-mb", "3", "--yes", "--json")
    assert code == 0
    assert json.loads(out) == [
        {"place": str(folder), "unit": "files", "gone": 1, "gone_bytes": 1_000_000, "kept": 3, "kept_bytes": 3_000_000,
         "first": f"{day(50)}.jsonl", "last": f"{day(50)}.jsonl", "deleted": 1}
    ]  # fmt: skip


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_it_asks_at_a_terminal(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    """And deletes nothing unless the answer is yes."""
    before = left(folder)
    monkeypatch.setattr("typer.confirm", lambda text, err: answer == "y\n")
    found, _, err = run("trace", "prune", "--dir", str(folder), "--all", terminal=True)
    assert found == code
    assert left(folder) == (set() if code == 0 else before)
    assert ("nothing was deleted" in err) == (code == 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what to delete"),
        (["--older-than", "soon"], "write a duration"),
        (["--all", "--keep-mb", "3"], "cannot be combined with"),
        (["--keep-mb", "-1"], "--keep-mb"),
        (["--all"], "use --yes"),
    ],
)
def test_wrong_words_delete_nothing(folder: Path, run: Run, words: list[str], said: str) -> None:
    """Nor is anything deleted where nobody can be asked."""
    before = left(folder)
    code, _, err = run("trace", "prune", "--dir", str(folder), *words)
    assert (code, left(folder)) == (2, before)
    assert said in err


def test_what_took_the_place_of_a_file_meanwhile_stays(folder: Path) -> None:
    """It is looked at again; and one that is gone counts as deleted."""
    pruner = FolderPruner(folder)
    plan = pruner.plan(keep_bytes=0)
    (folder / f"{day(50)}.jsonl").unlink()
    (folder / f"{day(40)}.jsonl").unlink()
    (folder / f"{day(40)}.jsonl").symlink_to(folder.parent / "elsewhere")
    assert pruner.carry_out(plan) == 2
    assert (folder.parent / "elsewhere").exists()
    assert (folder / f"{day(40)}.jsonl").is_symlink()


def test_a_store_within_others_is_found() -> None:
    """And one that cannot be pruned has nothing to prune it."""

    class Around:
        def __init__(self, **held: Any) -> None:
            self.__dict__.update(held)

    files = LocalFileTraceStore("traces")
    assert len(pruners_of(Around(stores=[files, Around(store=files), object()]))) == 2
    assert pruners_of(object()) == []


def test_a_missing_folder_is_empty(tmp_path: Path, run: Run) -> None:
    code, out, _ = run("trace", "prune", "--all", "--yes")
    assert (code, out) == (0, f"nothing to delete; kept: 0 files (0 bytes) in {tmp_path / '.lee-llm-router/traces'}\n")


def test_the_path_is_printed_alone(tmp_path: Path, run: Run) -> None:
    """That of the configuration, whether or not it is there; or the folder that is named."""
    assert run("trace", "path") == (0, f"{tmp_path / '.lee-llm-router/traces'}\n", "")
    (tmp_path / "other").mkdir()
    assert run("trace", "path", "--dir", "other") == (0, f"{tmp_path / 'other'}\n", "")


@pytest.fixture
def database(tmp_path: Path) -> SqliteTraceStore:
    """A SQLite file with a record of each of the last hundred days, as the configuration names it."""
    (tmp_path / "lee-llm-router.yaml").write_text(CONFIG + "  trace: {store: sqlite}\n")
    clock = FakeClock()
    store = SqliteTraceStore(tmp_path / ".lee-llm-router/traces/traces.sqlite", keep_days=0, clock=clock)
    for ago in range(99, -1, -1):
        clock.now += time() - ago * 86_400 - 60 - clock.time()
        store.write(make(f"call-{ago}", at=clock.time(), metadata={"text": "x" * 20_000}))
    store.close()
    return store


@pytest.mark.parametrize(
    ("words", "kept"),
    [(["--older-than", "30d"], 30), (["--older-than", "12h"], 1), (["--keep-mb", "0"], 1), (["--all"], 0)],
)
def test_records_of_a_database_go_too(database: SqliteTraceStore, run: Run, words: list[str], kept: int) -> None:
    """By the moment; and the file shrinks."""
    size = database.path.stat().st_size
    code, out, err = run("trace", "prune", *words, "--dry-run")
    assert (code, err) == (0, "")
    assert out.startswith(f"to delete: {100 - kept} records")
    assert len(database.last(200)) == 100
    code, out, err = run("trace", "prune", *words, "--yes")
    assert (code, err) == (0, "")
    assert out.splitlines()[1] == f"deleted: {100 - kept} records"
    assert [record.request_id for record in database.last(200)] == [f"call-{ago}" for ago in range(kept - 1, -1, -1)]
    assert database.path.stat().st_size < size / 2


def test_of_a_size_about_as_much_remains(database: SqliteTraceStore, run: Run) -> None:
    assert run("trace", "prune", "--keep-mb", "1", "--yes")[0] == 0
    assert 40 <= len(database.last(200)) <= 55


def test_what_is_written_after_the_plan_stays(database: SqliteTraceStore) -> None:
    """Also where everything was to go."""
    pruner = SqlitePruner(database.path)
    plan = pruner.plan(before=inf)
    database.write(make("new"))
    assert pruner.carry_out(plan) == 100
    assert [record.request_id for record in database.last(200)] == ["new"]


def test_the_path_of_a_database_is_its_file(database: SqliteTraceStore, run: Run) -> None:
    assert run("trace", "path") == (0, f"{database.path}\n", "")


def test_a_missing_database_is_empty(tmp_path: Path) -> None:
    pruner = SqlitePruner(tmp_path / "none.sqlite")
    plan = pruner.plan(before=inf)
    assert (plan.gone, plan.kept, pruner.carry_out(plan)) == (0, 0, 0)
    assert not (tmp_path / "none.sqlite").exists()
