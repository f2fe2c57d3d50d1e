"""Folders, logins and children of agents, where something is gone, broken, or another's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from helpers.forked import become_child
from lee_llm_router._util.file_lock import FileLock
from lee_llm_router._util.home_paths import NoHomeError
from lee_llm_router._util.work_limit import WorkLimit
from lee_llm_router.errors import AuthenticationError, FailureType
from lee_llm_router.providers.agents import login as logins
from lee_llm_router.providers.agents.attempt_dirs import AttemptDirs
from lee_llm_router.providers.agents.login import LoginKind, borrowed_login
from lee_llm_router.providers.agents.settings import program_of
from lee_llm_router.providers.agents.time_budget import TimeBudget
from lee_llm_router.providers.child_process import orphans, owned_folder, owner_watch, process_tree
from lee_llm_router.providers.child_process.cancellation import CancelSwitch, ChildCancelledError
from lee_llm_router.providers.child_process.owner_watch import OwnerWatch
from lee_llm_router.providers.claude_cli.provider import ClaudeCLIProvider
from lee_llm_router.providers.codex_cli.login import CODEX_LOGIN
from lee_llm_router.providers.command import failures as command_failures
from lee_llm_router.providers.command.settings import FailureRule
from lee_llm_router.providers.gemini_cli import failures as gemini_failures
from lee_llm_router.providers.gemini_cli import provider as gemini
from lee_llm_router.providers.gemini_cli.command import service_schema
from lee_llm_router.providers.gemini_cli.login import GEMINI_LOGIN
from lee_llm_router.settings.origin import ConfigOrigin

F = FailureType
DUE = LoginKind(
    provider="agent", missing=str, renewal_due=lambda content, now: True, is_over=lambda content, now: True,
    is_renewable=lambda content: True,
)  # fmt: skip
"""A login that is always to be renewed."""


def _budget(seconds: float = 20.0, cancel: CancelSwitch | None = None) -> TimeBudget:
    return TimeBudget(total=seconds, deadline=monotonic() + seconds, cancel=cancel)


# Logins


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A login, where its copy goes, and the note of it."""
    original = tmp_path / "login.json"
    original.write_text(json.dumps({"token": "t" * 20}))
    return original, tmp_path / "copy.json", tmp_path / "note"


def _lent(places: tuple[Path, Path, Path]) -> bytes:
    """What is lent."""
    with borrowed_login(DUE, *places, budget=_budget(), now=0.0):
        return places[1].read_bytes()


