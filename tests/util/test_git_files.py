"""Whether git tracks or ignores a file is read from git's own files, and agrees with git."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lee_llm_router._util.git_files import is_ignored, is_tracked, repository_of


def git(folder: Path, *words: str, check: bool = True) -> int:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
    return subprocess.run(command, cwd=folder, check=check, capture_output=True).returncode


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    top = tmp_path / "top"
    top.mkdir()
    git(top, "init", "-q")
    return top


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_what_the_index_holds_is_tracked(repository: Path, version: str) -> None:
    """In each version of the index's form; also names that begin alike, and those beyond ASCII."""
    names = ["a", "a.env", "folder/b", "folder/bc", "größe", "folder/deep/er", "x" * 200, "y"]
    for name in names:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(name)
    git(repository, "add", ".")
    (repository / "later").touch()
    if version == "3":
        git(repository, "add", "-N", "later")
    git(repository, "update-index", "--index-version", version)
    assert [is_tracked(repository / name) for name in names] == [True] * len(names)
    assert is_tracked(repository / "folder")
    assert not is_tracked(repository / "fold")
    assert not is_tracked(repository / "nothing")
    assert is_tracked(repository / "later") == (version == "3")


def test_a_worktree_has_an_index_of_its_own(repository: Path, tmp_path: Path) -> None:
    (repository / "a").touch()
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "x")
    git(repository, "worktree", "add", "-q", str(tmp_path / "other"))
    assert is_tracked(tmp_path / "other" / "a")
    assert repository_of(tmp_path / "other" / "a") == tmp_path / "other"


def test_without_a_repository_or_with_a_broken_one_nothing_is_tracked(tmp_path: Path) -> None:
    assert not is_tracked(tmp_path / "a")
    assert not is_ignored(tmp_path / "a")
    (tmp_path / ".git").mkdir()
    for content in (b"", b"DIRC", b"DIRC\0\0\0\2\0\0\0\5", b"nonsense" * 100):
        (tmp_path / ".git" / "index").write_bytes(content)
        assert not is_tracked(tmp_path / "a")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".git").write_text("gitdir: /nowhere")
    assert not is_tracked(tmp_path / "sub" / "a")


@pytest.mark.parametrize(
    "rules",
    [
        ".env", "/.env", "*.env", ".env*", ".e?v", "app/", "app", "/app/.env", "app/.env", "**/.env", "app/**",
        "!.env", ".env\n!.env", "*\n!app\n!app/.env", "#.env", "\\.env", "other", "/other/.env", "pp/.env", ".env/",
        "a*/.env", "[.]env", "*/.env", "", "*", "app/*", "**/app/.env", " .env", ".env ",
        "app/**/.env", "**/**/.env", "/**/app/.env", "[a-b]pp/.env", "app/.[!x]nv", "app/**/**", "**", "**/",
        "a**p/.env", "**/x/.env", "app/**/x", "**/.env/**", "app/.env/**", "*/**/.env", "/*/.e*v", "app/./.env",
        "app//.env", "[", "a/[",
    ],
)  # fmt: skip
def test_rules_are_read_as_git_reads_them(repository: Path, rules: str) -> None:
    (repository / "app").mkdir()
    (repository / "app" / ".env").touch()
    (repository / ".gitignore").write_text(rules + "\n")
    ignored = git(repository, "check-ignore", "-q", "app/.env", check=False) == 0
    assert is_ignored(repository / "app" / ".env") == ignored


def test_rules_of_inner_folders_and_of_the_repositorys_own_list_count(repository: Path) -> None:
    (repository / "app").mkdir()
    (repository / ".gitignore").write_text(".env\n")
    (repository / "app" / ".gitignore").write_text("!.env\n")
    assert is_ignored(repository / ".env")
    assert not is_ignored(repository / "app" / ".env")
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "exclude").write_text("secret\n")
    assert is_ignored(repository / "app" / "secret")


def _as_fifo(path: Path) -> None:
    os.mkfifo(path)


def _as_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _as_folder(path: Path) -> None:
    path.mkdir()


def _as_nul(path: Path) -> None:
    path.write_text("gitdir: a\0b")


@pytest.mark.parametrize("make", [_as_fifo, _as_endless, _as_folder, _as_nul])
@pytest.mark.parametrize("name", [".git", ".git/index", ".gitignore", ".git/info/exclude"])
def test_what_stands_in_the_place_of_gits_files_is_not_waited_for(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    if name != ".git":
        (tmp_path / ".git" / "info").mkdir(parents=True)
    make(tmp_path / name)
    assert not is_tracked(tmp_path / "a")
    assert not is_ignored(tmp_path / "a")


@pytest.mark.parametrize("rule", ["/" + "*e" * 40 + "q", "**/" * 40 + "z", "x/" + "*" * 60 + "b", "*a" * 40 + "b"])
def test_no_rule_takes_long(tmp_path: Path, rule: str) -> None:
    """With a pattern that backtracks this would not end."""
    deep = tmp_path.joinpath("e" * 120, *["a" * 40] * 40, ".env")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text(rule + "\n")
    assert not is_ignored(deep)
