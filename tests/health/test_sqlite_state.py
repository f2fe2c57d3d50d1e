"""What every shared state promises, kept in a file by the processes of one host."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from health.test_shared_state import *  # noqa: F403
from helpers.shared_states import Ground, Member
from lee_llm_router import LeeLLMRouter, LLMRouterError
from lee_llm_router._util.host_database import HostDatabaseError
from lee_llm_router.errors import ConfigError
from lee_llm_router.health.shared.contract import Use
from lee_llm_router.health.shared.sqlite_state import SqliteSettings, SqliteState
from lee_llm_router.testing import FakeClock


def _state(path: Path, now: Any = None, **settings: Any) -> SqliteState:
    made = SqliteSettings(type="sqlite", path=str(path), **settings)
    return SqliteState(made) if now is None else SqliteState(made, now)


@pytest.fixture  # type: ignore[no-redef]
def ground(tmp_path: Path) -> Iterator[Ground]:
    clock = FakeClock()
    made = Ground(lambda: _state(tmp_path / "new" / "state.sqlite", clock.monotonic), clock.advance)
    yield made
    made.close()


def test_only_its_owner_can_read_it_and_namespaces_are_apart(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "state.sqlite"
    one, other = _state(path), _state(path, namespace="other")
    assert Member(one, "a").limits(rpm=3, starts_wanted=3).starts == 3
    assert Member(other, "a").limits(rpm=3, starts_wanted=3).starts == 3
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    assert one.wait_for_changes(0) is None
    Member(other, "a").door(opened_for=1.0)
    assert not one.wait_for_changes(0)
    one.close()
    other.close()


def test_processes_that_begin_at_once_share_it_and_one_that_is_killed_leaves_it_whole(tmp_path: Path) -> None:
    """Each uses ten of a hundred starts, and dies in the middle of a transaction."""
    child = (
        "import os, sys\n"
        "from lee_llm_router.health.shared.contract import LimitsReport, Use\n"
        "from lee_llm_router.health.shared.sqlite_state import SqliteSettings, SqliteState\n"
        "state = SqliteState(SqliteSettings(type='sqlite', path=sys.argv[1], timeout=10))\n"
        "for _ in range(10):\n"
        "    state.exchange([LimitsReport('vendor', sys.argv[2], 5, rpm=100, used=(Use(0.0, 1),))], [])\n"
        "with state._database.writing() as connection:\n"
        "    connection.execute('DELETE FROM limits')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    path = tmp_path / "state.sqlite"
    children = [subprocess.Popen([sys.executable, "-c", child, path, str(n)]) for n in range(4)]
    assert [one.wait(60) for one in children] == [-9] * 4
    state = _state(path)
    assert Member(state, "last").limits(rpm=100, starts_wanted=100).starts == 60
    state.close()


def test_a_forked_child_shares_it_with_its_parent(tmp_path: Path) -> None:
    state = _state(tmp_path / "state.sqlite")
    parent = Member(state, "parent")
    parent.limits(rpm=10, used=(Use(0.0, starts=1),))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = Member(state, "child").limits(rpm=10, used=(Use(0.0, starts=2),), starts_wanted=10).starts
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert parent.limits(rpm=10, starts_wanted=10).starts == 0  # the child holds the rest, until its lease ends
    state.close()


def test_a_file_that_was_deleted_or_replaced_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    one, other = _state(path), _state(path)
    Member(one, "a").limits(rpm=10, used=(Use(0.0, starts=4),))
    assert one.wait_for_changes(0) is None
    for file in tmp_path.iterdir():
        file.unlink()
    assert Member(other, "b").limits(rpm=10, used=(Use(0.0, starts=1),), starts_wanted=10).starts == 9
    assert Member(one, "a").limits(rpm=10).starts == 0
    assert Member(other, "b").limits(rpm=10, starts_held=9, starts_wanted=9).starts == 9
    assert one.wait_for_changes(0) is None
    one.close()
    other.close()


def test_times_of_before_the_machine_was_started_count_no_more(tmp_path: Path) -> None:
    before, after = _state(tmp_path / "f", lambda: 5000.0), _state(tmp_path / "f", lambda: 10.0)
    Member(before, "a").limits(rpm=10, used=(Use(0.0, starts=9),))
    Member(before, "a").door(opened_for=5.0)
    assert Member(after, "b").limits(rpm=10, starts_wanted=10).starts == 10
    assert not Member(after, "b").door().is_open
    before.close()
    after.close()


def test_what_cannot_be_used_is_a_clear_error(tmp_path: Path) -> None:
    """Another program's database, no database, a folder, a lock that is never given back."""
    (tmp_path / "text").write_text("no database at all, but a text that is long enough to be one of its pages" * 100)
    (tmp_path / "folder").mkdir()
    with sqlite3.connect(tmp_path / "foreign") as foreign:
        foreign.execute("CREATE TABLE theirs (a)")
    foreign.close()
    for name, says in (("text", "not a database"), ("folder", "not a plain file"), ("foreign", "another program")):
        state = _state(tmp_path / name)
        with pytest.raises(HostDatabaseError, match=says):
            state.exchange([], [])
        with pytest.raises(HostDatabaseError, match=says):
            state.wait_for_changes(0)
        state.close()
    with pytest.raises(ConfigError, match="cannot be a path"):
        _state(Path("a\0b"))
    state, holder = _state(tmp_path / "locked", timeout=0.05), _state(tmp_path / "locked")
    state.exchange([], [])
    with holder._database.writing(), pytest.raises(HostDatabaseError, match="locked"):
        state.exchange([], [])
    state.exchange([], [])
    state.close()
    holder.close()


def test_routers_that_name_one_file_share_a_limit(tmp_path: Path) -> None:
    """Four starts a minute for both; the fifth call is told to wait, whichever makes it."""
    config = {
        "llm": {
            "state": {"type": "sqlite", "path": str(tmp_path / "state.sqlite"), "timeout": 5, "patience": 1},
            "providers": {"p": {"type": "mock", "rpm": 4}},
            "roles": {"r": {"provider": "p", "deadline": 20}},
        }
    }
    with LeeLLMRouter(config, trace_store=False) as one, LeeLLMRouter(config, trace_store=False) as other:
        answered = 0
        for router in (one, other) * 4:
            try:
                router.complete("r", "hi")
            except LLMRouterError:
                continue
            answered += 1
        assert answered == 4


def test_a_relative_path_is_the_same_file_from_whatever_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "llm.yaml"
    file.write_text(
        "llm: {state: {type: sqlite, path: one.sqlite}, providers: {p: {type: mock}}, roles: {r: {provider: p}}}"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with LeeLLMRouter.from_file(file, trace_store=False) as router:
        router.complete("r", "Hello")
    assert (tmp_path / "one.sqlite").exists() and not list(elsewhere.iterdir())