def test_a_claim_to_renew_a_login_is_given_up_where_it_cannot_be_lent(
    places: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(logins, "LentFile", full)
        with pytest.raises(OSError, match="No space left"):
            _lent(places)
    with FileLock(places[0]) as lock:
        assert lock.is_taken


def test_a_login_that_cannot_be_claimed_is_lent_as_it_is(
    places: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(logins, "FileLock", refuse)
    assert _lent(places) == places[0].read_bytes()


def test_a_login_that_is_replaced_while_it_is_claimed_is_read_again(
    places: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed: list[Path] = []

    def claim(path: Path) -> FileLock:
        lock = FileLock(path)
        if not claimed:
            path.rename(path.with_name("old"))
            path.write_text('{"token": "new"}')
        claimed.append(path)
        return lock

    monkeypatch.setattr(logins, "FileLock", claim)
    assert json.loads(_lent(places)) == {"token": "new"} and len(claimed) == 2


def test_a_cancelled_attempt_waits_for_nothing_more() -> None:
    cancel = CancelSwitch()
    _budget(cancel=cancel).pause(0.001)
    cancel.set()
    with pytest.raises(ChildCancelledError):
        _budget(cancel=cancel).pause(20.0)
    cancel.close()


@pytest.mark.parametrize(("token", "due"), [("opaque", False), ("a.b.c", False), (7, False)])
def test_a_token_that_says_nothing_of_its_end_is_renewed_by_age_alone(token: Any, due: bool) -> None:
    content = json.dumps({"tokens": {"refresh_token": "r", "access_token": token}}).encode()
    assert CODEX_LOGIN.renewal_due(content, 0.0) is due and not CODEX_LOGIN.is_over(content, 0.0)


def test_a_google_login_can_be_renewed_if_it_has_what_that_takes() -> None:
    contents = (b'{"refresh_token": "r"}', b'{"access_token": "a"}', b"odd")
    assert [GEMINI_LOGIN.is_renewable(content) for content in contents] == [True, False, False]


def test_without_a_home_gemini_says_that_there_is_no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nowhere(_: Any) -> Path:
        raise NoHomeError("~")

    monkeypatch.setattr(gemini, "user_folder", nowhere)
    config = gemini.GeminiCLIProvider.config_model.model_validate({"type": "gemini_cli", "api_key_env": None})
    provider = gemini.GeminiCLIProvider("p", config)  # type: ignore[arg-type]
    assert provider.login_place() is None
    assert [note[0] for note in provider.check_login()] == ["error"]
    with pytest.raises(AuthenticationError, match="no home folder") as caught:
        provider.lend_login(AttemptDirs(tmp_path, None), _budget())  # type: ignore[arg-type]
    assert not caught.value.sent
    provider.close()


def test_on_a_mac_the_login_of_claude_may_be_in_the_keychain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    monkeypatch.delenv("CLAUDE_CODE_OAUTH_TOKEN", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    config = ClaudeCLIProvider.config_model.model_validate({"type": "claude_cli", "api_key_env": None})
    provider = ClaudeCLIProvider("p", config)  # type: ignore[arg-type]
    assert [note[1] for note in provider.check_login()] == ["the login, if there is one, is in the keychain"]
    assert provider._login_variables()["CLAUDE_SECURESTORAGE_CONFIG_DIR"] == ""
    provider.close()


def test_a_program_in_a_home_that_is_not_there_is_named_as_written() -> None:
    assert program_of("~nobody-of-this-name/agent", ConfigOrigin()) == "~nobody-of-this-name/agent"


# What is taken for which failure


def test_a_rule_that_would_search_for_ever_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [FailureRule(type="RATE_LIMIT", stderr="slow")]
    assert command_failures.fitting_rule(rules, 1, "slow down", "", None) is rules[0]
    monkeypatch.setattr(command_failures, "WorkLimit", lambda: WorkLimit(0))
    assert command_failures.fitting_rule(rules, 1, "slow down", "", None) is None


def test_an_answer_of_gemini_that_ended_well_and_is_empty_is_none() -> None:
    failure = gemini_failures.failure_of_finish("STOP", 10, asked=True)
    assert (failure.failure_type, failure.message) == (F.INVALID_RESPONSE, "the answer is empty")


def test_without_the_zones_of_the_world_nobody_says_when_a_day_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(key: str) -> Any:
        raise zoneinfo.ZoneInfoNotFoundError(key)

    assert gemini_failures._until_midnight(1_800_000_000.0) is not None
    monkeypatch.setattr(zoneinfo, "ZoneInfo", unknown)
    assert gemini_failures._until_midnight(1_800_000_000.0) is None


def test_a_constant_is_told_to_google_as_an_enum_of_one() -> None:
    assert service_schema({"type": "string", "const": "a"}) == {"type": "string", "enum": ["a"]}


# Private folders


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where private folders are made; nobody else is there."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_that_cannot_be_watched_is_removed(temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(owned_folder, "OwnerWatch", interrupted)
    with pytest.raises(KeyboardInterrupt), owned_folder.owned_folder("lee-test-"):
        raise AssertionError
    assert list(temp.iterdir()) == []


def test_a_folder_that_somebody_sweeps_away_at_once_is_made_again(temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def lock(path: Path, flags: int) -> FileLock:
        made.append(path)
        if len(made) == 1:
            path.rmdir()  # before it is locked
        found = FileLock(path, flags)
        if len(made) == 2:
            path.rmdir()  # and after that
        return found

    monkeypatch.setattr(owned_folder, "FileLock", lock)
    with owned_folder.owned_folder("lee-test-") as (folder, _):
        assert len(made) == 3 and folder == made[2] and folder.is_dir()
    assert list(temp.iterdir()) == []


def test_a_folder_that_cannot_be_locked_is_removed(temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(owned_folder, "FileLock", refuse)
    with pytest.raises(OSError, match="Too many"), owned_folder.owned_folder("lee-test-"):
        raise AssertionError
    assert list(temp.iterdir()) == []


def test_a_forked_child_that_leaves_the_block_takes_nothing_away(temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched, owned_folder.owned_folder("lee-test-") as (folder, _):
        parent = os.getpid()
        patched.setattr(os, "getpid", lambda: parent + 1)
    assert folder.is_dir()


def test_a_folder_is_removed_also_where_no_thread_can_be_started(temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> Any:
        raise BlockingIOError("no more threads")

    monkeypatch.setattr(owned_folder, "call_in_thread", none)
    with owned_folder.owned_folder("lee-test-") as (folder, _):
        (folder / "file").touch()
    assert list(temp.iterdir()) == []


# The watch over a folder


def test_a_watch_that_is_interrupted_leaves_no_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    before = set(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else set()
    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        OwnerWatch(tmp_path)
    after = set(os.listdir("/proc/self/fd")) if before else set()
    assert len(after - before) <= 1  # that of the listing


def test_a_forked_child_leaves_the_watch_to_its_parent(tmp_path: Path) -> None:
    folder = tmp_path / "owned"
    folder.mkdir()
    watch = OwnerWatch(folder)
    shell = watch._shell
    assert shell is not None
    os.kill(shell.pid, signal.SIGKILL)
    os.waitpid(shell.pid, 0)
    become_child(watch)
    watch.tell(1)
    watch.close()
    assert watch._pipe is None and shell.returncode == 0


def test_a_frozen_program_has_no_python_that_could_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert owner_watch._cleaner()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert owner_watch._cleaner() == []


# Children whose owner is gone


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A child that leads a group of its own."""
    made = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
    yield made
    made.kill()
    made.wait()


def test_the_child_of_an_owner_that_is_gone_is_ended_and_its_folder_removed(
    child: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "owned"
    folder.mkdir()
    orphans.main([str(folder), f"{child.pid} {process_tree.start_time(child.pid)}"])
    assert child.wait(20) == -signal.SIGKILL and not folder.exists()
    assert process_tree.has_ended(child.pid), "it was reaped"


def test_a_process_that_will_not_end_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, naps = tmp_path / "owned", list[float]()
    folder.mkdir()
    monkeypatch.setattr(orphans, "marked_processes", lambda _: {2**22 + 1: "never"})
    monkeypatch.setattr(orphans, "sleep", naps.append)
    orphans.main([str(folder), ""])
    assert len(naps) == orphans._ROUNDS and not folder.exists()


def test_where_the_system_shows_no_processes_none_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_tree, "PROC", tmp_path / "nothing")
    assert process_tree.marked_processes(tmp_path) == {} and process_tree.start_time(1) == ""
