"""A configuration that was found, and not named, is used only if no stranger can have written it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lee_llm_router.config import ownership
from lee_llm_router.config.discovery import CONFIG_NAMES, CONFIG_VARIABLE, find_config
from lee_llm_router.errors import ConfigError

STRANGER = 54_321
GOOD = "llm: {providers: {m: {type: mock}}, roles: {r: {provider: m}}}\n"


@pytest.fixture(autouse=True)
def _nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    monkeypatch.delenv("SUDO_UID", raising=False)


@pytest.fixture
def strangers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Give files and links to another user; without root's rights, only as far as this program can see."""
    given: set[tuple[int, int]] = set()

    class Seen:
        def __init__(self, info: Any) -> None:
            self.info = info

        def __getattr__(self, name: str) -> Any:
            if name == "st_uid" and (self.info.st_dev, self.info.st_ino) in given:
                return STRANGER
            return getattr(self.info, name)

    for name in ("stat", "lstat"):
        real = getattr(Path, name)
        monkeypatch.setattr(Path, name, lambda self, *a, _real=real, **k: Seen(_real(self, *a, **k)))

    def give(path: Path) -> None:
        info = os.lstat(path)
        given.add((info.st_dev, info.st_ino))

    return give


def put(path: Path, text: str = GOOD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def below(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a/b").mkdir(parents=True)
    monkeypatch.chdir(folder / "a/b")


@pytest.mark.parametrize("name", CONFIG_NAMES)
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_belongs_to_another_user_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strangers: Callable[[Path], None], name: str, what: str
) -> None:
    """Neither a stranger's file nor one in a stranger's folder, in either place; the error says how to use it."""
    file = put(tmp_path / name)
    below(tmp_path, monkeypatch)
    assert find_config() == file
    strangers(file if what == "file" else file.parent)
    with pytest.raises(ConfigError, match=f"belongs to user {STRANGER}.*--config.*{CONFIG_VARIABLE}"):
        find_config()
    assert find_config(file) == file
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    assert find_config() == file


def test_the_search_does_not_go_on_past_one_that_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strangers: Callable[[Path], None]
) -> None:
    """Another file than the nearest would be a surprise."""
    put(tmp_path / "lee-llm-router.yaml")
    below(tmp_path, monkeypatch)
    strangers(put(tmp_path / "a/lee-llm-router.yaml"))
    with pytest.raises(ConfigError, match="not used"):
        find_config()


def test_one_here_is_judged_as_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strangers: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    strangers(put(tmp_path / "lee-llm-router.yaml"))
    with pytest.raises(ConfigError, match="not used"):
        find_config()


@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "used"),
    [
        (0o700, 0o600, True),
        (0o755, 0o644, True),
        (0o775, 0o664, True),  # a group of one's own
        (0o1777, 0o644, True),  # /tmp: nobody else may replace it
        (0o777, 0o644, False),
        (0o757, 0o644, False),
        (0o755, 0o666, False),
        (0o700, 0o602, False),
        (0o1777, 0o646, False),
    ],
)
def test_what_everybody_may_write_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder_mode: int, file_mode: int, used: bool
) -> None:
    folder = tmp_path / "shared"
    file = put(folder / "lee-llm-router.yaml")
    below(folder, monkeypatch)
    file.chmod(file_mode)
    folder.chmod(folder_mode)
    if used:
        assert find_config() == file
    else:
        with pytest.raises(ConfigError, match="everybody can write"):
            find_config()


@pytest.mark.parametrize("which", ["link", "second link", "target", "folder of the target", "none"])
def test_every_link_on_the_way_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strangers: Callable[[Path], None], which: str
) -> None:
    """A stranger's link leads to a file of ours that was never meant here, or ours to one of theirs."""
    target = put(tmp_path / "elsewhere/real.yaml")
    second = tmp_path / "second.yaml"
    second.symlink_to(target)
    link = tmp_path / "here/lee-llm-router.yaml"
    link.parent.mkdir()
    link.symlink_to("../second.yaml")
    below(link.parent, monkeypatch)
    places = {"link": link, "second link": second, "target": target, "folder of the target": target.parent}
    if which == "none":
        assert find_config() == link
        return
    strangers(places[which])
    with pytest.raises(ConfigError, match="belongs to user"):
        find_config()


def test_a_linked_folder_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strangers: Callable[[Path], None]
) -> None:
    put(tmp_path / "other/llm.yaml")
    (tmp_path / "project").mkdir()
    (tmp_path / "project/config").symlink_to(tmp_path / "other")
    below(tmp_path / "project", monkeypatch)
    assert find_config().is_file()
    strangers(tmp_path / "project/config")
    with pytest.raises(ConfigError, match="a link to it belongs to user"):
        find_config()


@pytest.mark.parametrize(
    ("user", "sudo", "trusted"),
    [
        (0, None, {0}),
        (0, "1000", {0, 1000}),
        (1000, None, {0, 1000}),
        (1000, "1001", {0, 1000}),  # only root acts for another user
        (0, "0", {0}),
        (0, "", {0}),
        (0, "x", {0}),
        (0, "-1", {0}),
        (0, "٣", {0}),
        (0, "9" * 40, {0}),
        (0, "4294967295", {0}),
    ],
)
def test_root_trusts_whom_it_acts_for(
    monkeypatch: pytest.MonkeyPatch, user: int, sudo: str | None, trusted: set[int]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    if sudo is not None:
        monkeypatch.setenv("SUDO_UID", sudo)
    assert ownership.trusted_owners() == trusted


def test_a_link_that_leads_in_a_circle_or_nowhere_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(tmp_path / "lee-llm-router.yaml")
    below(tmp_path, monkeypatch)
    Path("lee-llm-router.yaml").symlink_to("lee-llm-router.yaml")
    Path("../lee-llm-router.yaml").symlink_to("nothing")
    assert find_config() == file


def test_no_configuration_names_what_writes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below(tmp_path, monkeypatch)
    monkeypatch.setattr(os.path, "isfile", lambda path: False)
    with pytest.raises(ConfigError, match="`lee-llm-router init` writes one"):
        find_config()


@pytest.mark.parametrize("how", ["variable", "argument"])
def test_a_named_file_in_a_home_that_is_not_there_is_a_typed_error(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """As in a container that runs under a number: no entry in the list of users, and no HOME."""
    path = "~somebody-who-does-not-exist/c.yaml"
    if how == "variable":
        monkeypatch.setenv(CONFIG_VARIABLE, path)
    with pytest.raises(ConfigError, match="no home folder"):
        find_config(path if how == "argument" else None)


def test_a_current_directory_that_is_gone_is_a_typed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="current folder cannot be read"):
        find_config()
